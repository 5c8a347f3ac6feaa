package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// QueueNotifications stores a batch of notifications in one transaction and
// returns the ids to publish on the lanes, as IssueChallenges does. A
// notification is its one Message, so what cannot be sent is a Message that
// has ended, without a text:
//
//   - cancelled, when its Idempotency-Key belongs to another request (reason
//     key_reused or second_id);
//   - expired (deadline), when it was read after its deadline;
//   - cancelled (unbound), when the person has no active binding. Not fenced:
//     there was never a binding that could be gone; not undeliverable: that is
//     an operator's word; not failed: nothing went wrong.
//
// Whether the binding still holds is asked at admission, by the fence.
func (db *DB) QueueNotifications(ctx context.Context, batch []mobileid.NewNotification) ([]mobileid.LaneItem, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	now := db.clock()
	var lanes []mobileid.LaneItem
	first := &pgx.Batch{}
	q := loadNotifications(first, batch, now)
	err := db.inTwo(ctx, "queue notifications", first, func(b *pgx.Batch) {
		for i := range batch {
			if item, ok := q.add(b, &batch[i]); ok {
				lanes = append(lanes, item)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return lanes, nil
}

// notifying is one call of QueueNotifications.
type notifying struct {
	now      time.Time
	keys     map[keyOf]keyTaken
	existing map[mobileid.ID]*mobileid.LaneItem // nil: stored, nothing to publish
}

// loadNotifications queues what decides about a batch, to be read when b has
// been sent.
func loadNotifications(b *pgx.Batch, batch []mobileid.NewNotification, now time.Time) *notifying {
	var reqs []request
	var ids [][]byte
	for i := range batch {
		n := &batch[i]
		reqs = append(reqs, request{n.Request.ID, n.Request.Client, n.Request.BodyHash})
		ids = append(ids, raw(n.Request.ID))
	}
	q := &notifying{now: now, existing: map[mobileid.ID]*mobileid.LaneItem{}}
	q.keys = queueClaim(b, reqs, now)
	b.Queue(`
select m.id, m.state, m.operator, m.lane, m.person from unnest($1::bytea[]) k(id) join messages m on m.id = k.id`, ids).
		Query(func(rows pgx.Rows) error {
			var id, person []byte
			var state mobileid.MessageState
			var item mobileid.LaneItem
			_, err := pgx.ForEachRow(rows, []any{&id, &state, &item.Operator, &item.Lane, &person}, func() error {
				q.existing[toID(id)] = nil
				if state == mobileid.MessageQueued {
					again := item
					again.ID, again.Person = toID(id), toPseudonym(person)
					q.existing[again.ID] = &again
				}
				return nil
			})
			return err
		})
	messages := make([]*mobileid.NewMessage, len(batch))
	for i := range batch {
		messages[i] = batch[i].Message
	}
	queueAccounts(b, messages)
	return q
}

// add queues the row of a notification and returns what to publish for it.
func (q *notifying) add(b *pgx.Batch, n *mobileid.NewNotification) (mobileid.LaneItem, bool) {
	if item, stored := q.existing[n.Request.ID]; stored {
		if item == nil {
			return mobileid.LaneItem{}, false
		}
		return *item, true
	}
	q.existing[n.Request.ID] = nil // a second delivery in this batch finds it stored
	state, reason := q.judge(n)
	if state != mobileid.MessageQueued {
		q.addEnded(b, n, state, reason)
		return mobileid.LaneItem{}, false
	}
	b.Queue(insertMessageSQL, messageArgs(q.now, n.Message, messageOrigin{
		clientRef: n.Request.ClientRef, bodyHash: n.Request.BodyHash, source: n.Source,
	})...)
	return laneItem(n.Message), true
}

func (q *notifying) judge(n *mobileid.NewNotification) (mobileid.MessageState, string) {
	r := request{n.Request.ID, n.Request.Client, n.Request.BodyHash}
	if reason := q.keys[r.key()].contradicts(r); reason != "" {
		return mobileid.MessageCancelled, reason
	}
	if q.now.After(n.Request.Deadline) {
		return mobileid.MessageExpired, mobileid.ReasonDeadline
	}
	if n.Message == nil {
		return mobileid.MessageCancelled, mobileid.ReasonUnbound
	}
	return mobileid.MessageQueued, ""
}

const insertEndedMessageSQL = `
with changed as (
	insert into messages (id, client, person, lane, operator, text_id, amount, deadline, parts, state, reason,
		client_ref, body_hash, queued_at, ended_at, source_topic, source_partition, source_offset)
	values ($2, $3, $4, 'bulk', '', $5, 0, $6, 0, $7, $8, $9, $10, $1, $1, $11, $12, $13)
	returning id, client, state, reason, state_version)
insert into outbox (subject, client, state, reason, version, at)
select id, client, state, reason, state_version, $1 from changed`

func (q *notifying) addEnded(b *pgx.Batch, n *mobileid.NewNotification, state mobileid.MessageState, reason string) {
	r := &n.Request
	b.Queue(insertEndedMessageSQL, q.now, raw(r.ID), r.Client, n.Person[:], r.TextID, r.Deadline, state, reason,
		r.ClientRef, r.BodyHash, n.Source.Topic, n.Source.Partition, n.Source.Offset)
}
