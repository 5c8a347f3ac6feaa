package registry

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// sweepSQL moves the Messages that are due among locked ones. $3 deadline of
// what no bridge has; $4 of what waits for a receipt; $5 of what a bridge has
// and does not settle; $6 bridges whose lease has ended.
var sweepSQL = `
with seen as (
	select m.id, m.state, m.challenge_id, m.operator, m.resends, c.state as challenge_state,
	       m.account_id, m.amount, m.units, m.parts_taken, m.one_send, m.charging, m.charge, m.charge_step, m.charged, case
		when m.state in ('queued', 'retry') and m.deadline <= $3 then 'expired'
		when m.state = 'in_doubt' and m.challenge_id is not null and m.deadline <= $3
		     and (c.id is null or c.state <> 'pending' or c.expires_at <= $3) then 'unconfirmed'
		when m.state in ('in_doubt', 'sent') and m.deadline <= $4 then 'unconfirmed'
		when m.state = 'admitted' and (m.deadline <= $5 or m.owner = any($6::bigint[])) then 'in_doubt'
		end as next
	from messages m left join challenges c on c.id = m.challenge_id and c.message_id = m.id
	where m.id in ` + knownSQL + ` and m.ended_at is null
), moves as (
	select s.*, next <> 'in_doubt' as ends, case
		when next = 'expired' then 'deadline'
		when next = 'in_doubt' then 'owner_lost'
		when state = 'sent' then 'no_receipt'
		else 'no_answer' end as why, case
		when next = 'expired' and charge = 'unknown' and ` + takenSQL + ` = 0 then 'voided'
		when charge is distinct from 'pending' or next = 'in_doubt' then null
		when next = 'expired' then case when ` + takenSQL + ` > 0 then 'posted' else 'voided' end
		when challenge_state = 'confirmed' then 'posted'
		else 'unknown' end as charge_to,
	       case when next = 'expired' then ` + takenSQL + ` when next = 'unconfirmed' and challenge_state = 'confirmed' then amount else 0 end as due
	from seen s where next is not null
), changed as (
	update messages m set state = v.next, reason = v.why, state_version = m.state_version + 1,
	       sealed = case when v.ends then null else m.sealed end,
	       seal_key = case when v.ends then null else m.seal_key end,
	       owner = case when v.ends then null else m.owner end,
	       retry_at = null, ` + chargeSQL + `,
	       ended_at = case when v.ends then $1::timestamptz end
	from moves v where m.id = v.id
	returning m.id, m.challenge_id, m.client, m.state, m.reason, m.state_version
), postings as (` + postingsSQL("moves", "case when charge_to = 'unknown' then 'doubt' when next = 'expired' then 'stopped' else 'confirmed' end") + `
), ended as (
	update challenges c set state = 'expired', reason = v.why, state_version = c.state_version + 1, ended_at = $1
	from moves v where c.id = v.challenge_id and c.message_id = v.id and c.state = 'pending' and v.next = 'expired'
	returning c.id, c.client, c.person, c.purpose, c.state, c.reason, c.state_version
), again as (
	insert into retries (message_id, operator, due_at)
	select id, operator, $1 from moves where next = 'in_doubt' and challenge_id is not null and resends = 0 and not one_send
	on conflict (message_id) do update set due_at = excluded.due_at
), done as (
	delete from retries where message_id = any(array(select id from moves where ends))
), ` + doubtedSQL("next") + `, ` + tailSQL + `
select count(*) from changed`

// sweepMessages moves those of the Messages that are due.
func (s *Sweeper) sweepMessages(ctx context.Context, ids [][]byte, dead []int64) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	now := s.db.clock()
	b := &pgx.Batch{}
	lockFromMessages(b, ids)
	if dead == nil {
		dead = []int64{}
	}
	b.Queue(sweepSQL, now, ids, now.Add(-s.cfg.Grace), now.Add(-s.cfg.ReceiptWait), now.Add(-s.cfg.StuckAfter), dead)
	n := 0
	err := s.db.send(ctx, "sweep messages", b, func(r pgx.Rows) error { return r.Scan(&n) })
	return n, err
}

// messageCursor is a place in the index of unfinished Messages.
type messageCursor struct {
	deadline time.Time
	id       []byte
}

// openMessage is what a walk over unfinished Messages shows.
type openMessage struct {
	item      mobileid.LaneItem
	state     mobileid.MessageState
	owner     *int64
	deadline  time.Time
	isCode    bool
	queued    time.Time
	published *time.Time
}

// walk returns the next page of unfinished Messages with a deadline from lo to
// hi, after the cursor, and moves the cursor; behind the last page it starts
// again. A page that is not full is the last.
func (s *Sweeper) walk(ctx context.Context, cur *messageCursor, lo, hi time.Time) ([]openMessage, error) {
	if cur.deadline.Before(lo) {
		*cur = messageCursor{deadline: lo}
	}
	id := cur.id
	if id == nil {
		id = []byte{}
	}
	b := &pgx.Batch{}
	b.Queue(`
select id, operator, lane, person, state, owner, deadline, challenge_id is not null, queued_at, published_at
from messages where ended_at is null and (deadline, id) > ($1, $2) and deadline <= $3
order by deadline, id limit $4`, cur.deadline, id, hi, s.cfg.Batch)
	var page []openMessage
	err := s.db.send(ctx, "walk messages", b, func(r pgx.Rows) error {
		var m openMessage
		var id, person []byte
		err := r.Scan(&id, &m.item.Operator, &m.item.Lane, &person, &m.state, &m.owner, &m.deadline, &m.isCode, &m.queued, &m.published)
		m.item.ID, m.item.Person = toID(id), toPseudonym(person)
		page = append(page, m)
		return err
	})
	if err != nil || len(page) < s.cfg.Batch {
		*cur = messageCursor{}
	} else {
		last := &page[len(page)-1]
		*cur = messageCursor{last.deadline, raw(last.item.ID)}
	}
	return page, err
}

// epochStart is before every deadline.
var epochStart = time.Unix(0, 0).UTC()

// freshFor is how long ago a deadline passed that is looked at in every pass.
// Older ones, where Messages that wait for receipts pile up, are walked at the
// pace of the batches.
const freshFor = time.Minute

// overdueMessages ends Messages whose deadline has passed.
func (s *Sweeper) overdueMessages(ctx context.Context) (int, error) {
	over := s.db.clock().Add(-s.cfg.Grace)
	n, err := s.endOverdue(ctx, &s.fresh, over.Add(-freshFor), over)
	if err != nil {
		return n, err
	}
	old, err := s.endOverdue(ctx, &s.overdue, epochStart, over.Add(-freshFor))
	return n + old, err
}

func (s *Sweeper) endOverdue(ctx context.Context, cur *messageCursor, lo, hi time.Time) (int, error) {
	total := 0
	for range s.cfg.Batches {
		now := s.db.clock()
		page, err := s.walk(ctx, cur, lo, hi)
		if err != nil {
			return total, err
		}
		var ids [][]byte
		for i := range page {
			// What surely waits is not locked in vain. The statement decides.
			m := &page[i]
			waits := m.state == mobileid.MessageSent || m.state == mobileid.MessageInDoubt && !m.isCode
			if waits && m.deadline.After(now.Add(-s.cfg.ReceiptWait)) ||
				m.state == mobileid.MessageAdmitted && m.deadline.After(now.Add(-s.cfg.StuckAfter)) {
				continue
			}
			ids = append(ids, raw(m.item.ID))
		}
		n, err := s.sweepMessages(ctx, ids, nil)
		total += n
		if err != nil || len(page) < s.cfg.Batch {
			return total, err
		}
	}
	return total, nil
}

// deadGrace lets an admission that was under way when a lease ended finish.
const deadGrace = 2 * time.Second

// deadBridges puts what dead bridges had in doubt. A bridge is looked at once,
// over all unfinished Messages, and then marked. When there are more of them
// than one step has time for, the next pass goes on where this one stopped.
func (s *Sweeper) deadBridges(ctx context.Context) (int, error) {
	if len(s.dead) == 0 {
		dead, err := s.endedBridges(ctx)
		if err != nil || len(dead) == 0 {
			return 0, err
		}
		s.dead, s.deadAt = dead, messageCursor{}
	}
	total := 0
	for {
		next := s.deadAt
		page, err := s.walk(ctx, &next, epochStart, s.db.clock().AddDate(10, 0, 0))
		if err != nil {
			return total, err
		}
		var ids [][]byte
		for i := range page {
			if o := page[i].owner; o != nil && page[i].state == mobileid.MessageAdmitted && slices.Contains(s.dead, *o) {
				ids = append(ids, raw(page[i].item.ID))
			}
		}
		n, err := s.sweepMessages(ctx, ids, s.dead)
		total += n
		if err != nil {
			return total, err
		}
		if len(page) < s.cfg.Batch {
			break
		}
		s.deadAt = next
	}
	err := s.db.query(ctx, "dead bridges",
		`update bridges set swept_at = clock_timestamp() where id = any($1)`, []any{s.dead}, nil)
	if err == nil {
		s.dead = nil
	}
	return total, err
}

// endedBridges returns the bridges whose lease ended and that were not looked
// at yet.
func (s *Sweeper) endedBridges(ctx context.Context) ([]int64, error) {
	var dead []int64
	err := s.db.query(ctx, "dead bridges", `
select id from bridges where swept_at is null and lease_until < clock_timestamp() - $1::interval order by id limit 100`,
		[]any{deadGrace}, func(r pgx.Rows) error {
			var id int64
			err := r.Scan(&id)
			dead = append(dead, id)
			return err
		})
	return dead, err
}

// republish publishes queued ids again whose lane record seems lost. A long
// backlog looks the same, so the wait doubles with every time: from
// RepublishAfter on, a Message of age t is published about log2(t) times.
func (s *Sweeper) republish(ctx context.Context) (int, error) {
	if s.lanes == nil {
		return 0, nil
	}
	for range s.cfg.Batches {
		now := s.db.clock()
		page, err := s.walk(ctx, &s.ahead, now, now.AddDate(10, 0, 0))
		if err != nil {
			return 0, err
		}
		var items []mobileid.LaneItem
		for i := range page {
			m := &page[i]
			if m.state != mobileid.MessageQueued {
				continue
			}
			since, wait := m.queued, s.cfg.RepublishAfter
			if m.published != nil {
				since, wait = *m.published, wait+m.published.Sub(m.queued)
			}
			if now.Sub(since) >= wait {
				items = append(items, m.item)
			}
		}
		if len(items) > 0 {
			return s.publishAgain(ctx, items, now)
		}
		if len(page) < s.cfg.Batch {
			return 0, nil
		}
	}
	return 0, nil
}

// publishAgain notes when it published what its lane took; the rest is due in
// the next pass as it was in this one.
func (s *Sweeper) publishAgain(ctx context.Context, items []mobileid.LaneItem, now time.Time) (int, error) {
	left, err := s.lanes.PublishLane(ctx, items)
	if err != nil {
		return 0, err
	}
	var ids []mobileid.ID
	for i := range items {
		if id := items[i].ID; !left[id] {
			ids = append(ids, id)
		}
	}
	b := &pgx.Batch{}
	b.Queue(`select from messages where id in (select unnest($1::bytea[])) order by id for no key update`, rawIDs(ids))
	b.Queue(`update messages set published_at = $2 where id in (select unnest($1::bytea[]))`, rawIDs(ids), now)
	return len(ids), s.db.send(ctx, "published again", b, nil)
}

// rematchWindow is how long the sweeper looks for the part of a receipt that
// came first. The answer is stored within seconds; what stays longer belongs
// to nothing that we know.
const rematchWindow = 10 * time.Minute

// receipts closes the race of a receipt with the settling of its answer, when
// neither transaction could see the other's row. It takes those that have a part
// by the rule of receipts: others with its id would fill a batch for ever.
func (s *Sweeper) receipts(ctx context.Context) (int, error) {
	var ids []int64
	err := s.db.query(ctx, "waiting receipts", `
select r.id from (select * from receipts_unmatched where received_at > $1) r`+partOfReceiptSQL+`
order by r.id limit $2`, []any{s.db.clock().Add(-rematchWindow), s.cfg.Batch}, func(r pgx.Rows) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return s.db.rematch(ctx, ids)
}

const (
	// waitsLong is how old a receipt is that has not merely overtaken its answer.
	waitsLong = time.Minute
	// countEvery and countMost bound what counting them costs.
	countEvery = 15 * time.Second
	countMost  = 10_000
)

// waitingReceipts tells how many receipts find no part, by account. It sweeps
// nothing.
func (s *Sweeper) waitingReceipts(ctx context.Context) (int, error) {
	now := s.db.clock()
	if now.Sub(s.waitingDone) < countEvery && !now.Before(s.waitingDone) {
		return 0, nil
	}
	// An account without any has no row in what is counted.
	counts := map[string]int{}
	for account := range s.waiting {
		counts[account] = 0
	}
	err := s.db.query(ctx, "count waiting receipts", `
select account, count(*) from (
	select account from receipts_unmatched where received_at <= $1 order by received_at desc limit $2) r
group by account`, []any{now.Add(-waitsLong), countMost}, func(r pgx.Rows) error {
		var account string
		var n int
		err := r.Scan(&account, &n)
		counts[account] = n
		return err
	})
	if err != nil {
		return 0, err
	}
	for account, n := range counts {
		s.db.metrics.waiting.WithLabelValues(account).Set(float64(n))
	}
	s.waiting, s.waitingDone = counts, now
	return 0, nil
}

// forget deletes the rows of a table whose time, which an index finds, is older
// than that; the oldest first, in batches, so that what comes faster than a batch
// a pass does not pile up. Sweepers do not wait for each other.
func (s *Sweeper) forget(ctx context.Context, op, table, key, at string, age time.Duration) (total int, err error) {
	statement := fmt.Sprintf(`
with old as (
	delete from %[1]s where %[2]s = any(array(
		select %[2]s from %[1]s where %[3]s < $1 order by %[3]s limit $2 for update skip locked))
	returning 1)
select count(*) from old`, table, key, at)
	for range s.cfg.Batches {
		var n int
		err = s.db.one(ctx, op, []any{&n}, statement, s.db.clock().Add(-age), s.cfg.Batch)
		total += n
		if err != nil || n < s.cfg.Batch {
			break
		}
	}
	return total, err
}

// oldReceipts forgets receipts that no answer can belong to any more.
func (s *Sweeper) oldReceipts(ctx context.Context) (int, error) {
	return s.forget(ctx, "old receipts", "receipts_unmatched", "id", "received_at", receiptWindow)
}

// expiredChallenges ends pending challenges whose time is over.
func (s *Sweeper) expiredChallenges(ctx context.Context) (int, error) {
	total := 0
	for range s.cfg.Batches {
		var ids []mobileid.ID
		b := &pgx.Batch{}
		b.Queue(`select challenge_id from live_challenges where expires_at <= $1 order by expires_at limit $2`, s.db.clock(), s.cfg.Batch)
		err := s.db.send(ctx, "expired challenges", b, func(r pgx.Rows) error {
			var id []byte
			err := r.Scan(&id)
			ids = append(ids, toID(id))
			return err
		})
		if err != nil || len(ids) == 0 {
			return total, err
		}
		n, err := s.db.endChallenges(ctx, "expire challenges", ids, mobileid.ChallengeExpired, mobileid.ReasonDeadline)
		total += n
		if err != nil || len(ids) < s.cfg.Batch {
			return total, err
		}
	}
	return total, nil
}

// liveCursor is a place in the live challenges.
type liveCursor struct {
	expires time.Time
	id      []byte
}

// lostCodes looks whether the live codes are still there: all of them when the
// sweeper is new or the epoch has changed, a bounded number in each pass. A
// code stands in Redis before its row is written, so a live row without one
// has lost it.
func (s *Sweeper) lostCodes(ctx context.Context) (int, error) {
	if s.codes == nil {
		return 0, nil
	}
	epoch, err := s.codes.Epoch(ctx)
	if err != nil || epoch == s.epoch {
		return 0, err
	}
	if epoch != s.checking {
		s.checking, s.codesAfter = epoch, liveCursor{}
	}
	total := 0
	for range s.cfg.Batches {
		refs, next, err := s.liveCodes(ctx, s.codesAfter)
		if err != nil {
			return total, err
		}
		if len(refs) > 0 {
			missing, err := s.codes.Missing(ctx, refs)
			if err != nil {
				return total, err
			}
			if len(missing) > 0 {
				n, err := s.db.endChallenges(ctx, "lost codes", missing, mobileid.ChallengeLost, mobileid.ReasonCodeLost)
				if err != nil {
					return total, err
				}
				total += n
			}
		}
		if len(refs) < s.cfg.Batch {
			s.epoch, s.checking = epoch, ""
			return total, nil
		}
		s.codesAfter = next
	}
	return total, nil
}

// liveCodes returns a page of live challenges whose code should still be
// there: one about to expire may have left Redis by its time.
func (s *Sweeper) liveCodes(ctx context.Context, cur liveCursor) ([]mobileid.IssuedRef, liveCursor, error) {
	if soon := s.db.clock().Add(s.cfg.Grace); cur.expires.Before(soon) {
		cur = liveCursor{expires: soon}
	}
	if cur.id == nil {
		cur.id = []byte{}
	}
	b := &pgx.Batch{}
	b.Queue(`
select l.challenge_id, l.expires_at, c.nonce
from live_challenges l join challenges c on c.id = l.challenge_id
where (l.expires_at, l.challenge_id) > ($1, $2)
order by l.expires_at, l.challenge_id limit $3`, cur.expires, cur.id, s.cfg.Batch)
	var refs []mobileid.IssuedRef
	err := s.db.send(ctx, "live codes", b, func(r pgx.Rows) error {
		var ref mobileid.IssuedRef
		if err := r.Scan(&cur.id, &cur.expires, &ref.Nonce); err != nil {
			return err
		}
		ref.ID = toID(cur.id)
		refs = append(refs, ref)
		return nil
	})
	return refs, cur, err
}

// keyLife is how long an Idempotency-Key is remembered here: twice as long as
// at the edge, so that what the edge forgot is still one effect.
const keyLife = 48 * time.Hour

func (s *Sweeper) oldKeys(ctx context.Context) (int, error) {
	return s.forget(ctx, "old keys", "idempotency", "ctid", "created_at", keyLife)
}

// triesLife is how many days the wrong codes of a person's day stay counted:
// long enough to see who tries codes on somebody, no longer.
const triesLife = 30

// oldTries forgets older days, looking once an hour: no index finds them.
func (s *Sweeper) oldTries(ctx context.Context) (int, error) {
	now := s.db.clock()
	if now.Sub(s.triesDone) < time.Hour && !now.Before(s.triesDone) {
		return 0, nil
	}
	total := 0
	for range s.cfg.Batches {
		n := 0
		err := s.db.one(ctx, "old tries", []any{&n}, `
with old as (
	delete from wrong_tries where ctid = any(array(
		select ctid from wrong_tries where day < $1 limit $2 for update skip locked))
	returning 1)
select count(*) from old`, dayOf(now).AddDate(0, 0, -triesLife), s.cfg.Batch)
		total += n
		if err != nil {
			return total, err
		}
		if n < s.cfg.Batch {
			s.triesDone = now
			break
		}
	}
	return total, nil
}

// rowLife is how long wrong codes in a row are remembered: longer than the pause that
// they may have made.
const rowLife = 24 * time.Hour

func (s *Sweeper) oldRows(ctx context.Context) (int, error) {
	return s.forget(ctx, "old rows of wrong codes", "wrong_in_a_row", "ctid", "at", rowLife)
}

// partitions makes the months ahead, looking once an hour.
func (s *Sweeper) partitions(ctx context.Context) (int, error) {
	now := s.db.clock()
	if now.Sub(s.partsDone) < time.Hour && !now.Before(s.partsDone) {
		return 0, nil
	}
	if err := s.db.ensurePartitions(ctx, now); err != nil {
		return 0, err
	}
	s.partsDone = now
	return 0, nil
}
