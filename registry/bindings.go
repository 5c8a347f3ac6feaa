package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// ActiveBindings returns the active bindings of these persons, each with the
// move of its number that is in force, read without a lock: whoever acts on one
// names its version, and the act checks it. A person without one is missing
// from the map.
func (db *DB) ActiveBindings(ctx context.Context, persons []mobileid.Pseudonym) (map[mobileid.Pseudonym]mobileid.Binding, error) {
	b := &pgx.Batch{}
	bound := queueBindings(b, persons, db.clock())
	return bound, db.send(ctx, "active bindings", b, nil)
}

// Known returns the active bindings of these persons, as ActiveBindings does,
// and which of these challenges are stored, whatever their state, in one round
// trip. It takes no locks: an id that it does not know may be stored a moment
// later, and IssueChallenges decides then.
func (db *DB) Known(ctx context.Context, persons []mobileid.Pseudonym, challenges []mobileid.ID) (
	bound map[mobileid.Pseudonym]mobileid.Binding, stored map[mobileid.ID]bool, err error,
) {
	b := &pgx.Batch{}
	bound = queueBindings(b, persons, db.clock())
	stored = make(map[mobileid.ID]bool, len(challenges))
	b.Queue(`select c.id from unnest($1::bytea[]) k(id) join challenges c on c.id = k.id`, rawIDs(challenges)).
		Query(func(rows pgx.Rows) error {
			var id []byte
			_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
				stored[toID(id)] = true
				return nil
			})
			return err
		})
	return bound, stored, db.send(ctx, "known", b, nil)
}

// bindingsSQL reads the active bindings of the persons $1, each with the moves
// of its number in the order in which they were told: a row for each, or one
// without. "offset 0" keeps the look-up by number apart: as a join it is planned,
// while no number has moved, to read all moves and leave the number to a filter.
const bindingsSQL = `
select b.id, b.version, b.person, b.number, b.msisdn, b.operator, b.account_id, b.sms_suspended, b.locale, s.at, p.operator, p.valid_from
from unnest($1::bytea[]) k(person)
join bindings b on b.person = k.person and b.state = 'active'
left join step_ups s on s.person = b.person
left join lateral (select id, operator, valid_from from ported_numbers where number = b.number offset 0) p on true
order by p.id`

// queueBindings reads active bindings into a map that is filled when the batch
// has been sent. at is when a move of a number must be in force.
func queueBindings(b *pgx.Batch, persons []mobileid.Pseudonym, at time.Time) map[mobileid.Pseudonym]mobileid.Binding {
	keys := make([][]byte, len(persons))
	for i := range persons {
		keys[i] = persons[i][:]
	}
	out := make(map[mobileid.Pseudonym]mobileid.Binding, len(persons))
	b.Queue(bindingsSQL, keys).Query(func(rows pgx.Rows) error {
		var v mobileid.Binding
		var person, number []byte
		var msisdn string
		var to *string
		var from, shown *time.Time
		moves := map[mobileid.Pseudonym][]mobileid.Ported{}
		dst := []any{&v.ID, &v.Version, &person, &number, &msisdn, &v.Operator, &v.Account, &v.Suspended, &v.Locale, &shown, &to, &from}
		_, err := pgx.ForEachRow(rows, dst, func() (err error) {
			v.Person, v.Number = toPseudonym(person), toPseudonym(number)
			v.SteppedUpAt = orZero(shown)
			if to != nil {
				moves[v.Person] = append(moves[v.Person], mobileid.Ported{Number: v.Number, Operator: *to, From: *from})
			}
			v.MSISDN, err = mobileid.ParseMSISDN(msisdn)
			out[v.Person] = v
			return err
		})
		for who, told := range moves {
			in, _ := mobileid.MoveInForce(told, at)
			bound := out[who]
			bound.PortedTo = in.Operator
			out[who] = bound
		}
		return err
	})
	return out
}

// Bind makes an active binding at version 1 and the account that pays for its
// SMS, if the number has none yet. A number that its operator bars begins
// suspended, unless he said so while somebody else had it. A person or a number that
// is bound already is KindConflict, code "bound": one number a person, one person a
// number (decree clauses 5, 14). It begins without a daily ceiling: one on the
// account was the wish of whoever had the number before, and what he has spent today
// does not count.
func (db *DB) Bind(ctx context.Context, nb mobileid.NewBinding) (int64, error) {
	locale := nb.Locale
	if locale == "" {
		locale = mobileid.LocaleUzLatn
	}
	var id int64
	err := db.inTx(ctx, "bind", func(tx pgx.Tx) error {
		if err := makeAccount(ctx, tx, nb.Number, nb.Operator); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `
insert into bindings (person, number, pinfl, msisdn, operator, state, locale, account_id, bound_at, sms_suspended, suspended_why, suspended_at, suspended_account)
select $2, $3, $4, $5, $6, 'active', $7, b.account_id, $1, x.barred, case when x.barred then 'barred' end, case when x.barred then $1::timestamptz end, case when x.barred then a.id end
from (select number, id as account_id from accounts where number = $3 and operator = $6) b
join accounts a on a.id = `+payingSQL+`
cross join lateral (
	select a.barred and not exists (select from bindings o where o.number = $3 and o.person <> $2 and o.ended_at >= a.barred_at) as barred) x
returning id`, db.clock(), nb.Person[:], nb.Number[:], nb.PINFL.Reveal(), nb.MSISDN.Reveal(), nb.Operator, locale).Scan(&id)
		if err != nil {
			return err
		}
		return forgetDay(ctx, tx, nb)
	})
	if isConstraint(err, "bindings_person_active") || isConstraint(err, "bindings_number_active") {
		return 0, conflict("bound", "the person or the number is bound already")
	}
	return id, err
}

// forgetDay takes the ceiling off the accounts of a number, and what somebody else
// has spent of his day.
func forgetDay(ctx context.Context, tx pgx.Tx, nb mobileid.NewBinding) error {
	b := &pgx.Batch{}
	b.Queue(lockAccountsOfSQL, nb.Number[:])
	b.Queue(`
update accounts a set daily_limit = null, day_spent = case when exists (
	select from bindings b where b.number = $1 and b.person <> $2 and (b.ended_at at time zone 'Asia/Tashkent')::date >= a.day) then 0 else a.day_spent end
where a.number = $1`, nb.Number[:], nb.Person[:])
	return tx.SendBatch(ctx, b).Close()
}

// Revoke ends a binding; its version grows. It waits for a confirmation that
// is being written under this binding, and after it has returned none can be
// (promise P7). Revoked again, nothing changes; an id that names no binding is
// KindNotFound.
func (db *DB) Revoke(ctx context.Context, bindingID int64) error {
	return db.inTx(ctx, "revoke", func(tx pgx.Tx) error {
		var state string
		err := tx.QueryRow(ctx, `select state from bindings where id = $1 for update`, bindingID).Scan(&state)
		if err != nil || state != "active" {
			return err
		}
		_, err = tx.Exec(ctx, `
update bindings set state = 'revoked', version = version + 1, ended_at = $2 where id = $1`, bindingID, db.clock())
		return err
	})
}
