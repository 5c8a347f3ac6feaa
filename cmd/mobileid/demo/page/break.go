package page

import (
	"context"
	"net/http"
)

// Breakage is something that a person may break by a button.
type Breakage string

// What can be broken.
const (
	OperatorThrottles Breakage = "throttle" // for some seconds the operator refuses everything as too much
	OperatorHangs     Breakage = "hang"     // for some seconds the operator reads nothing
	BridgeKilled      Breakage = "kill"     // the bridge is lost as a killed process, and started again
)

// Recovering is what follows: nothing is broken by a button any more, and the
// bridge does not carry Messages yet.
const Recovering Breakage = "recover"

// Controls break things. Each returns when it has begun.
type Controls interface {
	Break(ctx context.Context, what Breakage) error
	// Broken says what is out of order now; "" = nothing.
	Broken(ctx context.Context) Breakage
}

func (s *server) breakIt(w http.ResponseWriter, r *http.Request) {
	what := Breakage(r.PathValue("what"))
	known := what == OperatorThrottles || what == OperatorHangs || what == BridgeKilled
	if !known || s.deps.Controls == nil {
		http.Error(w, "nothing to break here by that name", http.StatusNotFound)
		return
	}
	if err := s.deps.Controls.Break(r.Context(), what); err != nil {
		s.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
