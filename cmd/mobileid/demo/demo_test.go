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

	"github.com/jackc/pgx/v5"

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
	out, err := run(t, Options{Listen: "127.0.0.1:0", Tour: true})
	if err != nil || !strings.Contains(out, "tour 21/21  ok") || !strings.Contains(out, "nothing is left behind") {
		t.Errorf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// given is a database with a table of somebody else's; kept lists what a person
// finds in it.
func given(t *testing.T) (dsn string, kept func() string) {
	t.Helper()
	server, err := engines.StartPostgres(t.Context(), engines.PostgresConfig{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(conn.Close(ctx), server.Stop()); err != nil {
			t.Error(err)
		}
	})
	if _, err = conn.Exec(t.Context(), `create table messages (theirs text)`); err != nil {
		t.Fatal(err)
	}
	return server.DSN(), func() string {
		t.Helper()
		var found string
		err := conn.QueryRow(t.Context(), `
with found as (
	select oid, 'schema ' || nspname::text as what from pg_namespace
	union all select oid, relkind::text || ' ' || oid::regclass::text from pg_class
	union all select oid, 'type ' || oid::regtype::text from pg_type
	union all select oid, 'function ' || oid::regprocedure::text from pg_proc
	union all select oid, 'extension ' || extname::text from pg_extension
)
select string_agg(what, E'\n' order by what) from found where oid >= 16384 -- below are the server's own`).Scan(&found)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
}

// run runs a demo to its end and returns what the person saw.
func run(t *testing.T, o Options) (string, error) {
	t.Helper()
	var out strings.Builder
	o.Out, o.Log = &out, slog.New(slog.DiscardHandler)
	err := Run(t.Context(), o)
	return out.String(), err
}

func TestADatabaseThatWasGivenIsLeftAsItWas(t *testing.T) {
	dsn, kept := given(t)
	before := kept()
	out, err := run(t, Options{Listen: "127.0.0.1:0", Postgres: dsn, Tour: true})
	if err != nil || !strings.Contains(out, "tour 21/21  ok") || !strings.Contains(out, "nothing is left behind") {
		t.Errorf("%v\n%s", err, out)
	}
	if after := kept(); after != before {
		t.Errorf("after a tour the database has\n%s\nand before\n%s", after, before)
	}
	out, err = run(t, Options{Listen: "nowhere", Postgres: dsn})
	if err == nil || !strings.Contains(out, "schema "+runPrefix) {
		t.Errorf("%v\n%s", err, out)
	}
	if after := kept(); after != before {
		t.Errorf("after a start that failed the database has\n%s\nand before\n%s", after, before)
	}
	d := start(t, Options{Postgres: dsn})
	if during := kept(); !strings.Contains(during, "schema "+runPrefix) {
		t.Errorf("while the demo runs the database has\n%s", during)
	}
	// To the next one this one may as well have been killed.
	out, err = run(t, Options{Listen: "nowhere", Postgres: dsn})
	if err == nil || !strings.Contains(out, "in the second case: drop schema "+runPrefix) {
		t.Errorf("%v\n%s", err, out)
	}
	if err := d.stop(); err != nil { // as Ctrl-C does
		t.Error(err)
	}
	if after := kept(); after != before {
		t.Errorf("after Ctrl-C the database has\n%s\nand before\n%s", after, before)
	}
}

func TestAKeptFolderRemembers(t *testing.T) {
	t.Run("with its own cluster", func(t *testing.T) { remembers(t, "") })
	t.Run("with its schema of a database that was given", func(t *testing.T) {
		dsn, kept := given(t)
		remembers(t, dsn)
		if n := strings.Count(kept(), "schema mobileid_"); n != 1 || !strings.Contains(kept(), "schema "+keptPrefix) {
			t.Errorf("two runs on one folder left %d schemas", n)
		}
	})
}

func remembers(t *testing.T, postgres string) {
	t.Helper()
	dir := t.TempDir()
	first := start(t, Options{Data: dir, Postgres: postgres})
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
	second := start(t, Options{Data: dir, Postgres: postgres})
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
