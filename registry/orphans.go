package registry

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// doubtedSQL is the CTE that remembers which Messages a statement put in doubt;
// column is where the statement's moves have the new state.
func doubtedSQL(column string) string {
	return `doubted as (
	insert into doubts (message_id, operator, dest, since)
	select m.id, m.operator, m.dest, m.admitted_at from moves v join messages m on m.id = v.id where v.` + column + ` = 'in_doubt'
	on conflict (message_id) do nothing
)`
}

const (
	// orphansFrom is how far back a new sweeper looks for receipts without an
	// answer.
	orphansFrom = 24 * time.Hour
	// orphansLock lets one sweeper give them away at a time: two would give the
	// receipts of one Message to the same part.
	orphansLock = 0x6f727068616e73 // "orphans"
)

const (
	orphansSQL = `
select id, account, operator_id, dest, state, stat, err, reason, reference, received_at from receipts_unmatched
where (received_at, id) > ($1, $2) and received_at <= $3 and operator_id <> '' order by received_at, id limit $4 for update skip locked`

	doubtsOfSQL = `
select d.message_id, d.operator, d.dest, d.since, m.parts, m.resends,
       array(select part::integer from message_parts where message_id = d.message_id and operator_id <> '')
from doubts d join messages m on m.id = d.message_id where d.dest = any($1)`

	// The number of the orphan's row tells submissions of one part apart.
	adoptSQL = `
insert into message_parts (message_id, part, account, operator_id, dest, link, sequence, status, answered_at)
select * from unnest($1::bytea[], $2::integer[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], $9::timestamptz[])
order by 1, 2 on conflict do nothing`
)

// orphanLink stands for the link of a submission that only its receipt tells of.
const orphanLink = "by receipt"

// orphanCursor is a place among the receipts that belong to nothing.
type orphanCursor struct {
	at  time.Time
	row int64
}

// orphans gives receipts whose answer never came to the Messages in doubt that
// they belong to. Each is looked at once, when its answer cannot come any more
// and its Message has been put in doubt: OrphanAfter is longer than either takes.
func (s *Sweeper) orphans(ctx context.Context) (int, error) {
	total := 0
	for range s.cfg.Batches {
		n, more, err := s.adoptPage(ctx)
		total += n
		if err != nil || !more {
			return total, err
		}
	}
	return total, nil
}

func (s *Sweeper) adoptPage(ctx context.Context) (adopted int, more bool, err error) {
	now := s.db.clock()
	cur := s.orphansAt
	if from := now.Add(-orphansFrom); cur.at.Before(from) {
		cur = orphanCursor{at: from}
	}
	err = s.db.inTx(ctx, "orphans", func(tx pgx.Tx) error {
		adopted, more = 0, false
		var mine bool
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(orphansLock)).Scan(&mine); err != nil || !mine {
			return err
		}
		orphans, err := readOrphans(ctx, tx, cur, now.Add(-s.cfg.OrphanAfter), s.cfg.Batch)
		if err != nil || len(orphans) == 0 {
			return err
		}
		last := &orphans[len(orphans)-1]
		cur, more = orphanCursor{last.receipt.At, last.row}, len(orphans) == s.cfg.Batch
		doubts, err := readDoubts(ctx, tx, orphans)
		if err != nil {
			return err
		}
		found := adopt(orphans, doubts)
		adopted = len(found)
		return storeAdoptions(ctx, tx, found, now)
	})
	if err == nil {
		s.orphansAt = cur
	}
	return adopted, more, err
}

func readOrphans(ctx context.Context, tx pgx.Tx, after orphanCursor, until time.Time, limit int) ([]orphan, error) {
	rows, err := tx.Query(ctx, orphansSQL, after.at, after.row, until, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (o orphan, err error) {
		var dest []byte
		r := &o.receipt
		err = row.Scan(&o.row, &r.Account, &r.OperatorID, &dest, &r.State, &r.Stat, &r.Err, &r.Reason, &o.reference, &r.At)
		r.Dest = toPseudonym(dest)
		o.operator, _, _ = strings.Cut(r.Account, "/")
		return o, err
	})
}

func readDoubts(ctx context.Context, tx pgx.Tx, orphans []orphan) ([]doubt, error) {
	dests := make([][]byte, len(orphans))
	for i := range orphans {
		dests[i] = orphans[i].receipt.Dest[:]
	}
	rows, err := tx.Query(ctx, doubtsOfSQL, dests)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d doubt, err error) {
		var id, dest []byte
		err = row.Scan(&id, &d.operator, &dest, &d.since, &d.parts, &d.resends, &d.answered)
		d.id, d.dest = toID(id), toPseudonym(dest)
		return d, err
	})
}

// storeAdoptions stores what the receipts tell of, as if the answers had come,
// and what follows.
func storeAdoptions(ctx context.Context, tx pgx.Tx, found []adoption, now time.Time) error {
	if len(found) == 0 {
		return nil
	}
	at, parts := &attachment{}, &partRows{}
	rows, accounts := make([]int64, len(found)), make([]string, len(found))
	for i, a := range found {
		r := &a.orphan.receipt
		rows[i], accounts[i] = a.orphan.row, r.Account
		parts.add(a.doubt.id, &mobileid.PartOutcome{
			Part: int(a.part), OperatorID: r.OperatorID, Dest: r.Dest, Link: orphanLink, Sequence: uint32(a.orphan.row), AnsweredAt: r.At,
		})
		at.add(partRef{a.doubt.id, a.part, orphanLink, int64(uint32(a.orphan.row))}, r)
	}
	b := &pgx.Batch{}
	ids := at.ids()
	lockFromMessages(b, ids)
	b.Queue(adoptSQL, parts.ids, parts.numbers, accounts, parts.operatorIDs, parts.dests, parts.links, parts.sequences, parts.statuses, parts.answeredAt)
	at.queueLocked(b, now, ids)
	b.Queue(`delete from receipts_unmatched where id = any($1)`, rows)
	return tx.SendBatch(ctx, b).Close()
}

// oldDoubts forgets doubts that no receipt can belong to any more.
func (s *Sweeper) oldDoubts(ctx context.Context) (int, error) {
	return s.forget(ctx, "old doubts", "doubts", "message_id", "since", receiptWindow+orphansFrom)
}
