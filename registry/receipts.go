package registry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Operators' ids wrap and repeat, so a receipt belongs to the last part that
// was answered with its id, on its account, to its destination, in this time.
const (
	receiptWindow = 72 * time.Hour
	// clockSkew lets a receipt seem a little older than the answer: two hosts
	// may have written the two times.
	clockSkew = 5 * time.Minute
)

// partOfReceiptSQL joins receipts r with their parts p, by that rule.
var partOfReceiptSQL = partOfReceiptIn("message_parts")

// partOfReceiptIn is partOfReceiptSQL on a table of parts. Its intervals are
// literals: the statements that use it have other parameters.
func partOfReceiptIn(parts string) string {
	return fmt.Sprintf(`
join lateral (
	select message_id, part, link, sequence from %s p
	where p.operator_id = r.operator_id and p.account = r.account and p.dest = r.dest
	  and p.answered_at > r.received_at - interval '%d s' and p.answered_at < r.received_at + interval '%d s'
	order by p.answered_at desc limit 1) p on r.operator_id <> ''`, parts, receiptWindow/time.Second, clockSkew/time.Second)
}

// matchSQL finds the part of each receipt.
var matchSQL = `
select r.ord, p.message_id, p.part, p.link, p.sequence
from unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[]) with ordinality
     as r(account, operator_id, dest, received_at, ord)` + partOfReceiptSQL

// attachSQL stores receipts with the parts they belong to. The first final
// receipt of a part is its state; a repeated one adds nothing.
const attachSQL = `
with r as (
	select * from unnest($1::bytea[], $2::integer[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::text[])
	     with ordinality as r(id, part, link, sequence, state, stat, err, at, reason, ord)
), fresh as (
	select distinct on (r.id, r.part, r.state, r.stat, r.err) r.*
	from r left join receipts x on x.message_id = r.id and x.part = r.part
	     and x.state = r.state and x.stat = r.stat and x.err = r.err
	where x.message_id is null
	order by r.id, r.part, r.state, r.stat, r.err, r.ord
), kept as (
	insert into receipts (message_id, part, seen, state, stat, err, received_at, reason)
	select f.id, f.part, coalesce(max(x.seen), 0) + row_number() over (partition by f.id, f.part order by f.ord),
	       f.state, f.stat, f.err, f.at, f.reason
	from fresh f left join receipts x on x.message_id = f.id and x.part = f.part
	group by f.id, f.part, f.state, f.stat, f.err, f.at, f.reason, f.ord
), final as (
	select distinct on (id, part, link, sequence) id, part, link, sequence, state, reason
	from r where state <> '' order by id, part, link, sequence, ord
)
update message_parts p set receipt = f.state, receipt_reason = f.reason from final f
where p.message_id = f.id and p.part = f.part and p.link = f.link and p.sequence = f.sequence and p.receipt = ''`

// foldSQL moves Messages whose parts all have a final receipt. A part that was
// submitted twice (a code in doubt, sent again) is delivered if either was, and
// failed only if every answered submission of it failed. While a bridge has
// the Message only a delivery ends it: a failure may be of the earlier try. A
// Message that was sent has answers for all its parts; one that is admitted or
// in doubt may have parts that nobody knows of, and is not delivered by the
// others.
//
// The charge follows the receipt even after the Message has ended otherwise, in one
// direction: what is not to be paid is given back. What the operator has refused is
// never paid for; what he finally did not deliver, as the tariff says. A tariff by
// the Message wants all parts of it, one by the part pays for those that came. Of
// a Message that ended before he had all of it the other parts have no receipt.
var foldSQL = `
with part as (
	select message_id, part, bool_or(receipt = 'delivered') as delivered, bool_or(receipt = 'rejected') as refused,
	       bool_or(operator_id <> '') as taken,
	       coalesce(bool_and(receipt <> '') filter (where operator_id <> ''), false) as final,
	       min(receipt) filter (where receipt not in ('', 'delivered')) as failure, max(receipt_reason) as reason
	from message_parts where message_id in ` + knownSQL + ` group by message_id, part
), whole as (
	select message_id, count(*) as known, bool_and(delivered) as delivered, bool_and(taken) as taken, min(failure) filter (where not delivered) as failure,
	       max(reason) filter (where not delivered) as reason, count(*) filter (where not delivered and (refused or not taken)) as refused,
	       count(*) filter (where not delivered and taken and not refused) as undelivered
	from part group by message_id having bool_and(delivered or final or not taken) and bool_or(taken)
), final as (
	select m.id, m.challenge_id, m.state, m.ended_at, m.parts, case when w.delivered then 'delivered' else w.failure end as next, w.reason,
	       m.account_id, m.operator, m.amount, m.units, m.charging, m.charge, m.charge_step, m.charged, case
		when m.units > 1 then greatest(0, least(w.known, m.units) - w.refused - case when t.refund_undelivered then w.undelivered else 0 end)
		when w.refused > 0 or coalesce(t.refund_undelivered, true) and w.undelivered > 0 then 0
		else m.units end as paid, k.message_id is not null and m.state <> 'unconfirmed' as asked
	from whole w join messages m on m.id = w.message_id left join tariffs t on t.id = m.tariff_id
	left join charge_calls k on k.message_id = m.id and k.step = m.charge_step
	where (w.taken or m.state in ('rejected', 'expired', 'failed', 'no_funds')) and (not w.delivered or w.known >= m.parts or m.state not in ('in_doubt', 'admitted', 'retry'))
), dues as (
	select f.*, amount / units * paid as due, state in ('sent', 'in_doubt') or (state in ('admitted', 'retry') and next = 'delivered') as moves, case
		-- While a bridge has it, or will have it again, a failure may be of the earlier try.
		when state in ('admitted', 'retry') and next <> 'delivered' or state = 'delivered' then null
		-- Whether the operator's charging system has it is not in a receipt: he is asked.
		when charge = 'unknown' and asked and paid > 0 then null
		when charge in ('pending', 'unknown') and paid > 0 then 'posted'
		when charge in ('pending', 'unknown') then 'voided'
		-- At no price, too: the operator's charging system has a price of its own.
		when charge = 'posted' and paid = 0 and (charged > 0 or amount = 0) then 'reversed'
		when charge = 'posted' and amount / units * paid < charged then 'posted' end as charge_to
	from final f
), moves as (
	select * from dues where moves
), changed as (
	update messages m set state = v.next, reason = coalesce(nullif(v.reason, ''), 'receipt'), state_version = m.state_version + 1,
	       ` + chargeSQL + `, sealed = null, seal_key = null, owner = null, ended_at = $1
	from moves v where m.id = v.id
	returning m.id, m.challenge_id, m.client, m.state, m.reason, m.state_version
), corrected as (
	update messages m set ` + chargeSQL + `
	from dues v where m.id = v.id and not v.moves and v.charge_to is not null
), postings as (` + postingsSQL("dues", "'receipt'") + `
), ended as (
	update challenges c set state = case v.next when 'failed' then 'failed' else 'undeliverable' end,
	       reason = coalesce(nullif(v.reason, ''), 'receipt_' || v.next), state_version = c.state_version + 1, ended_at = $1
	from moves v where c.id = v.challenge_id and c.message_id = v.id and c.state = 'pending' and v.next <> 'delivered'
	returning c.id, c.client, c.person, c.purpose, c.state, c.reason, c.state_version
), done as (
	delete from retries where message_id = any(array(select id from moves))
), ` + tailSQL + `
select count(*) from changed`

// receiptStates are what a receipt may say; "" is not final.
var receiptStates = map[mobileid.MessageState]bool{
	"": true, mobileid.MessageDelivered: true, mobileid.MessageUndeliverable: true, mobileid.MessageExpired: true,
	mobileid.MessageRejected: true, mobileid.MessageFailed: true,
}

// StoreReceipts keeps delivery receipts and returns how many of them belong to
// a Message that we know. Storing the same receipt again changes nothing.
//
// A Message ends when each of its parts has a final receipt: delivered if all
// are, otherwise as the failure says; a code that was not delivered ends its
// challenge (undeliverable, or failed). Delivered posts a charge that is still
// pending; a failure voids it, or reverses it if it was posted (promise P3). A
// Message that had ended keeps its state; the receipt is kept as a fact.
//
// What matches nothing is kept too: the answer it belongs to may be on its way
// (Settle and the sweeper look), or be missing for good (reconciliation).
func (db *DB) StoreReceipts(ctx context.Context, receipts []mobileid.Receipt) (matched int, err error) {
	for i := range receipts {
		if !mobileid.ReasonListed(receipts[i].Reason) {
			return 0, mobileid.Invalid("reason", "receipt_reason", "the reason of a receipt is in the closed list")
		}
		if !receiptStates[receipts[i].State] {
			return 0, mobileid.Invalid("state", "receipt_state", "a receipt says delivered, undeliverable, expired, rejected, failed or nothing final")
		}
	}
	if len(receipts) == 0 {
		return 0, nil
	}
	left, err := db.storeDelivered(ctx, receipts)
	if err != nil {
		return 0, err
	}
	matched = len(receipts) - len(left)
	more, err := db.storeRest(ctx, left)
	return matched + more, err
}

// storeRest stores any receipts.
func (db *DB) storeRest(ctx context.Context, receipts []mobileid.Receipt) (matched int, err error) {
	if len(receipts) == 0 {
		return 0, nil
	}
	found, err := db.match(ctx, receipts)
	if err != nil {
		return 0, err
	}
	b := &pgx.Batch{}
	at := &attachment{}
	var rest []mobileid.Receipt
	for i := range receipts {
		if p, ok := found[i]; ok {
			at.add(p, &receipts[i])
		} else {
			rest = append(rest, receipts[i])
		}
	}
	queueUnmatched(b, rest)
	if at.len() > 0 {
		at.queue(b, db.clock())
	}
	if err := db.send(ctx, "store receipts", b, nil); err != nil {
		return 0, err
	}
	db.suspend(ctx, at.unpaid())
	matched = at.len()
	accounts, ids := make([]string, len(rest)), make([]string, len(rest))
	for i := range rest {
		accounts[i], ids[i] = rest[i].Account, rest[i].OperatorID
	}
	matched += db.matchWaiting(ctx, accounts, ids)
	db.metrics.unmatched.Add(float64(len(receipts) - matched))
	return matched, nil
}

// queueUnmatched queues the receipts that belong to nothing yet, in the order
// of their key: two transactions with the same ones wait for each other. One
// that waits already begins to wait anew: the operator's ids come round, so it
// may be of another Message than the one it looks like.
func queueUnmatched(b *pgx.Batch, receipts []mobileid.Receipt) {
	if len(receipts) == 0 {
		return
	}
	n := len(receipts)
	accounts, ids, dests, states := make([]string, n), make([]string, n), make([][]byte, n), make([]string, n)
	stats, errs, at, reasons := make([]string, n), make([]string, n), make([]time.Time, n), make([]string, n)
	references := make([]*int32, n)
	for i := range receipts {
		r := &receipts[i]
		accounts[i], ids[i], dests[i], states[i] = r.Account, r.OperatorID, r.Dest[:], string(r.State)
		stats[i], errs[i], at[i], reasons[i] = r.Stat, r.Err, r.At, r.Reason
		if r.Reference != nil {
			references[i] = new(int32(*r.Reference))
		}
	}
	b.Queue(`
insert into receipts_unmatched (account, operator_id, dest, state, stat, err, received_at, reason, reference)
select distinct on (operator_id, account, dest, stat, err) *
from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[], $9::integer[])
	as r(account, operator_id, dest, state, stat, err, received_at, reason, reference)
order by operator_id, account, dest, stat, err, received_at desc
on conflict (operator_id, account, dest, stat, err) do update
set received_at = excluded.received_at, state = excluded.state, reason = excluded.reason, reference = excluded.reference
where receipts_unmatched.received_at < excluded.received_at`, accounts, ids, dests, states, stats, errs, at, reasons, references)
}

// partRef names one submission of one part.
type partRef struct {
	message  mobileid.ID
	part     int32
	link     string
	sequence int64
}

// match finds the parts of receipts, by their place in the slice. It takes no
// lock: the keys of a part never change.
func (db *DB) match(ctx context.Context, receipts []mobileid.Receipt) (map[int]partRef, error) {
	n := len(receipts)
	accounts, ids, dests, at := make([]string, n), make([]string, n), make([][]byte, n), make([]time.Time, n)
	for i := range receipts {
		r := &receipts[i]
		accounts[i], ids[i], dests[i], at[i] = r.Account, r.OperatorID, r.Dest[:], r.At
	}
	out := make(map[int]partRef, n)
	err := db.query(ctx, "match receipts", matchSQL, []any{accounts, ids, dests, at}, func(r pgx.Rows) error {
		var ord int
		var p partRef
		var id []byte
		err := r.Scan(&ord, &id, &p.part, &p.link, &p.sequence)
		p.message = toID(id)
		out[ord-1] = p
		return err
	})
	return out, err
}

// attachment is a batch of receipts with their parts, as arrays.
type attachment struct {
	messages          [][]byte
	parts             []int32
	links             []string
	sequences         []int64
	states, stats, er []string
	reasons           []string
	at                []time.Time
}

func (a *attachment) len() int { return len(a.messages) }

func (a *attachment) add(p partRef, r *mobileid.Receipt) {
	a.messages, a.parts = append(a.messages, raw(p.message)), append(a.parts, p.part)
	a.links, a.sequences = append(a.links, p.link), append(a.sequences, p.sequence)
	a.states, a.stats = append(a.states, string(r.State)), append(a.stats, r.Stat)
	a.er, a.at, a.reasons = append(a.er, r.Err), append(a.at, r.At), append(a.reasons, r.Reason)
}

// ids returns the Messages, each once.
func (a *attachment) ids() [][]byte {
	return slices.CompactFunc(slices.SortedFunc(slices.Values(a.messages), slices.Compare), slices.Equal)
}

// unpaid returns the Messages that the subscriber could not pay.
func (a *attachment) unpaid() (u unpaid) {
	for i, reason := range a.reasons {
		if reason == mobileid.ReasonCannotPay {
			u.ids, u.probes = append(u.ids, a.messages[i]), append(u.probes, false)
		}
	}
	return u
}

// queue queues the locks, the receipts and what follows from them.
func (a *attachment) queue(b *pgx.Batch, now time.Time) {
	ids := a.ids()
	lockFromMessages(b, ids)
	a.queueLocked(b, now, ids)
}

// queueLocked queues the receipts of locked Messages and what follows from them.
func (a *attachment) queueLocked(b *pgx.Batch, now time.Time, ids [][]byte) {
	b.Queue(attachSQL, a.messages, a.parts, a.links, a.sequences, a.states, a.stats, a.er, a.at, a.reasons)
	b.Queue(foldSQL, now, ids)
}

// matchWaiting matches receipts that have waited for the answer they belong to,
// among those with these ids of these accounts. Settle calls it when the answers
// are committed, and StoreReceipts when what it found none for is committed: so
// of two that race with each other one sees what the other has stored. Only rows
// that have a part by now are locked: rematch skips what is locked, and what two
// skip nobody matches. Mostly none has come lately, and then none is looked for.
// If it fails, they are left to the sweeper.
func (db *DB) matchWaiting(ctx context.Context, accounts, operatorIDs []string) (matched int) {
	if len(operatorIDs) == 0 {
		return 0
	}
	var waiting []int64
	err := db.query(ctx, "waiting receipts", `
select r.id from (
	select * from receipts_unmatched where operator_id = any($2::text[]) and operator_id <> '' and account = any($1::text[])
	and exists (select from receipts_unmatched where received_at > $3)
) r`+partOfReceiptSQL,
		[]any{slices.Compact(accounts), operatorIDs, db.clock().Add(-rematchWindow)}, func(r pgx.Rows) error {
			var id int64
			err := r.Scan(&id)
			waiting = append(waiting, id)
			return err
		})
	if err == nil && len(waiting) > 0 {
		matched, err = db.rematch(ctx, waiting)
	}
	if err != nil {
		db.log.LogAttrs(ctx, levelOf(err), "receipts that came first are left to the sweeper", slog.Any("err", err))
	}
	return matched
}

// rematch looks again for the parts of unmatched receipts and returns how many
// it found.
func (db *DB) rematch(ctx context.Context, ids []int64) (int, error) {
	matched := 0
	err := db.inTx(ctx, "rematch receipts", func(tx pgx.Tx) error {
		matched = 0
		rows, err := tx.Query(ctx, `
select r.id, r.state, r.stat, r.err, r.reason, r.received_at, p.message_id, p.part, p.link, p.sequence
from (select * from receipts_unmatched where id = any($1) order by id for update skip locked) r`+partOfReceiptSQL, ids)
		if err != nil {
			return err
		}
		at := &attachment{}
		var found []int64
		var id int64
		var r mobileid.Receipt
		var p partRef
		var message []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &r.State, &r.Stat, &r.Err, &r.Reason, &r.At, &message, &p.part, &p.link, &p.sequence}, func() error {
			p.message = toID(message)
			found = append(found, id)
			at.add(p, &r)
			return nil
		})
		if err != nil || len(found) == 0 {
			return err
		}
		matched = len(found)
		b := &pgx.Batch{}
		at.queue(b, db.clock())
		b.Queue(`delete from receipts_unmatched where id = any($1)`, found)
		return tx.SendBatch(ctx, b).Close()
	})
	return matched, err
}
