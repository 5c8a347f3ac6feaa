package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// A call to the operator's charging system that fails is due again after
// callAgain, doubling up to callAgainMost. After callTries, a day later, only
// reconciliation can tell.
const (
	callAgain     = 45 * time.Second // longer than a call may take (charging.timeout)
	callAgainMost = 10 * time.Minute
	callTries     = 150
	// callAge is how long nobody has taken one that is due: its operator charges
	// otherwise now, or has no bridge any more.
	callAge = 7 * 24 * time.Hour
)

// chargeCallsSQL takes what is due, of each Message the first step that is not told:
// the next one may only be true when that was. What nobody knew and is known by now
// is not asked about any more; as long as the Message may still be sent, or have been,
// the question waits. Of one that is in doubt to its end the reservation is given back:
// it holds nobody's money any more, and what a receipt or a file says later is for the
// books. The units that a transfer moves are its money by the price of one; where that
// is nothing, all of them.
var chargeCallsSQL = fmt.Sprintf(`
with seen as (
	select c.message_id, c.step from charge_calls c
	where c.operator = $1 and c.due_at <= $2
	  and not exists (select from charge_calls e where e.message_id = c.message_id and e.step < c.step)
	order by c.due_at limit $3 for update skip locked
), asked as (
	select s.message_id, s.step, m.state = 'unconfirmed' and c.state is distinct from 'confirmed' as doubted, case
		when m.charge <> 'unknown' then 'never'
		when m.state in ('in_doubt', 'admitted', 'retry') then 'later' end as wait
	from seen s join transfers t on t.message_id = s.message_id and t.step = s.step join messages m on m.id = s.message_id
	left join challenges c on c.id = m.challenge_id where t.kind = 'unknown'
), withdrawn as (
	delete from charge_calls c using asked a where c.message_id = a.message_id and c.step = a.step and a.wait = 'never'
), waiting as (
	update charge_calls c set due_at = $2::timestamptz + interval '%[1]d s' from asked a
	where c.message_id = a.message_id and c.step = a.step and a.wait = 'later'
), due as (
	select message_id, step from seen except select message_id, step from asked where wait is not null
), released as (
	select message_id, step from asked where wait is null and doubted
), taken as (
	update charge_calls c set tries = c.tries + 1,
		due_at = $2::timestamptz + least(interval '%[1]d s' * power(2, least(c.tries, 20)), interval '%[2]d s')
	from due d where c.message_id = d.message_id and c.step = d.step
	returning c.message_id, c.step, c.tries
)
select t.message_id, t.step, case when (t.message_id, t.step) in (select message_id, step from released) then 'voided' else t.kind end, taken.tries, m.units, case when t.kind in ('voided', 'unknown') then 0 when m.amount = 0 then m.units else abs(t.taken) / (m.amount / m.units) end, b.msisdn, m.text_id, m.deadline
from taken join transfers t using (message_id, step) join messages m on m.id = t.message_id
join bindings b on b.id = m.fence_id and m.fence_kind = 'binding'
order by t.message_id, t.step`, callAgain/time.Second, callAgainMost/time.Second)

// ChargeCalls takes transfers that the charging system of an operator has to be
// told of: nobody else gets them for a while. What ChargeTold does not say by then
// is due again, later each time, and after a day not any more.
func (db *DB) ChargeCalls(ctx context.Context, operator string, limit int) ([]mobileid.ChargeCall, error) {
	var out []mobileid.ChargeCall
	err := db.query(ctx, "charge calls", chargeCallsSQL, []any{operator, db.clock(), limit}, func(r pgx.Rows) error {
		var c mobileid.ChargeCall
		var id []byte
		var msisdn string
		err := r.Scan(&id, &c.Step, &c.Kind, &c.Tries, &c.Units, &c.Moved, &msisdn, &c.TextID, &c.Deadline)
		if err == nil {
			c.Number, err = mobileid.ParseMSISDN(msisdn)
		}
		c.ID = toID(id)
		out = append(out, c)
		return err
	})
	return out, err
}

// chargeKnownSQL moves a Charge to what the charging system has shown it to be.
var chargeKnownSQL = `
with told as (
	select id, account_id, operator, amount, charging, charge, charge_step, charged, case
		when $3 = 'posted' and charge = 'unknown' and ` + unsentSQL + ` then 'voided'
		when $3 in ('posted', 'voided') and charge = 'unknown' then $3
		when $3 = 'reversed' and charge = 'posted' then 'reversed' end as charge_to,
	       case when $3 <> 'posted' or ` + unsentSQL + ` then 0
	            when units > 1 and parts_taken <> 0 then ` + takenSQL + `
	            else amount end as due
	from messages where id in ` + knownSQL + `
), corrected as (
	update messages m set ` + chargeSQL + ` from told v where m.id = v.id and v.charge_to is not null
), postings as (` + postingsSQL("told", "case when $3 = 'posted' and charge_to = 'voided' then 'stopped' else 'charger' end") + `
), ` + moneySQL + `
select 1`

// unsentSQL is the condition that a Message ended and the operator has nothing of it.
const unsentSQL = `(parts_taken = 0 and (state in ('cancelled', 'fenced', 'no_funds') or state = 'expired' and reason = 'deadline'))`

// ChargeTold stores that the charging system was told of a transfer. known is what
// its answer shows of the Charge: posted or voided of one that was unknown, which
// then goes by the receipts that are in, and is given back of a Message that ended
// before it was sent; reversed of one that it has no reservation
// of, and nothing more is told of that one; "" is nothing new.
func (db *DB) ChargeTold(ctx context.Context, c mobileid.ChargeCall, known mobileid.ChargeState) error {
	b := &pgx.Batch{}
	if known != "" {
		ids := [][]byte{raw(c.ID)}
		lockFromMessages(b, ids)
		b.Queue(chargeKnownSQL, db.clock(), ids, known)
	}
	b.Queue(`delete from charge_calls where message_id = $1 and (step = $2 or $3)`, raw(c.ID), c.Step, known == mobileid.ChargeReversed)
	if known == mobileid.ChargePosted {
		b.Queue(foldSQL, db.clock(), [][]byte{raw(c.ID)})
	}
	return db.send(ctx, "charge told", b, nil)
}

// HastenCharge makes what is to be told of a Message due at once: its charging system
// has answered after all.
func (db *DB) HastenCharge(ctx context.Context, id mobileid.ID) error {
	return db.query(ctx, "hasten charge", `update charge_calls set due_at = $2 where message_id = $1 and due_at > $2`,
		[]any{raw(id), db.clock()}, nil)
}

// oldCalls gives up calls that were made in vain for too long, or that nobody makes
// any more: the Charge stays as it is, and reconciliation tells.
func (s *Sweeper) oldCalls(ctx context.Context) (int, error) {
	n := 0
	err := s.db.one(ctx, "old charge calls", []any{&n}, `
with old as (delete from charge_calls where tries >= $1 or due_at < $2 returning 1) select count(*) from old`,
		callTries, s.db.clock().Add(-callAge))
	if n > 0 {
		s.db.log.ErrorContext(ctx, "the charging system could not be told of charges in time: compare them with the operator's file", "charges", n)
	}
	return n, err
}
