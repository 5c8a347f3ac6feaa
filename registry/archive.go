package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Archived is what archiving a month did, or would do.
type Archived struct {
	Month     time.Time // its first instant, UTC
	Transfers int64
	Accounts  int
	Taken     mobileid.Money // posted and not given back
	// Unknown are Charges that nobody has settled, at most 100: while there is
	// one, the month is not archived.
	Unknown []mobileid.ID
	Unended int64 // Messages without an end, likewise
	Pending int64 // Charges that hold money, likewise
	Done    bool
}

// archivableFrom is when a month may be archived at the earliest: when the month
// after it has been over for a day. By then no lane has a Message of it
// (turnOfMonth), every receipt that can be matched has come (receiptWindow), no
// statement names its partition (monthSQL), and no process makes it again
// (ensurePartitions).
func archivableFrom(month time.Time) time.Time { return month.AddDate(0, 2, 1) }

// Archive takes the transfers of a month out of the books and leaves an opening row
// for each account, and for each operator and day what his statement says
// (docs/decisions/018-archive.md). All of it or nothing, in one transaction: a kill
// leaves the month as it was. The transfers stay in archived_transfers_YYYY_MM.
//
// KindConflict when the month may not be archived: "month_not_over",
// "month_archived", "month_unknown" (it has no partition), "month_not_settled"
// (Archived says what is open), "month_young" (a transfer of it is so young that a
// receipt may follow), and "ledger_in_use" (others read or write what it needs for
// itself: the same a minute later may succeed). With try it changes nothing.
func (db *DB) Archive(ctx context.Context, month time.Time, try bool) (a Archived, err error) {
	month = time.Date(month.UTC().Year(), month.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	if from := archivableFrom(month); db.clock().Before(from) {
		return a, conflict("month_not_over", "this month may be archived from "+from.Format(time.DateOnly)+" on, UTC")
	}
	err = db.inTx(ctx, "archive", func(tx pgx.Tx) error {
		a = Archived{Month: month}
		if err := db.archive(ctx, tx, &a, try); err != nil {
			return err
		}
		a.Done = !try
		return nil
	})
	if err != nil {
		a.Done = false
	}
	if inTheWay(err) {
		err = &mobileid.Error{
			Kind: mobileid.KindConflict, Code: "ledger_in_use", Err: errors.Unwrap(err),
			Message: "Charges are being written, perhaps a correction of this month: nothing was archived; try again in a minute",
		}
	}
	return a, err
}

// inTheWay reports whether a statement gave way to others: it waited for a lock too
// long, or was the victim of a deadlock. A correction that comes in between waits for
// the month with the table of all transfers in its hands, and archiving the other way
// round; no order of locks avoids that, short of stopping every writer for as long as
// a month is read.
func inTheWay(err error) bool {
	e, ok := errors.AsType[*sqlError](err)
	return ok && (e.State == "55P03" || e.State == "40P01")
}

// archiveWait is how long archiving waits for a lock: whoever wants to write to
// transfers waits behind it.
const archiveWait = 3 * time.Second

func (db *DB) archive(ctx context.Context, tx pgx.Tx, a *Archived, try bool) error {
	partition := partitionName("transfers", a.Month)
	b := &pgx.Batch{}
	b.Queue(`set local statement_timeout = 0`)
	b.Queue(`set local idle_in_transaction_session_timeout = 0`)
	b.Queue(fmt.Sprintf(`set local lock_timeout = %d`, archiveWait.Milliseconds()))
	wholeTables(b)
	var alone bool
	b.Queue(`select pg_try_advisory_xact_lock($1)`, int64(archiveLock)).QueryRow(func(r pgx.Row) error { return r.Scan(&alone) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if !alone {
		return conflict("ledger_in_use", "the ledger is being checked, a statement is being read, or a month archived: try again in a minute")
	}
	var archived, there bool
	err := tx.QueryRow(ctx, `select exists (select from archives where month = $1), to_regclass($2) is not null`, a.Month, partition).Scan(&archived, &there)
	switch {
	case err != nil:
		return err
	case archived:
		return conflict("month_archived", "this month is archived already")
	case !there:
		return conflict("month_unknown", "there are no transfers of this month: no partition was ever made for it")
	}
	// Its rows stay as they are from here on; those who read them do not wait.
	if _, err := tx.Exec(ctx, `lock table `+partition+` in share mode`); err != nil {
		return err
	}
	if err := db.archivable(ctx, tx, a, partition); err != nil || try {
		return err
	}
	b = &pgx.Batch{}
	b.Queue(`insert into archives (month, transfers, archived_at) values ($1, $2, $3)`, a.Month, a.Transfers, db.clock())
	b.Queue(fmt.Sprintf(`
insert into openings (account_id, month, held, taken, late, transfers)
select t.account_id, $1, sum(t.held), sum(t.taken), coalesce(sum(t.taken) filter (where t.held = 0 and t.taken > 0), 0), count(*)
from %[1]s t group by t.account_id`, partition), a.Month)
	b.Queue(`
insert into operator_days (month, day, operator, kind, tariff_id, charging,
	posted_messages, posted_parts, reversed_messages, reversed_parts, voided_messages, voided_parts, posted, reversed)
select $1, day, operator, kind, tariff_id, charging,
	posted_messages, posted_parts, reversed_messages, reversed_parts, voided_messages, voided_parts, posted, reversed
from (`+operatorDaysSQL(partition, `true`)+`) d`, a.Month)
	// Last, because from here on everybody waits who writes a transfer, or reads a
	// person's.
	b.Queue(lockArchives)
	b.Queue(fmt.Sprintf(`alter table transfers detach partition %s`, partition))
	b.Queue(fmt.Sprintf(`alter table %[1]s rename to archived_%[1]s`, partition))
	b.Queue(fmt.Sprintf(`create trigger transfers_append_only before update or delete on archived_%s for each row execute function append_only()`, partition))
	return tx.SendBatch(ctx, b).Close()
}

// archivable fills in what a month holds, and refuses one that is not at rest.
func (db *DB) archivable(ctx context.Context, tx pgx.Tx, a *Archived, partition string) error {
	first, after := mobileid.IDFloor(a.Month), mobileid.IDFloor(a.Month.AddDate(0, 1, 0))
	var last *time.Time
	err := tx.QueryRow(ctx, fmt.Sprintf(`select count(*), count(distinct account_id), coalesce(sum(taken), 0)::bigint, max(at) from %s`, partition)).
		Scan(&a.Transfers, &a.Accounts, &a.Taken, &last)
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `
select count(*) filter (where ended_at is null), count(*) filter (where charge = 'pending')
from messages where id >= $1 and id < $2`, raw(first), raw(after)).Scan(&a.Unended, &a.Pending)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `select id from messages where id >= $1 and id < $2 and charge = 'unknown' order by id limit 100`, raw(first), raw(after))
	if err != nil {
		return err
	}
	a.Unknown, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (mobileid.ID, error) {
		var id []byte
		err := r.Scan(&id)
		return toID(id), err
	})
	switch {
	case err != nil:
		return err
	case a.Unended > 0 || a.Pending > 0 || len(a.Unknown) > 0:
		return conflict("month_not_settled", fmt.Sprintf(
			"the month is not settled: %d Messages have not ended, %d Charges hold money, %d or more are unknown: settle them first (mobileid reconcile)",
			a.Unended, a.Pending, len(a.Unknown)))
	case last != nil && last.After(db.clock().Add(-receiptWindow)):
		return conflict("month_young", "a Charge of this month was moved at "+last.UTC().Format(time.RFC3339)+
			", and a receipt may follow for 72 hours: archive it later")
	}
	return nil
}

// transfersSQL is what to select transfers from, those of archived months included
// as far as their tables are still there; within db.reading or db.snapshot, which keep
// a month from being archived in between. gone are the archived months whose tables are not
// there any more.
func transfersSQL(ctx context.Context, tx pgx.Tx) (from string, gone []time.Time, err error) {
	rows, err := tx.Query(ctx, `
select month, to_regclass('archived_' || 'transfers_' || to_char(month, 'YYYY_MM')) is not null from archives order by month`)
	if err != nil {
		return "", nil, err
	}
	const columns = `message_id, step, kind, why, account_id, operator, held, taken, at`
	from = `(select ` + columns + ` from transfers`
	var month time.Time
	var there bool
	_, err = pgx.ForEachRow(rows, []any{&month, &there}, func() error {
		if !there {
			gone = append(gone, month)
			return nil
		}
		from += ` union all select ` + columns + ` from archived_` + partitionName("transfers", month)
		return nil
	})
	return from + `)`, gone, err
}
