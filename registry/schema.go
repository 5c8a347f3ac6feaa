package registry

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// CreateSchema makes an empty schema, or leaves the one of that name as it is.
// KindInvalid, code "schema_denied", if the user of the DSN may not.
func (db *DB) CreateSchema(ctx context.Context, name string) error {
	err := db.exec(ctx, "create schema", `create schema if not exists `+pgx.Identifier{name}.Sanitize())
	if e, ok := errors.AsType[*sqlError](err); ok && e.State == insufficientPrivilege {
		return mobileid.Invalid("", "schema_denied",
			"the user of the DSN may not make a schema: grant create on database ... to ...")
	}
	return err
}

const insufficientPrivilege = "42501" // SQLSTATE

// DropSchema drops a schema with everything in it; that there is none is no
// error. It waits for those who still use it as long as a statement may take.
func (db *DB) DropSchema(ctx context.Context, name string) error {
	return db.exec(ctx, "drop schema", `drop schema if exists `+pgx.Identifier{name}.Sanitize()+` cascade`)
}

// Schemas returns the names of the schemas that begin with prefix, in order.
func (db *DB) Schemas(ctx context.Context, prefix string) (names []string, err error) {
	err = db.query(ctx, "schemas", `select nspname::text from pg_namespace where starts_with(nspname, $1) order by 1`,
		[]any{prefix}, func(r pgx.Rows) error {
			var name string
			err := r.Scan(&name)
			names = append(names, name)
			return err
		})
	return names, err
}

// exec runs one statement that takes no arguments and has no plan worth
// keeping.
func (db *DB) exec(ctx context.Context, op, sql string) error {
	return db.inTx(ctx, op, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// WithSchema returns a DSN of the same database whose tables are in that schema
// and nowhere else: a second schema in the search_path would lend its tables
// where ours are not made yet. The name is one that needs no quotes.
func WithSchema(dsn, name string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		// The key=value form, where the last one counts.
		return fmt.Sprintf("%s search_path=%s", dsn, name), nil
	}
	u, err := url.Parse(dsn)
	if err != nil { // which repeats the DSN
		return "", errDSN()
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
