package registry

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
)

// OpenBridge gives a bridge its identity and its first lease. What it admits
// is its own as long as it renews; the id is never given again.
func (db *DB) OpenBridge(ctx context.Context, operator, name string, lease time.Duration) (int64, error) {
	var id int64
	err := db.one(ctx, "open bridge", []any{&id}, `
insert into bridges (operator, name, started_at, lease_until)
values ($1, $2, clock_timestamp(), clock_timestamp() + $3::interval) returning id`, operator, name, lease)
	return id, err
}

// RenewBridge makes the lease end the given time from now, by the database's
// clock. A lease that had ended stays ended (KindConflict, code
// "bridge_ended"): what the bridge had may have been given back, so it must
// start again under a new id.
func (db *DB) RenewBridge(ctx context.Context, id int64, lease time.Duration) error {
	var renewed bool
	err := db.one(ctx, "renew bridge", []any{&renewed}, `
update bridges set lease_until = clock_timestamp() + $2::interval
where id = $1 and lease_until > clock_timestamp() and swept_at is null returning true`, id, lease)
	if mobileid.KindOf(err) == mobileid.KindNotFound {
		return errBridgeEnded()
	}
	return err
}

// CloseBridge ends the lease now. What the bridge has not settled counts as in
// doubt from here on. Closed again, nothing changes.
func (db *DB) CloseBridge(ctx context.Context, id int64) error {
	return db.query(ctx, "close bridge",
		`update bridges set lease_until = clock_timestamp() where id = $1 and lease_until > clock_timestamp()`, []any{id}, nil)
}

func errBridgeEnded() error {
	return conflict("bridge_ended", "the lease of this bridge has ended")
}

// LiveBridges counts the bridges of an operator whose lease has not ended.
func (db *DB) LiveBridges(ctx context.Context, operator string) (int, error) {
	var n int
	err := db.look(ctx, "live bridges", []any{&n}, `
select count(*) from bridges where operator = $1 and lease_until > clock_timestamp() and swept_at is null`, operator)
	return n, err
}
