package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/registry/ledger"
)

// checkTime bounds one statement of a check of the ledger: the one over all
// transfers may take minutes.
const checkTime = 10 * time.Minute

// CheckLedger compares the postings with the balances (promise P4) and the
// Messages with their transfers. It changes nothing, and may run beside traffic;
// it reads every transfer that is not archived.
func (db *DB) CheckLedger(ctx context.Context) (r ledger.Report, err error) {
	err = db.reading(ctx, "check ledger", checkTime, func(tx pgx.Tx) error {
		r, err = checkIn(ctx, tx)
		return err
	})
	return r, err
}

func checkIn(ctx context.Context, tx pgx.Tx) (ledger.Report, error) {
	b := &pgx.Batch{}
	wholeTables(b)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return ledger.Report{}, err
	}
	return ledger.Check(ctx, tx)
}

// wholeTables lets the statements of a transaction walk and join tables as whole
// ones, which sessionParams keep from all others.
func wholeTables(b *pgx.Batch) {
	for _, name := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"} {
		b.Queue(`set local ` + name + ` = on`)
	}
}

// archiveLock is the advisory lock that keeps a month from being archived while a
// statement or a check reads what both sides of that are in.
const archiveLock = migrateLock + 1

// reading runs fn in a transaction that changes nothing, whose statements may take
// longer than others. Each statement sees what is committed when it begins: a
// snapshot of the whole would hold up the vacuum of every table for as long.
func (db *DB) reading(ctx context.Context, op string, longest time.Duration, fn func(pgx.Tx) error) error {
	return db.readingAs(ctx, op, pgx.ReadCommitted, longest, fn, func(b *pgx.Batch) {
		b.Queue(`select pg_advisory_xact_lock_shared($1)`, int64(archiveLock))
	})
}

// snapshot is reading for what is read in a moment: all of it sees what is committed
// at one time. That time comes with the first statement that looks for one, and LOCK
// is none, so no month is archived between it and the lock: a month that left
// transfers while archives is seen as before would be nowhere.
func (db *DB) snapshot(ctx context.Context, op string, longest time.Duration, fn func(pgx.Tx) error) error {
	return db.readingAs(ctx, op, pgx.RepeatableRead, longest, fn, func(b *pgx.Batch) {
		b.Queue(`lock table archives in access share mode`) // against lockArchives
	})
}

// lockArchives is taken by archiving before a month leaves transfers.
const lockArchives = `lock table archives in access exclusive mode`

func (db *DB) readingAs(
	ctx context.Context, op string, level pgx.TxIsoLevel, longest time.Duration, fn func(pgx.Tx) error, lock func(*pgx.Batch),
) error {
	defer db.metrics.time(op)()
	err := clean(op, pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(fmt.Sprintf(`set local statement_timeout = %d`, longest.Milliseconds()))
		b.Queue(`set local idle_in_transaction_session_timeout = 0`) // who reads the rows may take his time
		b.Queue(`set local plan_cache_mode = force_custom_plan`)
		b.Queue(`set local max_parallel_workers_per_gather = 0`) // no more than one processor is taken from the others
		lock(b)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		return fn(tx)
	}))
	db.metrics.failed(op, err)
	return err
}
