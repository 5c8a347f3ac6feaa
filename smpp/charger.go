package smpp

import (
	"context"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// Charger asks somebody outside, for example the operator's charging system,
// whether a Message may be charged. The ledger has answered in Admit already.
type Charger interface {
	// Charge answers for one Message, at the latest when ctx ends. It may be asked
	// again for the same Message, here or by another bridge, and charges it once.
	Charge(ctx context.Context, m Charge) ChargeAnswer
}

// Charge is a Message to be charged.
type Charge struct {
	ID     mobileid.ID
	Dest   mobileid.Pseudonym // of the subscriber's number
	TextID string
}

// ChargeAnswer is what a Charger says.
type ChargeAnswer int

// The answers. Unknown is never a refusal: the Message waits and is asked
// about again until its deadline.
const (
	ChargeUnknown ChargeAnswer = iota
	ChargeYes
	ChargeNo
)

// chargeAgain is how long after an unknown answer, or a full charging, a
// Message comes again.
const chargeAgain = 2 * time.Second

// charging asks the Charger for many Messages side by side, and for one
// Message of a subscriber at a time: one whose answer takes seconds must not
// take the places of the others.
type charging struct {
	charger Charger // nil: the ledger only
	owners  sync.WaitGroup

	mu     sync.Mutex
	asking map[mobileid.Pseudonym]bool
	paid   map[mobileid.ID]time.Time // those that may be written, to their deadline
}

// begin takes a place for a Message: asked is false when it has been answered
// for already, ok when there is no place.
func (c *charging) begin(a *mobileid.Admission, atOnce int) (asked, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, paid := c.paid[a.ID]; paid {
		return false, true
	}
	if c.asking[a.Dest] || len(c.asking) >= atOnce {
		return true, false
	}
	c.asking[a.Dest] = true
	return true, true
}

// end gives the place back and remembers a yes: a Message that is admitted
// again, because the answer took long, is not asked about again.
func (c *charging) end(a *mobileid.Admission, answer ChargeAnswer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asking, a.Dest)
	if answer != ChargeYes {
		return
	}
	if len(c.paid) >= maxHeld {
		for id, deadline := range c.paid {
			if deadline.Before(now) {
				delete(c.paid, id)
			}
		}
	}
	c.paid[a.ID] = a.Deadline
}

// forget is told of a Message that has its outcome.
func (c *charging) forget(o *mobileid.Outcome) {
	if c.charger == nil || o.State == mobileid.MessageRetry {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.paid, o.ID)
}

// authorise asks the Charger, if there is one. It returns at once; next is
// called when the Message may be written under the admission it has. When ctx
// ends, what has no answer is given back.
func (b *Bridge) authorise(ctx context.Context, j *job, next func()) {
	c := &b.charging
	if c.charger == nil {
		next()
		return
	}
	asked, ok := c.begin(&j.admission, b.cfg.ChargesAtOnce)
	switch {
	case !asked:
		next()
		return
	case !ok:
		j.later(mobileid.ReasonChargeUnknown, chargeAgain, b.now())
		b.settle(j)
		return
	}
	c.owners.Go(func() {
		call, cancel := context.WithTimeout(ctx, b.cfg.ChargeTimeout)
		defer cancel()
		answer := c.charger.Charge(call, Charge{ID: j.admission.ID, Dest: j.admission.Dest, TextID: j.admission.TextID})
		now := b.now()
		c.end(&j.admission, answer, now)
		switch {
		case answer == ChargeNo:
			j.outcome = j.report(mobileid.MessageNoFunds, mobileid.ReasonBalance)
			b.settle(j)
		case answer == ChargeUnknown:
			j.later(mobileid.ReasonChargeUnknown, jitter(chargeAgain), now)
			b.settle(j)
		case ctx.Err() != nil || j.stale(now):
			b.readmit(j) // the fence again
		default:
			next()
		}
	})
}
