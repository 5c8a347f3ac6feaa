package registry

import (
	"context"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// freshSQL admits what nearly every batch is made of: Messages that are queued,
// that nothing speaks against, and whose accounts can pay for all that the batch
// wants of them. It decides nothing else and leaves the rest to admitSQL, which
// locks first and looks then, and costs twice as much.
//
// It looks without locks, so each change says again what it rests on, and
// Postgres looks at the row's newest version for that: an account is touched only
// if it can pay, a Message only if it is still queued. When a Message went away in
// between, the money was reserved for more than was admitted: the division by
// zero undoes all of it (attempt).
//
// Accounts and then Messages are locked, ascending: item is in the order of ids
// and is what the joins begin with.
//
// What it does not lock it reads as of its begin: the fence, the challenge and
// the lease. A revocation that commits later is not seen, as it would not be by
// any admission that came just before it; an admission is good for a second.
//
// It is of one month (monthSQL), the challenge's too.
const freshSQL = `
with item as materialized (
	select i.part, i.pos, m.id, m.challenge_id, m.account_id, m.amount, m.units, m.charging, m.operator,
	       m.lane, m.text_id, m.deadline, m.dest, m.sealed, m.tries, m.parts, m.parts_taken
	from unnest($3::bytea[], $4::integer[], $5::bigint[]) as i(id, part, pos)
	join {messages} m on m.id = i.id
	join bindings b on b.id = m.fence_id
	left join {challenges} c on c.id = m.challenge_id and c.message_id = m.id
	where m.state = 'queued' and m.deadline > $1
	  and m.operator = (select operator from bridges where id = $2 and lease_until > clock_timestamp() and swept_at is null)
	  and m.fence_kind = 'binding' and b.state = 'active' and b.version = m.fence_version
	  and (not b.sms_suspended or m.charging = 'payer')
	  and (m.challenge_id is null or c.state = 'pending')
	order by m.id
), paid as (
	update accounts a set pending = a.pending + w.total, told_at = case when w.ledger then a.told_at end,
	       day_spent = case when a.day >= w.today then a.day_spent else 0 end + w.total, day = greatest(a.day, w.today)
	from (select account_id, sum(amount)::bigint as total, bool_and(charging = 'ledger') as ledger, ` + todaySQL + ` as today
	      from item where account_id is not null and charging <> 'payer' group by account_id order by account_id) w
	where a.id = w.account_id and (not w.ledger or a.told_at is null or a.granted - a.posted - a.pending >= w.total)
	  and (a.daily_limit is null or a.daily_limit - case when a.day >= w.today then a.day_spent else 0 end >= w.total)
	returning a.id
), mine as materialized (
	select * from item where account_id is null or charging = 'payer' or account_id in (select id from paid)
), changed as (
	update {messages} m set
		state = 'admitted', reason = '', state_version = m.state_version + 1, owner = $2, admitted_at = $1,
		charge = case when v.account_id is not null then 'pending' end, charge_step = (v.account_id is not null)::integer,
		lane_partition = case when v.part >= 0 then v.part else m.lane_partition end,
		lane_offset = case when v.part >= 0 then v.pos else m.lane_offset end
	from mine v where m.id = v.id and m.state = 'queued'
	returning m.id, m.challenge_id, m.client, m.state_version
), reserved as (
	insert into {transfers} (message_id, step, kind, why, account_id, operator, held, taken, at)
	select id, 1, 'pending', 'admitted', account_id, operator, amount, 0, $1 from mine where account_id is not null
), announced as (
	insert into outbox (subject, challenge, client, state, reason, version, at)
	select id, challenge_id, client, 'admitted', '', state_version, $1 from changed
)
select id, lane, text_id, deadline, dest, sealed, tries, parts, parts_taken, charging, units,
       1 / case when (select count(*) from changed) = (select count(*) from mine) then 1 else 0 end
from mine`

// admitFresh decides about what freshSQL may decide about. What has been
// admitted before (DueRetries) is not asked.
func (db *DB) admitFresh(ctx context.Context, bridge int64, a *admitting) error {
	c := a.columns(func(i int) bool { return a.items[i].Source.Topic != "" })
	month, ok := monthOf(c.ids)
	if !ok {
		return nil
	}
	b := &pgx.Batch{}
	b.Queue(db.months.of(freshSQL, month), db.clock(), bridge, c.ids, c.parts, c.offsets)
	var found []mobileid.Admission
	done, err := db.attempt(ctx, "admit", b, func(r pgx.Rows) error {
		var id, dest []byte
		var taken int64
		var one int
		o := mobileid.Admission{Verdict: mobileid.VerdictMine, State: mobileid.MessageAdmitted}
		err := r.Scan(&id, &o.Lane, &o.TextID, &o.Deadline, &dest, &o.Sealed, &o.Tries, &o.Parts, &taken, &o.Charging, &o.Units, &one)
		o.ID, o.Dest, o.Taken = toID(id), toPseudonym(dest), mobileid.PartSet(taken)
		found = append(found, o)
		return err
	})
	if !done {
		return err
	}
	for i := range found {
		*a.decide(found[i].ID[:]) = found[i]
	}
	return nil
}
