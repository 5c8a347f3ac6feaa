package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Credit adds to what an account may spend, as a top-up that is told now: see
// Tell. It touches no binding. An unknown account is KindNotFound.
func (db *DB) Credit(ctx context.Context, account int64, source, seq string, amount mobileid.Money) error {
	n := mobileid.BalanceNews{Source: source, Seq: seq, Kind: mobileid.BalanceTopUp, Amount: amount, At: db.clock()}
	if err := checkNews(n); err != nil {
		return err
	}
	return db.inTx(ctx, "credit", func(tx pgx.Tx) error {
		a, err := lockAccount(ctx, tx, `id = $1`, account)
		if err != nil {
			return err
		}
		_, _, err = db.book(ctx, tx, a, n)
		return err
	})
}

// Tell stores what an operator tells of the account of a number. (Source, Seq)
// names it there: told again, nothing changes; told again of another account, or as
// another kind or amount, is KindConflict, code "credit_differs". A number without an
// account at that operator is KindNotFound, unless it is bound and has moved to him:
// then it gets one. A negative amount is KindInvalid.
//
// A top-up adds. A balance replaces what was told of a time up to its own, whenever it
// comes: it is what could be spent at that time, with all taken off that we had posted
// by then, and what is reserved is not. What came and what was posted after it stays.
// So an older balance changes nothing, nor does a top-up that is not younger, which is
// in it. The first news make the balance known: until then nothing is refused for it.
//
// Money that leaves something to spend brings suspended SMS back. barred suspends
// them and unbarred brings them back, unless the operator has said otherwise of a
// later time. What an operator tells whom the number has left is kept, and changes
// nothing of the binding. What changes of it is told to others (binding_events).
func (db *DB) Tell(ctx context.Context, n mobileid.BalanceNews) error {
	if err := checkNews(n); err != nil {
		return err
	}
	var changed mobileid.BindingChange
	err := db.inTx(ctx, "tell balance", func(tx pgx.Tx) error {
		changed = "" // of an attempt that is undone
		b, err := lockBinding(ctx, tx, n.Number, db.clock())
		if err != nil {
			return err
		}
		if b.movedTo == n.Operator {
			if err := makeAccount(ctx, tx, n.Number, n.Operator); err != nil {
				return err
			}
		}
		a, err := lockAccount(ctx, tx, `number = $1 and operator = $2`, n.Number[:], n.Operator)
		if err != nil {
			return err
		}
		counts, left, err := db.book(ctx, tx, a, n)
		if err != nil || !counts || !b.isPaidBy(a, n.Operator) {
			return err
		}
		changed = b.after(n, a, left)
		return db.changeBinding(ctx, tx, b, a, changed)
	})
	if err == nil && changed != "" {
		db.metrics.suspended.WithLabelValues(string(changed)).Inc()
	}
	return err
}

func checkNews(n mobileid.BalanceNews) error {
	switch n.Kind {
	case mobileid.BalanceTopUp, mobileid.BalanceTold:
		if n.Amount < 0 {
			return mobileid.Invalid("amount", "amount_negative", "an amount is not negative")
		}
	case mobileid.BalanceBarred, mobileid.BalanceUnbarred:
		if n.Amount != 0 {
			return mobileid.Invalid("amount", "amount_unexpected", "barred and unbarred have no amount")
		}
	default:
		return mobileid.Invalid("kind", "balance_kind", "the kind is top_up, balance, barred or unbarred")
	}
	return nil
}

// account is a locked row of accounts.
type account struct {
	id                             int64
	granted, pending, posted, late mobileid.Money
	known, balanceAt, barredAt     *time.Time
	warned                         *mobileid.Money
}

func lockAccount(ctx context.Context, tx pgx.Tx, which string, args ...any) (a account, err error) {
	err = tx.QueryRow(ctx, `
select id, granted, pending, posted, late, told_at, balance_at, barred_at, warned from accounts where `+which+` for no key update`, args...).
		Scan(&a.id, &a.granted, &a.pending, &a.posted, &a.late, &a.known, &a.balanceAt, &a.barredAt, &a.warned)
	return a, err
}

// sinceSQL is what moved an account ($1) after a time ($2): what operators told that
// came, less what was posted. Of Messages from some days before ($3) on: what the books
// correct of older ones is in the next balance.
const sinceSQL = `
select coalesce((select sum(told) from credits where account_id = $1 and kind = 'top_up' and told_at > $2), 0)::bigint
     - coalesce((
	select sum(t.taken) from (
		select message_id from transfers where account_id = $1 and step = 1 and message_id >= $3) m
	join transfers t on t.message_id = m.message_id and t.message_id >= $3 where t.at > $2), 0)::bigint`

// since is how many days before a balance a Message may have been queued that was paid
// for after it: as long as one waits, and its receipt.
const sinceDays = 4 * 24 * time.Hour

// change is by how much news move what is granted, and whether they are older
// than what they are about. since is what has moved the account after a balance.
func (a *account) change(n mobileid.BalanceNews, since mobileid.Money) (change mobileid.Money, old bool) {
	reserved := a.posted + a.pending - a.late // what granted cannot be less than
	switch {
	case n.Kind == mobileid.BalanceBarred || n.Kind == mobileid.BalanceUnbarred:
		// Of two that are told of one second the later one counts.
		return 0, a.barredAt != nil && n.At.Before(*a.barredAt)
	case a.balanceAt != nil && !n.At.After(*a.balanceAt):
		return 0, true
	case n.Kind == mobileid.BalanceTold:
		return max(a.posted+n.Amount+since, reserved) - a.granted, false
	case a.known == nil:
		return max(a.granted, reserved) + n.Amount - a.granted, false
	}
	return n.Amount, false
}

// book stores news of a locked account. counts says that they are neither told
// before nor older than what is known, and left what there is to spend.
func (db *DB) book(ctx context.Context, tx pgx.Tx, a account, n mobileid.BalanceNews) (counts bool, left mobileid.Money, err error) {
	var since mobileid.Money
	if n.Kind == mobileid.BalanceTold {
		floor := mobileid.IDFloor(n.At.Add(-sinceDays))
		if err := tx.QueryRow(ctx, sinceSQL, a.id, n.At, floor[:]).Scan(&since); err != nil {
			return false, 0, err
		}
	}
	change, old := a.change(n, since)
	tag, err := tx.Exec(ctx, `
insert into credits (source, seq, account_id, kind, told, told_at, amount, at) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (source, seq) do nothing`, n.Source, n.Seq, a.id, n.Kind, n.Amount, n.At, change, db.clock())
	if err != nil {
		return false, 0, err
	}
	if tag.RowsAffected() == 0 {
		return false, 0, sameCredit(ctx, tx, a.id, n)
	}
	left = a.granted + change - a.posted - a.pending
	switch n.Kind {
	case mobileid.BalanceBarred, mobileid.BalanceUnbarred:
		if !old {
			_, err = tx.Exec(ctx, `update accounts set barred = $2, barred_at = $3 where id = $1`, a.id, n.Kind == mobileid.BalanceBarred, n.At)
		}
	case mobileid.BalanceTopUp, mobileid.BalanceTold:
		// Money came: he may be warned again. A balance says so by being more than
		// there was then.
		rearm := !old && (n.Kind == mobileid.BalanceTopUp && n.Amount > 0 || a.warned != nil && left > *a.warned)
		_, err = tx.Exec(ctx, `
update accounts set granted = granted + $2, told_at = coalesce(told_at, $3), balance_at = case when $4 then $3 else balance_at end,
	warned = case when not $5 then warned end
where id = $1`, a.id, change, n.At, n.Kind == mobileid.BalanceTold && !old, rearm)
	}
	return !old, left, err
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
