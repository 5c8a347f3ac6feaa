// Package charging runs a charging server that nobody here wrote for tests: the
// diameter application of Erlang/OTP, with a script of ours, as a process of its
// own. The head of server.escript says what it can be told.
package charging

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// noTools is the environment variable that lets outside programs be absent;
// TOOLS=0 make test sets it.
const noTools = "MOBILEID_TEST_NO_TOOLS"

//go:embed server.escript
var script []byte

//go:embed ro.dia
var dictionary []byte

// Server is a running one.
type Server struct {
	Addr string // host:port

	t     testing.TB
	in    io.Writer
	lines chan string
}

// Start starts a server with that Diameter identity and watchdog interval. It ends
// with the test.
func Start(t testing.TB, host string, watchdog time.Duration) *Server {
	t.Helper()
	if _, err := exec.LookPath("escript"); err != nil || !hasDiameter(t) {
		if os.Getenv(noTools) != "" {
			t.Skip("!!! no erlang-diameter and " + noTools + " is set: a charging server that nobody here wrote is NOT asked")
		}
		t.Fatal("erlang-diameter is missing: run deploy/dev/test-tools, or set " + noTools + "=1")
	}
	dir := t.TempDir()
	files := map[string][]byte{"server.escript": script, "ro.dia": dictionary}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("escript", filepath.Join(dir, "server.escript"), filepath.Join(dir, "ro.dia"), host, fmt.Sprint(watchdog.Milliseconds()))
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP_SECONDS=0") // no file of it
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, in: in, lines: make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		hung := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		<-read
		hung.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("escript: %v", err)
		}
	})
	s.Addr = "127.0.0.1:" + strings.TrimPrefix(s.line(), "listening ")
	return s
}

func hasDiameter(t testing.TB) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "erl", "-noinput", "-eval", `io:format("~p", [is_list(code:lib_dir(diameter))]), halt().`).Output()
	return err == nil && string(out) == "true"
}

// line is the next that it prints.
func (s *Server) line() string {
	s.t.Helper()
	select {
	case l := <-s.lines:
		return l
	case <-time.After(20 * time.Second):
		s.t.Fatal("the charging server says nothing")
		return ""
	}
}

// Tell tells it something and returns its answer.
func (s *Server) Tell(format string, args ...any) string {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, format+"\n", args...); err != nil {
		s.t.Fatal(err)
	}
	return s.line()
}

// Account returns the money of a number: what is free, and what is held.
func (s *Server) Account(number string) (free, held int) {
	s.t.Helper()
	var got string
	if _, err := fmt.Sscanf(s.Tell("show %s", number), "account %s %d free %d", &got, &free, &held); err != nil || got != number {
		s.t.Fatalf("the account of %s: %v", number, err)
	}
	return free, held
}

// Message returns the units that were debited for a Message, and refunded.
func (s *Server) Message(id string) (debited, refunded int) {
	s.t.Helper()
	var got string
	if _, err := fmt.Sscanf(s.Tell("message %s", id), "message %s %d %d", &got, &debited, &refunded); err != nil || got != id {
		s.t.Fatalf("the debits of %s: %v", id, err)
	}
	return debited, refunded
}
