package registry

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// plans says whether what a connection has planned may still be used.
//
// A statement that was planned when the partition of a month was empty, and
// analyzed as empty (people analyze whole databases at night), walks that
// partition's index from end to end: on nothing that is the cheapest plan. It
// keeps doing so when the month has begun and the partition grows. So a
// connection that was made before the month, or early in it, does not live
// long: its plans have seen half of what there is, or more.
type plans struct {
	now       func() time.Time
	installed atomic.Int64 // when the schema was made, Unix nanoseconds; 0 = not known
}

// planned is what a connection remembers of its beginning.
type planned struct {
	at    time.Time
	share float64 // of the longest life that its plans may have; 0.5 to 1
}

// plannedKey is where it remembers.
const plannedKey = "mobileid.planned"

func (p *plans) born(_ context.Context, conn *pgx.Conn) error {
	conn.PgConn().CustomData()[plannedKey] = planned{p.now(), (1 + rand.Float64()) / 2}
	return nil
}

func (p *plans) young(_ context.Context, conn *pgx.Conn) (bool, error) {
	c, ok := conn.PgConn().CustomData()[plannedKey].(planned)
	return !ok || !c.outgrown(p.begin(p.now())), nil
}

// begin returns now and since when rows have come into the partition of now's
// month: since the month began, or later, when the schema was made. Months are
// UTC, because the time in an id is.
func (p *plans) begin(now time.Time) (time.Time, time.Time) {
	now = now.UTC()
	begin := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	if made := time.Unix(0, p.installed.Load()); made.After(begin) {
		begin = made
	}
	return now, begin
}

// plansLive is how far into a month a plan may be used that has seen nothing of
// it: some thousand rows are walked quickly.
const plansLive = 2 * time.Second

// outgrown reports whether a month that began to fill at begin has more than
// doubled since the connection made its plans. Its share only shortens that:
// all connections meet the month's begin at the same moment, and are not to be
// replaced all at the same moment ever after.
func (c planned) outgrown(now, begin time.Time) bool {
	seen := max(c.at.Sub(begin), 0)
	limit := max(seen, plansLive)
	return now.Sub(begin)-seen > time.Duration(c.share*float64(limit))
}
