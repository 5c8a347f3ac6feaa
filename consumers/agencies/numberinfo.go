package agencies

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"slices"
	"strconv"
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
	client  *http.Client
	circuit *circuit
	cache   *cache
	metrics numberInfoMetrics
}

// Answer is who serves a number, by the service's word.
type Answer struct {
	Operator string
	At       time.Time // when the service said so; older than now if it was kept
}

// What may become of a question, as the metric calls it.
const (
	resultKnown     = "known"
	resultUnknown   = "unknown"   // the service says that it does not know
	resultForeign   = "foreign"   // it names an operator that we have no file of
	resultCached    = "cached"    //
	resultOpen      = "open"      // not asked: the circuit is open
	resultTimeout   = "timeout"   // no answer within the budget
	resultFailed    = "failed"    // no connection, or 5xx
	resultGarbage   = "garbage"   // an answer outside the contract
	resultRefused   = "refused"   // 4xx: our token or our question is wrong
	resultLimited   = "limited"   // 429
	resultAbandoned = "abandoned" // the asker went away
)

const (
	maxAnswer = 4 << 10 // bytes
	maxTries  = 3
	// An attempt gets two fifths of the budget, so that one that hangs leaves
	// room for another.
	tryShare       = 5
	againIfUnknown = time.Minute // the service does not know: it may tomorrow
	againIfAway    = time.Second
)

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
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 8, MaxConnsPerHost: 32,
				IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: cfg.Budget, ForceAttemptHTTP2: true,
			},
			// A number is sent to the address of the configuration and to no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	n.metrics = newNumberInfoMetrics(cfg.Reg, n.circuit.open)
	return n
}

// Close closes idle connections.
func (n *NumberInfo) Close() { n.client.CloseIdleConnections() }

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
	said := n.askRepeatedly(ctx, m)
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

// said is what came of a question. The cause is of our own words: what a
// stranger answers may repeat the number.
type said struct {
	result     string
	operator   string
	cause      string
	retryAfter time.Duration
}

// askRepeatedly asks until there is an answer, within the budget.
func (n *NumberInfo) askRepeatedly(ctx context.Context, m mobileid.MSISDN) said {
	body, err := json.Marshal(map[string]string{"msisdn": m.Reveal()})
	if err != nil {
		return said{result: resultFailed, cause: "cannot encode"}
	}
	budget, cancel := context.WithTimeout(ctx, n.cfg.Budget)
	defer cancel()
	var s said
	for try := range maxTries {
		if try > 0 {
			pause := time.NewTimer(n.cfg.Budget/50 + rand.N(n.cfg.Budget/10))
			select {
			case <-budget.Done():
				pause.Stop()
			case <-pause.C:
			}
			if budget.Err() != nil {
				break
			}
		}
		one, cancelOne := context.WithTimeout(budget, 2*n.cfg.Budget/tryShare)
		s = n.ask(one, body)
		cancelOne()
		if !s.again() {
			break
		}
	}
	if ctx.Err() != nil && s.again() {
		s = said{result: resultAbandoned}
	}
	return s
}

// again reports whether the same question may have another outcome soon.
func (s said) again() bool {
	return s.retryAfter == 0 && (s.result == resultTimeout || s.result == resultFailed || s.result == resultGarbage)
}

// ask asks once.
func (n *NumberInfo) ask(ctx context.Context, body []byte) said {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return said{result: resultFailed, cause: "the URL of the configuration is wrong"}
	}
	req.Header.Set("Authorization", "Bearer "+n.cfg.Token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := n.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return said{result: resultTimeout, cause: "no answer in time"}
		}
		return said{result: resultFailed, cause: "no connection"}
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return said{result: resultTimeout, cause: "no whole answer in time"}
	case err != nil:
		return said{result: resultFailed, cause: "the connection was lost"}
	}
	if res.StatusCode != http.StatusOK {
		return refused(res)
	}
	return n.read(res.Header.Get("Content-Type"), raw)
}

// refused reads an answer that is not 200.
func refused(res *http.Response) said {
	s := said{result: resultGarbage, cause: "HTTP status " + strconv.Itoa(res.StatusCode)}
	switch code := res.StatusCode; {
	case code == http.StatusTooManyRequests:
		s.result, s.retryAfter = resultLimited, againIfAway
	case code >= 500:
		s.result = resultFailed
	case code >= 400:
		s.result = resultRefused
	}
	if s.result == resultLimited || res.StatusCode == http.StatusServiceUnavailable {
		if v, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31); err == nil && v > 0 {
			s.retryAfter = min(time.Duration(v)*time.Second, maxPause)
		}
	}
	return s
}

// read reads an answer that is 200.
func (n *NumberInfo) read(contentType string, raw []byte) said {
	var v struct {
		Status   string `json:"status"`
		Operator string `json:"operator"`
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" || len(raw) > maxAnswer || json.Unmarshal(raw, &v) != nil {
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
