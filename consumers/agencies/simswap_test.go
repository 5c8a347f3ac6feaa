package agencies_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/cmd/govsim/world"
	"mobileid/consumers/agencies"
	"mobileid/internal/mobileid"
)

// sims is SIM Swap, played by govsim, and our client of it.
type sims struct {
	*agencies.SIMSwap
	service // its clock, world and metrics
}

func startSIMs(t *testing.T) *sims {
	t.Helper()
	clk := &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	w, err := world.Start(world.Config{
		Clients: map[string]string{"a": "b"}, SIMSwapToken: token, Log: slog.New(slog.DiscardHandler), Now: clk.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &sims{service: service{t: t, world: w, clk: clk}}
	s.reach(w.SIMSwapURL(), token, 500*time.Millisecond)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// reach makes another client.
func (s *sims) reach(url, token string, budget time.Duration) {
	s.reg = prometheus.NewRegistry()
	s.SIMSwap = agencies.NewSIMSwap(agencies.SIMSwapConfig{URL: url, Token: token, Budget: budget, Now: s.clk.now, Reg: s.reg})
	s.t.Cleanup(s.SIMSwap.Close)
}

func (s *sims) order(body string) {
	s.t.Helper()
	res, err := http.Post(s.world.URL()+"/control/sim-swap", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("order %s: %s", body, res.Status)
	}
}

// metric is the value of a metric with that label, if it has one.
func (s *sims) metric(name, label string) float64 {
	s.t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func (s *sims) counted(result string) int {
	return int(s.metric("mobileid_sim_swap_results_total", result))
}

func (s *sims) open() float64 { return s.metric("mobileid_sim_swap_circuit_open", "") }

func (s *sims) check(ctx context.Context, n string, age time.Duration) mobileid.SIMCheck {
	s.t.Helper()
	return s.Check(ctx, mobileid.SIMQuestion{Number: number(s.t, n), MaxAge: age})
}

func TestASIMIsAsSwappedAsTheOperatorSays(t *testing.T) {
	const other = "+998907654321"
	s := startSIMs(t)
	s.order(`{"swapped":{"` + secret + `":72}}`)
	for _, c := range []struct {
		number string
		age    time.Duration
		want   mobileid.SIMCheck
	}{
		{other, 72 * time.Hour, mobileid.SIMClear},
		{secret, 72 * time.Hour, mobileid.SIMClear}, // 72 hours ago is not within them
		{secret, 73 * time.Hour, mobileid.SIMSwapped},
		{secret, 2400 * time.Hour, mobileid.SIMSwapped},
		{secret, 2401 * time.Hour, mobileid.SIMUnknown}, // outside the contract
	} {
		if got := s.check(t.Context(), c.number, c.age); got != c.want {
			t.Errorf("%s: %s, want %s", c.age, got, c.want)
		}
	}
	if s.counted("clear") != 2 || s.counted("swapped") != 2 || s.counted("out_of_range") != 1 {
		t.Errorf("%d clear, %d swapped, %d out of range", s.counted("clear"), s.counted("swapped"), s.counted("out_of_range"))
	}
}

// What an operator says of one number leaves the others as they are.
func TestARefusalOfOneNumberDoesNotOpenTheCircuit(t *testing.T) {
	s := startSIMs(t)
	for code, result := range map[string]string{
		"IDENTIFIER_NOT_FOUND": "no_data", "SERVICE_NOT_APPLICABLE": "no_data", "OUT_OF_RANGE": "out_of_range",
	} {
		s.order(fmt.Sprintf(`{"refused":{%q:%q}}`, secret, code))
		before := s.counted(result)
		for range 6 {
			if got := s.check(t.Context(), secret, time.Hour); got != mobileid.SIMUnknown {
				t.Errorf("%s: %s", code, got)
			}
		}
		if s.counted(result) != before+6 || s.open() != 0 {
			t.Errorf("%s: %d %s, circuit %v", code, s.counted(result), result, s.open())
		}
	}
	if got := s.check(t.Context(), "+998907654321", time.Hour); got != mobileid.SIMClear {
		t.Errorf("another number: %s", got)
	}
}

func TestASIMThatNobodySpeaksOfIsUnknownInTimeAndThenNobodyIsAsked(t *testing.T) {
	for fault, result := range map[string]string{
		`{"fault":"error"}`: "failed", `{"fault":"garbage"}`: "garbage", `{"fault":"cut"}`: "failed",
		`{"fault":"hang"}`: "timeout", `{"delay_ms":3000}`: "timeout",
	} {
		t.Run(fault, func(t *testing.T) {
			s := startSIMs(t)
			s.order(fault)
			const calls = 8
			for range calls {
				began := time.Now()
				if got := s.check(t.Context(), secret, time.Hour); got != mobileid.SIMUnknown {
					t.Errorf("%s", got)
				}
				// The rest of a second is for a machine that is busy.
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %s of 500 ms", took)
				}
			}
			if s.counted(result) != 5 || s.counted("open") != calls-5 || s.open() != 1 {
				t.Errorf("%d %s, %d open", s.counted(result), result, s.counted("open"))
			}
			s.order(`{}`)
			s.clk.advance(2 * time.Second)
			if got := s.check(t.Context(), secret, time.Hour); got != mobileid.SIMClear || s.open() != 0 {
				t.Errorf("after the pause: %s", got)
			}
		})
	}
}

func TestAFaultOfSIMSwapThatIsOverAtOnceIsNotSeen(t *testing.T) {
	for _, fault := range []string{"error", "garbage", "cut"} {
		s := startSIMs(t)
		s.reach(s.world.SIMSwapURL(), token, 5*time.Second) // long, for a machine that is busy
		s.order(fmt.Sprintf(`{"fault":%q,"times":1}`, fault))
		if got := s.check(t.Context(), secret, time.Hour); got != mobileid.SIMClear || s.world.SIMSwapAsked() != 2 {
			t.Errorf("%s: %s, asked %d times", fault, got, s.world.SIMSwapAsked())
		}
	}
}

func TestWhoAsksOfASIMAndGoesAwayBlamesNobody(t *testing.T) {
	s := startSIMs(t)
	s.reach(s.world.SIMSwapURL(), token, 30*time.Second)
	s.order(`{"fault":"hang"}`)
	for range 7 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if got := s.check(ctx, secret, time.Hour); got != mobileid.SIMUnknown {
			t.Errorf("%s", got)
		}
		cancel()
	}
	if s.counted("abandoned") != 7 || s.open() != 0 {
		t.Errorf("%d abandoned, circuit %v", s.counted("abandoned"), s.open())
	}
}

func TestAWrongTokenOfSIMSwapIsCountedAsRefused(t *testing.T) {
	s := startSIMs(t)
	s.reach(s.world.SIMSwapURL(), "wrong", 500*time.Millisecond)
	if got := s.check(t.Context(), secret, time.Hour); got != mobileid.SIMUnknown || s.counted("refused") != 1 {
		t.Errorf("%s, %d refused", got, s.counted("refused"))
	}
}

func TestOnlyAnAnswerOfSIMSwapsContractIsBelieved(t *testing.T) {
	var mu sync.Mutex
	var heads []string
	s := startSIMs(t)
	id := mobileid.ID{1, 2, 3}
	for _, c := range []struct {
		status                          int
		name, contentType, body, result string
	}{
		{200, "more fields", "application/json; charset=utf-8", `{"swapped":true,"monitoredPeriod":120}`, "swapped"},
		{200, "no field", "application/json", `{}`, "garbage"},
		{200, "null", "application/json", `{"swapped":null}`, "garbage"},
		{200, "a word", "application/json", `{"swapped":"false"}`, "garbage"},
		{200, "HTML", "text/html", `{"swapped":false}`, "garbage"},
		{200, "nothing", "application/json", ``, "garbage"},
		{200, "too long", "application/json", `{"swapped":false}` + strings.Repeat(" ", 5000), "garbage"},
		{302, "elsewhere", "application/json", `{"swapped":false}`, "garbage"},
		{404, "no such API", "text/html", `not found`, "refused"},
		{400, "our question is wrong", "application/json", `{"status":400,"code":"INVALID_ARGUMENT","message":"` + secret + `"}`, "refused"},
		{429, "too many", "application/json", `{"status":429,"code":"TOO_MANY_REQUESTS","message":""}`, "limited"},
		{503, "away", "application/json", `{"swapped":false}`, "failed"},
	} {
		url := strange(t, func(w http.ResponseWriter, r *http.Request) {
			raw, err := io.ReadAll(r.Body)
			var q map[string]any
			if err != nil || json.Unmarshal(raw, &q) != nil || q["phoneNumber"] != secret || q["maxAge"] != 72.0 || len(q) != 2 {
				t.Errorf("asked %s, %v", raw, err)
			}
			mu.Lock()
			heads = append(heads, r.Method+" "+r.URL.String()+fmt.Sprint(r.Header))
			mu.Unlock()
			w.Header().Set("Content-Type", c.contentType)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		s.reach(url, token, 500*time.Millisecond)
		got := s.Check(t.Context(), mobileid.SIMQuestion{For: id, Number: number(t, secret), MaxAge: 72 * time.Hour})
		if s.counted(c.result) != 1 || (got != mobileid.SIMUnknown) != (c.result == "swapped") {
			t.Errorf("%s: %s, %d %s", c.name, got, s.counted(c.result), c.result)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, head := range heads {
		if strings.Contains(head, strings.TrimPrefix(secret, "+998")) || !strings.HasPrefix(head, "POST /checkmap") ||
			!strings.Contains(head, "X-Correlator:["+id.String()+"]") || !strings.Contains(head, "Bearer "+token) {
			t.Errorf("the head %s", head)
		}
	}
}
