package registry

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Whoever changes a binding in a way that others are told of adds one to its
// event_version and writes a row of binding_events, in the same statement. The
// lock of the binding, which he has for that, makes the versions follow each
// other.

// bindingColumns are what an update of bindings b returns for bindingToldSQL.
const bindingColumns = `b.id, b.event_version, b.person, b.number, b.operator`

// bindingToldSQL inserts the events of rows, a CTE with bindingColumns, or of
// some of them; change and why are expressions and $1 is the time.
func bindingToldSQL(change, why, rows string) string {
	return `
	insert into binding_events (binding_id, version, person, number, operator, change, why, at)
	select id, event_version, person, number, operator, ` + change + `, ` + why + `, $1 from ` + rows
}

// BindingPublisher is where events of bindings go: Kafka.
type BindingPublisher interface {
	// PublishBindingEvents returns nil only when all of them are durable.
	PublishBindingEvents(ctx context.Context, events []mobileid.BindingEvent) error
}

// BindingRelay publishes the events of bindings. Its promise: every one that a
// committed transaction wrote is published at least once, those of a binding in
// their order as long as one relay runs. Any number may run: each event carries
// its version, and readers ignore lower ones.
type BindingRelay struct {
	db   *DB
	pub  BindingPublisher
	loop *mobileid.Loop
}

// NewBindingRelay makes a relay; Run runs it.
func NewBindingRelay(db *DB, pub BindingPublisher, loop *mobileid.Loop) *BindingRelay {
	return &BindingRelay{db: db, pub: pub, loop: loop}
}

// Run relays until ctx ends, and then returns nil.
func (r *BindingRelay) Run(ctx context.Context) error {
	return r.db.poll(ctx, r.loop, "events of bindings", r.once)
}

// once relays at most one batch and returns how many it had. The rows go in the
// transaction that waits for the publisher.
func (r *BindingRelay) once(ctx context.Context) (int, error) {
	var batch []mobileid.BindingEvent
	err := r.db.inTx(ctx, "relay binding events", func(tx pgx.Tx) error {
		batch = nil
		rows, err := tx.Query(ctx, `
select seq, binding_id, version, person, number, operator, change, why, at
from binding_events order by seq limit $1 for update skip locked`, pollBatch)
		if err != nil {
			return err
		}
		var e mobileid.BindingEvent
		var seq int64
		var person, number []byte
		var seqs []int64
		_, err = pgx.ForEachRow(rows, []any{&seq, &e.Binding, &e.Version, &person, &number, &e.Operator, &e.Change, &e.Why, &e.At}, func() error {
			e.Person, e.Number = toPseudonym(person), toPseudonym(number)
			seqs, batch = append(seqs, seq), append(batch, e)
			return nil
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := r.pub.PublishBindingEvents(ctx, batch); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `delete from binding_events where seq = any($1)`, seqs)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(batch), nil
}

// The pace of relays whose readers do not wait as for a status.
const (
	pollPause   = time.Second
	pollBatch   = 200
	pollTimeout = 10 * time.Second
)

// poll calls once, which handles at most pollBatch, until ctx ends, and then
// returns nil. What fails waits for the next call; what it is, is for the log.
func (db *DB) poll(ctx context.Context, loop *mobileid.Loop, what string, once func(context.Context) (int, error)) error {
	for {
		loop.Step()
		bounded, cancel := context.WithTimeout(ctx, pollTimeout)
		n, err := once(bounded)
		cancel()
		loop.Rest()
		if err != nil && ctx.Err() == nil {
			db.log.LogAttrs(ctx, levelOf(err), "rows wait to be published", slog.String("rows", what), slog.Any("err", err))
		}
		pause := pollPause
		if n == pollBatch {
			pause = 0
		}
		if !sleep(ctx, pause) {
			return nil
		}
	}
}
