package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// readyTime bounds all checks of one round together.
	readyTime = 2 * time.Second
	// readyLife is how long an answer is given again: the probe is open to
	// everybody, and each round asks every engine.
	readyLife = time.Second
)

// livez says that the process comes on: it looks at no dependency, so that an
// outage of one does not get every process restarted.
func (g *Gateway) livez(w http.ResponseWriter, _ *http.Request) {
	out, status := liveness{Status: "ok"}, http.StatusOK
	if g.deps.Stuck != nil {
		out.Stuck = g.deps.Stuck()
	}
	if len(out.Stuck) > 0 {
		out.Status, status = "stuck", http.StatusServiceUnavailable
	}
	_ = writeJSON(w, status, out)
}

type liveness struct {
	Status string   `json:"status"`
	Stuck  []string `json:"stuck,omitempty"`
}

type readiness struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

// lastReady is the answer of the last round.
type lastReady struct {
	mu     sync.Mutex // held during a round: others wait for its answer
	at     time.Time
	answer readiness
}

func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	out, status := g.askReady(r.Context()), http.StatusOK
	if out.Status != "ready" {
		status = http.StatusServiceUnavailable
	}
	_ = writeJSON(w, status, out)
}

// askReady runs the injected checks, at most one round a second. Why one fails
// is logged and not shown: its text names hosts.
func (g *Gateway) askReady(ctx context.Context) readiness {
	g.ready.mu.Lock()
	defer g.ready.mu.Unlock()
	if since := g.now().Sub(g.ready.at); !g.ready.at.IsZero() && since >= 0 && since < readyLife {
		return g.ready.answer
	}
	// The answer is everybody's: it must not depend on who asked and left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTime)
	defer cancel()
	out := readiness{Status: "ready", Checks: map[string]string{}}
	for _, c := range g.deps.Ready {
		out.Checks[c.Name] = "ok"
		if err := c.Check(ctx); err != nil {
			out.Checks[c.Name] = "failing"
			if c.Part {
				g.log.Warn("partly ready", "check", c.Name, "err", err)
				continue
			}
			out.Status = "not_ready"
			g.log.Warn("not ready", "check", c.Name, "err", err)
		}
	}
	g.ready.at, g.ready.answer = g.now(), out
	return out
}
