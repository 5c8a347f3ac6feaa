package app

import (
	"context"
	"errors"
	"fmt"

	"mobileid/gateway"
)

// operatorReady is what one operator's bridge says of itself.
type operatorReady struct {
	id      string
	enabled bool // of a disabled one nothing is expected
	ready   func() error
}

func (a *App) operatorsReady() []operatorReady {
	all := make([]operatorReady, len(a.bridges))
	for i, b := range a.bridges {
		all[i] = operatorReady{b.Operator(), a.cfg.Operators[i].Enabled, b.Ready}
	}
	return all
}

// operatorChecks is the condition that somebody carries Messages, and what each
// operator says. An outage of one is no reason to take the edge, or the Messages
// of the others, away from this process: another one would have the same outage.
func operatorChecks(operators []operatorReady) []gateway.Check {
	checks := []gateway.Check{{Name: "smpp", Check: func(context.Context) error {
		var errs []error
		expected := 0
		for _, o := range operators {
			if !o.enabled {
				continue
			}
			expected++
			if err := o.ready(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", o.id, err))
			}
		}
		if len(errs) < expected {
			return nil
		}
		return errors.Join(errs...)
	}}}
	for _, o := range operators {
		if o.enabled {
			checks = append(checks, gateway.Check{
				Name: "smpp " + o.id, Part: true, Check: func(context.Context) error { return o.ready() },
			})
		}
	}
	return checks
}
