package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Credit adds to what an account may spend, as a top-up that is told now: see
// Tell. An unknown account is KindNotFound.
func (db *DB) Credit(ctx context.Context, account int64, source, seq string, amount mobileid.Money) error {
	return db.inTx(ctx, "credit", func(tx pgx.Tx) error {
		return db.told(ctx, tx, account, mobileid.BalanceNews{Source: source, Seq: seq, Kind: mobileid.BalanceTopUp, Amount: amount, At: db.clock()})
	})
}

// Tell stores what an operator tells of the account of a number. (Source, Seq)
// names it there: told again, nothing changes; told again with another account,
// kind, amount or time is KindConflict, code "credit_differs". A number without an
// account at that operator is KindNotFound; a negative amount is KindInvalid.
//
// A top-up adds. A balance replaces what was told before: it is what could be
// spent at that time, with all taken off that we had posted by then, and what is
// reserved is not. So an older balance changes nothing, nor does an older top-up,
// which is in it. The first news make the balance known: until then nothing is
// refused for it.
//
// Money brings suspended SMS back, as unbarred does; barred suspends them.
func (db *DB) Tell(ctx context.Context, n mobileid.BalanceNews) error {
	switch n.Kind {
	case mobileid.BalanceTopUp, mobileid.BalanceTold:
	case mobileid.BalanceBarred, mobileid.BalanceUnbarred:
		return db.bar(ctx, n)
	default:
		return mobileid.Invalid("kind", "balance_kind", "the kind is top_up, balance, barred or unbarred")
	}
	err := db.inTx(ctx, "tell balance", func(tx pgx.Tx) error {
		var account int64
		err := tx.QueryRow(ctx, `select id from accounts where owner = $1`, subscriberAccount(n.Number, n.Operator)).Scan(&account)
		if err != nil {
			return err
		}
		return db.told(ctx, tx, account, n)
	})
	if err != nil || n.Amount == 0 {
		return err
	}
	return db.resume(ctx, n.Number, []string{"balance"})
}

// subscriberAccount is the owner of the mirror of a number's account.
func subscriberAccount(number mobileid.Pseudonym, operator string) string {
	return "subscriber:" + number.String() + ":" + operator
}

// told books news of an account.
func (db *DB) told(ctx context.Context, tx pgx.Tx, account int64, n mobileid.BalanceNews) error {
	if n.Amount < 0 {
		return mobileid.Invalid("amount", "amount_negative", "an amount is not negative")
	}
	var granted, pending, posted, late mobileid.Money
	var known, balanceAt *time.Time
	err := tx.QueryRow(ctx, `
select granted, pending, posted, late, told_at, balance_at from accounts where id = $1 for no key update`, account).
		Scan(&granted, &pending, &posted, &late, &known, &balanceAt)
	if err != nil {
		return err
	}
	change := n.Amount
	reserved := posted + pending - late // what granted cannot be less than
	old := balanceAt != nil && !n.At.After(*balanceAt)
	switch {
	case old:
		change = 0
	case n.Kind == mobileid.BalanceTold:
		change = max(posted+n.Amount, reserved) - granted
	case known == nil:
		change = max(granted, reserved) + n.Amount - granted
	}
	tag, err := tx.Exec(ctx, `
insert into credits (source, seq, account_id, kind, told, told_at, amount, at) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (source, seq) do nothing`, n.Source, n.Seq, account, n.Kind, n.Amount, n.At, change, db.clock())
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return sameCredit(ctx, tx, account, n)
	}
	_, err = tx.Exec(ctx, `
update accounts set granted = granted + $2, told_at = coalesce(told_at, $3), balance_at = case when $4 then $3 else balance_at end
where id = $1`, account, change, n.At, n.Kind == mobileid.BalanceTold && !old)
	return err
}

// sameCredit refuses news that were told before otherwise.
func sameCredit(ctx context.Context, tx pgx.Tx, account int64, n mobileid.BalanceNews) error {
	var same bool
	err := tx.QueryRow(ctx, `
select account_id = $3 and kind = $4 and told = $5 from credits where source = $1 and seq = $2`,
		n.Source, n.Seq, account, n.Kind, n.Amount).Scan(&same)
	if err == nil && !same {
		return conflict("credit_differs", "this was told before of another account, or as another kind or amount")
	}
	return err
}
