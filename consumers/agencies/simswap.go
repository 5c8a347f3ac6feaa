package agencies

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// SIMSwapConfig is how to reach the operators' SIM Swap service.
type SIMSwapConfig struct {
	URL    string        // of the API, its version included; /check is added
	Token  string        // bearer
	Budget time.Duration // of one question, its repetitions included; 0 = 500 ms
	Now    func() time.Time
	Reg    prometheus.Registerer
}

// SIMSwap asks the operators whether the SIM of a number was changed lately. It is
// safe for concurrent use.
//
// The contract is CAMARA SIM Swap 2.1.0, of which it uses POST /check with
//
//	{"phoneNumber": "+998901234567", "maxAge": 72}
//
// answered 200 with {"swapped": true} or {"swapped": false}. Fields may be added. A
// number that has only now got its first subscriber is swapped, too.
type SIMSwap struct {
	asker   *asker
	circuit *circuit
	metrics metrics
}

// What may become of a question beside what becomes of any, as the metric calls it.
const (
	resultClear      = "clear"
	resultSwapped    = "swapped"
	resultNoData     = "no_data"      // 404, 422: the service does not speak for the number
	resultOutOfRange = "out_of_range" // 400: the operator may not look back so far
)

// NewSIMSwap makes a client. It connects to nothing yet.
func NewSIMSwap(cfg SIMSwapConfig) *SIMSwap {
	budget := cmp.Or(cfg.Budget, 500*time.Millisecond)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	// An attempt may take the whole budget: the operator looks into his network.
	s := &SIMSwap{asker: newAsker(cfg.URL+"/check", cfg.Token, budget, budget), circuit: &circuit{now: cfg.Now}}
	s.metrics = newMetrics(cfg.Reg, "sim_swap", "SIM Swap", s.circuit.open)
	return s
}

// Close closes idle connections.
func (s *SIMSwap) Close() { s.asker.close() }

// Check says whether the SIM was changed within the whole hours of the question's
// MaxAge, and answers within the budget. Whatever is no answer is unknown.
func (s *SIMSwap) Check(ctx context.Context, q mobileid.SIMQuestion) mobileid.SIMCheck {
	leave, _, ok := s.circuit.enter()
	if !ok {
		s.metrics.results.WithLabelValues(resultOpen).Inc()
		return mobileid.SIMUnknown
	}
	began := time.Now()
	said := s.asker.ask(ctx, struct {
		PhoneNumber string `json:"phoneNumber"`
		MaxAge      int    `json:"maxAge"`
	}{q.Number.Reveal(), int(q.MaxAge / time.Hour)}, q.For.String(), readSwapped)
	s.metrics.results.WithLabelValues(said.result).Inc()
	s.metrics.seconds.Observe(time.Since(began).Seconds())
	switch said.result {
	case resultClear:
		s.circuit.success()
		return mobileid.SIMClear
	case resultSwapped:
		s.circuit.success()
		return mobileid.SIMSwapped
	case resultNoData, resultOutOfRange: // it answers, and may know other numbers
		s.circuit.success()
	case resultAbandoned:
		s.circuit.abandoned(leave)
	default:
		s.circuit.failure(leave, said.retryAfter)
	}
	return mobileid.SIMUnknown
}

// readSwapped reads an answer.
func readSwapped(a answered) said {
	switch a.status {
	case http.StatusOK:
		var v struct {
			Swapped *bool `json:"swapped"`
		}
		switch {
		case !a.json(&v) || v.Swapped == nil:
			return said{result: resultGarbage}
		case *v.Swapped:
			return said{result: resultSwapped}
		}
		return said{result: resultClear}
	case http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusBadRequest:
		// Of an address that has no such API the status is the same: the code tells.
		var v struct {
			Code string `json:"code"`
		}
		_ = a.json(&v)
		switch v.Code {
		case "IDENTIFIER_NOT_FOUND", "SERVICE_NOT_APPLICABLE", "UNSUPPORTED_IDENTIFIER":
			return said{result: resultNoData}
		case "OUT_OF_RANGE":
			return said{result: resultOutOfRange}
		}
	}
	return a.refused()
}
