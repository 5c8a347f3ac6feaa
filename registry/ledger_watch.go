package registry

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/registry/ledger"
)

// LedgerWatchConfig is the pace of a LedgerWatch. A zero value is the default.
type LedgerWatchConfig struct {
	Every time.Duration // between checks; 1 h
	First time.Duration // from the start to the first one; 30 s
}

// LedgerWatch checks the ledger now and then and tells of it in metrics:
// mobileid_ledger_imbalance_tiyin, mobileid_ledger_imbalance_accounts,
// mobileid_ledger_imbalance_messages and mobileid_ledger_checked_timestamp_seconds.
// None is there before the first check. Of several that would check at one moment
// one does, and the others wait for their next time: alarm on the maximum over all
// processes. It tells no loop of its steps: one statement may take minutes, and
// has a timeout of its own.
type LedgerWatch struct {
	db  *DB
	cfg LedgerWatchConfig
}

// NewLedgerWatch makes a watch; Run runs it.
func NewLedgerWatch(db *DB, cfg LedgerWatchConfig) *LedgerWatch {
	cfg.Every = cmp.Or(cfg.Every, time.Hour)
	cfg.First = cmp.Or(cfg.First, 30*time.Second)
	return &LedgerWatch{db, cfg}
}

// Run checks until ctx ends, and then returns nil. What it finds is logged, row by
// row; an error is logged, and the next time tries again.
func (w *LedgerWatch) Run(ctx context.Context) error {
	for wait := w.cfg.First; sleep(ctx, wait); wait = w.cfg.Every {
		if err := w.check(ctx); err != nil && ctx.Err() == nil {
			w.db.log.LogAttrs(ctx, levelOf(err), "the ledger was not checked", slog.Any("err", err))
		}
	}
	return nil
}

// watchLock is the advisory lock of who checks.
const watchLock = migrateLock + 2

func (w *LedgerWatch) check(ctx context.Context) error {
	var r ledger.Report
	mine := false
	err := w.db.reading(ctx, "watch ledger", checkTime, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(watchLock)).Scan(&mine)
		if err == nil && mine {
			r, err = checkIn(ctx, tx)
		}
		return err
	})
	if err != nil || !mine {
		return err
	}
	m := w.db.metrics
	m.imbalance.WithLabelValues().Set(float64(r.Imbalance()))
	m.imbalanced.WithLabelValues().Set(float64(r.Accounts + r.Orphans))
	m.contradicted.WithLabelValues().Set(float64(r.Messages))
	m.checked.WithLabelValues().Set(float64(w.db.clock().Unix()))
	for _, f := range r.Findings {
		w.db.log.LogAttrs(ctx, slog.LevelError, "the ledger does not add up",
			slog.String("rule", string(f.Rule)), slog.String("subject", f.Subject), slog.String("what", f.What))
	}
	return nil
}
