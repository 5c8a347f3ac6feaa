package registry

import (
	"context"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Messages pay where their number is when they are queued, and what they have paid
// with does not change afterwards. So a number that has moved has an account at each
// operator that it was with, made by the first Message that he carries or by the
// first news that he tells.

// movedToSQL is the operator that the number of a binding b is with by the move in
// force at a time ($1): mobileid.MoveInForce, of which this is the other half. Null:
// it never moved.
const movedToSQL = `(
	select p.operator from ported_numbers p where p.number = b.number and p.valid_from <= $1
	order by p.valid_from desc, p.id desc limit 1)`

// payingSQL is the account that pays for Messages to a binding b that are queued at
// a time ($1). One that has moved to an operator who has no account of it yet pays
// with that of the binding: nobody here carries SMS for the other, or none was sent.
const payingSQL = `coalesce((select a.id from accounts a where a.number = b.number and a.operator = ` + movedToSQL + `), b.account_id)`

// makeAccountSQL makes the account of a number ($1) at an operator ($2), owned $3, if
// it has none. The daily ceiling of the person who has the number is his there, too:
// the lock waits for one that is being set.
const makeAccountSQL = `
insert into accounts (owner, number, operator, daily_limit)
select $3, $1::bytea, $2::text, (select daily_ceiling from bindings where number = $1 and state = 'active' for share)
where not exists (select from accounts where number = $1 and operator = $2)
on conflict do nothing`

// lockAccountsOfSQL locks the accounts of a number ($1), whose unique index has them
// in another order.
const lockAccountsOfSQL = `select from accounts where number = $1 order by id for no key update`

// subscriberAccount is the owner of the mirror of a number's account.
func subscriberAccount(number mobileid.Pseudonym, operator string) string {
	return "subscriber:" + number.String() + ":" + operator
}

func makeAccount(ctx context.Context, tx pgx.Tx, number mobileid.Pseudonym, operator string) error {
	_, err := tx.Exec(ctx, makeAccountSQL, number[:], operator, subscriberAccount(number, operator))
	return err
}
