package agencies

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// What may become of any question, as the metrics call it.
const (
	resultOpen      = "open"      // not asked: the circuit is open
	resultTimeout   = "timeout"   // no answer within the budget
	resultFailed    = "failed"    // no connection, or 5xx
	resultGarbage   = "garbage"   // an answer outside the contract
	resultRefused   = "refused"   // 4xx: our token or our question is wrong
	resultLimited   = "limited"   // 429
	resultAbandoned = "abandoned" // the asker went away
)

const (
	maxAnswer   = 4 << 10 // bytes
	maxTries    = 3
	againIfAway = time.Second
)

// asker posts questions to one service, each within a budget.
type asker struct {
	url    string
	token  string        // bearer
	budget time.Duration // of one question, its repetitions included
	try    time.Duration // of one attempt
	client *http.Client
}

func newAsker(url, token string, budget, try time.Duration) *asker {
	return &asker{
		url: url, token: token, budget: budget, try: try,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 8, MaxConnsPerHost: 32,
				IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: budget, ForceAttemptHTTP2: true,
			},
			// A number is sent to the address of the configuration and to no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// close closes idle connections.
func (a *asker) close() { a.client.CloseIdleConnections() }

// said is what came of a question. The cause is of our own words: what a
// stranger answers may repeat the number.
type said struct {
	result     string
	operator   string // of number-info
	cause      string
	retryAfter time.Duration
}

// again reports whether the same question may have another outcome soon.
func (s said) again() bool {
	return s.retryAfter == 0 && (s.result == resultTimeout || s.result == resultFailed || s.result == resultGarbage)
}

// answered is an answer of HTTP, whole.
type answered struct {
	status int
	header http.Header
	raw    []byte
}

// ask asks until there is an answer, within the budget. The correlator, if there is
// one, goes into the header x-correlator.
func (a *asker) ask(ctx context.Context, question any, correlator string, read func(answered) said) said {
	body, err := json.Marshal(question)
	if err != nil {
		return said{result: resultFailed, cause: "cannot encode"}
	}
	budget, cancel := context.WithTimeout(ctx, a.budget)
	defer cancel()
	var s said
	for try := range maxTries {
		if try > 0 {
			pause := time.NewTimer(a.budget/50 + rand.N(a.budget/10))
			select {
			case <-budget.Done():
				pause.Stop()
			case <-pause.C:
			}
			if budget.Err() != nil {
				break
			}
		}
		one, cancelOne := context.WithTimeout(budget, a.try)
		s = a.once(one, body, correlator, read)
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

// once asks once.
func (a *asker) once(ctx context.Context, body []byte, correlator string, read func(answered) said) said {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return said{result: resultFailed, cause: "the URL of the configuration is wrong"}
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if correlator != "" {
		req.Header.Set("x-correlator", correlator)
	}
	res, err := a.client.Do(req)
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
	return read(answered{res.StatusCode, res.Header, raw})
}

// refused reads an answer that is not 200.
func (a answered) refused() said {
	s := said{result: resultGarbage, cause: "HTTP status " + strconv.Itoa(a.status)}
	switch {
	case a.status == http.StatusTooManyRequests:
		s.result, s.retryAfter = resultLimited, againIfAway
	case a.status >= 500:
		s.result = resultFailed
	case a.status >= 400:
		s.result = resultRefused
	}
	if s.result == resultLimited || a.status == http.StatusServiceUnavailable {
		if v, err := strconv.ParseUint(a.header.Get("Retry-After"), 10, 31); err == nil && v > 0 {
			s.retryAfter = min(time.Duration(v)*time.Second, maxPause)
		}
	}
	return s
}

// json reads the body as JSON; false: it is none, or too long.
func (a answered) json(v any) bool {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && media == "application/json" && len(a.raw) <= maxAnswer && json.Unmarshal(a.raw, v) == nil
}
