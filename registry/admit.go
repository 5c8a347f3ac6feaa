package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// admitSQL decides any batch in one statement, after its rows were locked.
//
//	item     the batch, in lane order, if the bridge still has its lease
//	seen     each Message with what decides about it, read after the locks
//	judged   the state it would get by everything but money; not those of
//	         another operator, which stay as they are
//	chosen   the same, with one probe of a suspended binding
//	wanting  those that need money reserved, numbered within their account
//	short    accounts that cannot pay for all that the batch wants of them
//	walk     the short accounts' Messages one by one, in lane order: one that
//	         does not fit is passed over, so the answer does not depend on how
//	         the lane was cut into batches
//	verdict  the state it gets
//
// LEFT JOINs, not EXISTS inside the CASE: that became a subplan over the whole
// table when it was measured.
var admitSQL = `
with recursive alive as (
	select coalesce(bool_or(lease_until > clock_timestamp() and swept_at is null), false) as ok, max(operator) as operator
	from bridges where id = $2
), item as (
	select i.*, alive.operator from unnest($3::bytea[], $4::integer[], $5::bigint[]) with ordinality as i(id, part, pos, ord), alive
	where alive.ok and ` + isKnown("i.ord") + `
), seen as (
	select i.ord, i.part, i.pos, m.id, m.client, m.lane, m.operator, m.text_id, m.challenge_id, m.deadline, m.dest, m.sealed,
	       m.state, m.reason, m.retry_at, m.account_id, m.amount, m.units, m.charging, m.one_send, m.charge, m.charge_step, m.charged, m.resends, m.tries, m.parts, m.parts_taken,
	       c.state as challenge_state,
	       coalesce(b.state = 'active' and b.version = m.fence_version, false) as fence_holds,
	       coalesce(b.sms_suspended and not x.elsewhere, false) as suspended, b.sms_suspended and m.charging <> 'payer' and (b.probe_at <= $1 or x.elsewhere) as probes,
	       coalesce(b.suspended_why = 'barred' and not x.elsewhere, false) as barred, m.fence_id,
	       coalesce(o.lease_until > clock_timestamp() and o.swept_at is null, false) as owner_lives,
	       m.operator <> i.operator as misplaced
	from item i
	join messages m on m.id = i.id
	left join challenges c on c.id = m.challenge_id and c.message_id = m.id
	left join bindings b on b.id = m.fence_id and m.fence_kind = 'binding'
	left join bridges o on o.id = m.owner
	cross join lateral (select coalesce(b.suspended_account <> m.account_id, false) as elsewhere) x
), judged as (
	select s.*, case
		when state = 'admitted' and not owner_lives then 'in_doubt'
		when state = 'in_doubt' and challenge_id is not null and challenge_state = 'pending'
		     and resends = 0 and not one_send and deadline > $1 and fence_holds then 'admitted'
		when state not in ('queued', 'retry') then state
		when state = 'retry' and retry_at > $1 and deadline > $1 then state
		when deadline <= $1 then 'expired'
		when challenge_id is not null and challenge_state is distinct from 'pending' then 'cancelled'
		when not fence_holds then 'fenced'
		when suspended and charging <> 'payer' and (barred or charge is null and not coalesce(probes, false)) then 'no_funds'
		when suspended and charging <> 'payer' and charge is null then 'probe'
		else 'admitted' end as would
	from seen s where not misplaced
), chosen as (
	select j.*, case when would <> 'probe' then would
		when row_number() over (partition by fence_id, would order by ord) = 1 then 'admitted' else 'no_funds' end as next
	from judged j
), wanting as (
	select ord, account_id, amount,
	       row_number() over (partition by account_id order by ord) as n,
	       sum(amount) over (partition by account_id) as total, bool_and(charging = 'ledger') over (partition by account_id) as ledger
	from chosen where next = 'admitted' and state <> 'admitted' and charge is null and account_id is not null and charging <> 'payer'
), short as (
	select id, least(money, day) as free, case when money <= day or day is null then 'balance' else 'daily_limit' end as why from (
		select distinct a.id, w.total, case when w.ledger and a.told_at is not null then a.granted - a.posted - a.pending end as money,
		       a.daily_limit - case when a.day >= ` + todaySQL + ` then a.day_spent else 0 end as day
		from wanting w join accounts a on a.id = w.account_id) a
	where total > least(money, day)
), walk(account_id, n, free, ord, fits, why) as (
	select id, 0::bigint, free, 0::bigint, true, why from short
	union all
	select k.account_id, w.n, k.free - case when w.amount <= k.free then w.amount else 0 end, w.ord, w.amount <= k.free, k.why
	from walk k join wanting w on w.account_id = k.account_id and w.n = k.n + 1
), verdict as (
	select j.*, case when k.fits then j.next when k.ord is null then j.next else 'no_funds' end as final, k.why as short
	from chosen j left join walk k on k.ord = j.ord and k.n > 0
), moves as (
	select v.*, final in ('expired', 'cancelled', 'fenced', 'no_funds') as ends, case
		when final = 'in_doubt' then 'owner_lost'
		when final = 'expired' then 'deadline'
		when final = 'cancelled' then 'challenge_' || coalesce(challenge_state, 'gone')
		when final = 'fenced' then 'binding_changed'
		when final = 'no_funds' then coalesce(short, 'suspended')
		else '' end as why, case
		when charge is null and final = 'admitted' and account_id is not null then 'pending'
		when charge = 'pending' and final in ('expired', 'cancelled', 'fenced', 'no_funds')
		then (case when ` + takenSQL + ` > 0 then 'posted' else 'voided' end) end as charge_to, case when charge = 'pending' and final in ('expired', 'cancelled', 'fenced', 'no_funds') then ` + takenSQL + ` else 0 end as due
	from verdict v where final <> state
), changed as (
	update messages m set
		state = v.final, reason = v.why, state_version = m.state_version + 1,
		owner = case when v.final = 'admitted' then $2 when v.final = 'in_doubt' then m.owner end,
		admitted_at = case when v.final = 'admitted' then $1 else m.admitted_at end,
		resends = m.resends + case when v.state = 'in_doubt' then 1 else 0 end,
		retry_at = null, ` + chargeSQL + `,
		lane_partition = case when v.part >= 0 then v.part else m.lane_partition end,
		lane_offset = case when v.part >= 0 then v.pos else m.lane_offset end,
		sealed = case when v.ends then null else m.sealed end,
		seal_key = case when v.ends then null else m.seal_key end,
		ended_at = case when v.ends then $1::timestamptz end
	from moves v where m.id = v.id
	returning m.id, m.challenge_id, m.client, m.state, m.reason, m.state_version
), postings as (` + postingsSQL("moves", "case when charge is null then 'admitted' else 'stopped' end") + `
), ended as (
	update challenges c set state = v.final, reason = v.why, state_version = c.state_version + 1, ended_at = $1
	from moves v where c.id = v.challenge_id and c.message_id = v.id and c.state = 'pending' and v.final in ('expired', 'fenced', 'no_funds')
	returning c.id, c.client, c.person, c.purpose, c.state, c.reason, c.state_version
), again as (
	insert into retries (message_id, operator, due_at)
	select id, operator, $1 from moves where final = 'in_doubt' and challenge_id is not null and resends = 0 and not one_send
	on conflict (message_id) do update set due_at = excluded.due_at
), done as (
	delete from retries where message_id = any(array(
		select id from verdict where state <> 'queued' and final <> 'retry' and (final <> 'in_doubt' or state = 'in_doubt')))
), ` + doubtedSQL("final") + `, ` + tailSQL + `
select alive.ok, v.id, v.state, v.final, v.lane, v.text_id, v.deadline, v.dest, v.state = 'in_doubt',
       case when v.final = 'admitted' and v.state <> 'admitted' then v.sealed end, v.tries, v.parts, v.parts_taken, v.charging, v.units, v.charge is not null, coalesce(v.probes, false), v.short is not distinct from 'balance', false
from alive left join verdict v on true
union all
select true, id, state as was, state as final, lane, text_id, deadline, dest, false, null, tries, parts, parts_taken, charging, units, charge is not null, false as probes, false as broke, true from seen where misplaced`

// Admit decides about Messages taken from a lane, or due again. When it has
// returned, an item's Kafka offset may be committed: the row is the job now. The
// admissions come back in the order of the items, a repeated id once.
//
//   - mine: write it within a second, counted from before this call; the money
//     is reserved, once per Message. Resend marks a code that was in doubt: its
//     one extra try.
//   - refused: the Message has ended by this call, unsent and uncharged, and
//     with it the challenge it carried the code of: expired (deadline),
//     cancelled (challenge_<state>: superseded or otherwise ended), fenced
//     (binding_changed), no_funds (balance, daily_limit, or suspended).
//   - drop: nothing to write. It has ended, is sent, another live bridge or
//     this one has it, its retry is not due, it is in doubt and waits; or its
//     owner has died, and it is in doubt from now on (a code comes back by
//     DueRetries). Or it is of another operator than the bridge: its record is
//     on the wrong lane, which is logged, and the sweeper publishes it again.
//   - unknown: no such row.
//
// A Message in doubt is never refused here: it may have been sent, so its end
// is what a receipt or the sweeper says.
//
// What is new and has nothing against it is one statement and one transaction
// (freshSQL); the rest of the batch is another. So an error may come with
// admissions: these are stored, and the error is about the other items. A bridge
// whose lease has ended gets KindConflict, code "bridge_ended", and nothing is
// changed.
func (db *DB) Admit(ctx context.Context, bridge int64, items []mobileid.AdmitItem) ([]mobileid.Admission, error) {
	a := newAdmitting(items)
	err := db.admitFresh(ctx, bridge, a)
	if err == nil {
		err = db.admitRest(ctx, bridge, a)
	}
	out := a.decided(err == nil)
	for i := range out {
		db.metrics.admitted.WithLabelValues(string(out[i].Verdict), string(out[i].State)).Inc()
	}
	return out, err
}

// admitting is a batch that is being decided.
type admitting struct {
	items []mobileid.AdmitItem // a repeated id once: it would be decided twice
	out   []mobileid.Admission // of the same place
	known []bool               // it is decided
	place map[mobileid.ID]int
}

func newAdmitting(items []mobileid.AdmitItem) *admitting {
	a := &admitting{place: make(map[mobileid.ID]int, len(items)), items: make([]mobileid.AdmitItem, 0, len(items))}
	for i := range items {
		if _, twice := a.place[items[i].ID]; !twice {
			a.place[items[i].ID] = len(a.items)
			a.items = append(a.items, items[i])
		}
	}
	a.out, a.known = make([]mobileid.Admission, len(a.items)), make([]bool, len(a.items))
	for i := range a.items {
		a.out[i] = mobileid.Admission{ID: a.items[i].ID, Verdict: mobileid.VerdictUnknown}
	}
	return a
}

// decide returns where to write what was decided about an id.
func (a *admitting) decide(id []byte) *mobileid.Admission {
	i := a.place[toID(id)]
	a.known[i] = true
	return &a.out[i]
}

// decided returns all, or those that are known.
func (a *admitting) decided(all bool) []mobileid.Admission {
	if all {
		return a.out
	}
	var out []mobileid.Admission
	for i := range a.out {
		if a.known[i] {
			out = append(out, a.out[i])
		}
	}
	return out
}

// admitColumns are the items that fit, as arrays.
type admitColumns struct {
	ids     [][]byte
	parts   []int32
	offsets []int64
}

func (a *admitting) columns(fits func(i int) bool) (c admitColumns) {
	for i := range a.items {
		if !fits(i) {
			continue
		}
		it := &a.items[i]
		part, offset := int32(it.Source.Partition), it.Source.Offset
		if it.Source.Topic == "" {
			part, offset = -1, -1
		}
		c.ids, c.parts, c.offsets = append(c.ids, it.ID[:]), append(c.parts, part), append(c.offsets, offset)
	}
	return c
}

// admitRest decides about whatever is not decided yet.
func (db *DB) admitRest(ctx context.Context, bridge int64, a *admitting) error {
	c := a.columns(func(i int) bool { return !a.known[i] })
	if len(c.ids) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	lockFromMessages(b, c.ids)
	b.Queue(admitSQL, db.clock(), bridge, c.ids, c.parts, c.offsets)
	alive, misplaced := false, 0
	var broke unpaid
	var paid, probing [][]byte
	err := db.send(ctx, "admit", b, func(r pgx.Rows) error {
		var id, dest, sealed []byte
		var was, state, lane, text *string
		var charging *mobileid.Charging
		var deadline *time.Time
		var resend, charged, probe, broken *bool
		var tries, size, units *int
		var taken *int64
		var stray bool
		if err := r.Scan(&alive, &id, &was, &state, &lane, &text, &deadline, &dest, &resend, &sealed, &tries, &size, &taken,
			&charging, &units, &charged, &probe, &broken, &stray); err != nil || id == nil {
			return err
		}
		if stray {
			misplaced++
		}
		o := a.decide(id)
		o.State = mobileid.MessageState(*state)
		o.Lane, o.TextID, o.Deadline = mobileid.Lane(*lane), *text, *deadline
		o.Dest, o.Sealed = toPseudonym(dest), sealed
		o.Tries, o.Parts, o.Taken = *tries, *size, mobileid.PartSet(*taken)
		o.Verdict = verdictOf(mobileid.MessageState(*was), o.State)
		o.Resend = *resend && o.Verdict == mobileid.VerdictMine
		o.Charging, o.Units, o.Charged = *charging, *units, *charged
		switch {
		case o.Verdict == mobileid.VerdictRefused && *broken:
			broke.add(o.ID, *probe)
		case o.Verdict != mobileid.VerdictMine || !*probe:
		case o.Charging == mobileid.ChargingLedger:
			if !o.Charged { // else it was reserved before the money was out
				paid = append(paid, raw(o.ID))
			}
		default:
			o.Probe, probing = true, append(probing, raw(o.ID))
		}
		return nil
	})
	if err == nil {
		db.suspend(ctx, broke)
		db.resumed(ctx, paid)
		db.probing(ctx, probing)
	}
	if err == nil && !alive {
		err = errBridgeEnded()
	}
	if err == nil && misplaced > 0 {
		db.log.ErrorContext(ctx, "messages of another operator were on this bridge's lane", "bridge", bridge, "messages", misplaced)
	}
	return err
}

// verdictOf reads the verdict off the move that admission made.
func verdictOf(was, is mobileid.MessageState) mobileid.Verdict {
	switch {
	case was == is || is == mobileid.MessageInDoubt:
		return mobileid.VerdictDrop
	case is == mobileid.MessageAdmitted:
		return mobileid.VerdictMine
	}
	return mobileid.VerdictRefused
}

// dueSQL reads each lane by its index, so that a due code is found at once
// behind any number of due notices.
const dueSQL = `
select message_id, lane from (
	(select message_id, lane, due_at from retries
	 where operator = $1 and lane = 'otp' and due_at <= $2 order by due_at limit $3)
	union all
	(select message_id, lane, due_at from retries
	 where operator = $1 and lane = 'bulk' and due_at <= $2 order by due_at limit $3)
) due order by lane = 'otp' desc, due_at limit $3`

// DueRetries returns Messages to admit again with their lane, codes first, and
// of each lane the longest due first: those that the operator asked for later
// and whose time has come, and codes in doubt that have their one extra sending
// left. It changes nothing: two bridges may get the same ids, admission gives
// each to one.
func (db *DB) DueRetries(ctx context.Context, operator string, limit int) ([]mobileid.AdmitItem, error) {
	var out []mobileid.AdmitItem
	err := db.query(ctx, "due retries", dueSQL, []any{operator, db.clock(), limit}, func(r pgx.Rows) error {
		var id []byte
		var lane mobileid.Lane
		err := r.Scan(&id, &lane)
		out = append(out, mobileid.AdmitItem{ID: toID(id), Lane: lane})
		return err
	})
	return out, err
}
