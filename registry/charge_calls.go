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
	callAgain     = 15 * time.Second // longer than a call may take
	callAgainMost = 10 * time.Minute
	callTries     = 150
)

// chargeCallsSQL takes what is due. The units that a transfer moves are its money by
// the price of one; where that is nothing, all of them.
var chargeCallsSQL = fmt.Sprintf(`
with due as (
	select message_id, step from charge_calls where operator = $1 and due_at <= $2 order by due_at limit $3 for update skip locked
), taken as (
	update charge_calls c set tries = c.tries + 1,
		due_at = $2::timestamptz + least(interval '%[1]d s' * power(2, least(c.tries, 20)), interval '%[2]d s')
	from due d where c.message_id = d.message_id and c.step = d.step
	returning c.message_id, c.step
)
select t.message_id, t.step, t.kind, m.units, case when t.kind in ('voided', 'unknown') then 0 when m.amount = 0 then m.units else abs(t.taken) / (m.amount / m.units) end, b.msisdn, m.text_id, m.deadline
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
		err := r.Scan(&id, &c.Step, &c.Kind, &c.Units, &c.Moved, &msisdn, &c.TextID, &c.Deadline)
		if err == nil {
			c.Number, err = mobileid.ParseMSISDN(msisdn)
		}
		c.ID = toID(id)
		out = append(out, c)
		return err
	})
	return out, err
}

// chargeKnownSQL moves a Charge to what the charging system has shown it to be, and
// forgets the call.
var chargeKnownSQL = `
with told as (
	select id, account_id, operator, amount, charging, charge, charge_step, charged, case
		when $3 in ('posted', 'voided') and charge = 'unknown' then $3
		when $3 = 'reversed' and charge = 'posted' then 'reversed' end as charge_to,
	       case when $3 = 'posted' then amount else 0 end as due
	from messages where id in ` + knownSQL + `
), corrected as (
	update messages m set ` + chargeSQL + ` from told v where m.id = v.id and v.charge_to is not null
), postings as (` + postingsSQL("told", "'charger'") + `
), changed as (
	select id, challenge_id, client, state, reason, state_version from messages where false
), ended as (
	select id, client, person, purpose, state, reason, state_version from challenges where false
), ` + tailSQL + `
select 1`

// ChargeTold stores that the charging system was told of a transfer. known is what
// its answer shows of the Charge: posted or voided of one that was unknown,
// reversed of one that it has no reservation of; "" is nothing new.
func (db *DB) ChargeTold(ctx context.Context, c mobileid.ChargeCall, known mobileid.ChargeState) error {
	b := &pgx.Batch{}
	if known != "" {
		ids := [][]byte{raw(c.ID)}
		lockFromMessages(b, ids)
		b.Queue(chargeKnownSQL, db.clock(), ids, known)
	}
	b.Queue(`delete from charge_calls where message_id = $1 and step = $2`, raw(c.ID), c.Step)
	return db.send(ctx, "charge told", b, nil)
}

// oldCalls gives up calls that were made in vain for too long: the Charge stays as
// it is, and reconciliation tells.
func (s *Sweeper) oldCalls(ctx context.Context) (int, error) {
	n := 0
	err := s.db.one(ctx, "old charge calls", []any{&n}, `
with old as (delete from charge_calls where tries >= $1 returning 1) select count(*) from old`, callTries)
	if n > 0 {
		s.db.log.ErrorContext(ctx, "the charging system could not be told of charges in time: compare them with the operator's file", "charges", n)
	}
	return n, err
}
