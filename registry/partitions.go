package registry

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// partitioned are the tables split by the month in the id, with the share of a
// page that inserts may fill. What is left is for updates that stay on their
// page (HOT): a Message changes three to five times.
var partitioned = []struct {
	table      string
	fillfactor int
}{
	{"challenges", 70},
	{"confirmations", 100},
	{"messages", 50},
	{"message_parts", 70},
	{"receipts", 100},
	{"transfers", 100},
	{"unpaid", 100},
}

// youngMonth keeps a month from being vacuumed and analyzed every minute while
// it is small: see migrations/0002_vacuum.sql.
const youngMonth = `autovacuum_vacuum_threshold = 100000, autovacuum_vacuum_insert_threshold = 100000, autovacuum_analyze_threshold = 100000`

// ensurePartitions makes the partitions of the month before at, the month of
// at and the two months after, where they are missing. Months are UTC, because
// the time in an id is.
func (db *DB) ensurePartitions(ctx context.Context, at time.Time) error {
	first := time.Date(at.UTC().Year(), at.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	var missing []string
	rows, err := db.pool.Query(ctx, `select want from unnest($1::text[]) want where to_regclass(want) is null`, partitionNames(first))
	if err == nil {
		missing, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil || len(missing) == 0 {
		return clean("partitions", err)
	}
	return db.inTx(ctx, "partitions", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, int64(migrateLock)); err != nil {
			return err
		}
		for month := -1; month <= 2; month++ {
			from := first.AddDate(0, month, 0)
			for _, p := range partitioned {
				if err := addPartition(ctx, tx, p.table, p.fillfactor, from); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func partitionName(table string, month time.Time) string { return table + month.Format("_2006_01") }

func partitionNames(first time.Time) []string {
	var names []string
	for month := -1; month <= 2; month++ {
		for _, p := range partitioned {
			names = append(names, partitionName(p.table, first.AddDate(0, month, 0)))
		}
	}
	return names
}

// addPartition makes the table apart and attaches it: CREATE ... PARTITION OF
// would lock out every reader and writer of the parent, ATTACH does not.
func addPartition(ctx context.Context, tx pgx.Tx, table string, fillfactor int, month time.Time) error {
	name := partitionName(table, month)
	var have bool
	if err := tx.QueryRow(ctx, `select to_regclass($1) is not null`, name).Scan(&have); err != nil || have {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`create table %s (like %s including all) with (fillfactor = %d, `+youngMonth+`)`, name, table, fillfactor))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`alter table %s attach partition %s for values from ('%s') to ('%s')`,
		table, name, bound(month), bound(month.AddDate(0, 1, 0))))
	if err == nil && table == "transfers" {
		// A trigger for TRUNCATE is not inherited.
		_, err = tx.Exec(ctx, fmt.Sprintf(`create trigger %[1]s_not_emptied before truncate on %[1]s for each statement execute function not_emptied()`, name))
	}
	return err
}

// bound is the least id of an instant as a bytea literal.
func bound(at time.Time) string {
	id := mobileid.IDFloor(at)
	return `\x` + hex.EncodeToString(id[:])
}
