package smpp

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// Charger asks the operator's charging system for the money of Messages that are
// charged there (mobileid.ChargingDiameter). The ledger has answered in Admit, and
// an operator who debits by himself answers with submit_sm_resp and receipts.
//
// It charges in two steps, as Diameter's event charging with unit reservation
// does (3GPP TS 32.299, ECUR): Reserve before submit_sm, Settle when it is known
// what was used. What has to be told stands in the registry until it was, so a
// crash only delays it (charges.go).
type Charger interface {
	// Reserve answers for one Message, at the latest when ctx ends. It may be asked
	// again for the same Message, here or by another bridge, and reserves it once.
	Reserve(ctx context.Context, m Charge) ChargeAnswer
	// Settle ends the charge of a Message: so many units were used, 0 gives the
	// reservation back. It returns nil when that is known to be done, at the latest
	// when ctx ends, and is asked again otherwise, also when it was done.
	// ErrNotReserved says that there is nothing to settle.
	Settle(ctx context.Context, m Charge, used int) error
	// Refund gives back units that were settled as used, once for a step of the
	// Charge. It is asked as Settle is.
	Refund(ctx context.Context, m Charge, units int) error
}

// ErrNotReserved says that the charging system does not know of a reservation, or
// not any more.
var ErrNotReserved = errors.New("the charging system has no such reservation")

// Charge is a Message to be charged.
type Charge struct {
	ID       mobileid.ID
	Number   mobileid.MSISDN
	TextID   string
	Units    int       // Messages, or parts where the tariff is by the part
	Deadline time.Time // of the Message
	Step     int       // of the Charge, that is told: of each another refund
	Again    bool      // it may have been asked about before, here or by another bridge
}

// ChargeAnswer is what a Charger says.
type ChargeAnswer int

// The answers. Unknown is never a refusal: a notice waits and is asked about again
// until its deadline; a code is sent, and its Charge is unknown until it is told.
const (
	ChargeUnknown ChargeAnswer = iota
	ChargeHeld                 // unknown, and the charging system wants nothing sent on credit: codes wait, too
	ChargeYes
	ChargeFree   // yes, and nothing is to be paid
	ChargeNo     // the money is not enough
	ChargeDenied // the charging system refuses the service to the subscriber
	ChargeNoUser // it does not know him
)

// chargeAgain is how long after an unknown answer, or when it had no place in
// charging as long as its admission was good, a Message comes again.
const chargeAgain = 2 * time.Second

// charging asks the Charger for many Messages side by side, and for one
// Message of a subscriber at a time: one whose answer takes seconds must not
// take the places of the others. Who has no place waits for one in turn.
type charging struct {
	charger Charger // nil: none is asked
	owners  sync.WaitGroup
	calls   chan struct{} // there is something to tell

	mu     sync.Mutex
	asking map[mobileid.Pseudonym]bool
	line   []*seat                 // who waits, in turn
	paid   map[mobileid.ID]granted // those that may be written
}

// granted is a Message that may be written.
type granted struct {
	note     mobileid.ChargeNote
	deadline time.Time
}

func newCharging(c Charger) charging {
	return charging{
		charger: c, calls: make(chan struct{}, 1),
		asking: map[mobileid.Pseudonym]bool{}, paid: map[mobileid.ID]granted{},
	}
}

// seat is a place in charging for a Message of a subscriber.
type seat struct {
	dest  mobileid.Pseudonym
	taken chan struct{} // closed when it is
}

// begin takes a seat for a Message, or has it wait for one; nil when it has been
// answered for already, with the note.
func (c *charging) begin(a *mobileid.Admission, atOnce int) (*seat, mobileid.ChargeNote) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g, paid := c.paid[a.ID]; paid {
		return nil, g.note
	}
	s := &seat{a.Dest, make(chan struct{})}
	c.line = append(c.line, s)
	c.seat(atOnce)
	return s, ""
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

// end gives the seat to the next and remembers that a Message may be written: one
// that is admitted again, because the answer took long, is not asked about again.
func (c *charging) end(a *mobileid.Admission, v verdict, atOnce int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asking, a.Dest)
	c.seat(atOnce)
	if !v.may {
		return
	}
	if len(c.paid) >= maxHeld {
		// Those that other bridges have since, or that stayed in doubt.
		maps.DeleteFunc(c.paid, func(_ mobileid.ID, g granted) bool { return g.deadline.Before(now) })
	}
	c.paid[a.ID] = granted{v.note, a.Deadline}
}

// forget is told of an outcome that is stored. One that waits, or is in doubt, may
// still be written.
func (c *charging) forget(id mobileid.ID, state mobileid.MessageState) {
	if c.charger == nil || state == mobileid.MessageRetry || state == mobileid.MessageInDoubt {
		return
	}
	c.mu.Lock()
	delete(c.paid, id)
	c.mu.Unlock()
	signal(c.calls)
}

// authorise asks the Charger, if the Message is charged there. It returns at once;
// next is called when the Message may be written under the admission it has. When
// ctx ends, what has no answer is given back.
func (b *Bridge) authorise(ctx context.Context, j *job, next func()) {
	if j.admission.Charging != mobileid.ChargingDiameter {
		next()
		return
	}
	number, err := b.numberOf(j)
	if err != nil {
		next() // submit opens it, too, and tells
		return
	}
	c := &b.charging
	seat, note := c.begin(&j.admission, b.cfg.ChargesAtOnce)
	if seat == nil {
		j.note = note
		next()
		return
	}
	c.owners.Go(func() {
		if !c.await(ctx, seat, j.until().Sub(b.now())) {
			j.later(mobileid.ReasonChargeUnknown, chargeAgain, b.now())
			b.settle(j)
			return
		}
		v := verdictOf(b.reserve(ctx, j, number), j.admission.Lane)
		now := b.now()
		c.end(&j.admission, v, b.cfg.ChargesAtOnce, now)
		j.note = v.note
		switch {
		case v.refused != "":
			j.outcome = j.report(v.refused, v.reason)
			b.settle(j)
		case !v.may:
			j.later(mobileid.ReasonChargeUnknown, jitter(chargeAgain), now)
			b.settle(j)
		case ctx.Err() != nil || j.stale(now):
			b.readmit(j) // the fence again
		default:
			next()
		}
	})
}

// verdict is what an answer means for a Message.
type verdict struct {
	may     bool                  // be written
	note    mobileid.ChargeNote   // what is known of its Charge
	refused mobileid.MessageState // it ends so, for
	reason  string
}

func verdictOf(answer ChargeAnswer, lane mobileid.Lane) verdict {
	// Of what was refused nothing is reserved, so nothing is to be told.
	switch answer {
	case ChargeYes:
		return verdict{may: true}
	case ChargeFree:
		return verdict{may: true, note: mobileid.ChargeFree}
	case ChargeUnknown:
		return verdict{may: lane == mobileid.LaneOTP, note: mobileid.ChargeNotKnown}
	case ChargeNo:
		return verdict{note: mobileid.ChargeFree, refused: mobileid.MessageNoFunds, reason: mobileid.ReasonBalance}
	case ChargeDenied:
		return verdict{note: mobileid.ChargeFree, refused: mobileid.MessageRejected, reason: mobileid.ReasonChargeDenied}
	case ChargeNoUser:
		return verdict{note: mobileid.ChargeFree, refused: mobileid.MessageRejected, reason: mobileid.ReasonChargeNoUser}
	case ChargeHeld:
	}
	return verdict{}
}

// reserve asks the Charger about a job. Without one there is nobody who could say no.
func (b *Bridge) reserve(ctx context.Context, j *job, number mobileid.MSISDN) ChargeAnswer {
	if b.charging.charger == nil {
		return ChargeUnknown
	}
	call, cancel := context.WithTimeout(ctx, b.cfg.ChargeTimeout)
	defer cancel()
	began := b.now()
	a := &j.admission
	answer := b.charging.charger.Reserve(call, Charge{ID: a.ID, Number: number, TextID: a.TextID, Units: a.Units, Deadline: a.Deadline, Again: a.Charged})
	b.metrics.charger.told(answer, b.now().Sub(began))
	return answer
}
