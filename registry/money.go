package registry

import (
	"context"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Credit adds to what an account may spend. (source, seq) names the credit at
// who told us: told again, nothing changes; told again with another account or
// amount is KindConflict, code "credit_differs". An unknown account or an
// amount that is not positive is KindInvalid.
func (db *DB) Credit(ctx context.Context, account int64, source, seq string, amount mobileid.Money) error {
	return db.inTx(ctx, "credit", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
insert into credits (source, seq, account_id, amount, at) values ($1, $2, $3, $4, $5)
on conflict (source, seq) do nothing`, source, seq, account, int64(amount), db.clock())
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			_, err = tx.Exec(ctx, `update accounts set granted = granted + $2 where id = $1`, account, int64(amount))
			return err
		}
		var same bool
		err = tx.QueryRow(ctx, `
select account_id = $3 and amount = $4 from credits where source = $1 and seq = $2`, source, seq, account, int64(amount)).Scan(&same)
		if err == nil && !same {
			return conflict("credit_differs", "this credit was told before with another account or amount")
		}
		return err
	})
}
