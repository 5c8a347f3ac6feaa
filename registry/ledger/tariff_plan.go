package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// Mistake is why a version of a price is refused.
type Mistake struct {
	Row   int    // its place in what was given
	Field string // of the file of tariffs
	Code  string // stable, for example "tariff_gap"
	Text  string
}

// String tells the mistake with its path in the file of tariffs.
func (m Mistake) String() string {
	return fmt.Sprintf("tariffs[%d].%s: %s (%s)", m.Row, m.Field, m.Text, m.Code)
}

// Action is what loading does with a version.
type Action string

// The closed list of actions.
const (
	ActionLoad      Action = "load"      // it is new
	ActionSupersede Action = "supersede" // it is new, and takes the place of Other, which is not in force yet
	ActionSkip      Action = "skip"      // it is stored already; as Other, unless that is zero, it was superseded
	ActionAgree     Action = "agree"     // it is of the past and contradicts nothing that was in force: not stored; ID is what is in force
)

// Stores reports whether it makes a row.
func (a Action) Stores() bool { return a == ActionLoad || a == ActionSupersede }

// Step is what loading does with one version.
type Step struct {
	Tariff // with the ID of the stored version, once there is one

	Action Action
	Other  int64 // see ActionSupersede and ActionSkip
}

// maxTariffWords bounds author and act, in bytes.
const maxTariffWords = 500

// CheckTariffs finds what is wrong with versions by themselves, as they are
// written in a file: the prices and words of each, and in each chain a gap
// (code "tariff_gap"), an overlap ("tariff_overlap") and a date that stands
// twice ("tariff_twice"). A chain has a gap or an overlap where an Until is not
// the From of the next; the last has none, because prices would end there.
func CheckTariffs(ts []Tariff) []Mistake {
	c := tariffCheck{ts: ts}
	for i := range ts {
		c.row(i)
	}
	order := make([]int, len(ts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := ts[a], ts[b]
		return cmp.Or(cmp.Compare(x.Operator, y.Operator), cmp.Compare(x.Kind, y.Kind), x.From.Compare(y.From))
	})
	for n, i := range order {
		if slices.ContainsFunc(ts, func(t Tariff) bool { return t.sameChain(ts[i]) && t.From.IsZero() }) {
			continue // what follows what is not known
		}
		next := -1
		if n+1 < len(order) && ts[order[n+1]].sameChain(ts[i]) {
			next = order[n+1]
		}
		c.follows(i, next)
	}
	slices.SortStableFunc(c.wrong, func(a, b Mistake) int { return a.Row - b.Row })
	return c.wrong
}

type tariffCheck struct {
	ts    []Tariff
	wrong []Mistake
}

func (c *tariffCheck) wrongf(row int, field, code, format string, args ...any) {
	c.wrong = append(c.wrong, Mistake{row, field, code, fmt.Sprintf(format, args...)})
}

// row checks a version alone.
func (c *tariffCheck) row(i int) {
	t := c.ts[i]
	if t.Operator == "" {
		c.wrongf(i, "operator", "tariff_operator", "missing")
	}
	switch {
	case t.Price < 0:
		c.wrongf(i, "price", "tariff_price", "%s is negative", t.Price)
	case t.Price > MaxPrice:
		c.wrongf(i, "price", "tariff_price", "more than %s soum", MaxPrice)
	}
	if t.Unit != UnitMessage && t.Unit != UnitPart {
		c.wrongf(i, "unit", "tariff_unit", "%s or %s", UnitMessage, UnitPart)
	}
	if t.From.IsZero() {
		c.wrongf(i, "from", "tariff_date", "missing")
	}
	if !t.Until.IsZero() && !t.Until.After(t.From) {
		c.wrongf(i, "until", "tariff_date", "not after its from")
	}
	c.words(i, "author", t.Author, "who answers for it")
	c.words(i, "act", t.Act, "the decision that the price rests on, its number and date")
}

func (c *tariffCheck) words(i int, field, words, what string) {
	switch {
	case strings.TrimSpace(words) == "":
		c.wrongf(i, field, "tariff_"+field, "missing: %s", what)
	case len(words) > maxTariffWords || strings.ContainsFunc(words, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		c.wrongf(i, field, "tariff_"+field, "want one line of at most %d bytes of UTF-8", maxTariffWords)
	}
}

// follows checks a version against the next of its chain; next < 0 when it is
// the last.
func (c *tariffCheck) follows(i, next int) {
	t := c.ts[i]
	switch {
	case next >= 0 && t.From.Equal(c.ts[next].From):
		c.wrongf(next, "from", "tariff_twice", "%s is the from of tariffs[%d] already", Day(t.From), i)
	case t.Until.IsZero() || !t.Until.After(t.From):
	case next < 0:
		c.wrongf(i, "until", "tariff_gap", "no price from %s on: the last version of a chain has no until", Day(t.Until))
	case t.Until.Before(c.ts[next].From):
		c.wrongf(i, "until", "tariff_gap", "no price from %s to %s, where tariffs[%d] begins", Day(t.Until), Day(c.ts[next].From), next)
	case t.Until.After(c.ts[next].From):
		c.wrongf(i, "until", "tariff_overlap", "two prices from %s, where tariffs[%d] begins, to %s", Day(c.ts[next].From), next, Day(t.Until))
	}
}

// Day tells a time as a legal date, if it is one that begins in Asia/Tashkent.
func Day(at time.Time) string {
	at = at.In(mobileid.Tashkent)
	if at.Equal(time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, mobileid.Tashkent)) {
		return at.Format(time.DateOnly)
	}
	return at.Format(time.RFC3339)
}

// PlanTariffs says what loading wanted beside what is stored (in the order in
// which it was loaded) would do now, a step for each; or, all at once, why
// nothing of it can be loaded. Beside the mistakes of CheckTariffs these are:
//
//   - "tariff_in_the_past": it begins now or earlier, where a price is in force
//     already: such a price is never replaced, nor a chain put before the common
//     one after the fact. Where nothing has been in force yet, a chain may begin
//     in the past, with as many versions as it has. What agrees with all that its
//     own chain has had in force since is no mistake and changes nothing.
//   - "tariff_overlap", of a stored version that begins before its Until.
//
// A version that is stored already, with the same act, is skipped, even where
// it was superseded since: a file that is loaded again changes nothing. To go
// back to an earlier price takes a decision, which is another act.
func PlanTariffs(stored, wanted []Tariff, now time.Time) ([]Step, []Mistake) {
	c := tariffCheck{ts: wanted, wrong: CheckTariffs(wanted)}
	before, asked := Chains(stored), Chains(wanted)
	steps, after := make([]Step, len(wanted)), slices.Clone(stored)
	for i, t := range wanted {
		steps[i] = step(before, asked, t, now)
		switch {
		case steps[i].Action == "":
			c.wrongf(i, "from", "tariff_in_the_past", "%s is not ahead, and a price is in force: let it begin later than now", Day(t.From))
		case steps[i].Action.Stores():
			after = append(after, t)
		}
	}
	chains := Chains(after)
	for i, t := range wanted {
		if !steps[i].Action.Stores() || t.Until.IsZero() {
			continue
		}
		for _, v := range chains {
			if v.ID != 0 && v.SupersededBy == 0 && v.sameChain(t) && v.From.After(t.From) && v.From.Before(t.Until) {
				c.wrongf(i, "until", "tariff_overlap", "two prices from %s, where the stored version %d begins, to %s", Day(v.From), v.ID, Day(t.Until))
			}
		}
	}
	if len(c.wrong) > 0 {
		slices.SortStableFunc(c.wrong, func(a, b Mistake) int { return a.Row - b.Row })
		return nil, c.wrong
	}
	return steps, nil
}

// step decides about one version; its action is "" when it cannot be loaded.
func step(before, asked []Version, t Tariff, now time.Time) Step {
	for _, v := range before {
		if v.same(t) {
			t.ID = v.ID
			return Step{t, ActionSkip, v.SupersededBy}
		}
	}
	if t.From.After(now) {
		for _, v := range before {
			if v.sameChain(t) && v.From.Equal(t.From) && v.SupersededBy == 0 {
				return Step{t, ActionSupersede, v.ID}
			}
		}
		return Step{t, ActionLoad, 0}
	}
	if _, priced := InForce(before, t.Operator, t.Kind, now); !priced {
		return Step{t, ActionLoad, 0}
	}
	if v, agrees := agreed(before, asked, t, now); agrees {
		t.ID = v.ID
		return Step{t, ActionAgree, 0}
	}
	return Step{Tariff: t}
}

// agreed reports whether the chain of t has had no other terms in force while t
// would have been, up to now, and returns its version that is.
func agreed(before, asked []Version, t Tariff, now time.Time) (current Version, agrees bool) {
	end := now // of what t says of the past, inclusive
	for _, a := range asked {
		if a.sameChain(t) && a.From.Equal(t.From) && !a.Next.IsZero() && !a.Next.After(now) {
			end = a.Next.Add(-1)
		}
	}
	for _, v := range before {
		if !v.sameChain(t) || v.SupersededBy != 0 || v.From.After(now) {
			continue
		}
		current, agrees = v, true
		ended := !v.Next.IsZero() && !v.Next.After(t.From)
		if !ended && !v.From.After(end) && !v.sameTerms(t) {
			return Version{}, false
		}
	}
	return current, agrees
}
