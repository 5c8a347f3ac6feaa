package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// connBorn is the key under which a connection remembers when it was made.
const connBorn = "mobileid.born"

func born(_ context.Context, conn *pgx.Conn) error {
	conn.PgConn().CustomData()[connBorn] = time.Now()
	return nil
}

// youngPlans says whether the plans of a connection may be used now.
//
// A statement that was planned when the partition of a month was empty, and
// analyzed as empty (people analyze whole databases at night), walks that
// partition's index from end to end: on nothing that is the cheapest plan. It
// keeps doing so when the month has begun and the partition grows. So a
// connection that was made before the month, or early in it, does not live
// long: its plans have seen half of what there is, or more.
func (db *DB) youngPlans(_ context.Context, conn *pgx.Conn) (bool, error) {
	at, ok := conn.PgConn().CustomData()[connBorn].(time.Time)
	return !ok || !outgrown(at.UTC(), time.Now().UTC()), nil
}

// plansLive is how long plans are used at least.
const plansLive = 2 * time.Second

// outgrown reports whether a month has more than doubled since plans were made
// in it. Months are UTC, because the time in an id is.
func outgrown(made, now time.Time) bool {
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	return now.Sub(made) > max(made.Sub(month), plansLive)
}
