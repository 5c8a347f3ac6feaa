package registry

import (
	"context"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// A client may take a challenge back before any consumer has stored it: HTTP
// overtakes Kafka. Then the row that is inserted here, with the little that is known,
// is what issue finds stored: it fills in the rest and makes no code. The primary key
// of the row decides which of the two came first.

// tombstoneSQL stores a challenge that was cancelled before it was issued.
const tombstoneSQL = `
with stone as (
	insert into challenges (id, client, person, purpose, locale, body_hash, state, reason, tries, issued_at, expires_at, ended_at, cancelled_at)
	values ($2, $3, '', '', '', '', 'cancelled', 'client', 0, $1, $1, $1, $1)
	on conflict (id) do nothing
	returning id, client, state, reason, state_version
)
insert into outbox (subject, client, state, reason, version, at)
select id, client, state, reason, state_version, $1 from stone`

// CancelChallenge ends a challenge because its client does not want it any more: no
// code of it works from then on, and a Message that no bridge has is not sent. It
// returns the state that the challenge is in now: cancelled, or the one in which it
// had ended before; that it was taken back is remembered even then. Called again,
// nothing changes. The caller has checked that the id is one of this client's.
func (db *DB) CancelChallenge(ctx context.Context, client string, id mobileid.ID) (state mobileid.ChallengeState, err error) {
	now, ids := db.clock(), [][]byte{raw(id)}
	b := &pgx.Batch{}
	b.Queue(tombstoneSQL, now, ids[0], client)
	lockFromChallenges(b, ids)
	mine := false
	b.Queue(`select state, client = $2 from challenges where id = $1`, ids[0], client).
		QueryRow(func(r pgx.Row) error { return r.Scan(&state, &mine) })
	err = db.inTwo(ctx, "cancel challenge", b, func(b *pgx.Batch) {
		if !mine || state == mobileid.ChallengeConfirmed {
			return
		}
		if state == mobileid.ChallengePending {
			queueEnd(b, endArgs{now: now, ids: ids, state: mobileid.ChallengeCancelled, reason: mobileid.ReasonClient})
			state = mobileid.ChallengeCancelled
		}
		b.Queue(`update challenges set cancelled_at = $2 where id = $1 and cancelled_at is null`, ids[0], now)
	})
	if err == nil && !mine {
		err = notFound()
	}
	return state, err
}
