package registry

import (
	"context"
	"errors"
	"time"

	"mobileid/internal/mobileid"
)

// LiveChallenge returns what comparing a code needs to know of a challenge,
// whatever its state. KindNotFound if this client has no such row.
func (db *DB) LiveChallenge(ctx context.Context, client string, id mobileid.ID) (mobileid.LiveChallenge, error) {
	v := mobileid.LiveChallenge{ID: id, Client: client}
	var person []byte
	err := db.look(ctx, "live challenge",
		[]any{&person, &v.State, &v.Purpose, &v.Nonce, &v.ContextHash, &v.Tries, &v.ExpiresAt, &v.CanResendAt, &v.Sends, &v.Cancelled, &v.Reason, &v.Barred}, `
select c.person, c.state, c.purpose, c.nonce, c.context_hash, c.tries, c.expires_at, coalesce(c.can_resend_at, c.issued_at), c.send_number,
       c.cancelled_at is not null, c.reason, coalesce(t.tries - t.forgiven >= $4, false)
from challenges c left join wrong_tries t on t.person = c.person and t.day = $3
where c.id = $1 and c.client = $2`, raw(id), client, dayOf(db.clock()), db.guards.Day)
	v.Person = toPseudonym(person)
	return v, err
}

// dayOf returns the legal date of an instant, as Postgres takes a date.
func dayOf(at time.Time) time.Time {
	y, m, d := at.In(mobileid.Tashkent).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// confirmSQL is the one statement by which a right code becomes a
// Confirmation. The select locks the binding against change and then the
// challenge against every other end, and looks at both again as they are once
// it has the locks; only what still holds is inserted. A revocation that came
// first leaves nothing to insert, one that comes now waits for the commit.
const confirmSQL = `
with held as (
	select c.id, c.client, c.person, c.purpose, c.context_hash, c.presence, c.sim_check, c.resend_id, b.enrolled, b.id as binding_id, b.version as binding_version, b.number
	from challenges c join bindings b on b.id = c.binding_id
	where c.id = $2 and c.client = $3 and c.state = 'pending' and c.context_hash = $5 and c.expires_at > $1
	  and b.state = 'active' and b.version = c.binding_version
	for share of b for no key update of c
), confirmed as (
	insert into confirmations (challenge_id, client, person, purpose, context_hash, binding_id, binding_version, verify_key, confirmed_at,
		presence, enrolled, sim_check)
	select id, client, person, purpose, context_hash, binding_id, binding_version, $4, $1, presence, enrolled, sim_check from held
	on conflict (challenge_id) do nothing
	returning challenge_id, client, purpose, context_hash, confirmed_at
), ended as (
	update challenges c set state = 'confirmed', state_version = c.state_version + 1, ended_at = $1
	from confirmed f where c.id = f.challenge_id
	returning c.id, c.client, c.person, c.purpose, c.state, c.reason, c.state_version
), gone as (
	delete from live_challenges l using ended e
	where l.person = any(array(select person from ended)) and l.person = e.person and l.purpose = e.purpose and l.client = e.client and l.challenge_id = e.id
), forgiven as (
	update wrong_tries t set forgiven = t.tries from ended e where t.person = e.person and t.day = $6 and t.tries > t.forgiven
), cleared as (
	delete from wrong_in_a_row r using ended e where r.person = e.person and r.client = e.client
), announced as (
	insert into outbox (subject, client, state, reason, version, at)
	select id, client, state, reason, state_version, $1 from ended
)
select f.purpose, f.context_hash, f.confirmed_at, h.person, h.presence, h.enrolled, h.sim_check, h.number, h.resend_id from confirmed f, held h`

// errNotConfirmed says that the statement found nothing to confirm.
var errNotConfirmed = errors.New("nothing to confirm")

// Confirm makes the lasting evidence that a code was right (decree clause 29):
// at most one per challenge, whatever runs in parallel and whatever Redis has
// forgotten (promise P6), and none once a revocation of the binding has
// committed (P7). verifyKey stands for the Idempotency-Key of the verify: the
// same again returns the same Confirmation with Replayed set.
//
// Refusals: KindNotFound; KindConflict with code "code_used" (confirmed by
// another verify) or "challenge_<state>" (it has ended, or ends by this call:
// fenced, when the binding is gone or changed; expired); KindInvalid, code
// "context_mismatch", field "context_hash".
func (db *DB) Confirm(ctx context.Context, client string, id mobileid.ID, verifyKey mobileid.KeyPart, contextHash string) (mobileid.Confirmation, error) {
	// A second round is needed only if the challenge changed between the
	// statement and the look at why it confirmed nothing.
	for range 3 {
		c, err := db.confirm(ctx, client, id, verifyKey, contextHash)
		if !errors.Is(err, errNotConfirmed) {
			return c, err
		}
		c, err = db.whyNot(ctx, client, id, verifyKey, contextHash)
		if !errors.Is(err, errNotConfirmed) {
			return c, err
		}
	}
	return mobileid.Confirmation{}, mobileid.Unavailable("confirm_busy", comeBack, errNotConfirmed)
}

func (db *DB) confirm(ctx context.Context, client string, id mobileid.ID, verifyKey mobileid.KeyPart, contextHash string) (mobileid.Confirmation, error) {
	c := mobileid.Confirmation{Challenge: id, Client: client}
	var person, number, resend []byte
	now := db.clock()
	err := db.one(ctx, "confirm", []any{&c.Purpose, &c.ContextHash, &c.ConfirmedAt, &person, &c.Presence, &c.Enrolled, &c.SIMCheck, &number, &resend},
		confirmSQL, now, raw(id), client, verifyKey[:], contextHash, dayOf(now))
	c.Person, c.Number, c.Resend = toPseudonym(person), toPseudonym(number), toID(resend)
	if mobileid.KindOf(err) == mobileid.KindNotFound {
		err = errNotConfirmed
	}
	return c, err
}

// whyNot says why nothing was confirmed, and ends a challenge that can never
// be. errNotConfirmed means that nothing stands against it any more.
func (db *DB) whyNot(ctx context.Context, client string, id mobileid.ID, verifyKey mobileid.KeyPart, contextHash string) (mobileid.Confirmation, error) {
	c := mobileid.Confirmation{Challenge: id, Client: client, Replayed: true}
	var state mobileid.ChallengeState
	var expires time.Time
	var usedBy, person []byte
	var confirmedAt *time.Time
	var bound bool
	err := db.one(ctx, "look at challenge",
		[]any{&state, &c.Purpose, &c.ContextHash, &expires, &usedBy, &confirmedAt, &person, &c.Presence, &c.Enrolled, &c.SIMCheck, &bound}, `
select c.state, c.purpose, c.context_hash, c.expires_at, f.verify_key, f.confirmed_at,
       c.person, coalesce(f.presence, ''), coalesce(f.enrolled, ''), coalesce(f.sim_check, ''),
       coalesce(b.state = 'active' and b.version = c.binding_version, false)
from challenges c
left join confirmations f on f.challenge_id = c.id
left join bindings b on b.id = c.binding_id
where c.id = $1 and c.client = $2`, raw(id), client)
	switch {
	case err != nil:
		return c, err
	case c.ContextHash != contextHash:
		return mobileid.Confirmation{}, mobileid.Invalid("context_hash", "context_mismatch", "the code was asked for another context")
	case confirmedAt != nil && mobileid.KeyPart(usedBy) == verifyKey:
		c.ConfirmedAt, c.Person = *confirmedAt, toPseudonym(person)
		return c, nil
	case confirmedAt != nil:
		return mobileid.Confirmation{}, conflict("code_used", "the code has been used")
	case state.Terminal():
		return mobileid.Confirmation{}, challengeEnded(state)
	case !bound:
		return mobileid.Confirmation{}, db.endAndSay(ctx, id, mobileid.ChallengeFenced, mobileid.ReasonBindingChanged)
	case !expires.After(db.clock()):
		return mobileid.Confirmation{}, db.endAndSay(ctx, id, mobileid.ChallengeExpired, mobileid.ReasonDeadline)
	}
	return mobileid.Confirmation{}, errNotConfirmed
}

// endAndSay ends a challenge and returns the refusal that says so.
func (db *DB) endAndSay(ctx context.Context, id mobileid.ID, state mobileid.ChallengeState, reason string) error {
	if err := db.EndChallenge(ctx, id, state, reason); err != nil {
		return err
	}
	return challengeEnded(state)
}

func challengeEnded(state mobileid.ChallengeState) error {
	return conflict("challenge_"+string(state), "the challenge has ended: "+string(state))
}

// Confirmation returns the evidence that a challenge of this client was confirmed.
// KindNotFound when there is none.
func (db *DB) Confirmation(ctx context.Context, client string, id mobileid.ID) (mobileid.Confirmation, error) {
	c := mobileid.Confirmation{Challenge: id, Client: client}
	var person []byte
	err := db.look(ctx, "confirmation", []any{&c.Purpose, &c.ContextHash, &c.ConfirmedAt, &person, &c.Presence, &c.Enrolled, &c.SIMCheck}, `
select purpose, context_hash, confirmed_at, person, presence, enrolled, sim_check
from confirmations where challenge_id = $1 and client = $2`, raw(id), client)
	c.Person = toPseudonym(person)
	return c, err
}
