package ledger

import (
	"cmp"
	"slices"
	"time"

	"mobileid/internal/mobileid"
)

// Unit is what a price is of.
type Unit string

// The closed list of units. Decree No. 479 says "for each message" (clause 32),
// so that is the usual one.
const (
	UnitMessage Unit = "message"
	UnitPart    Unit = "part" // submit_sm
)

// MaxPrice is above any price of an SMS: more is a slip of the pen. Times the
// parts of any Message it is far from the end of Money.
const MaxPrice mobileid.Money = 1_000_000_00

// Tariff is a version of a price. The versions of one operator and kind are a
// chain: each is in force from its From until the From of the next, the last
// for ever. A version is never edited; of several with one From the one that
// was loaded last is in force, and the others are superseded.
type Tariff struct {
	ID       int64 // of the stored version; zero before
	Operator string
	// Kind is that of the texts (mobileid.TextKind). "" is the common chain: it
	// prices every kind that has no version of its own in force.
	Kind  string
	Price mobileid.Money // of a Unit
	Unit  Unit
	// RefundUndelivered says that a Message that finally was not delivered is
	// given back: it was not an "incoming SMS" (clauses 12 and 22).
	RefundUndelivered bool
	From              time.Time
	// Until is said by whoever wrote the version, and only checked: another one
	// must begin then. Zero when he did not say it. It is not stored.
	Until  time.Time
	Author string // who answers for it
	// Act is the decision of the E-Government Projects Management Centre that the
	// price rests on (clause 32).
	Act      string
	LoadedAt time.Time
}

// Amount is what a Message of so many parts costs. An amount that Money cannot
// hold is KindInvalid, code "tariff_overflow"; no accepted price has one.
func (t Tariff) Amount(parts int) (mobileid.Money, error) {
	if t.Unit != UnitPart {
		return t.Price, nil
	}
	amount := t.Price * mobileid.Money(parts)
	if parts < 0 || t.Price < 0 || parts > 0 && amount/mobileid.Money(parts) != t.Price {
		return 0, mobileid.Invalid("price", "tariff_overflow", "the price times the parts is no amount")
	}
	return amount, nil
}

// sameChain reports whether two versions are of one operator and kind.
func (t Tariff) sameChain(o Tariff) bool { return t.Operator == o.Operator && t.Kind == o.Kind }

// sameTerms reports whether two versions charge alike.
func (t Tariff) sameTerms(o Tariff) bool {
	return t.Price == o.Price && t.Unit == o.Unit && t.RefundUndelivered == o.RefundUndelivered
}

// same reports whether two versions are one: who loaded it, and when, makes no
// other of it.
func (t Tariff) same(o Tariff) bool {
	return t.sameChain(o) && t.sameTerms(o) && t.From.Equal(o.From) && t.Act == o.Act
}

// Version is a stored version in its chain.
type Version struct {
	Tariff

	// SupersededBy is the version of the same From that was loaded later; zero
	// when there is none.
	SupersededBy int64
	// Next is when the next version of the chain takes its place; zero when none
	// follows, or when it is superseded.
	Next time.Time
}

// InForce reports whether the chain's price is that of this version.
func (v Version) InForce(at time.Time) bool {
	return v.SupersededBy == 0 && !v.From.After(at) && (v.Next.IsZero() || v.Next.After(at))
}

// Chains orders versions, given in the order in which they were loaded, by
// operator, kind, From and loading, and says what follows what.
func Chains(loaded []Tariff) []Version {
	out := make([]Version, len(loaded))
	for i, t := range loaded {
		out[i].Tariff = t
	}
	slices.SortStableFunc(out, func(a, b Version) int {
		return cmp.Or(cmp.Compare(a.Operator, b.Operator), cmp.Compare(a.Kind, b.Kind), a.From.Compare(b.From))
	})
	for i := len(out) - 2; i >= 0; i-- { // what follows is known
		v, next := &out[i], out[i+1]
		switch {
		case !v.sameChain(next.Tariff):
		case v.From.Equal(next.From):
			v.SupersededBy = cmp.Or(next.SupersededBy, next.ID)
		default:
			v.Next = next.From
		}
	}
	return out
}

// InForce returns the version that prices Messages of a kind to an operator:
// the one of the kind's own chain, else the one of the common chain; false when
// there is neither, and such a Message costs nothing.
func InForce(chains []Version, operator, kind string, at time.Time) (Version, bool) {
	for _, kind := range slices.Compact([]string{kind, ""}) {
		for _, v := range chains {
			if v.Operator == operator && v.Kind == kind && v.InForce(at) {
				return v, true
			}
		}
	}
	return Version{}, false
}
