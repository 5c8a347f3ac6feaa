package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Challenge returns a challenge as its client may see it. Its version is the
// sum of the challenge's and its Message's, so it grows with either.
// KindNotFound if this client has no such row.
func (db *DB) Challenge(ctx context.Context, client string, id mobileid.ID) (mobileid.ChallengeView, error) {
	b := &pgx.Batch{}
	b.Queue(`
select c.state, c.reason, c.state_version + coalesce(m.state_version, 0), c.purpose, c.expires_at,
       coalesce(m.state, ''), coalesce(b.msisdn, ''), greatest(c.tries - c.wrong_tries, 0), f.confirmed_at
from challenges c
left join messages m on m.id = c.message_id
left join bindings b on b.id = c.binding_id
left join confirmations f on f.challenge_id = c.id
where c.id = $1 and c.client = $2`, raw(id), client)
	v := mobileid.ChallengeView{ID: id, Client: client}
	found := false
	err := db.send(ctx, "challenge", b, func(r pgx.Rows) error {
		found = true
		var msisdn string
		var confirmed *time.Time
		err := r.Scan(&v.State, &v.Reason, &v.Version, &v.Purpose, &v.ExpiresAt, &v.MessageState, &msisdn, &v.TriesLeft, &confirmed)
		if err != nil {
			return err
		}
		if number, err := mobileid.ParseMSISDN(msisdn); err == nil {
			v.Masked = number.Masked()
		}
		if confirmed != nil {
			v.ConfirmedAt = *confirmed
		}
		return nil
	})
	if err == nil && !found {
		err = notFound()
	}
	return v, err
}

// Message returns a Message as its client may see it. KindNotFound if this
// client has no such row.
func (db *DB) Message(ctx context.Context, client string, id mobileid.ID) (mobileid.MessageView, error) {
	b := &pgx.Batch{}
	b.Queue(`
select state, reason, state_version, text_id, parts, deadline, ended_at
from messages where id = $1 and client = $2`, raw(id), client)
	v := mobileid.MessageView{ID: id, Client: client}
	found := false
	err := db.send(ctx, "message", b, func(r pgx.Rows) error {
		found = true
		var ended *time.Time
		err := r.Scan(&v.State, &v.Reason, &v.Version, &v.TextID, &v.Parts, &v.Deadline, &ended)
		if ended != nil {
			v.EndedAt = *ended
		}
		return err
	})
	if err == nil && !found {
		err = notFound()
	}
	return v, err
}
