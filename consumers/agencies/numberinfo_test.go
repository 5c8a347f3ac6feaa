package agencies_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"mobileid/cmd/govsim/world"
	"mobileid/consumers/agencies"
	"mobileid/internal/mobileid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token  = "number-info-token"
	secret = "+998901234567" // the number that nobody else may see
)

func number(t testing.TB, s string) mobileid.MSISDN {
	t.Helper()
	m, err := mobileid.ParseMSISDN(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// clock is turned by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// service is number-info, played by govsim, and our client of it.
type service struct {
	*agencies.NumberInfo
	t     *testing.T
	world *world.World
	clk   *clock
	reg   *prometheus.Registry
}

func start(t *testing.T) *service {
	t.Helper()
	w, err := world.Start(world.Config{
		Clients: map[string]string{"a": "b"}, NumberInfoToken: token, Log: slog.New(slog.DiscardHandler),
		Numbers: map[string]string{secret: "ucell", "+998937654321": "nobody"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, world: w, clk: &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}, reg: prometheus.NewRegistry()}
	s.NumberInfo = s.client(w.NumberInfoURL(), token, 500*time.Millisecond)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *service) client(url, token string, budget time.Duration) *agencies.NumberInfo {
	s.reg = prometheus.NewRegistry()
	n := agencies.NewNumberInfo(agencies.NumberInfoConfig{
		URL: url, Token: token, Budget: budget, CacheAge: time.Minute, Operators: []string{"ucell", "beeline"},
		Now: s.clk.now, Reg: s.reg,
	})
	s.t.Cleanup(n.Close)
	return n
}

// order gives the world an order.
func (s *service) order(body string) {
	s.t.Helper()
	res, err := http.Post(s.world.URL()+"/control/number-info", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("order %s: %s", body, res.Status)
	}
}

// counted is the metric of a result.
func (s *service) counted(result string) int {
	s.t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "mobileid_number_info_results_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == result {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

func (s *service) circuitOpen() float64 {
	s.t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "mobileid_number_info_circuit_open" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	s.t.Fatal("no gauge of the circuit")
	return 0
}

func TestAnAnswerIsKeptWithItsAge(t *testing.T) {
	s := start(t)
	first := s.clk.now()
	for _, after := range []time.Duration{0, 59 * time.Second} {
		s.clk.advance(after)
		a, err := s.Operator(t.Context(), number(t, secret))
		if err != nil || a.Operator != "ucell" || !a.At.Equal(first) {
			t.Errorf("after %s: %+v, %v", after, a, err)
		}
	}
	s.clk.advance(time.Second) // a minute: no longer believed
	if a, err := s.Operator(t.Context(), number(t, secret)); err != nil || !a.At.Equal(s.clk.now()) {
		t.Errorf("%+v, %v", a, err)
	}
	if s.world.NumberInfoAsked() != 2 || s.counted("known") != 2 || s.counted("cached") != 1 {
		t.Errorf("asked %d times, %d known, %d cached", s.world.NumberInfoAsked(), s.counted("known"), s.counted("cached"))
	}
}

func TestWhatIsUnknownIsAskedAgainAndNotKept(t *testing.T) {
	s := start(t)
	for i, c := range []struct{ number, result string }{
		{"+998970000001", "unknown"}, {"+998970000001", "unknown"}, {"+998937654321", "foreign"},
	} {
		_, err := s.Operator(t.Context(), number(t, c.number))
		var e *mobileid.Error
		if !errors.As(err, &e) || e.Kind != mobileid.KindUnavailable || e.Code != "operator_unknown" || e.RetryAfter != time.Minute {
			t.Errorf("question %d: %+v", i, e)
		}
		if s.world.NumberInfoAsked() != i+1 || s.counted(c.result) == 0 {
			t.Errorf("question %d: asked %d times, %d %s", i, s.world.NumberInfoAsked(), s.counted(c.result), c.result)
		}
	}
	if s.circuitOpen() != 0 {
		t.Error("the circuit is open although the service answered")
	}
}

func TestAFaultIsRepeatedWithinTheBudget(t *testing.T) {
	for _, fault := range []string{"error", "garbage", "cut", "hang"} {
		t.Run(fault, func(t *testing.T) {
			s := start(t)
			// Long, so that this proves repetition on a busy machine.
			n := s.client(s.world.NumberInfoURL(), token, 2*time.Second)
			s.order(fmt.Sprintf(`{"fault":%q,"times":1}`, fault))
			a, err := n.Operator(t.Context(), number(t, secret))
			if err != nil || a.Operator != "ucell" || s.world.NumberInfoAsked() != 2 {
				t.Errorf("%+v, %v, asked %d times", a, err, s.world.NumberInfoAsked())
			}
		})
	}
}

func TestAServiceThatFailsIsUnknownInTimeAndThenLeftInPeace(t *testing.T) {
	for fault, result := range map[string]string{
		`{"fault":"error"}`: "failed", `{"fault":"garbage"}`: "garbage", `{"fault":"cut"}`: "failed",
		`{"fault":"hang"}`: "timeout", `{"delay_ms":3000}`: "timeout",
	} {
		t.Run(fault, func(t *testing.T) {
			s := start(t)
			s.order(fault)
			const calls = 8
			for range calls {
				began := time.Now()
				_, err := s.Operator(t.Context(), number(t, secret))
				if mobileid.KindOf(err) != mobileid.KindUnavailable || mobileid.CodeOf(err) != "number_info_away" {
					t.Errorf("err = %v", err)
				}
				// The rest of a second is for a machine that is busy.
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %s of 500 ms", took)
				}
			}
			if s.counted(result) != 5 || s.counted("open") != calls-5 || s.circuitOpen() != 1 {
				t.Errorf("%d %s, %d open", s.counted(result), result, s.counted("open"))
			}
			if asked := s.world.NumberInfoAsked(); asked > 5*3 {
				t.Errorf("asked %d times", asked)
			}
			// When the pause is over one asks, and what he hears is for all.
			s.order(`{}`)
			s.clk.advance(2 * time.Second)
			if a, err := s.Operator(t.Context(), number(t, secret)); err != nil || a.Operator != "ucell" || s.circuitOpen() != 0 {
				t.Errorf("after the pause: %+v, %v", a, err)
			}
		})
	}
}

func TestAnAskerWhoGoesAwayBlamesNobody(t *testing.T) {
	s := start(t)
	n := s.client(s.world.NumberInfoURL(), token, 30*time.Second)
	s.order(`{"fault":"hang"}`)
	for range 7 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := n.Operator(ctx, number(t, secret))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
	}
	if s.counted("abandoned") != 7 || s.circuitOpen() != 0 {
		t.Errorf("%d abandoned, circuit %v", s.counted("abandoned"), s.circuitOpen())
	}
}

func TestARefusalOfOurTokenIsToldAndNotRepeated(t *testing.T) {
	s := start(t)
	n := s.client(s.world.NumberInfoURL(), "wrong", 500*time.Millisecond)
	_, err := n.Operator(t.Context(), number(t, secret))
	if mobileid.KindOf(err) != mobileid.KindUnavailable || s.counted("refused") != 1 {
		t.Errorf("err = %v, %d refused", err, s.counted("refused"))
	}
	if cause := fmt.Sprint(mobileid.Ours(err).LogValue()); !strings.Contains(cause, "401") {
		t.Errorf("the log does not say why: %s", cause)
	}
}

func TestTheServicesOwnPauseIsObeyed(t *testing.T) {
	s := start(t)
	res, err := http.Post(s.world.URL()+"/control/outage", "application/json", strings.NewReader(`{"seconds":7}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for _, result := range []string{"failed", "open"} {
		_, err = s.Operator(t.Context(), number(t, secret))
		if e := mobileid.Ours(err); e.RetryAfter < 6*time.Second || e.RetryAfter > 9*time.Second || s.counted(result) != 1 {
			t.Errorf("%s: %+v", result, e)
		}
	}
}

// strange is a service that answers whatever it likes.
func strange(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func TestOnlyAnAnswerOfTheContractIsBelieved(t *testing.T) {
	for _, c := range []struct{ name, contentType, body, result string }{
		{"more fields", "application/json; charset=utf-8", `{"status":"known","operator":"ucell","as_of":"2026-11-23"}`, "known"},
		{"no operator", "application/json", `{"status":"known"}`, "garbage"},
		{"another status", "application/json", `{"status":"perhaps","operator":"ucell"}`, "garbage"},
		{"no status", "application/json", `{"operator":"ucell"}`, "garbage"},
		{"a list", "application/json", `["ucell"]`, "garbage"},
		{"two answers", "application/json", `{"status":"known","operator":"ucell"}{"status":"unknown"}`, "garbage"},
		{"HTML", "text/html", `{"status":"known","operator":"ucell"}`, "garbage"},
		{"nothing", "application/json", ``, "garbage"},
		{"too long", "application/json", `{"status":"known","operator":"ucell"}` + strings.Repeat(" ", 5000), "garbage"},
	} {
		s := start(t)
		n := s.client(strange(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.contentType)
			_, _ = io.WriteString(w, c.body)
		}), token, 500*time.Millisecond)
		_, err := n.Operator(t.Context(), number(t, secret))
		if s.counted(c.result) != 1 || (err == nil) != (c.result == "known") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestANumberIsInTheBodyAndNowhereElse(t *testing.T) {
	digits := strings.TrimPrefix(secret, "+998")
	var mu sync.Mutex
	var heads []string
	s := start(t)
	for _, answer := range []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"status":"known","operator":"`+secret+`"}`) },
		func(w http.ResponseWriter) { http.Error(w, secret, http.StatusInternalServerError) },
		func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", secret)
			w.WriteHeader(http.StatusTooManyRequests)
		},
		func(w http.ResponseWriter) {
			w.Header().Set("Location", "/"+secret)
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		func(w http.ResponseWriter) { _, _ = io.WriteString(w, secret) },
		func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		n := s.client(strange(t, func(w http.ResponseWriter, r *http.Request) {
			var q struct{ MSISDN string }
			if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.MSISDN != secret {
				t.Errorf("the body: %+v, %v", q, err)
			}
			mu.Lock()
			heads = append(heads, r.Method+" "+r.URL.String()+fmt.Sprint(r.Header))
			mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			answer(w)
		}), token, 500*time.Millisecond)
		_, err := n.Operator(t.Context(), number(t, secret))
		if err == nil {
			t.Fatal("believed")
		}
		metrics, gatherErr := s.reg.Gather()
		if gatherErr != nil {
			t.Fatal(gatherErr)
		}
		all := fmt.Sprintf("%v|%+v|%#v|%v|%v", err, err, mobileid.Ours(err), mobileid.Ours(err).LogValue(), metrics)
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			all += cause.Error()
		}
		if strings.Contains(all, digits) {
			t.Errorf("the number is in an error, the log or a metric: %s", all)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(heads) == 0 {
		t.Error("nobody was asked")
	}
	for _, head := range heads {
		if strings.Contains(head, digits) || !strings.HasPrefix(head, "POST /map") {
			t.Errorf("the number is in the head, or another path was asked: %s", head)
		}
	}
}
