package demo

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/config/sandbox"
)

// TestAKilledDemoEndsEveryRequestAfterItsRestart: kill -9 with requests in
// flight, and a restart on the same --data. Every 202 reaches a terminal
// state; a code that lived in the killed process's Redis is lost within 10 s.
//
// That something is in flight is not left to luck. From a moment at which the
// bridge owns Messages nobody can write their table any more: they are written
// or answered and not settled, and what is accepted after that is in Kafka
// alone. Both are looked at before the kill.
func TestAKilledDemoEndsEveryRequestAfterItsRestart(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	people := persons()[:3]
	first := launch(t, "--data", data)
	c := newCaller(t, first.ready())
	c.check(c.ask(t.Context(), people[0].pinfl, "sign_in"))
	c.check(c.readCode(t.Context()))
	texted := c.id

	db := connect(t, data)
	var standstill pgx.Tx
	c.eventually(20*time.Second, "the bridge owns a Message that has no end yet", func() bool {
		c.everything(people, "verify", "confirm_application")
		var err error
		standstill, err = db.Begin(t.Context())
		c.check(err)
		_, err = standstill.Exec(t.Context(), `lock table messages in share row exclusive mode`)
		c.check(err)
		var owned int
		c.check(standstill.QueryRow(t.Context(), `select count(*) from messages where state in ('admitted', 'sent')`).Scan(&owned))
		if owned == 0 {
			c.check(standstill.Rollback(t.Context()))
		}
		return owned > 0
	})
	for _, id := range c.everything(people, "permit_access") {
		if state := c.state(id).State; state != "accepted" {
			t.Errorf("before the kill %s is %q, want accepted: in Kafka alone", id, state)
		}
	}
	orphan := postgresOf(t, data)
	if orphan == 0 {
		t.Error("no Postgres ran before the kill: the pid file was not looked at")
	}
	first.kill()

	second := launch(t, "--data", data)
	c.url = second.ready()
	restarted := time.Now()
	if now := postgresOf(t, data); now == 0 || now == orphan {
		t.Errorf("Postgres is process %d after the restart, %d before", now, orphan)
	}
	c.check(c.getToken(t.Context()))
	c.eventually(10*time.Second-time.Since(restarted), "the code of the killed process is lost", func() bool {
		return c.state(texted).State == "lost"
	})
	c.age(connect(t, data))
	for _, id := range c.asked {
		c.eventually(20*time.Second, id+" ends", func() bool { return c.ended(id) })
	}
	second.signal(syscall.SIGTERM)
	if code := second.end(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	if pid := postgresOf(t, data); pid != 0 {
		t.Errorf("Postgres still runs as process %d", pid)
	}
}

// caller is a tourist who remembers what he asked.
type caller struct {
	*tourist

	t     *testing.T
	asked []string
}

func newCaller(t *testing.T, url string) *caller {
	t.Helper()
	c := &caller{t: t, tourist: &tourist{url: url, client: http.DefaultClient}}
	c.check(c.getToken(t.Context()))
	return c
}

func (c *caller) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// askAll asks for a code for each purpose and returns the ids.
func (c *caller) askAll(p person, purposes ...string) (ids []string) {
	c.t.Helper()
	for _, purpose := range purposes {
		c.check(c.ask(c.t.Context(), p.pinfl, purpose))
		ids = append(ids, c.id)
	}
	return ids
}

// everything asks for a code for each purpose, and for a notice, for each of
// them, and returns the ids.
func (c *caller) everything(people []person, purposes ...string) []string {
	c.t.Helper()
	before := len(c.asked)
	for _, p := range people {
		for _, purpose := range purposes {
			c.check(c.ask(c.t.Context(), p.pinfl, purpose))
			c.asked = append(c.asked, c.id)
		}
		id, err := c.tell(c.t.Context(), p.pinfl)
		c.check(err)
		c.asked = append(c.asked, id)
	}
	return c.asked[before:]
}

func (c *caller) state(id string) challenge {
	c.t.Helper()
	var got challenge
	c.check(c.call(c.t.Context(), http.MethodGet, pathOf(id), "", "", http.StatusOK, &got))
	return got
}

func pathOf(id string) string {
	if strings.HasPrefix(id, "ch_") {
		return "/v1/challenges/" + id
	}
	return "/v1/messages/" + id
}

// ended reports whether a request is in a terminal state. A code that was
// issued after the restart waits for its person, so it is typed in.
func (c *caller) ended(id string) bool {
	c.t.Helper()
	now := c.state(id)
	if now.Terminal || now.State != "pending" {
		return now.Terminal
	}
	code, err := c.codeOf(c.t.Context(), id)
	c.check(err)
	if code != "" {
		// Whatever is answered, the next look at the state is what counts.
		_ = c.call(c.t.Context(), http.MethodPost, pathOf(id)+"/verify", c.newKey(), fmt.Sprintf(`{"code":%q}`, code), 0, nil)
	}
	return false
}

// eventually waits until something is so.
func (c *caller) eventually(limit time.Duration, what string, so func() bool) {
	c.t.Helper()
	for end := time.Now().Add(limit); !so(); {
		if time.Now().After(end) {
			c.t.Fatalf("%v have passed and not yet: %s", limit, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// age lets the minutes pass that a notice waits which was written and not
// answered when the bridge died: nothing tells its receipt from another's, so
// it is not sent again and ends unconfirmed.
func (c *caller) age(db *pgx.Conn) {
	c.t.Helper()
	c.eventually(30*time.Second, "nothing but receipts is waited for", func() bool {
		var left int
		c.check(db.QueryRow(c.t.Context(), `
select count(*) from messages where ended_at is null and lane = 'bulk' and state not in ('sent', 'in_doubt')`).Scan(&left))
		return left == 0
	})
	_, err := db.Exec(c.t.Context(), `
update messages set deadline = now() - interval '2 hours' where state = 'in_doubt' and lane = 'bulk'`)
	c.check(err)
}

// connect opens the database of a demo that runs on data.
func connect(t *testing.T, data string) *pgx.Conn {
	t.Helper()
	dsn, err := sandbox.Secret(data, "dsn")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	// The server may have been killed.
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// postgresOf reads the pid file of the demo's own server; 0 = none runs.
func postgresOf(t *testing.T, data string) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(data, "postgres", "pgdata", "postmaster.pid"))
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(raw), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !strings.Contains(filepath.Base(program), "postgres") {
		return 0
	}
	return pid
}
