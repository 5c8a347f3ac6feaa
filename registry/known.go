package registry

import (
	"context"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Known returns which of those challenges are stored, whatever their state. It
// takes no locks: an id that it does not know may be stored a moment later,
// and IssueChallenges decides then.
func (db *DB) Known(ctx context.Context, ids []mobileid.ID) (map[mobileid.ID]bool, error) {
	known := make(map[mobileid.ID]bool, len(ids))
	if len(ids) == 0 {
		return known, nil
	}
	err := db.query(ctx, "known", `select id from challenges where id = any($1)`, []any{rawIDs(ids)}, func(r pgx.Rows) error {
		var id []byte
		if err := r.Scan(&id); err != nil {
			return err
		}
		known[toID(id)] = true
		return nil
	})
	return known, err
}
