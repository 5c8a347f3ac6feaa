package reconcile

import (
	"strings"

	"mobileid/internal/mobileid"
)

// Way is how a difference is settled.
type Way string

// The ways.
const (
	// OperatorOwes says that he debited what he may not keep. Our Charge stays; one
	// that is unknown is voided, or posted once if he debited it twice.
	OperatorOwes Way = "operator_owes"
	// Accept says that he is right: the Charge becomes what he debited.
	Accept Way = "accept"
	// WriteOff says that nobody does anything about it.
	WriteOff Way = "write_off"
)

// Terms are the facts of a difference that decide how it may be settled.
type Terms struct {
	Kind         Kind
	Charging     mobileid.Charging
	Charge       mobileid.ChargeState // when it was found
	Price        mobileid.Money       // of the Message
	Ours, Theirs mobileid.Money
	Again        bool // the Message may have been written more than once
	Partial      bool // some of its parts have no line
}

// Terms returns those of a difference.
func (d *Difference) Terms() Terms {
	t := Terms{Kind: d.Kind, Ours: d.Ours, Theirs: d.Theirs, Partial: d.Partial}
	if b := d.Book; b != nil {
		t.Charging, t.Charge, t.Price, t.Again = b.Charging, b.Charge, b.Price, b.Tries > 1
	}
	return t
}

// ByRule returns the way that needs no person; "" is none. Never does a rule
// accept what costs the subscriber more than our books say, but for a Charge that
// is unknown, up to its price. What is said of some parts only is for people: the
// others may be in another file. refunds: the operator, who debits by himself, gives
// back the second debit of an SMS that was written twice.
func (t Terms) ByRule(refunds bool) Way {
	switch {
	case t.Partial || !t.May(Accept):
	case t.Kind == KindNotCharged, t.Kind == KindAmount && t.Theirs < t.Ours,
		t.Kind == KindChargedUnknown && t.Charge == mobileid.ChargeUnknown && t.Theirs <= t.Price:
		return Accept
	}
	if t.Kind == KindDouble && t.Again && refunds && t.Charging == mobileid.ChargingOperator {
		return OperatorOwes
	}
	return ""
}

// May reports whether a difference can be settled so at all. What was debited
// twice, or was not delivered, or is of no Message, is never accepted; nor is what
// the system pays for. An operator who took less owes nothing.
func (t Terms) May(w Way) bool {
	switch w {
	case Accept:
		charge := t.Kind == KindAmount || t.Kind == KindNotCharged || t.Kind == KindChargedUnknown || t.Kind == KindMissing
		return charge && t.Charging != mobileid.ChargingPayer
	case OperatorOwes:
		return t.Theirs > t.Ours
	case WriteOff:
		return true
	}
	return false
}

// Ways lists those that it may be settled by.
func (t Terms) Ways() string {
	var ways []string
	for _, w := range []Way{OperatorOwes, Accept, WriteOff} {
		if t.May(w) {
			ways = append(ways, string(w))
		}
	}
	return strings.Join(ways, " or ")
}

// Due returns what is to be posted of the Charge in the end; false: it stays as it is.
func (t Terms) Due(w Way) (mobileid.Money, bool) {
	switch {
	case t.Charging == mobileid.ChargingPayer:
	case w == Accept:
		return t.Theirs, true
	case w == OperatorOwes && t.Charge == mobileid.ChargeUnknown && t.Kind == KindDouble:
		return min(t.Price, t.Theirs), true // it is paid for once
	case w == OperatorOwes && t.Charge == mobileid.ChargeUnknown:
		return 0, true
	}
	return 0, false
}
