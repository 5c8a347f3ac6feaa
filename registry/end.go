package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// endChallengesSQL ends the pending ones among locked challenges, and the
// Messages that no bridge has: a code that cannot be used any more need not be
// sent. What a bridge has already taken goes on by its own states.
var endChallengesSQL = `
with ended as (
	update challenges set state = $3, reason = $4, state_version = state_version + 1, ended_at = $1
	where id in ` + knownSQL + ` and state = 'pending'
	returning id, client, person, purpose, message_id, state, reason, state_version
), moves as (
	select m.id, m.account_id, m.operator, m.amount, m.charging, m.charge, m.charge_step, m.charged,
	       case when m.charge is distinct from 'pending' then null when ` + takenSQL + ` > 0 then 'posted' else 'voided' end as charge_to,
	       case when m.charge = 'pending' then ` + takenSQL + ` else 0 end as due
	from ended e join messages m on m.id = e.message_id where m.state in ('queued', 'retry')
), changed as (
	update messages m set state = $5, reason = $6, state_version = m.state_version + 1, ` + chargeSQL + `,
	       sealed = null, seal_key = null, retry_at = null, owner = null, ended_at = $1
	from moves v where m.id = v.id
	returning m.id, m.challenge_id, m.client, m.state, m.reason, m.state_version
), postings as (` + postingsSQL("moves", "'stopped'") + `
), ` + tailSQL + `
select count(*) from ended`

type endArgs struct {
	now    time.Time
	ids    [][]byte
	state  mobileid.ChallengeState
	reason string
}

// queueEnd queues the end of challenges that the same transaction has locked.
func queueEnd(b *pgx.Batch, args endArgs) {
	// The Message of an expired challenge has expired itself; in all other
	// cases it is the end of the challenge that stops it.
	message, why := mobileid.MessageCancelled, mobileid.ReasonOfChallenge(args.state)
	if args.state == mobileid.ChallengeExpired {
		message = mobileid.MessageExpired
	}
	b.Queue(endChallengesSQL, args.now, args.ids, args.state, args.reason, message, why)
}

// endChallenges ends the pending ones among ids in one round trip and returns
// how many they were.
func (db *DB) endChallenges(ctx context.Context, op string, ids []mobileid.ID, state mobileid.ChallengeState, reason string) (int, error) {
	if !mobileid.ChallengePending.CanBecome(state) || state == mobileid.ChallengeConfirmed {
		return 0, mobileid.Invalid("state", "challenge_state", "a pending challenge cannot be ended as "+string(state))
	}
	b := &pgx.Batch{}
	lockFromChallenges(b, rawIDs(ids))
	queueEnd(b, endArgs{now: db.clock(), ids: rawIDs(ids), state: state, reason: reason})
	n := 0
	err := db.send(ctx, op, b, func(r pgx.Rows) error { return r.Scan(&n) })
	return n, err
}

// EndChallenge ends a pending challenge in the given state: its live row goes,
// its Message is stopped if no bridge has it, statuses leave by the outbox. A
// challenge that has already ended, or that was never stored, stays as it is.
// A state that a pending challenge cannot end in, or confirmed, which only
// Confirm gives, is KindInvalid.
func (db *DB) EndChallenge(ctx context.Context, id mobileid.ID, state mobileid.ChallengeState, reason string) error {
	_, err := db.endChallenges(ctx, "end challenge", []mobileid.ID{id}, state, reason)
	return err
}
