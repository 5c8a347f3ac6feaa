package mobileid

import "time"

// dayRest is how long after its end a day may still get a transfer. One has the time
// at which its process began the transaction, which may commit after midnight: at
// most eight statements of 15 s and two pauses of 30 s later (registry, sessionParams).
// The rest is for clocks that differ.
const dayRest = 5 * time.Minute

// DayFinal reports whether the day in Asia/Tashkent that begins at day is over for
// good at now: no transfer of it can come any more.
func DayFinal(day, now time.Time) bool { return !now.Before(day.AddDate(0, 0, 1).Add(dayRest)) }

// OperatorDay is an operator's statement of a day: what he is owed for it.
type OperatorDay struct {
	Day      time.Time // its first instant, in Asia/Tashkent
	Operator string
	Final    bool           // no transfer of the day can come any more
	Lines    []OperatorLine // ordered by kind, tariff and charging
}

// OperatorLine is one line of an operator's statement of a day.
type OperatorLine struct {
	Day      time.Time // its first instant
	Operator string
	Kind     string // of the text (TextKind)
	Tariff   int64  // version of the price; 0: none was in force
	Price    Money
	Unit     string
	Charging Charging

	Posted, Reversed, Voided Counted
	// Unknown are those that became unknown on that day and are so still: what
	// became of them later is in the statement of the day of that.
	Unknown Counted

	PostedAmount   Money
	ReversedAmount Money

	Final bool // of the day: no transfer of it can come any more
}

// Net is what the operator is owed for the line.
func (l *OperatorLine) Net() Money { return l.PostedAmount - l.ReversedAmount }

// Counted counts Messages and their parts.
type Counted struct{ Messages, Parts int64 }

// Add counts o as well.
func (c *Counted) Add(o Counted) { c.Messages, c.Parts = c.Messages+o.Messages, c.Parts+o.Parts }

// OperatorDayContract names the columns of OperatorDayColumns, and their version.
const OperatorDayContract = "operator-day/1"

// OperatorDayColumns are the columns of a line in every form. docs/statements.md has
// the same list, and a test compares them. Columns are added at the end; anything
// else makes another version.
var OperatorDayColumns = []Column[OperatorLine]{
	{"contract", func(*OperatorLine) any { return OperatorDayContract }},
	{"day", func(l *OperatorLine) any { return l.Day.In(Tashkent).Format(time.DateOnly) }},
	{"operator", func(l *OperatorLine) any { return l.Operator }},
	{"kind", func(l *OperatorLine) any { return l.Kind }},
	{"tariff_id", func(l *OperatorLine) any { return l.Tariff }},
	{"price_soum", func(l *OperatorLine) any { return l.Price }},
	{"unit", func(l *OperatorLine) any { return l.Unit }},
	{"charging", func(l *OperatorLine) any { return string(l.Charging) }},
	{"posted_messages", func(l *OperatorLine) any { return l.Posted.Messages }},
	{"posted_parts", func(l *OperatorLine) any { return l.Posted.Parts }},
	{"reversed_messages", func(l *OperatorLine) any { return l.Reversed.Messages }},
	{"reversed_parts", func(l *OperatorLine) any { return l.Reversed.Parts }},
	{"voided_messages", func(l *OperatorLine) any { return l.Voided.Messages }},
	{"voided_parts", func(l *OperatorLine) any { return l.Voided.Parts }},
	{"unknown_messages", func(l *OperatorLine) any { return l.Unknown.Messages }},
	{"unknown_parts", func(l *OperatorLine) any { return l.Unknown.Parts }},
	{"posted_tiyin", func(l *OperatorLine) any { return int64(l.PostedAmount) }},
	{"reversed_tiyin", func(l *OperatorLine) any { return int64(l.ReversedAmount) }},
	{"net_tiyin", func(l *OperatorLine) any { return int64(l.Net()) }},
	{"net_soum", func(l *OperatorLine) any { return l.Net() }},
	{"final", func(l *OperatorLine) any { return l.Final }},
}
