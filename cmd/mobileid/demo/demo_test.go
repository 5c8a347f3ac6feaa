package demo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/internal/engines"
)

// running is a demo in this process.
type running struct {
	url   string
	lines []string // what the person saw; complete after stop
	stop  func() error
	dir   string // of its configuration
}

var (
	readyLine  = regexp.MustCompile(`ready: open (http://\S+)`)
	configLine = regexp.MustCompile(`configuration written to (\S+)`)
)

// start runs the demo and waits for its page.
func start(t *testing.T, o Options) *running {
	t.Helper()
	r, w := io.Pipe()
	o.Listen, o.Out, o.Log = "127.0.0.1:0", w, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o); _ = w.Close() }()
	d := &running{}
	ready, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			line := lines.Text()
			d.lines = append(d.lines, line)
			if m := configLine.FindStringSubmatch(line); m != nil {
				d.dir = filepath.Dir(m[1])
			}
			if m := readyLine.FindStringSubmatch(line); m != nil {
				d.url = m[1]
				close(ready)
			}
		}
	}()
	var once sync.Once
	d.stop = func() (err error) {
		once.Do(func() { cancel(); err = <-done; <-read })
		return err
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case <-read:
		t.Fatalf("the demo ended:\n%s", strings.Join(d.lines, "\n"))
	case <-time.After(time.Minute):
		t.Fatal("the demo was not ready in a minute")
	}
	return d
}

func TestTheTourPassesAndNothingIsLeftBehind(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out strings.Builder
	err := Run(t.Context(), Options{Listen: "127.0.0.1:0", Tour: true, Out: &out, Log: slog.New(slog.DiscardHandler)})
	if err != nil || !strings.Contains(out.String(), "tour 17/17  ok") || !strings.Contains(out.String(), "nothing is left behind") {
		t.Errorf("%v\n%s", err, out.String())
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestADatabaseThatWasGivenServesAnotherRunAndTheTablesAreOwnedUpTo(t *testing.T) {
	given, err := engines.StartPostgres(t.Context(), engines.PostgresConfig{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := given.Stop(); err != nil {
			t.Error(err)
		}
	})
	for range 2 { // each with keys of its own
		var out strings.Builder
		err := Run(t.Context(), Options{
			Listen: "127.0.0.1:0", Postgres: given.DSN(), Tour: true, Out: &out, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil || !strings.Contains(out.String(), "tour 17/17  ok") ||
			strings.Contains(out.String(), "nothing is left behind") || !strings.Contains(out.String(), "the tables stay in the database") {
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
}

func TestAKeptFolderRemembers(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{Data: dir})
	person := persons()[0]
	asker := &tourist{url: first.url, client: http.DefaultClient}
	for _, step := range []func(context.Context) error{
		asker.getToken, func(ctx context.Context) error { return asker.ask(ctx, person.pinfl, "sign_in") },
		asker.readCode, asker.awaitDelivery, asker.verify,
	} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if last := first.lines[len(first.lines)-1]; !strings.Contains(last, "the data stay in "+dir) {
		t.Errorf("the last line is %q", last)
	}
	second := start(t, Options{Data: dir})
	asker.url = second.url
	var got challenge
	if err := errors.Join(asker.getToken(t.Context()),
		asker.call(t.Context(), http.MethodGet, "/v1/challenges/"+asker.id, "", "", http.StatusOK, &got)); err != nil {
		t.Fatal(err)
	}
	if got.State != "confirmed" || got.Message.State != "delivered" {
		t.Errorf("after the restart it is %+v", got)
	}
}

// README's lines are run as they stand there; only the port is the test's.
func TestTheCurlLinesOfTheREADMEWork(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "```bash\n")
	script, _, closed := strings.Cut(rest, "```")
	if !ok || !closed || !strings.Contains(script, "BASE=http://127.0.0.1:8080\n") {
		t.Fatal("the README has no bash block that begins with BASE=http://127.0.0.1:8080")
	}
	d := start(t, Options{})
	script = strings.Replace(script, "http://127.0.0.1:8080", d.url, 1)
	raw, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script).CombinedOutput()
	out := string(raw)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Count(out, `"delivered"`) < 2 || strings.Count(out, `"confirmed"`) < 2 || !strings.Contains(out, "ms_") {
		t.Errorf("the tour with curl printed:\n%s", out)
	}
}
