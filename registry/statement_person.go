package registry

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// personTime bounds one statement of a person's statement: somebody waits for it.
const personTime = 2 * time.Second

// PersonStatement returns a page of a person's Charges over all accounts that his
// numbers ever had, newest first, with the Messages among them that there was no
// money for, and the account that pays now. A number may have been another person's
// before: only Messages to this person are told. All of it is of one moment.
func (db *DB) PersonStatement(ctx context.Context, q mobileid.StatementQuery) (s mobileid.PersonStatement, err error) {
	err = db.snapshot(ctx, "person statement", personTime, func(tx pgx.Tx) error {
		s = mobileid.PersonStatement{}
		accounts, err := accountsOf(ctx, tx, q.Person)
		if err != nil {
			return err
		}
		from, _, err := transfersSQL(ctx, tx)
		if err != nil {
			return err
		}
		if err := chargesOf(ctx, tx, q, from, accounts, &s); err != nil {
			return err
		}
		if err := stepsOf(ctx, tx, from, s.Charges); err != nil {
			return err
		}
		if s.Account, err = db.subscriber(ctx, tx, q.Person); err != nil || s.Account == nil {
			return err
		}
		return tx.QueryRow(ctx, `select locale from bindings where person = $1 and state = 'active'`, q.Person[:]).Scan(&s.Locale)
	})
	return s, err
}

// accountsOf returns the accounts that may have paid for a person's Messages: those
// of his numbers, at each operator that they were with.
func accountsOf(ctx context.Context, tx pgx.Tx, person mobileid.Pseudonym) ([]int64, error) {
	rows, err := tx.Query(ctx, `
select id from accounts where number in (select number from bindings where person = $1) order by id`, person[:])
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// chargesSQL finds a person's Charges by the index of his accounts, whatever the
// planner believes: a LIMIT tempts it to walk all transfers backwards until it has
// met enough of his. What there was no money for is found by unpaid; where it had
// been reserved before the operator refused, by both.
func chargesSQL(from string) string {
	return `
with mine as materialized (
	select message_id from ` + from + ` t
	where t.step = 1 and t.account_id = any($1) and t.message_id >= $2 and t.message_id < $3
	union
	(select message_id from unpaid where person = $4 and message_id >= $2 and message_id < $3 order by message_id desc limit $5)
)
select m.id, m.client, m.text_id, m.operator, m.state, m.reason, m.parts, coalesce(m.tariff_id, 0), coalesce(f.act, ''), coalesce(f.amount, 0),
       coalesce(f.unit, 'message'), m.amount, m.charging, coalesce(m.charge, ''), m.charged
from mine join messages m on m.id = mine.message_id left join tariffs f on f.id = m.tariff_id
where m.person = $4 order by m.id desc limit $5`
}

// chargesOf reads one Charge more than the page has, to know whether there is one.
func chargesOf(ctx context.Context, tx pgx.Tx, q mobileid.StatementQuery, from string, accounts []int64, s *mobileid.PersonStatement) error {
	low, high := mobileid.IDFloor(q.From), mobileid.IDFloor(q.Until)
	if q.From.IsZero() {
		low = mobileid.ID{}
	}
	if q.Until.IsZero() {
		high = mobileid.IDFloor(farAhead)
	}
	if !q.Before.IsZero() && slices.Compare(q.Before[:], high[:]) < 0 {
		high = q.Before
	}
	rows, err := tx.Query(ctx, chargesSQL(from), accounts, low[:], high[:], q.Person[:], q.Limit+1)
	if err != nil {
		return err
	}
	var c mobileid.PersonCharge
	var id []byte
	_, err = pgx.ForEachRow(rows, []any{
		&id, &c.Client, &c.TextID, &c.Operator, &c.State, &c.Reason, &c.Parts, &c.Tariff, &c.Act, &c.Price,
		&c.Unit, &c.Amount, &c.Charging, &c.Charge, &c.Net,
	}, func() error {
		c.Message = toID(id)
		s.Charges = append(s.Charges, c)
		return nil
	})
	if len(s.Charges) > q.Limit {
		s.Charges, s.More = s.Charges[:q.Limit], true
	}
	return err
}

// farAhead is after every id; six bytes of milliseconds reach further.
var farAhead = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func stepsOf(ctx context.Context, tx pgx.Tx, from string, charges []mobileid.PersonCharge) error {
	place := make(map[mobileid.ID]*mobileid.PersonCharge, len(charges))
	ids := make([][]byte, len(charges))
	for i := range charges {
		ids[i], place[charges[i].Message] = raw(charges[i].Message), &charges[i]
	}
	rows, err := tx.Query(ctx, `
select message_id, step, at, kind, why, held, taken from `+from+` t where message_id = any($1) order by message_id, step`, ids)
	if err != nil {
		return err
	}
	var id []byte
	var t mobileid.PersonTransfer
	_, err = pgx.ForEachRow(rows, []any{&id, &t.Step, &t.At, &t.Kind, &t.Why, &t.Held, &t.Taken}, func() error {
		c := place[toID(id)]
		t.At = t.At.UTC()
		c.Transfers = append(c.Transfers, t)
		return nil
	})
	return err
}

// Subscribers returns the accounts that pay now for these persons. Who has no active
// binding is not in it.
func (db *DB) Subscribers(ctx context.Context, persons []mobileid.Pseudonym) (map[mobileid.Pseudonym]mobileid.SubscriberView, error) {
	keys := make([][]byte, len(persons))
	for i := range persons {
		keys[i] = persons[i][:]
	}
	out := make(map[mobileid.Pseudonym]mobileid.SubscriberView, len(persons))
	err := db.query(ctx, "subscribers", subscribersSQL, []any{db.clock(), keys}, func(rows pgx.Rows) error {
		who, v, err := scanSubscriber(rows)
		out[who] = v
		return err
	})
	return out, err
}

// subscriber returns the account that pays now; nil without an active binding.
func (db *DB) subscriber(ctx context.Context, tx pgx.Tx, person mobileid.Pseudonym) (*mobileid.SubscriberView, error) {
	rows, err := tx.Query(ctx, subscribersSQL, db.clock(), [][]byte{person[:]})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var v *mobileid.SubscriberView
	for rows.Next() {
		_, found, err := scanSubscriber(rows)
		if err != nil {
			return nil, err
		}
		v = &found
	}
	return v, rows.Err()
}

// subscribersSQL reads the accounts that pay for persons ($2) at a time ($1).
const subscribersSQL = `
select b.person, a.operator, a.told_at is not null, greatest(a.granted - a.posted - a.pending, 0), a.pending,
       s.at, coalesce(s.why, ''), case when s.why = 'balance' then b.probe_at end,
       b.daily_ceiling, case when a.day = ` + todaySQL + ` then a.day_spent else 0 end
from bindings b join accounts a on a.id = ` + payingSQL + `
left join lateral (select b.suspended_at as at, b.suspended_why as why where coalesce(b.suspended_account, a.id) = a.id and b.sms_suspended) s on true
where b.person = any($2::bytea[]) and b.state = 'active'`

func scanSubscriber(rows pgx.Rows) (who mobileid.Pseudonym, v mobileid.SubscriberView, err error) {
	var person []byte
	var since, probe *time.Time
	err = rows.Scan(&person, &v.Operator, &v.Known, &v.Available, &v.Reserved, &since, &v.SuspendedWhy, &probe, &v.Ceiling, &v.SpentToday)
	if !v.Known {
		v.Available = 0
	}
	if since != nil {
		v.SuspendedSince = since.UTC()
	}
	if probe != nil {
		v.ProbeAt = probe.UTC()
	}
	return toPseudonym(person), v, err
}

// SetDailyCeiling sets what a person's Messages may cost him a day (Asia/Tashkent);
// nil takes it away. Admission obeys it from then on, at each operator that his number
// is with; a day on which it moves is counted at each by itself. KindConflict, code
// "unbound", without an active binding; KindInvalid when
// it is negative. Set again to the same, nothing changes.
func (db *DB) SetDailyCeiling(ctx context.Context, person mobileid.Pseudonym, ceiling *mobileid.Money) (v mobileid.SubscriberView, err error) {
	if ceiling != nil && *ceiling < 0 {
		return v, mobileid.Invalid("amount", "amount_negative", "an amount is not negative")
	}
	err = db.inTx(ctx, "daily ceiling", func(tx pgx.Tx) error {
		var number []byte
		err := tx.QueryRow(ctx, `
update bindings set daily_ceiling = $2 where person = $1 and state = 'active' returning number`, person[:], ceiling).Scan(&number)
		if errors.Is(err, pgx.ErrNoRows) {
			return conflict("unbound", "the person has no active binding, so no account that pays")
		}
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(lockAccountsOfSQL, number)
		b.Queue(`update accounts set daily_limit = $2 where number = $1`, number, ceiling)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		now, err := db.subscriber(ctx, tx, person)
		if err == nil {
			v = *now
		}
		return err
	})
	return v, err
}
