package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// settleSQL moves the Messages that this bridge has, after its rows were
// locked.
var settleSQL = `
with told as (
	select o.*, m.challenge_id, m.operator, m.resends, m.state as was, m.parts, m.parts_taken,
	       m.account_id, m.amount, m.units, m.one_send, m.charging, m.charge, m.charge_step, m.charged, o.next in ('rejected', 'failed', 'expired', 'no_funds') as ends,
	       m.owner is not distinct from $2 and case m.state
		when 'admitted' then not (o.late and m.resends > 0)
		when 'in_doubt' then o.next in ('sent', 'rejected') or (o.late and m.resends = 0 and o.next in ('retry', 'expired'))
		     or (not o.late and o.next = 'retry' and m.reason = 'owner_lost')
		else false end as ours
	from unnest($3::bytea[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::boolean[], $10::bigint[], $11::boolean[], $12::text[])
	     with ordinality as o(id, next, why, link, retry_at, submitted_at, tried, taken, late, answer, ord)
	join messages m on m.id = o.id
	where ` + isKnown("o.ord") + `
), dues as (
	select o.*, case
		when next = 'sent' then amount
		when units > 1 then amount / units * least(units, bit_count((taken | parts_taken)::bit(64)))
		else 0 end as whole
	from told o where ours
), moves as (
	select d.*, case
		when charge not in ('pending', 'unknown') then null
		when next = 'in_doubt' and answer = 'free' then 'voided' -- whatever becomes of it
		when answer = 'unknown' and (whole > 0 or next in ('sent', 'in_doubt')) then case when charge = 'pending' then 'unknown' end
		when not (ends or next = 'sent') then null
		when answer <> 'free' and (whole > 0 or next = 'sent') then 'posted' -- at no price, too
		else 'voided' end as charge_to,
	       case when answer = '' then whole else 0 end as due
	from dues d
), facts as (
	update messages m set parts_taken = m.parts_taken | o.taken
	from told o where m.id = o.id and not o.ours and o.taken & ~m.parts_taken <> 0 and m.ended_at is null
), changed as (
	update messages m set
		state = v.next, reason = v.why, state_version = m.state_version + 1,
		link = v.link, retry_at = case when v.next = 'retry' then v.retry_at end,
		submitted_at = coalesce(v.submitted_at, m.submitted_at),
		tries = least(m.tries + v.tried::integer, 32767), parts_taken = m.parts_taken | v.taken, ` + chargeSQL + `,
		owner = case when v.next = 'in_doubt' then m.owner end,
		sealed = case when v.ends or v.next = 'sent' then null else m.sealed end,
		seal_key = case when v.ends or v.next = 'sent' then null else m.seal_key end,
		ended_at = case when v.ends then $1::timestamptz end
	from moves v where m.id = v.id
	returning m.id, m.challenge_id, m.client, m.state, m.reason, m.state_version
), postings as (` + postingsSQL("moves", "case when answer = '' or answer = 'unknown' and charge_to = 'voided' then 'answer' else 'charger' end") + `
), ended as (
	update challenges c set
		state = case v.next when 'rejected' then 'undeliverable' else v.next end,
		reason = v.why, state_version = c.state_version + 1, ended_at = $1
	from moves v where c.id = v.challenge_id and c.message_id = v.id and c.state = 'pending' and v.ends
	returning c.id, c.client, c.person, c.purpose, c.state, c.reason, c.state_version
), again as (
	insert into retries (message_id, operator, due_at)
	select id, operator, case when next = 'retry' then coalesce(retry_at, $1) else $1 end from moves
	where next = 'retry' or (next = 'in_doubt' and challenge_id is not null and resends = 0 and not one_send)
	on conflict (message_id) do update set due_at = excluded.due_at
), done as (
	delete from retries where message_id = any(array(select id from moves where ends or next = 'sent'))
), sure as (
	delete from doubts where message_id = any(array(select id from moves where resends = 0 and (late or was = 'in_doubt' and next = 'retry')))
), ` + doubtedSQL("next") + `, ` + tailSQL + `
select count(*) from changed`

// storePartsSQL keeps what the operator answered, even for a Message that has
// gone on without us: it is a fact, and a receipt may come for it. An answer
// that came late fills the row that was stored without one.
const storePartsSQL = `
insert into message_parts (message_id, part, account, operator_id, dest, link, sequence, status, answered_at)
select p.id, p.part, $1, p.operator_id, p.dest, p.link, p.sequence, p.status, p.answered_at
from unnest($2::bytea[], $3::integer[], $4::text[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], $9::timestamptz[])
     as p(id, part, operator_id, dest, link, sequence, status, answered_at)
join messages m on m.id = p.id
order by p.id, p.part
on conflict (message_id, part, link, sequence) do update
set operator_id = excluded.operator_id, status = excluded.status, answered_at = excluded.answered_at
where message_parts.operator_id = '' and message_parts.answered_at is null`

// outcomeStates are what a bridge may say of a Message.
var outcomeStates = map[mobileid.MessageState]bool{
	mobileid.MessageSent: true, mobileid.MessageRejected: true, mobileid.MessageRetry: true,
	mobileid.MessageInDoubt: true, mobileid.MessageExpired: true, mobileid.MessageFailed: true, mobileid.MessageNoFunds: true,
}

// Settle stores what became of Messages on a link of the operator account
// ("operator/system_id"), each with its parts, challenge and Charge in one
// transaction. After an error some may be stored; stored again, nothing changes:
//
//	sent       the charge is posted, the text erased
//	rejected   the operator refused it for good: voided; its challenge ends undeliverable
//	no_funds   the operator says that the subscriber cannot pay: voided; its challenge ends no_funds
//	failed     our fault: voided; its challenge ends failed
//	expired    not written by its deadline: voided; its challenge ends expired
//	retry      comes back by DueRetries at RetryAt; the money stays reserved
//	in_doubt   written, no answer; a code comes back by DueRetries once. What the
//	           charging system did not answer for is unknown from now on, what it
//	           asks nothing for is voided
//
// Only a Message that this bridge has is moved: admitted by it, or in doubt
// since and now answered late (sent or rejected). When a late answer says that the
// operator did not take it, and it was sent once, it is in doubt no more and comes
// back (retry) or ends (expired); of one that was sent again nobody knows. One
// that is in doubt only because the bridge was thought dead comes back (retry) when
// the bridge knows that it was not written. The parts of any other are kept as
// facts, and not written again. A receipt that came first is matched at once. A
// state that is not in the list is KindInvalid, and nothing is stored.
func (db *DB) Settle(ctx context.Context, bridge int64, account string, outcomes []mobileid.Outcome) error {
	var plain, rest []mobileid.Outcome
	for i := range outcomes {
		if !outcomeStates[outcomes[i].State] {
			return mobileid.Invalid("state", "outcome_state", "a bridge says sent, rejected, no_funds, retry, in_doubt, expired or failed")
		}
		if isPlain(&outcomes[i]) {
			plain = append(plain, outcomes[i])
		} else {
			rest = append(rest, outcomes[i])
		}
	}
	done, err := db.settleSent(ctx, bridge, account, plain)
	if err != nil {
		return err
	}
	if !done {
		rest = outcomes
	}
	if err := db.settleRest(ctx, bridge, account, rest); err != nil {
		return err
	}
	db.matchWaiting(ctx, []string{account}, operatorIDs(outcomes))
	db.heedFunds(ctx, outcomes)
	return nil
}

// heedFunds suspends the SMS of those who could not pay, says the operator, and
// brings back those of a probe that he took.
func (db *DB) heedFunds(ctx context.Context, outcomes []mobileid.Outcome) {
	var broke unpaid
	var paid [][]byte
	for i := range outcomes {
		switch o := &outcomes[i]; {
		case o.State == mobileid.MessageNoFunds:
			broke.add(o.ID, o.Probe)
		case o.State == mobileid.MessageSent && o.Probe && o.Charge == mobileid.ChargeAsReserved:
			paid = append(paid, raw(o.ID))
		}
	}
	db.suspend(ctx, broke)
	db.resumed(ctx, paid)
}

// settleRest stores any outcomes.
func (db *DB) settleRest(ctx context.Context, bridge int64, account string, outcomes []mobileid.Outcome) error {
	s := newSettlement(outcomes)
	if len(s.ids) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	lockFromMessages(b, s.ids)
	b.Queue(settleSQL, db.clock(), bridge, s.ids, s.states, s.reasons, s.links, s.retryAt, s.submittedAt, s.tried, s.taken, s.late, s.notes)
	s.parts.queue(b, storePartsSQL, account)
	return db.send(ctx, "settle", b, nil)
}

// operatorIDs lists the ids that the operator has answered with.
func operatorIDs(outcomes []mobileid.Outcome) (ids []string) {
	for i := range outcomes {
		for j := range outcomes[i].Parts {
			if id := outcomes[i].Parts[j].OperatorID; id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// settlement is a batch of outcomes as arrays, a repeated id once: the first
// answer is the one that counts, the parts of all are kept.
type settlement struct {
	ids                  [][]byte
	states               []string
	reasons, links       []string
	retryAt, submittedAt []*time.Time
	tried, late          []bool
	taken                []int64
	notes                []mobileid.ChargeNote
	parts                partRows
}

// partRows are rows of message_parts as arrays.
type partRows struct {
	ids, dests         [][]byte
	numbers            []int32
	operatorIDs, links []string
	sequences          []int64
	statuses           []int64
	answeredAt         []*time.Time
}

func (r *partRows) queue(b *pgx.Batch, sql, account string) {
	b.Queue(sql, account, r.ids, r.numbers, r.operatorIDs, r.dests, r.links, r.sequences, r.statuses, r.answeredAt)
}

func (r *partRows) add(id mobileid.ID, p *mobileid.PartOutcome) {
	r.ids, r.numbers = append(r.ids, raw(id)), append(r.numbers, int32(p.Part))
	r.operatorIDs, r.dests = append(r.operatorIDs, p.OperatorID), append(r.dests, p.Dest[:])
	r.links, r.sequences = append(r.links, p.Link), append(r.sequences, int64(p.Sequence))
	r.statuses = append(r.statuses, int64(p.Status))
	r.answeredAt = append(r.answeredAt, orNull(p.AnsweredAt))
}

func newSettlement(outcomes []mobileid.Outcome) *settlement {
	s := &settlement{}
	seen := make(map[mobileid.ID]bool, len(outcomes))
	type partKey struct {
		id       mobileid.ID
		part     int
		link     string
		sequence uint32
	}
	parts := map[partKey]bool{}
	for i := range outcomes {
		o := &outcomes[i]
		if !seen[o.ID] {
			seen[o.ID] = true
			s.ids, s.states = append(s.ids, o.ID[:]), append(s.states, string(o.State))
			s.reasons, s.links = append(s.reasons, o.Reason), append(s.links, o.Link)
			s.retryAt, s.submittedAt = append(s.retryAt, orNull(o.RetryAt)), append(s.submittedAt, orNull(o.SubmittedAt))
			s.tried, s.taken = append(s.tried, o.Tried), append(s.taken, int64(o.Taken()))
			s.late, s.notes = append(s.late, o.Late), append(s.notes, o.Charge)
		}
		for j := range o.Parts {
			p := &o.Parts[j]
			k := partKey{o.ID, p.Part, p.Link, p.Sequence}
			if parts[k] {
				continue
			}
			parts[k] = true
			s.parts.add(o.ID, p)
		}
	}
	return s
}

// orNull gives the database null for "no time".
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
