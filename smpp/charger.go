package smpp

import (
	"context"
	"slices"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// Charger asks somebody outside, for example the operator's charging system,
// whether a Message may be charged. The ledger has answered in Admit already.
//
// It charges in two steps, as Diameter's event charging with unit reservation
// does (3GPP TS 32.299, ECUR): Charge reserves, Settle says what was used.
// Settlements wait in this process only. What a crash takes with it is never
// told, as little as what becomes of a Message in doubt when the operator's own
// answer does not come after all: such a reservation must lapse by itself, at
// the earliest SettleWithin after the Message's deadline. So after a crash some
// Messages that were sent are not paid for, and none is paid for that was not.
type Charger interface {
	// Charge answers for one Message, at the latest when ctx ends. It may be asked
	// again for the same Message, here or by another bridge, and charges it once.
	Charge(ctx context.Context, m Charge) ChargeAnswer
	// Settle ends the charge of a Message that was answered yes: used when the
	// operator took it, or else the reservation is given back. It returns nil when
	// that is known to be done, at the latest when ctx ends, and is asked again
	// otherwise, also when it was done. Once used is always used: to give it back
	// later changes nothing. A receipt that tells of a failure comes later still and
	// is not told.
	Settle(ctx context.Context, m Charge, used bool) error
}

// SettleWithin is how long after the deadline of a Message its charge may be
// settled.
const SettleWithin = time.Hour

// Charge is a Message to be charged.
type Charge struct {
	ID       mobileid.ID
	Dest     mobileid.Pseudonym // of the subscriber's number
	TextID   string
	Deadline time.Time // of the Message
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

// chargeAgain is how long after an unknown answer, or when it had no place in
// charging as long as its admission was good, a Message comes again.
const chargeAgain = 2 * time.Second

// charging asks the Charger for many Messages side by side, and for one
// Message of a subscriber at a time: one whose answer takes seconds must not
// take the places of the others. Who has no place waits for one in turn.
type charging struct {
	charger Charger // nil: the ledger only
	owners  sync.WaitGroup
	wake    chan struct{} // there is something to settle
	fewer   chan struct{} // something is settled

	mu     sync.Mutex
	asking map[mobileid.Pseudonym]bool
	line   []*seat                // who waits, in turn
	paid   map[mobileid.ID]Charge // answered yes and not settled: those that may be written
	queue  []settlement
	open   int // settlements queued and under way
	lost   int // settlements that found no room since they were last counted
}

func newCharging(c Charger) charging {
	return charging{
		charger: c, wake: make(chan struct{}, 1), fewer: make(chan struct{}, 1),
		asking: map[mobileid.Pseudonym]bool{}, paid: map[mobileid.ID]Charge{},
	}
}

// seat is a place in charging for a Message of a subscriber.
type seat struct {
	dest  mobileid.Pseudonym
	taken chan struct{} // closed when it is
}

// begin takes a seat for a Message, or has it wait for one; nil when it has been
// answered for already.
func (c *charging) begin(a *mobileid.Admission, atOnce int) *seat {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, paid := c.paid[a.ID]; paid {
		return nil
	}
	s := &seat{a.Dest, make(chan struct{})}
	c.line = append(c.line, s)
	c.seat(atOnce)
	return s
}

// seat gives what is free to who waits longest and whose subscriber nobody asks
// about. The caller holds mu.
func (c *charging) seat(atOnce int) {
	for i := 0; i < len(c.line) && len(c.asking) < atOnce; {
		s := c.line[i]
		if c.asking[s.dest] {
			i++
			continue
		}
		c.asking[s.dest] = true
		c.line = slices.Delete(c.line, i, i+1)
		close(s.taken)
	}
}

// await waits until the seat is taken; false when it was not in time.
func (c *charging) await(ctx context.Context, s *seat, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.taken:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.line, s)
	if at >= 0 {
		c.line = slices.Delete(c.line, at, at+1)
	}
	return at < 0 // it was taken meanwhile
}

// end gives the seat to the next and remembers a yes: a Message that is admitted
// again, because the answer took long, is not asked about again.
func (c *charging) end(a *mobileid.Admission, answer ChargeAnswer, atOnce int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asking, a.Dest)
	c.seat(atOnce)
	if answer != ChargeYes {
		return
	}
	if len(c.paid) >= maxHeld {
		// Those that other bridges have since, or that stayed in doubt.
		for id, m := range c.paid {
			if m.Deadline.Before(now) {
				delete(c.paid, id)
			}
		}
	}
	c.paid[a.ID] = chargeOf(a)
}

func chargeOf(a *mobileid.Admission) Charge {
	return Charge{ID: a.ID, Dest: a.Dest, TextID: a.TextID, Deadline: a.Deadline}
}

// forget is told of an outcome that is stored. One that waits, or is in doubt, is
// not settled yet.
func (c *charging) forget(o *mobileid.Outcome) {
	switch o.State {
	case mobileid.MessageRetry, mobileid.MessageInDoubt:
	default:
		c.ended(o.ID, o.State == mobileid.MessageSent)
	}
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
	seat := c.begin(&j.admission, b.cfg.ChargesAtOnce)
	if seat == nil {
		next()
		return
	}
	c.owners.Go(func() {
		if !c.await(ctx, seat, j.until().Sub(b.now())) {
			j.later(mobileid.ReasonChargeUnknown, chargeAgain, b.now())
			b.settle(j)
			return
		}
		call, cancel := context.WithTimeout(ctx, b.cfg.ChargeTimeout)
		defer cancel()
		began := b.now()
		answer := c.charger.Charge(call, chargeOf(&j.admission))
		now := b.now()
		b.metrics.charger.told(answer, now.Sub(began))
		c.end(&j.admission, answer, b.cfg.ChargesAtOnce, now)
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
