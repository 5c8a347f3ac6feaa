package gateway

import (
	"context"
	"net/http"
	"time"
)

// readyTime bounds all checks of one /readyz together.
const readyTime = 2 * time.Second

// livez says that the process answers: it looks at no dependency, so that an
// outage of one does not get every process restarted.
func (g *Gateway) livez(w http.ResponseWriter, _ *http.Request) {
	_ = writeJSON(w, http.StatusOK, readiness{Status: "ok"})
}

type readiness struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

// readyz runs the injected checks. Why one fails is logged and not shown: its
// text names hosts.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	out, status := readiness{Status: "ready", Checks: map[string]string{}}, http.StatusOK
	for _, c := range g.deps.Ready {
		out.Checks[c.Name] = "ok"
		if err := c.Check(ctx); err != nil {
			out.Checks[c.Name], out.Status, status = "failing", "not_ready", http.StatusServiceUnavailable
			g.log.Warn("not ready", "check", c.Name, "err", err)
		}
	}
	_ = writeJSON(w, status, out)
}
