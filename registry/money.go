package registry

import (
	"context"
	"time"

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

// SetTariff sets the price of one Message to an operator from a date on, in
// tiyin. The price of a Message is the one in force when it is queued; an
// operator without a tariff costs nothing. The amount that is in force at that
// date already is not written again. The same date with another amount is
// KindConflict, code "tariff_differs": a price that was in force is
// not rewritten.
func (db *DB) SetTariff(ctx context.Context, operator string, amount mobileid.Money, from time.Time) error {
	return db.inTx(ctx, "set tariff", func(tx pgx.Tx) error {
		var same bool
		err := tx.QueryRow(ctx, `
with current as (
	select amount from tariffs where operator = $1 and valid_from <= $3 order by valid_from desc limit 1
), new as (
	insert into tariffs (operator, amount, valid_from)
	select $1, $2, $3 where not exists (select from current where amount = $2)
	on conflict (operator, valid_from) do nothing returning amount
)
select coalesce((select amount from new), (select amount from current)) = $2`, operator, int64(amount), from).Scan(&same)
		if err == nil && !same {
			return conflict("tariff_differs", "another amount is in force from that date")
		}
		return err
	})
}
