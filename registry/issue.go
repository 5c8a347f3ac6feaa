package registry

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// IssueChallenges stores a batch of challenges and their Messages in one
// transaction and returns the ids to publish on the lanes: the new Messages,
// and those of requests delivered again whose Message is still queued. For a
// request delivered again nothing else happens: no second code, no second
// Message.
//
// Each challenge becomes, by the first rule that holds:
//
//   - cancelled, as CancelChallenge has stored it;
//   - conflict, when its Idempotency-Key belongs to another request (reason
//     key_reused: another body; second_id: the same body under another id);
//   - expired (deadline), when it was read after its deadline;
//   - step_up or limited, when wrong codes of the person stand against it (guards.go),
//     or limited, when there were too many codes (RetryAt);
//   - step_up, when a code is not enough for what is known of the SIM (StepUp);
//   - unbound, when the person has no active binding, or not the one that the
//     code was made for any more (binding_changed);
//   - superseded (newer), when a younger one of the same person, purpose and
//     client is live: ids sort by accept time;
//   - pending. The older live one, if any, ends superseded (newer), and its
//     Message is cancelled if no bridge has it yet.
func (db *DB) IssueChallenges(ctx context.Context, batch []mobileid.NewChallenge) ([]mobileid.LaneItem, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	is := &issuing{db: db, now: db.clock(), batch: youngestFirst(batch)}
	err := db.inTwo(ctx, "issue challenges", is.lock(), func(b *pgx.Batch) {
		is.decide()
		is.write(b)
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(is.lanes) // oldest first, as they were accepted
	return is.lanes, nil
}

// youngestFirst drops repeated ids and sorts by id, descending: going down
// that list the first challenge of a person, purpose and client is the one
// that stays, and those after it are older.
func youngestFirst(batch []mobileid.NewChallenge) []*mobileid.NewChallenge {
	out := make([]*mobileid.NewChallenge, len(batch))
	for i := range batch {
		out[i] = &batch[i]
	}
	// Stable: of two deliveries of one id the first in the batch is kept.
	slices.SortStableFunc(out, func(a, b *mobileid.NewChallenge) int {
		return bytes.Compare(b.Request.ID[:], a.Request.ID[:])
	})
	return slices.CompactFunc(out, func(a, b *mobileid.NewChallenge) bool { return a.Request.ID == b.Request.ID })
}

// liveKey is what only one challenge can be live for.
type liveKey struct {
	client  string
	person  mobileid.Pseudonym
	purpose string
}

func liveKeyOf(c *mobileid.NewChallenge) liveKey {
	return liveKey{c.Request.Client, c.Person, c.Request.Purpose}
}

type fenceKey struct {
	id      int64
	version int
}

// issuing is one call of IssueChallenges.
type issuing struct {
	db    *DB
	now   time.Time
	batch []*mobileid.NewChallenge

	// What the locks showed.
	keys     map[keyOf]keyTaken
	bound    map[fenceKey]bool
	guards   map[guardKey]guard
	live     map[liveKey]mobileid.ID
	existing map[mobileid.ID]*mobileid.LaneItem // nil: stored, nothing to publish
	stones   map[mobileid.ID]bool               // stored by a cancel that came first

	// What was decided.
	rows       []challengeRow
	told       []*mobileid.NewChallenge // of stones
	superseded []mobileid.ID
	lanes      []mobileid.LaneItem
}

// challengeRow is a challenge to insert and the state it gets.
type challengeRow struct {
	*mobileid.NewChallenge
	state  mobileid.ChallengeState
	reason string
	retry  time.Time // of limited and step_up
}

// lock queues what is locked and read. The statements take their locks one
// after the other.
func (is *issuing) lock() *pgx.Batch {
	var reqs []request
	var ids, persons [][]byte
	var clients, purposes []string
	var bindings []int64
	for _, c := range is.batch {
		reqs = append(reqs, request{c.Request.ID, c.Request.Client, c.Request.BodyHash})
		ids = append(ids, raw(c.Request.ID))
		clients, persons, purposes = append(clients, c.Request.Client), append(persons, c.Person[:]), append(purposes, c.Request.Purpose)
		if c.Binding != nil && c.Message != nil {
			bindings = append(bindings, c.Binding.ID)
		}
	}
	b := &pgx.Batch{}
	is.keys = queueClaim(b, reqs, is.now)
	is.bound = map[fenceKey]bool{}
	// The lock of the binding lets one issuer at a time look at what is live
	// for its person.
	b.Queue(`
select id, version, state from bindings where id in (select unnest($1::bigint[])) order by id for no key update`, bindings).
		Query(func(rows pgx.Rows) error {
			var f fenceKey
			var state string
			_, err := pgx.ForEachRow(rows, []any{&f.id, &f.version, &state}, func() error {
				is.bound[f] = state == "active"
				return nil
			})
			return err
		})
	b.Queue(`
select from challenges where id in (
	select unnest($1::bytea[])
	union
	select l.challenge_id from unnest($2::text[], $3::bytea[], $4::text[]) as k(client, person, purpose)
	join live_challenges l on l.person = any($3) and l.person = k.person and l.purpose = k.purpose and l.client = k.client)
order by id for no key update`, ids, clients, persons, purposes)
	is.guards = queueGuards(b, persons, clients, is.now)
	is.live = map[liveKey]mobileid.ID{}
	is.existing, is.stones = map[mobileid.ID]*mobileid.LaneItem{}, map[mobileid.ID]bool{}
	b.Queue(lookSQL, ids, clients, persons, purposes).Query(is.seen)
	messages := make([]*mobileid.NewMessage, len(is.batch))
	for i, c := range is.batch {
		messages[i] = c.Message
	}
	queueAccounts(b, messages)
	return b
}

// lookSQL reads what is live for the persons, purposes and clients of the
// batch, and which of its challenges are stored already, with their Messages.
const lookSQL = `
select false as stored, l.challenge_id, l.client, l.person, l.purpose, '' as state, null::bytea as message, '' as operator, '' as lane
from unnest($2::text[], $3::bytea[], $4::text[]) as k(client, person, purpose)
join live_challenges l on l.person = any($3) and l.person = k.person and l.purpose = k.purpose and l.client = k.client
union all
select true, c.id, c.client, c.person, c.purpose, coalesce(m.state, ''), m.id, coalesce(m.operator, ''), coalesce(m.lane, '')
from unnest($1::bytea[]) k(id) join challenges c on c.id = k.id left join messages m on m.id = c.message_id`

// seen reads the answer to lookSQL.
func (is *issuing) seen(rows pgx.Rows) error {
	var stored bool
	var id, person, message []byte
	var key liveKey
	var state mobileid.MessageState
	var item mobileid.LaneItem
	dst := []any{&stored, &id, &key.client, &person, &key.purpose, &state, &message, &item.Operator, &item.Lane}
	_, err := pgx.ForEachRow(rows, dst, func() error {
		key.person = toPseudonym(person)
		switch {
		case !stored:
			is.live[key] = toID(id)
		case state == mobileid.MessageQueued:
			again := item
			again.ID, again.Person = toID(message), key.person
			is.existing[toID(id)] = &again
		default:
			is.existing[toID(id)] = nil
			is.stones[toID(id)] = key.purpose == ""
		}
		return nil
	})
	return err
}

// decide goes from the youngest request to the oldest.
func (is *issuing) decide() {
	for _, c := range is.batch {
		if item, stored := is.existing[c.Request.ID]; stored {
			if item != nil {
				is.lanes = append(is.lanes, *item)
			}
			if is.stones[c.Request.ID] {
				is.told = append(is.told, c)
			}
			continue
		}
		state, retry, reason := is.judge(c)
		is.rows = append(is.rows, challengeRow{c, state, reason, retry})
		if state != mobileid.ChallengePending {
			continue
		}
		if older, ok := is.live[liveKeyOf(c)]; ok {
			is.superseded = append(is.superseded, older)
		}
		is.live[liveKeyOf(c)] = c.Request.ID
		is.lanes = append(is.lanes, laneItem(c.Message))
	}
}

func (is *issuing) judge(c *mobileid.NewChallenge) (state mobileid.ChallengeState, retry time.Time, reason string) {
	r := request{c.Request.ID, c.Request.Client, c.Request.BodyHash}
	if reason := is.keys[r.key()].contradicts(r); reason != "" {
		return mobileid.ChallengeConflict, retry, reason
	}
	if is.now.After(c.Request.Deadline) {
		return mobileid.ChallengeExpired, retry, mobileid.ReasonDeadline
	}
	// Before all that depends on the binding: whoever may not know of that sees these.
	if !c.Exempt {
		if state, retry, reason = is.guards[guardKey{c.Person, c.Request.Client}].judge(is.db.guards, is.now); state != "" {
			return state, retry, reason
		}
	}
	if c.StepUp != "" {
		return mobileid.ChallengeStepUp, c.RetryAt, c.StepUp
	}
	if !c.RetryAt.IsZero() {
		return mobileid.ChallengeLimited, c.RetryAt, mobileid.ReasonTooMany
	}
	if c.Binding == nil || c.Message == nil {
		return mobileid.ChallengeUnbound, retry, mobileid.ReasonUnbound
	}
	if !is.bound[fenceKey{c.Binding.ID, c.Binding.Version}] {
		return mobileid.ChallengeUnbound, retry, mobileid.ReasonBindingChanged
	}
	if live, ok := is.live[liveKeyOf(c)]; ok && bytes.Compare(live[:], c.Request.ID[:]) > 0 {
		return mobileid.ChallengeSuperseded, retry, mobileid.ReasonNewer
	}
	return mobileid.ChallengePending, retry, ""
}

// insertIssuedSQL stores a pending challenge, its place as the live one of its
// person, purpose and client, and its Message.
var insertIssuedSQL = `
with ` + changedByQueueingSQL + `, issued as (
	insert into challenges (id, client, person, purpose, locale, context_hash, client_ref, body_hash, state,
		binding_id, binding_version, nonce, message_id, tries, issued_at, expires_at, can_resend_at, presence, sim_check, source_topic, source_partition, source_offset)
	values ($8, $3, $4, $26, $27, $28, $18, $19, 'pending', $29, $30, $31, $2, $32, $1, $33, $34, $35, $36, $20, $21, $22)
	returning id, client, person, purpose, expires_at, state, reason, state_version
), live as (
	insert into live_challenges (client, person, purpose, challenge_id, expires_at)
	select client, person, purpose, id, expires_at from issued
	on conflict (person, purpose, client) do update set challenge_id = excluded.challenge_id, expires_at = excluded.expires_at
)
insert into outbox (subject, challenge, client, state, reason, version, at)
select id, null, client, state, reason, state_version, $1 from issued
union all
select id, challenge_id, client, state, reason, state_version, $1 from changed`

// insertEndedSQL stores a challenge that has ended before there was a code.
const insertEndedSQL = `
with ended as (
	insert into challenges (id, client, person, purpose, locale, context_hash, client_ref, body_hash, state, reason,
		tries, issued_at, expires_at, ended_at, source_topic, source_partition, source_offset, can_resend_at, retry_at, presence, sim_check)
	values ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $1, $13, $1, $14, $15, $16, $17, $18, $19, $20)
	returning id, client, state, reason, state_version)
insert into outbox (subject, client, state, reason, version, at)
select id, client, state, reason, state_version, $1 from ended`

func (is *issuing) write(b *pgx.Batch) {
	if len(is.superseded) > 0 {
		ids := rawIDs(is.superseded)
		// The challenges are locked already; what pays for a Message that waits
		// for its retry, and the Message, come after them.
		lockFromChallenges(b, ids)
		queueEnd(b, endArgs{now: is.now, ids: ids, state: mobileid.ChallengeSuperseded, reason: mobileid.ReasonNewer})
	}
	for _, c := range is.told {
		r := &c.Request
		b.Queue(`
update challenges set person = $2, purpose = $3, locale = $4, context_hash = $5, client_ref = $6, body_hash = $7, expires_at = $8,
	source_topic = $9, source_partition = $10, source_offset = $11
where id = $1 and purpose = ''`, raw(r.ID), c.Person[:], r.Purpose, r.Locale, r.ContextHash, r.ClientRef, r.BodyHash, expiryOf(c),
			c.Source.Topic, c.Source.Partition, c.Source.Offset)
	}
	for i := range is.rows {
		is.queueRow(b, &is.rows[i])
	}
}

// expiryOf is until when the code works, or would.
func expiryOf(c *mobileid.NewChallenge) time.Time {
	if c.ExpiresAt.IsZero() {
		return c.Request.Deadline
	}
	return c.ExpiresAt
}

func (is *issuing) queueRow(b *pgx.Batch, row *challengeRow) {
	r := &row.Request
	expires := expiryOf(row.NewChallenge)
	if row.state != mobileid.ChallengePending {
		b.Queue(insertEndedSQL, is.now, raw(r.ID), r.Client, row.Person[:], r.Purpose, r.Locale, r.ContextHash, r.ClientRef,
			r.BodyHash, row.state, row.reason, row.Tries, expires, row.Source.Topic, row.Source.Partition, row.Source.Offset, nullTime(row.ResendAt), nullTime(row.retry), presenceOf(r), simOf(row.SIMCheck))
		return
	}
	args := messageArgs(is.now, row.Message, messageOrigin{
		challenge: r.ID, clientRef: r.ClientRef, bodyHash: r.BodyHash, source: row.Source,
	})
	b.Queue(insertIssuedSQL, append(args, r.Purpose, r.Locale, r.ContextHash, row.Binding.ID, row.Binding.Version,
		row.Nonce, row.Tries, expires, nullTime(row.ResendAt), presenceOf(r), simOf(row.SIMCheck))...)
}

// presenceOf is what a request says of the person, who is absent unless it says more.
func presenceOf(r *mobileid.ChallengeRequested) mobileid.Presence {
	if r.Presence == "" {
		return mobileid.PresenceNone
	}
	return r.Presence
}

// simOf is what is known of the SIM, of which nobody was asked unless it says more.
func simOf(c mobileid.SIMCheck) mobileid.SIMCheck {
	if c == "" {
		return mobileid.SIMNotAsked
	}
	return c
}

// nullTime gives a time as the driver wants it; the zero time is null.
func nullTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}
