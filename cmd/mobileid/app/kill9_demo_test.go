package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/internal/testenv"
)

// demoClient talks to a running `mobileid demo` over its page's HTTP.
type demoClient struct {
	t     *testing.T
	url   string
	token string
	keys  int
}

func (d *demoClient) call(method, path, body string) apptest.Answer {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	check(d.t, err)
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	if body != "" {
		d.keys++
		req.Header.Set("Idempotency-Key", fmt.Sprintf("demo-%d", d.keys))
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	check(d.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	check(d.t, err)
	return apptest.Answer{Status: res.StatusCode, Header: res.Header, Body: raw}
}

func (d *demoClient) login() {
	d.token = d.call(http.MethodGet, "/demo/token", "").JSON("access_token")
}

// code reads a code off the simulated handset, "" if none came.
func (d *demoClient) code(id string) string {
	var got struct {
		Messages []struct {
			Text string `json:"text"`
		} `json:"messages"`
	}
	if json.Unmarshal(d.call(http.MethodGet, "/demo/messages?id="+id, "").Body, &got) != nil || len(got.Messages) == 0 {
		return ""
	}
	return sixDigits.FindString(got.Messages[0].Text)
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

func (d *demoClient) accepted(path, body string) string {
	d.t.Helper()
	a := d.call(http.MethodPost, path, body)
	if a.Status != http.StatusAccepted {
		d.t.Fatalf("%s: %d %s", path, a.Status, a.Body)
	}
	return a.JSON("id")
}

// postgresOf reads the pid file of the demo's own server; 0 = none runs.
func postgresOf(t *testing.T, data string) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(data, "postgres", "pgdata", "postmaster.pid"))
	if os.IsNotExist(err) {
		return 0
	}
	check(t, err)
	pid, err := strconv.Atoi(strings.SplitN(string(raw), "\n", 2)[0])
	check(t, err)
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !strings.Contains(filepath.Base(program), "postgres") {
		return 0
	}
	return pid
}

// until waits for something of the demo, which has no System.
func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%v have passed and not yet: %s", limit, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestAKilledDemoEndsEveryRequestAfterItsRestart: kill -9 with requests in
// flight, and a restart on the same --data. Every 202 reaches a terminal
// state; a code that lived in the killed process's Redis is lost within 10 s.
func TestAKilledDemoEndsEveryRequestAfterItsRestart(t *testing.T) {
	if testenv.Set(os.Getenv(testenv.Variable)) == testenv.Real {
		t.Skip("!!! real engines: the demo brings its own; the run on embedded engines tests this")
	}
	data, listen := filepath.Join(t.TempDir(), "data"), apptest.FreeAddr(t)
	start := func() *apptest.Child {
		c := apptest.StartChild(t, nil, "demo", "--data", data, "--listen", listen)
		c.AwaitOutput("ready: open")
		return c
	}
	d := &demoClient{t: t, url: "http://" + listen}
	first := start()
	d.login()
	persons := []string{apptest.PINFL(1), "", ""}
	copy(persons[1:], d.others(persons[0]))
	texted := d.accepted("/v1/challenges", apptest.ChallengeBody(persons[0], "sign_in"))
	until(t, 10*time.Second, "the first code arrives", func() bool { return d.code(texted) != "" })
	asked := []string{texted}
	for _, pinfl := range persons {
		for _, purpose := range []string{"verify", "confirm_application", "permit_access"} {
			asked = append(asked, d.accepted("/v1/challenges", apptest.ChallengeBody(pinfl, purpose)))
		}
		asked = append(asked, d.accepted("/v1/notifications", apptest.NoticeBody(pinfl)))
	}
	orphan := postgresOf(t, data)
	first.Kill()
	if orphan == 0 {
		t.Error("no Postgres ran before the kill: the pid file was not looked at")
	}

	second := start()
	restarted := time.Now()
	if now := postgresOf(t, data); now == 0 || now == orphan {
		t.Errorf("Postgres is process %d after the restart, %d before", now, orphan)
	}
	d.login()
	until(t, 10*time.Second-time.Since(restarted), "the code of the killed process is lost", func() bool {
		return d.call(http.MethodGet, "/v1/challenges/"+texted, "").JSON("state") == "lost"
	})
	d.age(data)
	for _, id := range asked {
		until(t, 20*time.Second, id+" ends", func() bool { return d.ended(id) })
	}
	if err := second.Terminate(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if pid := postgresOf(t, data); pid != 0 {
		t.Errorf("Postgres still runs as process %d", pid)
	}
}

// others returns two more of the demo's persons that have a number.
func (d *demoClient) others(not string) []string {
	var setup struct {
		Persons []struct {
			PINFL  string `json:"pinfl"`
			Masked string `json:"masked"`
		} `json:"persons"`
	}
	a := d.call(http.MethodGet, "/demo/setup", "")
	check(d.t, json.Unmarshal(a.Body, &setup))
	var out []string
	for _, p := range setup.Persons {
		if p.PINFL != not && p.Masked != "" {
			out = append(out, p.PINFL)
		}
	}
	if len(out) < 2 {
		d.t.Fatalf("fewer than three persons with a number: %s", a.Body)
	}
	return out[:2]
}

// ended reports whether a request is in a terminal state. A code that was
// issued after the restart waits for its person, so it is typed in.
func (d *demoClient) ended(id string) bool {
	path := "/v1/messages/" + id
	if strings.HasPrefix(id, "ch_") {
		path = "/v1/challenges/" + id
	}
	a := d.call(http.MethodGet, path, "")
	if a.JSON("terminal") == "true" {
		return true
	}
	if code := d.code(id); a.JSON("state") == "pending" && code != "" {
		d.call(http.MethodPost, path+"/verify", fmt.Sprintf(`{"code":%q}`, code))
	}
	return false
}

// age lets the minutes pass that a notice waits which was written and not
// answered when the bridge died: nothing tells its receipt from another's, so
// it is not sent again and ends unconfirmed.
func (d *demoClient) age(data string) {
	dsn, err := os.ReadFile(filepath.Join(data, "secrets", "dsn"))
	check(d.t, err)
	conn, err := pgx.Connect(d.t.Context(), strings.TrimSpace(string(dsn)))
	check(d.t, err)
	defer func() { check(d.t, conn.Close(d.t.Context())) }()
	until(d.t, 30*time.Second, "nothing but receipts is waited for", func() bool {
		var left int
		check(d.t, conn.QueryRow(d.t.Context(), `
select count(*) from messages where ended_at is null and lane = 'bulk' and state not in ('sent', 'in_doubt')`).Scan(&left))
		return left == 0
	})
	_, err = conn.Exec(d.t.Context(), `
update messages set deadline = now() - interval '2 hours' where state = 'in_doubt' and lane = 'bulk'`)
	check(d.t, err)
}
