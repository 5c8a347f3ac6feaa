package registry

import (
	"context"
	"encoding/json"

	"mobileid/internal/mobileid"
)

// Rows are what is stored about one challenge or Message, each as JSON of the
// row with the columns' own names; nil when there is none. Sealed text stays
// sealed, and no row of bindings, where numbers stand in clear, is among them.
type Rows struct {
	Challenge, Message, Account, Confirmation json.RawMessage
	Transfers, Parts, Receipts                json.RawMessage // JSON arrays
}

// Rows reads them for whoever wants to see the bytes: the demo's page and
// tests.
func (db *DB) Rows(ctx context.Context, id mobileid.ID) (Rows, error) {
	var r Rows
	err := db.pool.QueryRow(ctx, `
with c as (select * from challenges where id = $1),
m as (select * from messages where id = coalesce((select message_id from c), $1))
select (select row_to_json(c) from c),
       (select row_to_json(m) from m),
       (select row_to_json(a) from accounts a where a.id = (select account_id from m)),
       (select row_to_json(f) from confirmations f where f.challenge_id = (select id from c)),
       (select json_agg(t order by t.step) from transfers t where t.message_id = (select id from m)),
       (select json_agg(p order by p.part, p.sequence) from message_parts p where p.message_id = (select id from m)),
       (select json_agg(r order by r.part, r.seen) from receipts r where r.message_id = (select id from m))`,
		id[:]).Scan(&r.Challenge, &r.Message, &r.Account, &r.Confirmation, &r.Transfers, &r.Parts, &r.Receipts)
	return r, clean("rows", err)
}

// Totals are counts over everything stored. They read whole tables: they are
// for the demo and for tests.
type Totals struct {
	Requests  int64 // challenges and notifications
	Delivered int64 // Messages
	Confirmed int64
	Open      int64          // requests that have not ended
	Charged   mobileid.Money // posted
}

// Totals counts.
func (db *DB) Totals(ctx context.Context) (Totals, error) {
	var t Totals
	err := db.pool.QueryRow(ctx, `
select (select count(*) from challenges) + (select count(*) from messages where challenge_id is null),
       (select count(*) from messages where state = 'delivered'),
       (select count(*) from confirmations),
       (select count(*) from challenges where ended_at is null) + (select count(*) from messages where ended_at is null),
       (select coalesce(sum(posted), 0)::bigint from accounts)`).
		Scan(&t.Requests, &t.Delivered, &t.Confirmed, &t.Open, &t.Charged)
	return t, clean("totals", err)
}
