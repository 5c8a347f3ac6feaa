package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Sent returns the operators' ids of the SMS that an operator has taken since,
// by our books. It reads a whole table: it is for the demo and for tests.
func (db *DB) Sent(ctx context.Context, since time.Time) ([]string, error) {
	rows, err := db.pool.Query(ctx,
		`select operator_id from message_parts where status = 0 and operator_id <> '' and answered_at >= $1`, since)
	if err != nil {
		return nil, clean("sent", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, clean("sent", err)
}

// Overdue counts the Messages without an end whose deadline was before a time:
// with all of its grace gone, each breaks promise P1.
func (db *DB) Overdue(ctx context.Context, before time.Time) (int64, error) {
	var n int64
	err := db.pool.QueryRow(ctx, `select count(*) from messages where ended_at is null and deadline < $1`, before).Scan(&n)
	return n, clean("overdue", err)
}
