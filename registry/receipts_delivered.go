package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// deliveredSQL stores what nearly every receipt is: the only one of a Message of
// one part that was sent, and it says delivered. Such a one ends the Message, and
// its Charge was posted when it was sent. It is to StoreReceipts what freshSQL is
// to admitSQL: it looks without locks, each change says again what it rests on,
// and when it was not all as it looked it undoes itself (attempt), as it does when
// a receipt of the Message stands already.
//
// It looks at the Messages of this month only (monthSQL). Messages, then what
// hangs on them are locked, ascending.
var deliveredSQL = deliveredIn("{message_parts}")

// turnSQL is deliveredSQL while Messages of another month are under way too: it
// still ends those of this month, and leaves a receipt whose newest part is of
// the other one.
var turnSQL = deliveredIn("(select * from {message_parts} union all select * from {other message_parts})")

// deliveredIn looks for the part of a receipt in those.
func deliveredIn(parts string) string {
	return `
with told as materialized (
	select distinct on (p.message_id) r.ord, r.stat, r.err, r.received_at, p.message_id, p.part, p.link, p.sequence
	from unnest($2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::text[], $7::text[]) with ordinality
	     as r(account, operator_id, dest, received_at, stat, err, ord)` + partOfReceiptIn(parts) + `
	join {messages} m on m.id = p.message_id
	where m.state = 'sent' and m.parts = 1
	  and not exists (select from {message_parts} q where q.message_id = p.message_id and q.part > 1)
	order by p.message_id, r.ord
), changed as (
	update {messages} m set state = 'delivered', reason = 'receipt', state_version = m.state_version + 1, ended_at = $1
	from told r where m.id = r.message_id and m.state = 'sent'
	returning m.id, m.challenge_id, m.client, m.state_version
), marked as (
	update {message_parts} p set receipt = 'delivered' from told r
	where p.message_id = r.message_id and p.part = r.part and p.link = r.link and p.sequence = r.sequence and p.receipt = ''
	  and (select count(*) from changed) >= 0
	returning 1
), kept as (
	insert into {receipts} (message_id, part, seen, state, stat, err, received_at, reason)
	select message_id, part, 1, 'delivered', stat, err, received_at, '' from told where (select count(*) from changed) >= 0
), announced as (
	insert into outbox (subject, challenge, client, state, reason, version, at)
	select id, challenge_id, client, 'delivered', 'receipt', state_version, $1 from changed
)
select ord, 1 / case when (select count(*) from changed) = (select count(*) from told)
                      and (select count(*) from marked) = (select count(*) from told) then 1 else 0 end
from told`
}

// deliveredSQL returns the statement for the time that it is.
func (db *DB) deliveredSQL() string {
	now := db.clock()
	if other, two := otherMonth(now); two {
		return db.months.ofTwo(turnSQL, now, other)
	}
	return db.months.of(deliveredSQL, now)
}

// storeDelivered stores the receipts that deliveredSQL may store, and returns
// those that are left.
func (db *DB) storeDelivered(ctx context.Context, receipts []mobileid.Receipt) (left []mobileid.Receipt, err error) {
	c := newReceiptColumns(receipts, func(r *mobileid.Receipt) bool {
		return r.State == mobileid.MessageDelivered && r.Reason == "" && r.OperatorID != ""
	})
	if len(c.places) == 0 {
		return receipts, nil
	}
	b := &pgx.Batch{}
	b.Queue(db.deliveredSQL(), db.clock(), c.accounts, c.ids, c.dests, c.at, c.stats, c.errs)
	stored := make(map[int]bool, len(c.places))
	done, err := db.attempt(ctx, "store delivered", b, func(r pgx.Rows) error {
		var ord, one int
		err := r.Scan(&ord, &one)
		stored[c.places[ord-1]] = err == nil
		return err
	})
	if !done {
		return receipts, err
	}
	for i := range receipts {
		if !stored[i] {
			left = append(left, receipts[i])
		}
	}
	return left, nil
}

// receiptColumns are the receipts that fit, as arrays, with their places.
type receiptColumns struct {
	places                     []int
	accounts, ids, stats, errs []string
	dests                      [][]byte
	at                         []time.Time
}

func newReceiptColumns(receipts []mobileid.Receipt, fits func(*mobileid.Receipt) bool) (c receiptColumns) {
	for i := range receipts {
		r := &receipts[i]
		if !fits(r) {
			continue
		}
		c.places = append(c.places, i)
		c.accounts, c.ids, c.dests = append(c.accounts, r.Account), append(c.ids, r.OperatorID), append(c.dests, r.Dest[:])
		c.stats, c.errs, c.at = append(c.stats, r.Stat), append(c.errs, r.Err), append(c.at, r.At)
	}
	return c
}
