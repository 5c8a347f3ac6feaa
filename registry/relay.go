package registry

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Publisher is where statuses go: Kafka.
type Publisher interface {
	// PublishStatuses returns nil only when all of them are durable, except
	// those of the clients in left: their own topic fails for now, and theirs
	// must be given again. What is given again may have been published.
	PublishStatuses(ctx context.Context, changes []mobileid.StatusChanged) (left map[string]bool, err error)
}

// RelayConfig is the pace of a Relay. The zero value is the default.
type RelayConfig struct {
	Busy  time.Duration // pause after a batch that was not empty; 100 ms: each batch is a produce request a partition
	Idle  time.Duration // longest pause while there is nothing; 200 ms
	Batch int           // rows at once; 500

	Timeout time.Duration // for one batch, publishing included; 10 s

	Loop *mobileid.Loop // nil is told nothing
}

func (c RelayConfig) withDefaults() RelayConfig {
	c.Busy = cmp.Or(c.Busy, 100*time.Millisecond)
	c.Idle = max(cmp.Or(c.Idle, 200*time.Millisecond), c.Busy)
	c.Batch = cmp.Or(c.Batch, 500)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	return c
}

// Relay publishes the outbox. Its promise: every status that a committed
// transaction wrote is published at least once. A row is deleted in the
// transaction that waits for the publisher, so a crash in between publishes it
// again, never not at all. A client whose own topic fails for a while keeps its
// rows, all of them, and delays nobody else. Any number of relays may run: they skip each
// other's rows. Then two statuses of one subject may come in the wrong order,
// which is why each carries its version and readers ignore lower ones.
type Relay struct {
	db    *DB
	pub   Publisher
	cfg   RelayConfig
	floor outboxFloor
	held  heldClients
	shown []string // the held clients that the gauge shows
}

// NewRelay makes a relay; Run runs it.
func NewRelay(db *DB, pub Publisher, cfg RelayConfig) *Relay {
	return &Relay{db: db, pub: pub, cfg: cfg.withDefaults(), held: heldClients{}}
}

// Run relays until ctx ends, and then returns nil. Postgres or the publisher
// being away is waited out, with a pause that grows to 2 s.
func (r *Relay) Run(ctx context.Context) error {
	pause := r.cfg.Busy
	for {
		r.cfg.Loop.Step()
		n, err := r.once(ctx)
		r.cfg.Loop.Rest()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end that was asked for
		case err != nil:
			r.db.log.LogAttrs(ctx, levelOf(err), "statuses wait in the outbox", slog.Any("err", err))
			pause = min(max(2*pause, 100*time.Millisecond), 2*time.Second)
		case n == r.cfg.Batch:
			pause = 0
		case n > 0:
			pause = r.cfg.Busy
		default:
			pause = min(max(2*pause, r.cfg.Busy), r.cfg.Idle)
		}
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// once relays at most one batch and returns how many rows it had.
func (r *Relay) once(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	skip, over := r.held.at(r.db.now())
	if over {
		r.floor.more = true // its rows lie below the floor
	}
	var changes []mobileid.StatusChanged
	var seqs []int64
	var left map[string]bool
	gone := 0
	err := r.db.inTx(ctx, "relay", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select seq, subject, challenge, client, state, reason, version, at
from outbox where seq > $2 and client <> all($3) order by seq limit $1 for update skip locked`, r.cfg.Batch, r.floor.at(r.db.now()), skip)
		if err != nil {
			return err
		}
		if changes, seqs, err = scanStatuses(rows); err != nil || len(changes) == 0 {
			return err
		}
		if left, err = r.pub.PublishStatuses(ctx, changes); err != nil {
			return err
		}
		var published []int64
		for i, c := range changes {
			if !left[c.Client] {
				published = append(published, seqs[i])
			}
		}
		gone = len(published)
		_, err = tx.Exec(ctx, `delete from outbox where seq = any($1)`, published)
		return err
	})
	if err != nil {
		return 0, err
	}
	last := int64(0)
	if len(seqs) > 0 {
		last = seqs[len(seqs)-1]
	}
	now := r.db.now()
	r.floor.relayed(last, len(changes) == r.cfg.Batch, now)
	for _, c := range r.held.published(changes, left, now) {
		r.db.log.LogAttrs(ctx, slog.LevelWarn, "statuses of a client wait in the outbox: its topic fails", slog.String("client", c))
	}
	r.show(now)
	r.db.metrics.relayed.Add(float64(gone))
	return len(changes), nil
}

// show has the gauge name the clients that the next look will leave out. A
// client whose pause has ended is shown until its topic has been tried again.
func (r *Relay) show(now time.Time) {
	held := r.held.paused(now)
	for _, client := range r.shown {
		if !slices.Contains(held, client) {
			r.db.metrics.held.DeleteLabelValues(client)
		}
	}
	for _, client := range held {
		r.db.metrics.held.WithLabelValues(client).Set(1)
	}
	r.shown = held
}

// heldClients are the clients whose own topic failed: the looks leave their
// rows out for a while, or rows that stay would fill every batch. It is memory
// only, because the rows themselves are in the outbox.
type heldClients map[string]held

type held struct {
	until time.Time
	pause time.Duration
	over  bool // until has passed and a look has been told
}

const (
	heldAtFirst = 2 * time.Second // doubles
	heldAtMost  = 30 * time.Second
)

// at returns the clients to leave out now, never nil, and whether the pause of
// one has ended since the last call.
func (h heldClients) at(now time.Time) (skip []string, over bool) {
	for client, c := range h {
		if !now.Before(c.until) && !c.over {
			c.over, over = true, true
			h[client] = c
		}
	}
	return h.paused(now), over
}

// paused returns the clients to leave out now, never nil.
func (h heldClients) paused(now time.Time) []string {
	clients := []string{}
	for client, c := range h {
		if now.Before(c.until) {
			clients = append(clients, client)
		}
	}
	return clients
}

// published notes what became of a batch and returns the clients whose pause
// begins.
func (h heldClients) published(changes []mobileid.StatusChanged, left map[string]bool, now time.Time) []string {
	var begins []string
	for _, c := range changes {
		switch {
		case !left[c.Client]:
			delete(h, c.Client)
		case !slices.Contains(begins, c.Client):
			begins = append(begins, c.Client)
		}
	}
	for _, client := range begins {
		pause := min(max(2*h[client].pause, heldAtFirst), heldAtMost)
		h[client] = held{until: now.Add(pause), pause: pause}
	}
	slices.Sort(begins)
	return begins
}

// outboxFloor spares a relay the walk over the rows that were deleted since
// the last vacuum: most looks begin at the last seq that was relayed a while
// ago. A transaction may commit a seq below that after it, so one look in
// every fullLook begins at the start; a floor delays, it never hides. When
// there is more below the floor than a batch, the looks begin at the start
// until that has left.
type outboxFloor struct {
	floor    int64
	next     int64     // becomes floor
	nextAt   time.Time // when next was relayed
	fullLook time.Time // the last one
	more     bool      // below floor: the last look was full before it came there
}

const (
	floorAge = 2 * time.Second // older than nearly every transaction
	fullLook = 5 * time.Second // what a longer one may be late by
)

// at returns the seq above which to look now.
func (f *outboxFloor) at(now time.Time) int64 {
	if f.more || now.Sub(f.fullLook) >= fullLook {
		f.fullLook = now
		return 0
	}
	return f.floor
}

// relayed notes the highest seq of a batch, 0 is none, and whether the batch
// was full.
func (f *outboxFloor) relayed(last int64, full bool, now time.Time) {
	f.more = full && last < f.floor
	if now.Sub(f.nextAt) >= floorAge {
		f.floor, f.next, f.nextAt = f.next, max(last, f.next), now
	}
}

// scanStatuses reads outbox rows in the order they were written, and their
// seqs.
func scanStatuses(rows pgx.Rows) ([]mobileid.StatusChanged, []int64, error) {
	var events []mobileid.StatusEvent
	var e mobileid.StatusEvent
	var subject, challenge []byte
	c := &e.Change
	_, err := pgx.ForEachRow(rows, []any{&e.Seq, &subject, &challenge, &c.Client, &c.State, &c.Reason, &c.Version, &c.At}, func() error {
		c.ID, c.Challenge = toID(subject), toID(challenge)
		c.Terminal = terminal(c.ID, c.State)
		events = append(events, e)
		return nil
	})
	slices.SortFunc(events, func(a, b mobileid.StatusEvent) int { return cmp.Compare(a.Seq, b.Seq) })
	changes, seqs := make([]mobileid.StatusChanged, len(events)), make([]int64, len(events))
	for i := range events {
		changes[i], seqs[i] = events[i].Change, events[i].Seq
	}
	return changes, seqs, err
}

// terminal asks the vocabulary, by the kind that the id has.
func terminal(id mobileid.ID, state string) bool {
	if id.Kind() == mobileid.KindChallenge {
		return mobileid.ChallengeState(state).Terminal()
	}
	return mobileid.MessageState(state).Terminal()
}

// sleep waits, and reports whether ctx is still on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
