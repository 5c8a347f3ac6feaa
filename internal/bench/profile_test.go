package bench

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// profile keeps a CPU profile of a process's next seconds, and its metrics when
// finish is called, for who works on the bench.
func (s *system) profile(b *testing.B, admin, path string) (finish func()) {
	b.Helper()
	must(b, os.MkdirAll(filepath.Dir(path), 0o755))
	keep := func(url, path string) error {
		res, err := http.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		return errors.Join(err, os.WriteFile(path, raw, 0o600))
	}
	done := make(chan error, 1)
	go func() { done <- keep(admin+"/debug/pprof/profile?seconds=8", path+".pprof") }()
	return func() {
		must(b, keep(admin+"/metrics", path+".metrics"))
		must(b, <-done)
	}
}
