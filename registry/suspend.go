package registry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// SMS to a binding are suspended when the money is out; the identification stays
// valid (decree clause 32). They come back when the operator tells of money, or by
// a probe: the first Message after a while goes the whole way, and tells. A probe
// that goes well and is followed by another shortage soon was in vain, too: an
// operator who debits by himself may say so in a receipt only.
const (
	probeAfter = time.Minute // doubling up to
	probeMost  = time.Hour
)

// suspendSQL suspends the locked bindings of Messages ($2) that could not be paid.
// A probe ($3) that was in vain doubles the time to the next one, and is told to
// nobody. What has not ended by it, or long ago, says nothing: another bridge has
// it, or a receipt is repeated. When money has come since a Message was refused for
// our mirror's balance alone, it is not out any more. Of an account that the number
// has left it says nothing about the one that pays now.
var suspendSQL = fmt.Sprintf(`
with broke as materialized (
	select m.fence_id as id, bool_or(i.probe) as probe, m.account_id as account
	from unnest($2::bytea[], $3::boolean[]) as i(id, probe)
	join messages m on m.id = i.id and m.fence_kind = 'binding' and m.ended_at > $1::timestamptz - interval '1 minute'
	left join accounts a on a.id = m.account_id
	where not coalesce(m.charging = 'ledger' and m.reason = '`+mobileid.ReasonBalance+`' and a.told_at is not null
	                   and a.granted - a.posted - a.pending >= m.amount, false)
	group by m.fence_id, m.account_id
), seen as materialized (
	select b.id, broke.account, b.sms_suspended as was, case when b.sms_suspended and b.suspended_account <> broke.account then 0 when broke.probe or b.probe_at > $1::timestamptz - interval '1 day' then least(b.probes + 1, 30) else 0 end as probes
	from broke join bindings b on b.id = broke.id
	where b.state = 'active' and broke.account = `+payingSQL+` and (not b.sms_suspended or broke.probe and (b.suspended_why = 'balance' or b.suspended_account <> broke.account))
), suspended as (
	update bindings b set sms_suspended = true, suspended_why = 'balance',
		suspended_at = coalesce(b.suspended_at, $1), suspended_account = s.account, probes = s.probes,
		probe_at = $1::timestamptz + least(interval '%[1]d s' * power(2, s.probes), interval '%[2]d s'),
		event_version = b.event_version + (not s.was)::integer
	from seen s where b.id = s.id
	returning `+bindingColumns+`, s.was
), told as (`+bindingToldSQL(`'suspended'`, `'balance'`, `suspended where not was`)+`
)
select count(*) from suspended where not was`, probeAfter/time.Second, probeMost/time.Second)

// lockFencesSQL locks the bindings of Messages.
const lockFencesSQL = `
select from bindings where id in (select fence_id from messages where id = any($1::bytea[]) and fence_kind = 'binding')
order by id for no key update`

// unpaid are Messages that ended for want of money.
type unpaid struct {
	ids    [][]byte
	probes []bool
}

func (u *unpaid) add(id mobileid.ID, probe bool) {
	u.ids, u.probes = append(u.ids, raw(id)), append(u.probes, probe)
}

// suspend follows a transaction that has ended Messages for want of money: it is
// no part of it, because bindings are locked before all that it had locked. A
// crash in between costs nothing: the next Message finds the money out, too.
func (db *DB) suspend(ctx context.Context, u unpaid) {
	if len(u.ids) == 0 {
		return
	}
	n := 0
	b := &pgx.Batch{}
	b.Queue(lockFencesSQL, u.ids)
	b.Queue(suspendSQL, db.clock(), u.ids, u.probes)
	if err := db.send(ctx, "suspend", b, func(r pgx.Rows) error { return r.Scan(&n) }); err != nil {
		db.log.LogAttrs(ctx, levelOf(err), "SMS that cannot be paid are not suspended yet", slog.Any("err", err))
	}
	db.metrics.suspended.WithLabelValues("suspended").Add(float64(n))
}

// probing puts off the next probe of the bindings of these Messages, which are
// under way.
func (db *DB) probing(ctx context.Context, ids [][]byte) {
	db.changeSuspended(ctx, "probing", `probe_at = $1::timestamptz + interval '1 minute'`, `select from changed`, ids)
}

// resumed brings back the SMS to the bindings of Messages that were paid.
func (db *DB) resumed(ctx context.Context, ids [][]byte) {
	n := db.changeSuspended(ctx, "resume", resumeSet, bindingToldSQL(`'resumed'`, `''`, `changed`), ids)
	db.metrics.suspended.WithLabelValues("resumed").Add(float64(n))
}

const (
	resumeSet = `sms_suspended = false, suspended_at = null, suspended_why = null, suspended_account = null, event_version = event_version + 1`
	freshSet  = resumeSet + `, probe_at = null, probes = 0`
)

// changeSuspended changes the suspended bindings of Messages that were paid: with the
// account that they are suspended for, or with the one that pays now instead. What
// the system pays for, or what was queued with an account that the number has left,
// says nothing of either. The planner cannot turn the condition on both tables
// around: without the IN it would walk all bindings.
func (db *DB) changeSuspended(ctx context.Context, op, set, told string, ids [][]byte) (n int) {
	if len(ids) == 0 {
		return 0
	}
	b := &pgx.Batch{}
	b.Queue(lockFencesSQL, ids)
	b.Queue(`
with paid as materialized (
	select fence_id, account_id from messages where id = any($2::bytea[]) and fence_kind = 'binding' and charging <> 'payer'
), changed as (
	update bindings b set `+set+`
	where b.id in (select fence_id from paid) and b.sms_suspended and b.state = 'active' and exists (
		select from paid p where p.fence_id = b.id and case when coalesce(b.suspended_account, p.account_id) = p.account_id
			then b.suspended_why = 'balance' else p.account_id = `+payingSQL+` end)
	returning `+bindingColumns+`
), told as (`+told+`
)
select count(*) from changed`, db.clock(), ids)
	err := db.send(ctx, op, b, func(r pgx.Rows) error { return r.Scan(&n) })
	if err != nil {
		db.log.LogAttrs(ctx, levelOf(err), "suspended SMS are not brought back yet", slog.Any("err", err))
	}
	return n
}

// binding is a locked row of bindings; the zero value says that there is none.
type binding struct {
	id        int64
	paying    int64  // account, before one is made (payingSQL)
	movedTo   string // by the move of its number in force
	suspended bool
	why       string
	suspender int64 // account that the SMS are suspended for; 0: whichever pays
}

// isPaidBy says whether an account of the number at an operator is the one that pays
// for what is queued now.
func (b binding) isPaidBy(a account, operator string) bool {
	return b.movedTo == operator || b.paying == a.id
}

// lockBinding locks the active binding of a number, if it has one: before the
// account, as the lock order says.
func lockBinding(ctx context.Context, tx pgx.Tx, number mobileid.Pseudonym, now time.Time) (b binding, err error) {
	rows, err := tx.Query(ctx, `
select id, `+payingSQL+`, coalesce(`+movedToSQL+`, ''), sms_suspended, coalesce(suspended_why, ''), coalesce(suspended_account, 0)
from bindings b where number = $2 and state = 'active' for no key update of b`, now, number[:])
	if err != nil {
		return b, err
	}
	_, err = pgx.ForEachRow(rows, []any{&b.id, &b.paying, &b.movedTo, &b.suspended, &b.why, &b.suspender}, func() error { return nil })
	return b, err
}

// after is what becomes of a binding by news of the account that pays for it, which
// leave so much to spend; "" is nothing. What another account is suspended for is
// over once this one is told of.
func (b binding) after(n mobileid.BalanceNews, a account, left mobileid.Money) mobileid.BindingChange {
	old := b.suspended && b.suspender != 0 && b.suspender != a.id
	switch n.Kind {
	case mobileid.BalanceBarred:
		if b.why != mobileid.SuspendedAsBarred || old {
			return mobileid.BindingSuspended
		}
	case mobileid.BalanceUnbarred:
		if b.suspended { // for the balance, too: the next Message tells
			return mobileid.BindingResumed
		}
	case mobileid.BalanceTopUp, mobileid.BalanceTold:
		if (b.why == mobileid.SuspendedForBalance || old) && n.Amount > 0 && left > 0 {
			return mobileid.BindingResumed
		}
	}
	return ""
}

// changeBinding suspends the SMS to a locked binding until the operator takes it
// back, or brings them back.
func (db *DB) changeBinding(ctx context.Context, tx pgx.Tx, of binding, a account, change mobileid.BindingChange) error {
	set, why, args := freshSet, `''`, []any{db.clock(), of.id, string(change)}
	switch change {
	case "":
		return nil
	case mobileid.BindingSuspended:
		set, why = `sms_suspended = true, suspended_at = coalesce(suspended_at, $1), suspended_why = 'barred', suspended_account = $4, probe_at = null, probes = 0, event_version = event_version + 1`, `'barred'`
		args = append(args, a.id)
	case mobileid.BindingResumed, mobileid.BindingFundsLow:
	}
	_, err := tx.Exec(ctx, `
with changed as (update bindings b set `+set+` where b.id = $2 returning `+bindingColumns+`)`+
		bindingToldSQL(`$3::text`, why, `changed`), args...)
	return err
}
