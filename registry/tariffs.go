package registry

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

// tariffColumns are what readTariff reads.
const tariffColumns = `id, operator, kind, amount, unit, refund_undelivered, valid_from, author, act, loaded_at`

// tariffInForceSQL finds the version that prices Messages of a kind to an
// operator, as ledger.InForce does: that of the kind's own chain, else that of
// the common one (” comes last), by one look into the index each.
func tariffInForceSQL(operator, kind, at string) string {
	newest := func(kind string) string {
		return `(select ` + tariffColumns + ` from tariffs where operator = ` + operator + ` and kind = ` + kind +
			` and valid_from <= ` + at + ` order by valid_from desc, id desc limit 1)`
	}
	return `select ` + tariffColumns + ` from (` + newest(kind) + ` union all ` + newest(`''`) + `) newest order by kind desc limit 1`
}

func readTariff(r pgx.Row) (t ledger.Tariff, err error) {
	err = r.Scan(&t.ID, &t.Operator, &t.Kind, &t.Price, &t.Unit, &t.RefundUndelivered, &t.From, &t.Author, &t.Act, &t.LoadedAt)
	t.From, t.LoadedAt = t.From.UTC(), t.LoadedAt.UTC()
	return t, err
}

// LoadTariffs stores versions of prices, all of them or none, and says what it
// did with each (ledger.PlanTariffs): loading twice changes nothing. What cannot
// be loaded is KindInvalid with the code of the first mistake, for example
// "tariff_in_the_past", and the message lists all of them. Loads wait for each
// other; queueing waits for none.
func (db *DB) LoadTariffs(ctx context.Context, wanted []ledger.Tariff) ([]ledger.Step, error) {
	return db.loadTariffs(ctx, wanted, func(tx pgx.Tx, steps []ledger.Step, now time.Time) error {
		b := &pgx.Batch{}
		for i := range steps {
			s := &steps[i]
			if !s.Action.Stores() {
				continue
			}
			s.LoadedAt = now
			b.Queue(`
insert into tariffs (operator, kind, amount, unit, refund_undelivered, valid_from, author, act, loaded_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id`,
				s.Operator, s.Kind, int64(s.Price), string(s.Unit), s.RefundUndelivered, s.From, s.Author, s.Act, now,
			).QueryRow(func(r pgx.Row) error { return r.Scan(&s.ID) })
		}
		return tx.SendBatch(ctx, b).Close()
	})
}

// TryTariffs says what LoadTariffs would do, and does nothing.
func (db *DB) TryTariffs(ctx context.Context, wanted []ledger.Tariff) ([]ledger.Step, error) {
	return db.loadTariffs(ctx, wanted, func(pgx.Tx, []ledger.Step, time.Time) error { return nil })
}

func (db *DB) loadTariffs(
	ctx context.Context, wanted []ledger.Tariff, store func(pgx.Tx, []ledger.Step, time.Time) error,
) (steps []ledger.Step, err error) {
	wanted = append([]ledger.Tariff(nil), wanted...)
	for i := range wanted {
		wanted[i].From = wanted[i].From.UTC().Truncate(time.Microsecond) // as Postgres keeps it
	}
	err = db.inTx(ctx, "load tariffs", func(tx pgx.Tx) error {
		// One at a time: two loads that see the same chain could both extend it.
		if _, err := tx.Exec(ctx, `lock table tariffs in share row exclusive mode`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select `+tariffColumns+` from tariffs order by id`)
		if err != nil {
			return err
		}
		stored, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (ledger.Tariff, error) { return readTariff(r) })
		if err != nil {
			return err
		}
		now := db.clock() // after the lock was given
		var wrong []ledger.Mistake
		if steps, wrong = ledger.PlanTariffs(stored, wanted, now); len(wrong) > 0 {
			return tariffsRefused(wrong)
		}
		return store(tx, steps, now)
	})
	if err != nil {
		return nil, err
	}
	return steps, nil
}

func tariffsRefused(wrong []ledger.Mistake) error {
	lines := make([]string, len(wrong))
	for i, m := range wrong {
		lines[i] = "\n  " + m.String()
	}
	return &mobileid.Error{
		Kind: mobileid.KindInvalid, Code: wrong[0].Code,
		Message: fmt.Sprintf("no tariff was loaded, %d mistake(s):%s", len(wrong), strings.Join(lines, "")),
	}
}

// Tariffs returns every version that was ever loaded, in the order of loading,
// which is what ledger.Chains takes.
func (db *DB) Tariffs(ctx context.Context) (all []ledger.Tariff, err error) {
	err = db.query(ctx, "tariffs", `select `+tariffColumns+` from tariffs order by id`, nil, func(r pgx.Rows) error {
		t, err := readTariff(r)
		all = append(all, t)
		return err
	})
	return all, err
}

// PriceAt returns the version that prices Messages of a kind (mobileid.TextKind;
// "" is any that has no price of its own) to an operator at a time: what a
// person is told (clause 12), and its ID is what a consent refers to. ok is
// false when nothing is in force; such a Message costs nothing.
func (db *DB) PriceAt(ctx context.Context, operator, kind string, at time.Time) (t ledger.Tariff, ok bool, err error) {
	err = db.query(ctx, "price at", tariffInForceSQL("$1", "$2", "$3"), []any{operator, kind, at}, func(r pgx.Rows) error {
		t, err = readTariff(r)
		ok = true
		return err
	})
	if err != nil {
		return ledger.Tariff{}, false, err
	}
	return t, ok, nil
}
