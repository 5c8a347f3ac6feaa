package mobileid

import "time"

// Ported is one move of a number to an operator, as the operators told it. A
// number that is ported back has another row, which names the operator of
// before.
type Ported struct {
	Number   Pseudonym
	Operator string    // who serves the number from then on
	From     time.Time // inclusive
	Source   string    // who told us, and
	Seq      string    // how he names the move; together they are once
}

// RouteRule says which rule has found an operator.
type RouteRule string

// The rules, in the order in which they are asked.
const (
	RuleUnknown    RouteRule = ""            // none of them knows: ask again
	RulePorted     RouteRule = "ported"      // the newest row of the ported numbers
	RulePlan       RouteRule = "plan"        // the dated plan of numbers, by code
	RuleNumberInfo RouteRule = "number_info" // the operators' number-info service
)

// Route is who serves a number, and why.
type Route struct {
	Operator string
	Rule     RouteRule
	// From is since when: of the row that has decided. The number-info service
	// says what is, and there it is when it said so.
	From time.Time
	// Source and Seq name the row of a ported number.
	Source, Seq string
}

// Known reports whether an operator was found. That none was found is never a
// refusal.
func (r Route) Known() bool { return r.Rule != RuleUnknown }

// MoveInForce returns the move of a number that decides at that time, if any:
// of moves, given in the order in which they were told, the newest that is in
// force then, of several of the same time the one told last.
func MoveInForce(moves []Ported, at time.Time) (in Ported, moved bool) {
	for _, v := range moves {
		if !v.From.After(at) && (!moved || !v.From.Before(in.From)) {
			in, moved = v, true
		}
	}
	return in, moved
}

// Route applies the tables: the move that is in force decides; a number that
// was never moved by then is with whom the plan names. The number must be the
// one that the moves are of.
func (p NumberPlan) Route(m MSISDN, moves []Ported, at time.Time) Route {
	if v, moved := MoveInForce(moves, at); moved {
		return Route{Operator: v.Operator, Rule: RulePorted, From: v.From, Source: v.Source, Seq: v.Seq}
	}
	if row, known := p.row(m, at); known {
		return Route{Operator: row.Operator, Rule: RulePlan, From: row.From}
	}
	return Route{}
}
