package agencies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// NumberInfoConfig is how to reach the operators' number-info service.
type NumberInfoConfig struct {
	URL       string        // POST goes here
	Token     string        // bearer
	Budget    time.Duration // of one question, its repetitions included; 0 = 500 ms
	CacheSize int           // answers kept; 0 = 10,000
	CacheAge  time.Duration // how long one is believed; 0 = 1 h
	Operators []string      // ids that an answer may name
	Now       func() time.Time
	Reg       prometheus.Registerer
}

// NumberInfo asks the operators who serves a number. It is safe for concurrent
// use.
//
// The contract (ours: no public one is known). POST with a bearer token and
//
//	{"msisdn": "+998901234567"}
//
// is answered 200 application/json with
//
//	{"status": "known", "operator": "ucell"}
//	{"status": "unknown"}
//
// Anything else is no answer. Fields may be added. 429 and 503 may carry
// Retry-After in seconds, which is obeyed up to half a minute.
type NumberInfo struct {
	cfg     NumberInfoConfig
	asker   *asker
	circuit *circuit
	cache   *cache
	metrics metrics
}

// Answer is who serves a number, by the service's word.
type Answer struct {
	Operator string
	At       time.Time // when the service said so; older than now if it was kept
}

// What may become of a question beside what becomes of any, as the metric calls it.
const (
	resultKnown   = "known"
	resultUnknown = "unknown" // the service says that it does not know
	resultForeign = "foreign" // it names an operator that we have no file of
	resultCached  = "cached"  //
)

// againIfUnknown is for what the service does not know: it may tomorrow.
const againIfUnknown = time.Minute

// NewNumberInfo makes a client. It connects to nothing yet.
func NewNumberInfo(cfg NumberInfoConfig) *NumberInfo {
	cfg.Budget = cmp.Or(cfg.Budget, 500*time.Millisecond)
	cfg.CacheSize = cmp.Or(cfg.CacheSize, 10_000)
	cfg.CacheAge = cmp.Or(cfg.CacheAge, time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	n := &NumberInfo{
		cfg: cfg, circuit: &circuit{now: cfg.Now}, cache: newCache(cfg.CacheSize, cfg.CacheAge),
		// An attempt gets two fifths of the budget, so that one that hangs leaves
		// room for another.
		asker: newAsker(cfg.URL, cfg.Token, cfg.Budget, 2*cfg.Budget/5),
	}
	n.metrics = newMetrics(cfg.Reg, "number_info", "number-info", n.circuit.open)
	return n
}

// Close closes idle connections.
func (n *NumberInfo) Close() { n.asker.close() }

// Operator says who serves a number now. Every error is KindUnavailable, or the
// context's own: code "operator_unknown" when the service does not know,
// "number_info_away" when it did not say. Neither is a reason to refuse
// anybody; RetryAfter says when to ask again.
func (n *NumberInfo) Operator(ctx context.Context, m mobileid.MSISDN) (Answer, error) {
	if operator, at, ok := n.cache.get(m, n.cfg.Now()); ok {
		n.metrics.results.WithLabelValues(resultCached).Inc()
		return Answer{operator, at}, nil
	}
	leave, wait, ok := n.circuit.enter()
	if !ok {
		n.metrics.results.WithLabelValues(resultOpen).Inc()
		return Answer{}, away(wait, "the circuit is open")
	}
	began := time.Now()
	said := n.asker.ask(ctx, map[string]string{"msisdn": m.Reveal()}, "", n.read)
	n.metrics.results.WithLabelValues(said.result).Inc()
	n.metrics.seconds.Observe(time.Since(began).Seconds())
	switch said.result {
	case resultKnown:
		n.circuit.success()
		at := n.cfg.Now()
		n.cache.put(m, said.operator, at)
		return Answer{said.operator, at}, nil
	case resultUnknown, resultForeign:
		n.circuit.success()
		return Answer{}, mobileid.Unavailable("operator_unknown", againIfUnknown, mobileid.Safe(errors.New(said.cause)))
	case resultAbandoned:
		n.circuit.abandoned(leave)
		return Answer{}, ctx.Err()
	default:
		n.circuit.failure(leave, said.retryAfter)
		return Answer{}, away(said.retryAfter, said.cause)
	}
}

func away(wait time.Duration, cause string) error {
	return mobileid.Unavailable("number_info_away", max(wait, againIfAway), mobileid.Safe(errors.New("number-info: "+cause)))
}

// read reads an answer.
func (n *NumberInfo) read(a answered) said {
	if a.status != http.StatusOK {
		return a.refused()
	}
	var v struct {
		Status   string `json:"status"`
		Operator string `json:"operator"`
	}
	if !a.json(&v) {
		return said{result: resultGarbage, cause: "not the JSON of the contract"}
	}
	switch {
	case v.Status == "unknown":
		return said{result: resultUnknown, cause: "number-info does not know who serves the number"}
	case v.Status != "known" || v.Operator == "":
		return said{result: resultGarbage, cause: "an answer outside the contract"}
	case !slices.Contains(n.cfg.Operators, v.Operator):
		return said{result: resultForeign, cause: "number-info names an operator that operators has no file of" + named(v.Operator)}
	}
	return said{result: resultKnown, operator: v.Operator}
}

// named repeats a stranger's word where it looks like an operator's id.
func named(word string) string {
	if !isWord(word) {
		return ""
	}
	return fmt.Sprintf(": %q", word)
}
