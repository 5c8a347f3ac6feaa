package registry

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrateLock is the advisory lock that lets one process migrate at a time.
const migrateLock = 0x6d6f62696c656964 // "mobileid"

type migration struct {
	version int
	name    string
	sql     string
}

// migrations returns the embedded files NNNN_name.sql in order; a number may be
// left out, and filled in later. They are part of the program, so a wrong name
// is a bug that the tests find.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	sort.Strings(names)
	out := make([]migration, 0, len(names))
	last := 0
	for _, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		v, err := strconv.Atoi(number)
		if err != nil || len(number) != 4 || v <= last {
			return nil, fmt.Errorf("migration %s: want four digits above %04d", path.Base(name), last)
		}
		last = v
		sql, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", path.Base(name), err)
		}
		out = append(out, migration{version: v, name: path.Base(name), sql: string(sql)})
	}
	return out, nil
}

// Migrate brings the schema forward and makes the partitions around now.
// Several processes may call it at once; a migration runs once, in its own
// transaction. There is no way back: a mistake is mended by the next number.
func (db *DB) Migrate(ctx context.Context) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := db.apply(ctx, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return db.ensurePartitions(ctx, db.clock())
}

func (db *DB) apply(ctx context.Context, m migration) error {
	return db.inTx(ctx, "migrate", func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`set local statement_timeout = 0`)
		b.Queue(`select pg_advisory_xact_lock($1)`, int64(migrateLock))
		b.Queue(`create table if not exists schema_migrations (
			version integer primary key, name text not null, applied_at timestamptz not null default now())`)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		var done bool
		err := tx.QueryRow(ctx, `select exists (select from schema_migrations where version = $1)`, m.version).Scan(&done)
		if err != nil || done {
			return err
		}
		if _, err := tx.Exec(ctx, m.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into schema_migrations (version, name) values ($1, $2)`, m.version, m.name)
		return err
	})
}

// CheckSchema refuses a schema that lacks a migration of this program
// (KindInvalid, code "schema_old"). A newer one is accepted: migrations only
// add, so that a version can be rolled out process by process. It also notes
// when the schema was made, which plans go by.
func (db *DB) CheckSchema(ctx context.Context) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	var have bool
	if err := db.pool.QueryRow(ctx, `select to_regclass('schema_migrations') is not null`).Scan(&have); err != nil {
		return clean("check schema", err)
	}
	wanted := make([]int32, len(all))
	for i, m := range all {
		wanted[i] = int32(m.version)
	}
	var missing *int32
	if have {
		var age time.Duration // by the database's clock, which applied_at is of
		err := db.pool.QueryRow(ctx, `
select (select min(w) from unnest($1::integer[]) w where not exists (select from schema_migrations m where m.version = w)),
	coalesce(clock_timestamp() - min(applied_at), '0') from schema_migrations`, wanted).Scan(&missing, &age)
		if err != nil {
			return clean("check schema", err)
		}
		db.plans.installed.Store(db.now().Add(-age).UnixNano())
	} else {
		missing = &wanted[0]
	}
	if missing != nil {
		return mobileid.Invalid("", "schema_old",
			fmt.Sprintf("the schema lacks migration %04d of this program: run mobileid migrate", *missing))
	}
	return nil
}
