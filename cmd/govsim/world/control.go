package world

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// control is the API by which a test or a person makes the world misbehave. It
// answers during an outage too.
type control struct {
	now     func() time.Time
	log     *slog.Logger
	issuer  *issuer
	numbers *numberInfo
	sims    *simSwap

	mu       sync.Mutex
	outUntil time.Time
}

// maxOutage bounds an outage, so that a slip of the hand ends by itself.
const maxOutage = 24 * time.Hour

func (c *control) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /control/state", c.getState)
	mux.HandleFunc("POST /control/rotate-key", c.postRotateKey)
	mux.HandleFunc("POST /control/outage", c.postOutage)
	mux.HandleFunc("POST /control/number-info", c.postNumberInfo)
	mux.HandleFunc("POST /control/sim-swap", c.postSIMSwap)
}

type state struct {
	Issuer        string   `json:"issuer"`
	SigningKey    string   `json:"signing_key"`
	PublishedKeys []string `json:"published_keys"`
	Clients       []string `json:"clients"`
	TokensIssued  int      `json:"tokens_issued"`
	OutageSeconds int      `json:"outage_seconds"` // left, rounded up

	NumberInfo numberInfoState `json:"number_info"`
	SIMSwap    simSwapState    `json:"sim_swap"`
}

func (c *control) getState(w http.ResponseWriter, _ *http.Request) {
	s := c.issuer.state()
	s.OutageSeconds = seconds(c.outage())
	s.NumberInfo = c.numbers.shown()
	s.SIMSwap = c.sims.shown()
	answer(w, http.StatusOK, s)
}

func (c *control) postRotateKey(w http.ResponseWriter, r *http.Request) {
	err := c.issuer.rotate()
	if err != nil {
		c.log.Error("no new key", "error", err)
		http.Error(w, "no new key could be made", http.StatusInternalServerError)
		return
	}
	c.log.Info("signing key rotated by order", "key", c.issuer.state().SigningKey)
	c.getState(w, r)
}

func (c *control) postOutage(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Seconds *int `json:"seconds"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&order)
	if err != nil || order.Seconds == nil || *order.Seconds < 0 || *order.Seconds > seconds(maxOutage) {
		http.Error(w, `want {"seconds": N}, 0 to 86400; 0 ends an outage`, http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.outUntil = c.now().Add(time.Duration(*order.Seconds) * time.Second)
	c.mu.Unlock()
	c.log.Info("outage by order", "seconds", *order.Seconds)
	c.getState(w, r)
}

func (c *control) postNumberInfo(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Answers map[string]string `json:"answers"`
		faultOrder
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if decoder.Decode(&order) != nil {
		http.Error(w, `want {"answers": {"+998...": "ucell"}, "fault": "", "delay_ms": 0, "times": 0}`, http.StatusBadRequest)
		return
	}
	if err := c.numbers.carryOut(order.faultOrder, order.Answers); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.log.Info("number-info by order", "fault", order.Fault, "delay_ms", order.Delay, "times", order.Times, "answers", len(order.Answers))
	c.getState(w, r)
}

func (c *control) postSIMSwap(w http.ResponseWriter, r *http.Request) {
	var order simSwapOrder
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if decoder.Decode(&order) != nil {
		http.Error(w, `want {"swapped": {"+998...": 5}, "refused": {"+998...": "CODE"}, "fault": "", "delay_ms": 0, "times": 0}`, http.StatusBadRequest)
		return
	}
	if err := c.sims.carryOut(order); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.log.Info("sim-swap by order", "fault", order.Fault, "delay_ms", order.Delay, "times", order.Times,
		"swapped", len(order.Swapped), "refused", len(order.Refused))
	c.getState(w, r)
}

// outage returns what is left of the outage, 0 if there is none.
func (c *control) outage() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.outUntil.Sub(c.now()))
}

// unlessOut answers 503 instead of the agencies during an outage.
func (c *control) unlessOut(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left := c.outage()
		if left > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(seconds(left)))
			http.Error(w, "outage by order of the control API", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
