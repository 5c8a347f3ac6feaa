package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// StoreInbound stores what subscribers sent; an InboundRelay publishes it.
// Storing the same one again changes nothing. What an operator sends again has
// another id: it is another row, with the same fingerprint.
func (db *DB) StoreInbound(ctx context.Context, messages []mobileid.InboundMessage) error {
	n := len(messages)
	ids, operators, accounts, numbers := make([][]byte, n), make([]string, n), make([]string, n), make([][]byte, n)
	references, totals, parts := make([]int32, n), make([]int16, n), make([]int16, n)
	prints, sealed, at := make([][]byte, n), make([][]byte, n), make([]time.Time, n)
	for i := range messages {
		m := &messages[i]
		if m.Fingerprint != (mobileid.Fingerprint{}) {
			prints[i] = m.Fingerprint[:]
		}
		ids[i], operators[i], accounts[i] = m.ID[:], m.Operator, m.Account
		if m.Number != (mobileid.Pseudonym{}) {
			numbers[i] = m.Number[:]
		}
		references[i], totals[i], parts[i] = int32(m.Part.Reference), int16(m.Part.Total), int16(m.Part.Number)
		sealed[i], at[i] = m.Sealed, m.At
	}
	return db.query(ctx, "store inbound", `
insert into inbound (id, operator, account, number, part_reference, part_total, part, sealed, received_at, fingerprint)
select * from unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::integer[], $6::smallint[], $7::smallint[], $8::bytea[], $9::timestamptz[], $10::bytea[])
on conflict (id) do nothing`, []any{ids, operators, accounts, numbers, references, totals, parts, sealed, at, prints}, nil)
}

// unreadPerAccount bounds the receipts that are kept for somebody to read:
// what an operator writes wrongly it writes wrongly every time.
const unreadPerAccount = 200

// KeepUnread keeps receipts that the bridge could not read, the first ones of
// each account until the sweeper forgets them.
func (db *DB) KeepUnread(ctx context.Context, receipts []mobileid.UnreadReceipt) error {
	n := len(receipts)
	accounts, whys, sealed, at := make([]string, n), make([]string, n), make([][]byte, n), make([]time.Time, n)
	for i := range receipts {
		r := &receipts[i]
		accounts[i], whys[i], sealed[i], at[i] = r.Account, r.Why, r.Sealed, r.At
	}
	// Bridges that do so at once may keep a few more between them.
	return db.query(ctx, "keep unread", `
insert into receipts_unread (account, why, sealed, received_at)
select account, why, sealed, received_at from (
	select r.*, row_number() over (partition by account order by ord) as nth
	from unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[]) with ordinality as r(account, why, sealed, received_at, ord)
) r where nth + (select count(*) from receipts_unread k where k.account = r.account) <= $5`,
		[]any{accounts, whys, sealed, at, unreadPerAccount}, nil)
}

// Unread returns the receipts that are kept, the newest first, of all accounts
// of an operator or, with "", of all operators.
func (db *DB) Unread(ctx context.Context, operator string) ([]mobileid.UnreadReceipt, error) {
	var out []mobileid.UnreadReceipt
	err := db.query(ctx, "unread receipts", `
select account, why, sealed, received_at from receipts_unread
where $1 = '' or split_part(account, '/', 1) = $1 order by received_at desc, id desc limit $2`,
		[]any{operator, unreadPerAccount}, func(r pgx.Rows) error {
			var u mobileid.UnreadReceipt
			err := r.Scan(&u.Account, &u.Why, &u.Sealed, &u.At)
			out = append(out, u)
			return err
		})
	return out, err
}

// Retention of what operators sent us: of inbound messages as long as their
// topic has them, counted from when they were published.
const (
	inboundRetention = 7 * 24 * time.Hour
	unreadRetention  = 30 * 24 * time.Hour
)

// oldInbound forgets published inbound messages and unread receipts.
func (s *Sweeper) oldInbound(ctx context.Context) (int, error) {
	messages, err := s.forget(ctx, "old inbound", "inbound", "id", "published_at", inboundRetention)
	if err != nil {
		return messages, err
	}
	receipts, err := s.forget(ctx, "old unread receipts", "receipts_unread", "id", "received_at", unreadRetention)
	return messages + receipts, err
}

// InboundPublisher is where inbound messages go: Kafka.
type InboundPublisher interface {
	// PublishInbound returns nil only when all of them are durable.
	PublishInbound(ctx context.Context, messages []mobileid.InboundMessage) error
}

// InboundRelay publishes inbound messages. Its promise: every one that was
// stored is published at least once. Any number of relays may run.
type InboundRelay struct {
	db   *DB
	pub  InboundPublisher
	loop *mobileid.Loop
}

// NewInboundRelay makes a relay; Run runs it.
func NewInboundRelay(db *DB, pub InboundPublisher, loop *mobileid.Loop) *InboundRelay {
	return &InboundRelay{db: db, pub: pub, loop: loop}
}

// Run relays until ctx ends, and then returns nil.
func (r *InboundRelay) Run(ctx context.Context) error {
	return r.db.poll(ctx, r.loop, "inbound messages", r.once)
}

// once relays at most one batch and returns how many it had.
func (r *InboundRelay) once(ctx context.Context) (int, error) {
	var batch []mobileid.InboundMessage
	err := r.db.inTx(ctx, "relay inbound", func(tx pgx.Tx) error {
		batch = nil
		rows, err := tx.Query(ctx, `
select id, operator, account, number, part_reference, part_total, part, sealed, received_at, fingerprint
from inbound where published_at is null order by received_at limit $1 for update skip locked`, pollBatch)
		if err != nil {
			return err
		}
		var m mobileid.InboundMessage
		var id, number, fingerprint []byte
		var ids [][]byte
		p := &m.Part
		_, err = pgx.ForEachRow(rows, []any{&id, &m.Operator, &m.Account, &number, &p.Reference, &p.Total, &p.Number, &m.Sealed, &m.At, &fingerprint}, func() error {
			copy(m.ID[:], id)
			m.Number, m.Fingerprint = toPseudonym(number), mobileid.Fingerprint(toPseudonym(fingerprint))
			ids = append(ids, id)
			batch = append(batch, m)
			return nil
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := r.pub.PublishInbound(ctx, batch); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update inbound set published_at = $2 where id = any($1)`, ids, r.db.clock())
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(batch), nil
}
