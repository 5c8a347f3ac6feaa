package registry

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
)

// Challenge returns a challenge as its client may see it. Its version is the
// sum of the challenge's and its Messages', so it grows with either.
// KindNotFound if this client has no such row.
func (db *DB) Challenge(ctx context.Context, client string, id mobileid.ID) (mobileid.ChallengeView, error) {
	v := mobileid.ChallengeView{ID: id, Client: client}
	var msisdn string
	var confirmed, resend, retry *time.Time
	err := db.look(ctx, "challenge", []any{
		&v.State, &v.Reason, &v.Version, &v.Purpose, &v.ExpiresAt, &v.MessageState, &msisdn, &v.TriesLeft, &confirmed,
		&resend, &v.Sends, &retry, &v.Cancelled,
	}, `
select c.state, c.reason, c.state_version + c.version_base + coalesce(m.state_version, 0), c.purpose, c.expires_at,
       coalesce(m.state, ''), coalesce(b.msisdn, ''), greatest(c.tries - c.wrong_tries, 0), f.confirmed_at,
       c.can_resend_at, c.send_number, c.retry_at, c.cancelled_at is not null
from challenges c
left join messages m on m.id = c.message_id
left join bindings b on b.id = c.binding_id
left join confirmations f on f.challenge_id = c.id
where c.id = $1 and c.client = $2`, raw(id), client)
	if number, err := mobileid.ParseMSISDN(msisdn); err == nil {
		v.Masked = number.Masked()
	}
	v.ConfirmedAt, v.CanResendAt, v.RetryAt = orZero(confirmed), orZero(resend), orZero(retry)
	return v, err
}

func orZero(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

// Message returns a Message as its client may see it. KindNotFound if this
// client has no such row.
func (db *DB) Message(ctx context.Context, client string, id mobileid.ID) (mobileid.MessageView, error) {
	v := mobileid.MessageView{ID: id, Client: client}
	var ended *time.Time
	err := db.look(ctx, "message", []any{&v.State, &v.Reason, &v.Version, &v.TextID, &v.Parts, &v.Deadline, &ended}, `
select state, reason, state_version, text_id, parts, deadline, ended_at
from messages where id = $1 and client = $2`, raw(id), client)
	v.EndedAt = orZero(ended)
	return v, err
}
