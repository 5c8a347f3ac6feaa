package reconcile

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"mobileid/internal/mobileid"
)

// Kind names a difference between what the operator debited and our books.
type Kind string

// The closed list of differences. A Message has one of a file at most: the first
// of this list that is true.
const (
	KindDouble             Kind = "double"              // one Message was debited more than once
	KindChargedUndelivered Kind = "charged_undelivered" // debited, and refused or finally not delivered
	KindChargedUnknown     Kind = "charged_unknown"     // debited, and our Charge is unknown, voided or reversed
	KindNotCharged         Kind = "not_charged"         // not debited, and our Charge is posted or unknown
	KindAmount             Kind = "amount"              // another amount than ours
	KindMissing            Kind = "missing"             // posted and delivered, and a complete file has no line of it
	KindStranger           Kind = "stranger"            // debited, and we wrote nothing to that number at that time
)

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{KindDouble, KindChargedUndelivered, KindChargedUnknown, KindNotCharged, KindAmount, KindMissing, KindStranger}
}

// Book is what we know of the money of a Message that was admitted.
type Book struct {
	ID          mobileid.ID
	From, Until time.Time // it was written between these
	Parts       int
	Tries       int // how often it may have been written
	State       mobileid.MessageState
	Charging    mobileid.Charging
	Charge      mobileid.ChargeState
	Price       mobileid.Money // of the whole Message
	Charged     mobileid.Money // posted and not reversed
	Step        int32          // of the Charge
}

// Ours is what the subscriber has paid for it by our books. What the system pays
// for costs him nothing.
func (b *Book) Ours() mobileid.Money {
	if b.Charging == mobileid.ChargingPayer {
		return 0
	}
	return b.Charged
}

// Debit is a line as it is compared.
type Debit struct {
	Line      int
	ID        string      // the operator's
	Of        mobileid.ID // the Message that was answered with it; zero: none
	Part      int         // of that; 0: not told
	Submitted time.Time
	Reference int
	Failed    bool // the line says that it was finally not delivered
	Parts     int
	Priced    bool
	Charged   mobileid.Money
}

// Difference is one of those. Book and Debit are what it is about: one of them is
// nil for a stranger (Book) and for what is missing (Debit, which is the first of
// Lines otherwise).
type Difference struct {
	Kind         Kind
	Book         *Book
	Debit        *Debit
	Lines        []int // of the file, ascending
	Ours, Theirs mobileid.Money
	Partial      bool // the lines stand for fewer parts than the Message has
}

// Judged is what the comparison of one number says.
type Judged struct {
	Differences []Difference
	Unsure      []int // lines that may be of several Messages, where it matters of which
}

// Judge compares the debits of one number with our books of it. Books are all
// Messages that may have been written to it in the period of the file.
func Judge(f File, books []*Book, debits []*Debit) Judged {
	j := &judge{file: f, of: map[*Book][]*Debit{}, parts: map[*Book]int{}, maybe: map[*Book]bool{}}
	j.books, debits = slices.Clone(books), slices.Clone(debits)
	slices.SortFunc(j.books, func(a, b *Book) int { return cmp.Or(a.From.Compare(b.From), bytes.Compare(a.ID[:], b.ID[:])) })
	slices.SortFunc(debits, func(a, b *Debit) int { return cmp.Or(a.Submitted.Compare(b.Submitted), cmp.Compare(a.Line, b.Line)) })
	j.assign(j.told(debits))
	for _, b := range j.books {
		j.message(b)
	}
	slices.Sort(j.out.Unsure)
	return j.out
}

type judge struct {
	file  File
	books []*Book
	of    map[*Book][]*Debit
	parts map[*Book]int  // that its lines stand for
	maybe map[*Book]bool // a line that is unsure may be of it
	out   Judged
}

func (j *judge) give(b *Book, d *Debit) {
	j.of[b] = append(j.of[b], d)
	j.parts[b] += d.Parts
}

// told gives the lines whose id says which Message they are of.
func (j *judge) told(debits []*Debit) (rest []*Debit) {
	byID := map[mobileid.ID]*Book{}
	for _, b := range j.books {
		byID[b.ID] = b
	}
	for _, d := range debits {
		if b := byID[d.Of]; b != nil && !d.Of.IsZero() {
			j.give(b, d)
		} else {
			rest = append(rest, d)
		}
	}
	return rest
}

// assign gives each other line to the one Message that it can be of: by number,
// time and reference, those that have no line yet before the others. Of Messages
// that are alike it makes no difference which has it.
func (j *judge) assign(rest []*Debit) {
	for len(rest) > 0 {
		left := slices.DeleteFunc(rest, j.certain)
		if len(left) < len(rest) {
			rest = left
			continue
		}
		d := rest[0]
		may, free := j.candidates(d)
		if len(free) > 0 {
			may = free
		}
		if alike(may) {
			j.give(nearest(may, d), d)
		} else {
			for _, b := range may {
				j.maybe[b] = true
			}
			j.out.Unsure = append(j.out.Unsure, d.Line)
		}
		rest = rest[1:]
	}
}

// certain gives a line if there is no choice, and reports whether it is dealt with.
func (j *judge) certain(d *Debit) bool {
	may, free := j.candidates(d)
	switch {
	case len(may) == 0:
		if d.Charged > 0 {
			j.out.Differences = append(j.out.Differences, Difference{Kind: KindStranger, Debit: d, Lines: []int{d.Line}, Theirs: d.Charged})
		}
	case len(free) == 1:
		j.give(free[0], d)
	case len(may) == 1:
		j.give(may[0], d)
	default:
		return false
	}
	return true
}

func (j *judge) candidates(d *Debit) (may, free []*Book) {
	for _, b := range j.books {
		if d.Submitted.Before(b.From.Add(-skew)) || d.Submitted.After(b.Until.Add(skew)) ||
			d.Reference != NoReference && d.Reference != Reference(b.ID) {
			continue
		}
		may = append(may, b)
		if j.parts[b]+d.Parts <= b.Parts {
			free = append(free, b)
		}
	}
	return may, free
}

// alike reports whether a line means the same for each of them.
func alike(books []*Book) bool {
	for _, b := range books[1:] {
		a := books[0]
		if a.Parts != b.Parts || a.Charging != b.Charging || a.Charge != b.Charge || a.Price != b.Price || a.Charged != b.Charged || failed(a.State) != failed(b.State) {
			return false
		}
	}
	return true
}

func nearest(books []*Book, d *Debit) *Book {
	return slices.MinFunc(books, func(a, b *Book) int {
		return cmp.Compare(d.Submitted.Sub(a.From).Abs(), d.Submitted.Sub(b.From).Abs())
	})
}

// failed reports whether a Message ended so that it did not come.
func failed(s mobileid.MessageState) bool {
	switch s { //nolint:exhaustive // the others came, may have come, or have not ended
	case mobileid.MessageRejected, mobileid.MessageUndeliverable, mobileid.MessageExpired, mobileid.MessageFailed:
		return true
	}
	return false
}

// bill is what the lines of a Message say together.
type bill struct {
	theirs, failed mobileid.Money // failed: for what was not delivered
	lines, debited []*Debit
	silent         bool // some do not say
	twice          bool
}

func (j *judge) bill(b *Book) bill {
	x := bill{lines: j.of[b], silent: j.maybe[b]}
	parts, seen := 0, map[int]bool{}
	for _, d := range x.lines {
		x.silent = x.silent || !d.Priced
		if d.Charged == 0 {
			continue
		}
		x.theirs += d.Charged
		x.debited = append(x.debited, d)
		if d.Failed {
			x.failed += d.Charged
		}
		parts += d.Parts
		x.twice = x.twice || d.Part > 0 && seen[d.Part]
		seen[d.Part] = true
	}
	x.twice = x.twice || len(x.debited) > 1 && parts > b.Parts
	return x
}

// message compares one Message. One whose Charge is pending is still under way.
func (j *judge) message(b *Book) {
	x, ours := j.bill(b), b.Ours()
	add := func(kind Kind, lines []*Debit) {
		d := Difference{Kind: kind, Book: b, Ours: ours, Theirs: x.theirs, Partial: len(x.lines) > 0 && j.parts[b] < b.Parts}
		for _, l := range lines {
			d.Lines = append(d.Lines, l.Line)
		}
		slices.Sort(d.Lines)
		if len(lines) > 0 {
			d.Debit = lines[0]
		}
		j.out.Differences = append(j.out.Differences, d)
	}
	switch {
	case b.Charge == mobileid.ChargePending:
	case len(x.lines) == 0:
		if j.missing(b) {
			add(KindMissing, nil)
		}
	case x.twice:
		add(KindDouble, x.debited)
	case x.theirs > ours:
		add(b.over(x), x.debited)
	case x.silent:
	case x.theirs == 0 && (ours > 0 || b.Charge == mobileid.ChargeUnknown && b.Charging != mobileid.ChargingPayer):
		add(KindNotCharged, x.lines)
	case x.theirs < ours:
		add(KindAmount, x.debited)
	}
}

// over names why he debited more than we did.
func (b *Book) over(x bill) Kind {
	posted := b.Charge == mobileid.ChargePosted
	switch {
	case posted && x.failed > 0 && x.theirs-x.failed <= b.Ours(), !posted && (x.failed > 0 || failed(b.State)):
		return KindChargedUndelivered
	case posted || b.Charging == mobileid.ChargingPayer:
		return KindAmount
	}
	return KindChargedUnknown
}

// missing reports whether a file would have to have a line of b.
func (j *judge) missing(b *Book) bool {
	f := j.file
	return f.Complete() && b.State == mobileid.MessageDelivered && b.Charge == mobileid.ChargePosted && b.Ours() > 0 && !j.maybe[b] &&
		!b.From.Add(-skew).Before(f.From) && b.Until.Add(skew).Before(f.Until)
}
