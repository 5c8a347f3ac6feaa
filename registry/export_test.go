package registry

import (
	"context"
	"errors"
)

// Once relays one batch, at the moment that a test chooses.
func (r *Relay) Once(ctx context.Context) (int, error) { return r.once(ctx) }

// Once relays one batch, likewise.
func (r *InboundRelay) Once(ctx context.Context) (int, error) { return r.once(ctx) }

// Once relays one batch, likewise.
func (r *BindingRelay) Once(ctx context.Context) (int, error) { return r.once(ctx) }

// LookAt has the sweeper look at that many accounts in a pass for little money.
func (s *Sweeper) LookAt(accounts int) { s.lowPage = accounts }

// Sweep makes one pass; the errors of its steps come back together.
func (s *Sweeper) Sweep(ctx context.Context) error {
	var errs []error
	for _, failed := range s.pass(ctx) {
		errs = append(errs, failed.err)
	}
	return errors.Join(errs...)
}

// Once checks, at the moment that a test chooses.
func (w *LedgerWatch) Once(ctx context.Context) error { return w.check(ctx) }
