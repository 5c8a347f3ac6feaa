package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"mobileid/internal/mobileid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAccessLogHasRouteAndClientAndNothingPersonal(t *testing.T) {
	e := newEdge(t, nil)
	e.do(ask(e))
	id := e.stored("oneid", mobileid.ChallengePending)
	e.do(call{method: "POST", path: verifyPath(id), body: verifyBody("123456"), key: "secret-key", token: e.token("oneid")})
	// Somebody puts a PINFL where an id belongs, and a code into the query.
	e.do(call{method: "GET", path: "/v1/challenges/" + goodPINFL + "?after=" + goodPINFL + "&code=123456", token: e.token("oneid")})
	e.do(call{method: "GET", path: "/" + goodPINFL})
	e.do(call{method: "GET", path: "/problems/" + goodPINFL})
	log := e.logged()
	for _, secret := range []string{goodPINFL, "123456", "secret-key", "Bearer", "eyJ"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q:\n%s", secret, log)
		}
	}
	var line struct {
		Msg, Route, Client, ID string
		Status                 int
		TraceID                string `json:"trace_id"`
		MS                     *float64
	}
	if err := json.Unmarshal([]byte(strings.Split(log, "\n")[1]), &line); err != nil {
		t.Fatal(err)
	}
	if line.Route != "POST /v1/challenges/{id}/verify" || line.Client != "oneid" || line.Status != 200 ||
		line.ID != id.String() || len(line.TraceID) != 32 || line.MS == nil {
		t.Errorf("%+v", line)
	}
}

func TestRequestsAreCountedByRoutePattern(t *testing.T) {
	e := newEdge(t, nil)
	e.do(ask(e))
	e.do(call{method: "GET", path: "/" + goodPINFL})
	e.do(call{method: "GET", path: "/v1/challenges/" + goodPINFL})
	want := `
# HELP mobileid_http_requests_total Requests answered, by route pattern and status.
# TYPE mobileid_http_requests_total counter
mobileid_http_requests_total{route="GET /v1/challenges/{id}",status="401"} 1
mobileid_http_requests_total{route="POST /v1/challenges",status="202"} 1
mobileid_http_requests_total{route="unmatched",status="404"} 1
`
	if err := testutil.GatherAndCompare(e.reg, strings.NewReader(want), "mobileid_http_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestTraceIsContinuedOrBegun(t *testing.T) {
	e := newEdge(t, nil)
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	form := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	for header, continued := range map[string]bool{
		"00-" + id + "-00f067aa0ba902b7-01":                      true,
		"cc-" + id + "-00f067aa0ba902b7-01-more":                 true, // a later version
		"00-" + id + "-00f067aa0ba902b7-01-more":                 false,
		"ff-" + id + "-00f067aa0ba902b7-01":                      false,
		"00-" + id + "-0000000000000000-01":                      false,
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01": false,
		"00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01":     false,
		"": false,
	} {
		w := e.do(call{method: "GET", path: "/v1/nothing", header: map[string]string{"traceparent": header, "x-correlator": "c1"}})
		got := w.Header().Get("traceresponse")
		p := decode[problem](t, w)
		if !form.MatchString(got) || (p.TraceID == id) != continued || !strings.Contains(got, p.TraceID) {
			t.Errorf("%q: traceresponse %q, traceId %q", header, got, p.TraceID)
		}
		if w.Header().Get("x-correlator") != "c1" {
			t.Error("x-correlator is not echoed on a 404")
		}
	}
}

func TestPanicIsAProblemAndItsValueIsNotLogged(t *testing.T) {
	e := newEdge(t, nil)
	e.g.mux.HandleFunc("GET /boom", func(http.ResponseWriter, *http.Request) { panic("with " + goodPINFL) })
	w := e.do(call{method: "GET", path: "/boom"})
	if p := decode[problem](t, w); w.Code != 500 || p.Code != "internal" {
		t.Errorf("%d %+v", w.Code, p)
	}
	if log := e.logged(); strings.Contains(log, goodPINFL) || !strings.Contains(log, "edge_test.go") && !strings.Contains(log, "TestPanic") {
		t.Error(log)
	}
}

func TestMountedRootDoesNotTakeOurPaths(t *testing.T) {
	root := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	e := newEdge(t, nil, func(_ *Config, d *Deps) { d.Root = root })
	for path, want := range map[string]int{"/": 200, "/anything": 200, "/v1/nothing": 404, "/problems/nothing": 404, "/docs": 200} {
		if w := e.do(call{method: "GET", path: path}); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := e.do(call{method: "DELETE", path: "/v1/challenges"}); w.Code != 405 {
		t.Errorf("%d", w.Code)
	}
}

func TestPublicURLGoesBeforeTheType(t *testing.T) {
	e := newEdge(t, nil, func(c *Config, _ *Deps) { c.PublicURL = "https://id.example/" })
	w := e.do(call{method: "GET", path: "/v1/nothing"})
	if p := decode[problem](t, w); p.Type != "https://id.example/problems/not_found" {
		t.Error(p.Type)
	}
}

func TestUnknownCodeOfAnotherRoomResolvesToItsKind(t *testing.T) {
	e := newEdge(t, nil)
	p, _ := e.g.problemOf(fmt.Errorf("wrapped: %w", &mobileid.Error{Kind: mobileid.KindConflict, Code: "brand_new", Message: "m"}))
	if p.Type != "/problems/conflict" || p.Code != "brand_new" || p.Status != 409 {
		t.Errorf("%+v", p)
	}
	p, _ = e.g.problemOf(&mobileid.Error{Kind: "no such kind", Code: "x", Message: goodPINFL})
	if p.Status != 500 || p.Code != "internal" || strings.Contains(p.Detail, goodPINFL) {
		t.Errorf("%+v", p)
	}
}

func TestEveryEndOfAChallengeHasItsCode(t *testing.T) {
	for _, s := range mobileid.ChallengeStates() {
		_, ok := problemTable[endedCode(s)]
		if s.Terminal() && s != mobileid.ChallengeConfirmed && !ok {
			t.Errorf("%s has no row", endedCode(s))
		}
	}
	for code, row := range problemTable {
		if row.Code != code || row.Title == "" || row.Meaning == "" || http.StatusText(row.Status) == "" {
			t.Errorf("row %q is not whole: %+v", code, row)
		}
	}
}

// live runs the edge on a real socket with its real timeouts.
func (e *edge) live(t *testing.T, change func(*http.Server)) (base string, client *http.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(e.h)
	s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.RegisterOnShutdown(e.g.Drain)
	if change != nil {
		change(s)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	client = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-done
	})
	return "http://" + l.Addr().String(), client
}

func TestServerTimeoutsLeaveRoomForTheLongestPoll(t *testing.T) {
	s := NewServer(nil)
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Error("a timeout is not set")
	}
	if s.WriteTimeout <= maxPoll {
		t.Errorf("write timeout %s cuts a poll of %s", s.WriteTimeout, maxPoll)
	}
}

func TestReadTimeoutDoesNotEndALongPoll(t *testing.T) {
	e := newEdge(t, time.Now)
	id := e.stored("oneid", mobileid.ChallengePending)
	base, client := e.live(t, func(s *http.Server) { s.ReadTimeout = 50 * time.Millisecond })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+challengePath(id)+"?timeoutMs=300", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.token("oneid"))
	start := time.Now()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if took := time.Since(start); res.StatusCode != http.StatusOK || took < 300*time.Millisecond {
		t.Errorf("%d after %s", res.StatusCode, took)
	}
}

// A body that comes too slowly is a refusal, not a held goroutine.
func TestReadTimeoutEndsASlowBody(t *testing.T) {
	e := newEdge(t, time.Now)
	base, _ := e.live(t, func(s *http.Server) { s.ReadTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /v1/challenges HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Idempotency-Key: k\r\nContent-Length: 100\r\n\r\n{", e.token("oneid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	if !strings.Contains(string(answer), "body_unread") {
		t.Errorf("%s", answer)
	}
}

// seenWaiters says when somebody waits.
type seenWaiters struct {
	WaiterSet
	seen chan struct{}
}

func (s seenWaiters) Wait(id mobileid.ID) (<-chan struct{}, func()) {
	c, cancel := s.WaiterSet.Wait(id)
	s.seen <- struct{}{}
	return c, cancel
}

// Shutdown does not wait for long polls: they are answered.
func TestShutdownAnswersOpenLongPolls(t *testing.T) {
	waits := make(chan struct{}, 1)
	e := newEdge(t, time.Now, func(_ *Config, d *Deps) { d.Waiters = seenWaiters{d.Waiters, waits} })
	id := e.stored("oneid", mobileid.ChallengePending)
	polled := make(chan int, 1)
	t.Run("server", func(t *testing.T) {
		base, client := e.live(t, nil)
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, base+challengePath(id)+"?timeoutMs=30000", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+e.token("oneid"))
		go func() {
			res, err := client.Do(req)
			if err != nil {
				polled <- 0
				return
			}
			_ = res.Body.Close()
			polled <- res.StatusCode
		}()
		<-waits
	})
	if got := <-polled; got != 200 {
		t.Errorf("%d", got)
	}
}

func TestOversizedBodyIsAProblemOnARealConnection(t *testing.T) {
	e := newEdge(t, time.Now)
	base, client := e.live(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/challenges", strings.NewReader(strings.Repeat("a", 4<<20)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.token("oneid"))
	req.Header.Set("Idempotency-Key", "k")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", res.StatusCode)
	}
}
