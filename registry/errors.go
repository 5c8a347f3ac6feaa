package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"mobileid/internal/mobileid"
)

// sqlError is what is left of an error of Postgres: the text, detail, hint and
// query that it came with may quote rows, so they are dropped here and not
// even kept as a cause.
type sqlError struct {
	State      string // SQLSTATE
	Constraint string
}

func (e *sqlError) Error() string {
	if e.Constraint != "" {
		return "postgres " + e.State + " constraint " + e.Constraint
	}
	return "postgres " + e.State
}

// comeBack is how long a caller should wait when the database is away.
const comeBack = time.Second

// clean turns an error of pgx into one that may leave this package:
//
//   - of our own kinds, or of the context: as it is;
//   - data that the schema refuses (SQLSTATE classes 22 and 23): KindInvalid,
//     because repeating will not help;
//   - the server is away, busy or chose us as a deadlock's victim: it was
//     rolled back, KindUnavailable;
//   - the connection broke after the statement was sent: KindUnknown;
//   - the rest: KindInternal.
//
// Only the type of an error that is not Postgres's is told: pgx quotes
// arguments when it cannot encode them.
func clean(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*mobileid.Error](err); ok {
		return err
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return cleanPg(op, pg)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return &mobileid.Error{Kind: mobileid.KindNotFound, Code: "not_found", Message: "no such id", Err: pgx.ErrNoRows}
	}
	var dial *pgconn.ConnectError
	ctxErr := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case errors.As(err, &dial) || pgconn.SafeToRetry(err):
		return mobileid.Unavailable("database_away", comeBack, mobileid.Safe(keepContext(op, err, "not connected")))
	case ctxErr || pgconn.Timeout(err):
		return &mobileid.Error{
			Kind: mobileid.KindUnknown, Code: "database_timeout", RetryAfter: comeBack,
			Message: "the outcome is unknown; repeat with the same key", Err: mobileid.Safe(keepContext(op, err, "gave up waiting")),
		}
	case isEncoding(err):
		return &mobileid.Error{Kind: mobileid.KindInternal, Code: "internal", Message: "internal error", Err: mobileid.Safe(fmt.Errorf("%s: %T", op, err))}
	}
	return &mobileid.Error{
		Kind: mobileid.KindUnknown, Code: "database_lost", RetryAfter: comeBack,
		Message: "the outcome is unknown; repeat with the same key", Err: mobileid.Safe(fmt.Errorf("%s: connection lost (%T)", op, err)),
	}
}

func cleanPg(op string, pg *pgconn.PgError) error {
	cause := mobileid.Safe(fmt.Errorf("%s: %w", op, &sqlError{State: pg.Code, Constraint: pg.ConstraintName}))
	class := ""
	if len(pg.Code) == 5 {
		class = pg.Code[:2]
	}
	switch class {
	case "22", "23":
		return &mobileid.Error{Kind: mobileid.KindInvalid, Code: "registry_refused", Message: "the registry refuses these values", Err: cause}
	case "08", "40", "53", "55", "57", "58":
		return mobileid.Unavailable("database_away", comeBack, cause)
	}
	return &mobileid.Error{Kind: mobileid.KindInternal, Code: "internal", Message: "internal error", Err: cause}
}

// keepContext keeps the context's error as the cause, so that a caller who
// cancelled can tell, and nothing else of err.
func keepContext(op string, err error, what string) error {
	for _, c := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, c) {
			return fmt.Errorf("%s: %s: %w", op, what, c)
		}
	}
	return fmt.Errorf("%s: %s", op, what)
}

// isEncoding reports whether pgx refused a value before or after the server
// saw it. Such an error never comes from the network.
func isEncoding(err error) bool {
	if _, ok := errors.AsType[pgx.ScanArgError](err); ok {
		return true
	}
	var net interface{ Timeout() bool }
	return !errors.As(err, &net) && errors.Unwrap(err) == nil
}

func notFound() error {
	return &mobileid.Error{Kind: mobileid.KindNotFound, Code: "not_found", Message: "no such id"}
}

func conflict(code, message string) error {
	return &mobileid.Error{Kind: mobileid.KindConflict, Code: code, Message: message}
}

// isConstraint reports whether a cleaned error is the refusal of that
// constraint.
func isConstraint(err error, name string) bool {
	var e *sqlError
	return errors.As(err, &e) && e.Constraint == name
}
