package registry

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// sentSQL settles what nearly every batch is made of: Messages that this bridge
// has admitted and the operator has taken. It is to settleSQL what freshSQL is to
// admitSQL: it looks without locks, each change says again what it rests on, and
// when it was not all as it looked the division by zero undoes it (attempt).
//
// Accounts and then Messages are locked, ascending.
const sentSQL = `
with told as materialized (
	select o.*, m.account_id, m.amount, m.operator, m.charging, m.charge_step
	from unnest($3::bytea[], $4::text[], $5::timestamptz[], $6::bigint[]) as o(id, link, submitted_at, taken)
	join {messages} m on m.id = o.id
	where m.owner = $2 and m.state = 'admitted' and m.charge is not distinct from case when m.account_id is not null then 'pending' end
	order by o.id
), paid as (
	update accounts a set pending = a.pending - w.total, posted = a.posted + w.total
	from (select account_id, sum(amount)::bigint as total from told
	      where account_id is not null and charging <> 'payer' group by account_id order by account_id) w
	where a.id = w.account_id
	returning 1
), changed as (
	update {messages} m set
		state = 'sent', reason = '', state_version = m.state_version + 1, link = o.link,
		submitted_at = coalesce(o.submitted_at, m.submitted_at), parts_taken = m.parts_taken | o.taken,
		owner = null, sealed = null, seal_key = null,
		charge = case when o.account_id is not null then 'posted' end,
		charge_step = m.charge_step + (o.account_id is not null)::integer,
		charged = case when o.account_id is not null then o.amount else 0 end
	from told o where m.id = o.id and m.owner = $2 and m.state = 'admitted' and m.charge_step = o.charge_step
	  and (select count(*) from paid) >= 0
	returning m.id, m.challenge_id, m.client, m.state_version
), posted as (
	insert into {transfers} (message_id, step, kind, why, account_id, operator, held, taken, at)
	select id, charge_step + 1, 'posted', 'answer', account_id, operator, -amount, amount, $1
	from told where account_id is not null and (select count(*) from changed) >= 0
), untold as (
	insert into charge_calls (message_id, step, operator, due_at)
	select id, charge_step + 1, operator, $1 from told where charging = 'diameter' and account_id is not null
), announced as (
	insert into outbox (subject, challenge, client, state, reason, version, at)
	select id, challenge_id, client, 'sent', '', state_version, $1 from changed
)
select 1 / case when (select count(*) from changed) = cardinality($3) then 1 else 0 end`

// isPlain reports whether sentSQL may settle an outcome.
func isPlain(o *mobileid.Outcome) bool {
	return o.State == mobileid.MessageSent && o.Reason == "" && !o.Tried && !o.Late && o.Charge == mobileid.ChargeAsReserved
}

// attempt sends freshSQL, sentSQL or deliveredSQL; not done without an error says
// that it has undone itself: something happened in between (division_by_zero, or
// check_violation where an account has already given back what was to be taken), a
// row stands already (unique_violation), or the month has no partition
// (undefined_table). Nothing is stored then, and the statements that can do
// anything decide.
func (db *DB) attempt(ctx context.Context, op string, b *pgx.Batch, read func(pgx.Rows) error) (done bool, err error) {
	err = db.send(ctx, op, b, read)
	if sql, ok := errors.AsType[*sqlError](err); ok && (sql.State == "22012" || sql.State == "23514" || sql.State == "23505" || sql.State == "42P01") {
		return false, nil
	}
	return err == nil, err
}

// sentPartsSQL stores the parts of what sentSQL has settled.
const sentPartsSQL = `
insert into {message_parts} (message_id, part, account, operator_id, dest, link, sequence, status, answered_at)
select p.id, p.part, $1, p.operator_id, p.dest, p.link, p.sequence, p.status, p.answered_at
from unnest($2::bytea[], $3::integer[], $4::text[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], $9::timestamptz[])
     as p(id, part, operator_id, dest, link, sequence, status, answered_at)
order by p.id, p.part`

// settleSent stores outcomes that are plain; done is false when they are not
// after all: then nothing is stored.
func (db *DB) settleSent(ctx context.Context, bridge int64, account string, outcomes []mobileid.Outcome) (done bool, err error) {
	if len(outcomes) == 0 {
		return true, nil
	}
	s := newSettlement(outcomes)
	month, ok := monthOf(s.ids)
	if !ok {
		return false, nil
	}
	b := &pgx.Batch{}
	b.Queue(db.months.of(sentSQL, month), db.clock(), bridge, s.ids, s.links, s.submittedAt, s.taken)
	s.parts.queue(b, db.months.of(sentPartsSQL, month), account)
	return db.attempt(ctx, "settle", b, nil)
}
