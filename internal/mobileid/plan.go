package mobileid

import (
	"fmt"
	"slices"
	"time"
)

// PlanRow says that from its date on numbers with a code were issued by an
// operator.
type PlanRow struct {
	Code     string    // two digits after +998
	Operator string    // operator id, for example "beeline"
	From     time.Time // inclusive
	Until    time.Time // exclusive; zero = still in force
}

// NumberPlan is the dated table of network codes. It is a hint: numbers are
// ported (since 27 October 2023), so a code says who issued a number, not who
// serves it today.
type NumberPlan struct{ rows []PlanRow }

// NewNumberPlan checks the rows: two digits, an operator, no overlap in time
// of two rows of one code. All mistakes come back together.
func NewNumberPlan(rows []PlanRow) (NumberPlan, []error) {
	var errs []error
	for i, r := range rows {
		if len(r.Code) != 2 || r.Code[0] < '0' || r.Code[0] > '9' || r.Code[1] < '0' || r.Code[1] > '9' {
			errs = append(errs, fmt.Errorf("[%d].code: want two digits, have %q", i, r.Code))
		}
		if r.Operator == "" {
			errs = append(errs, fmt.Errorf("[%d].operator: missing", i))
		}
		if !r.Until.IsZero() && !r.From.Before(r.Until) {
			errs = append(errs, fmt.Errorf("[%d].until: not after from", i))
		}
		for j, o := range rows[:i] {
			if o.Code == r.Code && (o.Until.IsZero() || r.From.Before(o.Until)) && (r.Until.IsZero() || o.From.Before(r.Until)) {
				errs = append(errs, fmt.Errorf("[%d]: overlaps row [%d] of code %s", i, j, r.Code))
			}
		}
	}
	return NumberPlan{slices.Clone(rows)}, errs
}

// Operator returns who issued numbers of m's code at that time. known = false
// is an answer ("ask the operators"), never a refusal. Who serves a number is
// said by Route.
func (p NumberPlan) Operator(m MSISDN, at time.Time) (operator string, known bool) {
	row, known := p.row(m, at)
	return row.Operator, known
}

func (p NumberPlan) row(m MSISDN, at time.Time) (PlanRow, bool) {
	for _, r := range p.rows {
		if r.Code == m.Code() && !at.Before(r.From) && (r.Until.IsZero() || at.Before(r.Until)) {
			return r, true
		}
	}
	return PlanRow{}, false
}
