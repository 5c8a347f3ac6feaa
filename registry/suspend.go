package registry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

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

// suspendSQL suspends the bindings of Messages ($2) that could not be paid. A probe
// ($3) that was in vain doubles the time to the next one.
var suspendSQL = fmt.Sprintf(`
with broke as (
	select b.id, bool_or(i.probe) as probe
	from unnest($2::bytea[], $3::boolean[]) as i(id, probe)
	join messages m on m.id = i.id join bindings b on b.id = m.fence_id and m.fence_kind = 'binding'
	where b.state = 'active' and (not b.sms_suspended or i.probe and b.suspended_why = 'balance')
	group by b.id
), locked as (
	select b.id from bindings b where b.id in (select id from broke) order by b.id for no key update
), suspended as (
	update bindings b set sms_suspended = true, suspended_why = 'balance',
		suspended_at = coalesce(b.suspended_at, $1), probes = n.probes,
		probe_at = $1::timestamptz + least(interval '%[1]d s' * power(2, n.probes), interval '%[2]d s')
	from locked join broke using (id), lateral (select case when broke.probe or p.probe_at > $1::timestamptz - interval '1 day' then least(p.probes + 1, 30) else 0 end as probes from bindings p where p.id = broke.id) n
	where b.id = locked.id and b.state = 'active' and b.suspended_why is distinct from 'barred' and (not b.sms_suspended or broke.probe)
	returning 1
)
select count(*) from suspended`, probeAfter/time.Second, probeMost/time.Second)

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
	if err := db.one(ctx, "suspend", []any{&n}, suspendSQL, db.clock(), u.ids, u.probes); err != nil {
		db.log.LogAttrs(ctx, levelOf(err), "SMS that cannot be paid are not suspended yet", slog.Any("err", err))
	}
	db.metrics.suspended.WithLabelValues("suspended").Add(float64(n))
}

// probing puts off the next probe of the bindings of these Messages, which are
// under way.
func (db *DB) probing(ctx context.Context, ids [][]byte) {
	db.changeSuspended(ctx, "probing", `probe_at = $1::timestamptz + interval '1 minute'`, ids)
}

// resumed brings back the SMS to the bindings of Messages that were paid.
func (db *DB) resumed(ctx context.Context, ids [][]byte) {
	n := db.changeSuspended(ctx, "resume", resumeSet, ids)
	db.metrics.suspended.WithLabelValues("resumed").Add(float64(n))
}

const (
	resumeSet = `sms_suspended = false, suspended_at = null, suspended_why = null`
	freshSet  = resumeSet + `, probe_at = null, probes = 0`
)

func (db *DB) changeSuspended(ctx context.Context, op, set string, ids [][]byte) (n int) {
	if len(ids) == 0 {
		return 0
	}
	err := db.one(ctx, op, []any{&n}, `
with old as (
	select b.id from bindings b where b.id in (
		select m.fence_id from messages m where m.id = any($2) and m.fence_kind = 'binding')
	and b.sms_suspended and b.suspended_why = 'balance' order by b.id for no key update
), changed as (
	update bindings b set `+set+` from old where b.id = old.id and b.sms_suspended and $1::timestamptz is not null returning 1
)
select count(*) from changed`, db.clock(), ids)
	if err != nil {
		db.log.LogAttrs(ctx, levelOf(err), "suspended SMS are not brought back yet", slog.Any("err", err))
	}
	return n
}

// resume brings back the SMS to a number that were suspended for one of these
// reasons.
func (db *DB) resume(ctx context.Context, number mobileid.Pseudonym, why []string) error {
	n := 0
	err := db.one(ctx, "resume", []any{&n}, `
with changed as (
	update bindings set `+freshSet+` where number = $1 and state = 'active' and sms_suspended and suspended_why = any($2) returning 1)
select count(*) from changed`, number[:], why)
	db.metrics.suspended.WithLabelValues("resumed").Add(float64(n))
	return err
}

// bar suspends the SMS to a number until the operator takes it back, or brings
// them back.
func (db *DB) bar(ctx context.Context, n mobileid.BalanceNews) error {
	if n.Kind == mobileid.BalanceUnbarred {
		return db.resume(ctx, n.Number, []string{"barred", "balance"})
	}
	barred := 0
	err := db.one(ctx, "bar", []any{&barred}, `
with changed as (
	update bindings set sms_suspended = true, suspended_at = coalesce(suspended_at, $2), suspended_why = 'barred', probe_at = null, probes = 0
	where number = $1 and state = 'active' returning 1)
select count(*) from changed`, n.Number[:], db.clock())
	if err == nil && barred == 0 {
		return notFound()
	}
	db.metrics.suspended.WithLabelValues("suspended").Add(float64(barred))
	return err
}
