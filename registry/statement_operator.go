package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// The operator's statement of a day tells what he is owed for it: a day of
// Asia/Tashkent, by the time of the transfer. docs/statements.md is its contract.
//
// A transfer of a day may be on a Message of any day before it: a receipt comes up
// to three days later, a line of an operator's file whenever the file does. So a
// statement does not guess how far back to look. transfers_at finds them by their
// own time, in every month that is not archived; for an archived one operator_days
// has the lines.

// operatorDaysSQL sums up transfers t of a table into lines. Of a Message with a
// price by the part the parts of a transfer are those that it is the price of.
func operatorDaysSQL(from, where string) string {
	const parts = `case when f.unit = 'part' and m.amount > 0 and t.taken <> 0 then abs(t.taken) * m.parts / m.amount else coalesce(m.parts, 0) end`
	counted := func(as, condition string) string {
		return fmt.Sprintf("count(*) filter (where %[2]s) as %[1]s_messages, coalesce(sum(%[3]s) filter (where %[2]s), 0)::bigint as %[1]s_parts", as, condition, parts)
	}
	return `
	select (t.at at time zone 'Asia/Tashkent')::date as day, t.operator, split_part(coalesce(m.text_id, ''), '.', 1) as kind,
	       coalesce(m.tariff_id, 0) as tariff_id, coalesce(m.charging, '') as charging,
	       ` + counted("posted", "t.kind = 'posted'") + `,
	       ` + counted("reversed", "t.kind = 'reversed'") + `,
	       ` + counted("voided", "t.kind = 'voided'") + `,
	       ` + counted("unknown", "t.kind = 'unknown' and m.charge = 'unknown'") + `,
	       coalesce(sum(t.taken) filter (where t.taken > 0), 0)::bigint as posted,
	       coalesce(-sum(t.taken) filter (where t.taken < 0), 0)::bigint as reversed
	from ` + from + ` t left join messages m on m.id = t.message_id left join tariffs f on f.id = m.tariff_id
	where t.kind <> 'pending' and ` + where + `
	group by 1, 2, 3, 4, 5`
}

// operatorDaySQL is the lines of a span of a day ($1 to $2) of an operator ($3).
var operatorDaySQL = operatorDaysSQL("transfers", `t.at >= $1 and t.at < $2 and t.operator = $3`)

// archivedDaySQL is the lines of a day ($1) of an operator ($2) that archived months
// have left.
const archivedDaySQL = `
select day, operator, kind, tariff_id, charging, posted_messages, posted_parts, reversed_messages, reversed_parts,
       voided_messages, voided_parts, 0::bigint, 0::bigint, posted, reversed
from operator_days where day = $1 and operator = $2`

// statementTime bounds one statement of a statement: an hour of an operator.
const statementTime = 2 * time.Minute

// OperatorDay returns an operator's statement of the day in Asia/Tashkent that at is
// in. A day without transfers has no lines; one that is not Final may get more.
func (db *DB) OperatorDay(ctx context.Context, operator string, at time.Time) (mobileid.OperatorDay, error) {
	day := tashkentDay(at)
	d := mobileid.OperatorDay{Day: day, Operator: operator, Final: mobileid.DayFinal(day, db.clock())} // before it is read
	type key struct {
		kind     string
		tariff   int64
		charging mobileid.Charging
	}
	sums := map[key]*mobileid.OperatorLine{}
	err := db.reading(ctx, "operator day", statementTime, func(tx pgx.Tx) error {
		clear(sums)
		add := func(sql string, args ...any) error {
			rows, err := tx.Query(ctx, sql, args...)
			if err != nil {
				return err
			}
			var l mobileid.OperatorLine
			_, err = pgx.ForEachRow(rows, []any{
				&l.Day, &l.Operator, &l.Kind, &l.Tariff, &l.Charging,
				&l.Posted.Messages, &l.Posted.Parts, &l.Reversed.Messages, &l.Reversed.Parts,
				&l.Voided.Messages, &l.Voided.Parts, &l.Unknown.Messages, &l.Unknown.Parts, &l.PostedAmount, &l.ReversedAmount,
			}, func() error {
				k := key{l.Kind, l.Tariff, l.Charging}
				s := sums[k]
				if s == nil {
					s = &mobileid.OperatorLine{Day: day, Operator: l.Operator, Kind: l.Kind, Tariff: l.Tariff, Charging: l.Charging}
					sums[k] = s
				}
				s.Posted.Add(l.Posted)
				s.Reversed.Add(l.Reversed)
				s.Voided.Add(l.Voided)
				s.Unknown.Add(l.Unknown)
				s.PostedAmount, s.ReversedAmount = s.PostedAmount+l.PostedAmount, s.ReversedAmount+l.ReversedAmount
				return nil
			})
			return err
		}
		err := hours(day, func(from, until time.Time) error { return add(operatorDaySQL, from, until, operator) })
		if err != nil {
			return err
		}
		return add(archivedDaySQL, day.Format(time.DateOnly), operator)
	})
	if err != nil {
		return d, err
	}
	tariffs, err := db.Tariffs(ctx)
	if err != nil {
		return d, err
	}
	d.Lines = make([]mobileid.OperatorLine, 0, len(sums))
	for _, l := range sums {
		l.Unit, l.Final = "message", d.Final
		for i := range tariffs {
			if t := &tariffs[i]; t.ID == l.Tariff {
				l.Price, l.Unit = t.Price, string(t.Unit)
			}
		}
		d.Lines = append(d.Lines, *l)
	}
	slices.SortFunc(d.Lines, func(a, b mobileid.OperatorLine) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Tariff, b.Tariff), cmp.Compare(a.Charging, b.Charging))
	})
	return d, nil
}

// hours calls fn for each hour of a day, so that what one statement reads is
// bounded, and what it sorts.
func hours(day time.Time, fn func(from, until time.Time) error) error {
	for h := range 24 { // Asia/Tashkent has no summer time
		from := day.Add(time.Duration(h) * time.Hour)
		if err := fn(from, from.Add(time.Hour)); err != nil {
			return err
		}
	}
	return nil
}

// tashkentDay is the first instant of the day that at is in.
func tashkentDay(at time.Time) time.Time {
	y, m, d := at.In(mobileid.Tashkent).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, mobileid.Tashkent)
}

// OperatorTransfer is one line of the detail of an operator's statement.
type OperatorTransfer struct {
	Message     mobileid.ID
	At          time.Time
	Number      mobileid.Pseudonym // of the number; zero when the Message is not there
	MSISDN      mobileid.MSISDN    // zero unless it was asked for and is known
	OperatorIDs []string           // of the parts that he has taken, in their order
	Step        int
	Kind        string
	Why         string
	TextKind    string
	Tariff      int64 // 0: none was in force
	Charging    mobileid.Charging
	Held, Taken mobileid.Money // changes

	Parts int                   // of the Message; 0 when it is not there
	State mobileid.MessageState // of the Message, now; "" likewise
	// Stat and Err are of the last receipt of any of its parts, as the operator wrote
	// them; "" without one.
	Stat, Err string

	Final bool // of the day: no transfer of it can come any more
}

func operatorTransfersSQL(from string) string {
	return `
select t.message_id, t.at, m.dest, coalesce(b.msisdn, ''), p.ids, t.step, t.kind, t.why, split_part(coalesce(m.text_id, ''), '.', 1),
       coalesce(m.tariff_id, 0), coalesce(m.charging, ''), t.held, t.taken, coalesce(m.parts, 0), coalesce(m.state, ''),
       coalesce(r.stat, ''), coalesce(r.err, '')
from ` + from + ` t
left join messages m on m.id = t.message_id
left join bindings b on $4 and m.fence_kind = 'binding' and b.id = m.fence_id and b.number = m.dest
left join lateral (
	select array_agg(operator_id order by part, answered_at) as ids from message_parts
	where message_id = t.message_id and operator_id <> '' and operator_id not like 'file %') p on true
left join lateral (
	select stat, err from receipts where message_id = t.message_id order by received_at desc, part desc, seen desc limit 1) r on true
where t.at >= $1 and t.at < $2 and t.operator = $3
order by t.at, t.message_id, t.step`
}

// OperatorTransfers gives each transfer of an operator's day to each, by time,
// Message and step. Nothing is gathered: a day has more of them than memory holds.
// With numbers the numbers that the bindings know stand beside their pseudonyms. A
// day with transfers of an archived month whose table is not there any more is
// KindConflict, code "archive_away": OperatorDay still has its lines.
func (db *DB) OperatorTransfers(ctx context.Context, operator string, at time.Time, numbers bool, each func(*OperatorTransfer) error) error {
	day := tashkentDay(at)
	final := mobileid.DayFinal(day, db.clock()) // before it is read
	var stopped error                           // of each; an error of the caller's is given back as it is
	err := db.reading(ctx, "operator transfers", statementTime, func(tx pgx.Tx) error {
		from, gone, err := transfersSQL(ctx, tx)
		if err != nil {
			return err
		}
		var missing int64
		err = tx.QueryRow(ctx, `select count(*) from operator_days where day = $1 and operator = $2 and month = any($3)`,
			day.Format(time.DateOnly), operator, gone).Scan(&missing)
		if err != nil {
			return err
		}
		if missing > 0 {
			return conflict("archive_away", "the transfers of this day are archived and their table is not here any more: restore it, or ask without details")
		}
		sql := operatorTransfersSQL(from)
		return hours(day, func(from, until time.Time) error {
			rows, err := tx.Query(ctx, sql, from, until, operator, numbers)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var t OperatorTransfer
				var id, dest []byte
				var msisdn string
				if err := rows.Scan(&id, &t.At, &dest, &msisdn, &t.OperatorIDs, &t.Step, &t.Kind, &t.Why, &t.TextKind,
					&t.Tariff, &t.Charging, &t.Held, &t.Taken, &t.Parts, &t.State, &t.Stat, &t.Err); err != nil {
					return err
				}
				t.Message, t.Number, t.Final = toID(id), toPseudonym(dest), final
				if n, err := mobileid.ParseMSISDN(msisdn); err == nil {
					t.MSISDN = n
				}
				if stopped = each(&t); stopped != nil {
					return stopped
				}
			}
			return rows.Err()
		})
	})
	return cmp.Or(stopped, err)
}
