package registry

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// A challenge's next code replaces the one before in one transaction: from its commit
// on only the new nonce is looked for, so the old code is dead although Redis still
// has it, and what the old Message becomes says nothing of the challenge any more
// (every statement that ends a challenge by its Message asks for message_id). Wrong
// tries are not given back.

// SentChallenges returns what is stored of these challenges. One without a row is
// missing from the map.
func (db *DB) SentChallenges(ctx context.Context, ids []mobileid.ID) (map[mobileid.ID]mobileid.SentChallenge, error) {
	out := make(map[mobileid.ID]mobileid.SentChallenge, len(ids))
	err := db.query(ctx, "sent challenges", sentChallengesSQL+` where c.id = any($1::bytea[])`, []any{rawIDs(ids)}, func(r pgx.Rows) error {
		c, err := scanSent(r)
		out[c.ID] = c
		return err
	})
	return out, err
}

const sentChallengesSQL = `
select c.id, c.client, c.person, c.purpose, c.locale, c.state, c.send_number, greatest(c.tries - c.wrong_tries, 0),
       coalesce(c.can_resend_at, c.issued_at), c.resend_id, c.presence, m.id, m.operator, m.lane
from challenges c left join messages m on m.id = c.message_id and m.state = 'queued'`

func scanSent(r pgx.Rows) (mobileid.SentChallenge, error) {
	var c mobileid.SentChallenge
	var id, person, resend, message []byte
	var operator *string
	var lane *mobileid.Lane
	err := r.Scan(&id, &c.Client, &person, &c.Purpose, &c.Locale, &c.State, &c.Sends, &c.TriesLeft, &c.CanResendAt, &resend, &c.Presence, &message, &operator, &lane)
	c.ID, c.Person, c.Resend = toID(id), toPseudonym(person), toID(resend)
	if message != nil {
		c.MessageItem = &mobileid.LaneItem{ID: toID(message), Operator: *operator, Lane: *lane, Person: c.Person}
	}
	return c, err
}

// Resend stores the next code of a challenge and its Message, and returns the id to
// publish on the lane; ok is false when there is none. It is done once: for a request
// that was stored before, only its Message that still waits comes back.
//
// Nothing is sent, and nothing changes, when the request was read after its deadline,
// when a younger one was done, when another sending came in between (Number), or when
// the challenge has ended or was never stored. Of a challenge that ended for what the
// person is (no binding) the times and numbers go on as if a code had been sent, for
// the client that may not know. A code that was made for a binding that is gone ends
// the challenge as fenced, and one that is not enough for what is known of the SIM
// (StepUp) ends it as step_up, its older code included. When there were too many codes (RetryAt), only the time of
// the next one is stored.
func (db *DB) Resend(ctx context.Context, n *mobileid.NewSend) (item mobileid.LaneItem, ok bool, err error) {
	b := &pgx.Batch{}
	now := db.clock()
	var held bool
	if n.Binding != nil {
		b.Queue(`select 1 from bindings where id = $1 and version = $2 and state = 'active' for no key update`, n.Binding.ID, n.Binding.Version).
			QueryRow(func(r pgx.Row) error {
				var one int
				err := r.Scan(&one)
				if held = err == nil; errors.Is(err, pgx.ErrNoRows) {
					return nil
				}
				return err
			})
	}
	ids := [][]byte{raw(n.Request.Challenge)}
	lockFromChallenges(b, ids)
	var c *mobileid.SentChallenge
	b.Queue(sentChallengesSQL+` where c.id = $1`, ids[0]).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			found, err := scanSent(rows)
			if err != nil {
				return err
			}
			c = &found
		}
		return rows.Err()
	})
	queueAccounts(b, []*mobileid.NewMessage{n.Message})
	err = db.inTwo(ctx, "resend", b, func(b *pgx.Batch) {
		if c == nil || c.Client != n.Request.Client {
			return
		}
		switch older := bytes.Compare(c.Resend[:], n.Request.ID[:]); {
		case older == 0 && c.MessageItem != nil:
			item, ok = *c.MessageItem, true
			return
		case older >= 0, now.After(n.Request.Deadline), c.Sends+1 != n.Number, n.Request.ID.Time().Before(c.CanResendAt.Truncate(time.Millisecond)):
			return
		}
		switch {
		case !n.RetryAt.IsZero() && n.StepUp == "":
			b.Queue(`
update challenges set can_resend_at = $2, version_base = version_base + 1 where id = $1 and cancelled_at is null and expires_at > $3`, ids[0], n.RetryAt, now)
		case c.State == mobileid.ChallengePending && n.StepUp != "":
			queueEnd(b, endArgs{now: now, ids: ids, state: mobileid.ChallengeStepUp, reason: n.StepUp})
			queueUnsent(b, now, n)
			b.Queue(`update challenges set retry_at = $2, sim_check = $3 where id = $1`, ids[0], n.RetryAt, simOf(n.SIMCheck))
		case c.State == mobileid.ChallengePending && n.Message == nil:
			// Bound and yet not sent: the binding has gone, which verify says, too.
		case c.State == mobileid.ChallengePending && !held:
			queueEnd(b, endArgs{now: now, ids: ids, state: mobileid.ChallengeFenced, reason: mobileid.ReasonBindingChanged})
		case c.State == mobileid.ChallengePending:
			queueStop(b, now, ids)
			args := messageArgs(now, n.Message, messageOrigin{challenge: c.ID, source: n.Source})
			b.Queue(resendSQL, append(args, n.Nonce, n.Number, raw(n.Request.ID), n.CanResendAt, n.ExpiresAt, simOf(n.SIMCheck))...)
			item, ok = laneItem(n.Message), true
		case c.State != mobileid.ChallengeConfirmed && c.State != mobileid.ChallengeCancelled:
			queueUnsent(b, now, n)
		}
	})
	if err != nil {
		return mobileid.LaneItem{}, false, err
	}
	return item, ok, nil
}

// queueUnsent has the times and numbers of an ended challenge go on as if a code had
// been sent.
func queueUnsent(b *pgx.Batch, now time.Time, n *mobileid.NewSend) {
	b.Queue(`
update challenges set send_number = $2, resend_id = $3, can_resend_at = $4, expires_at = $5, version_base = version_base + 1
where id = $1 and cancelled_at is null and expires_at > $6`, raw(n.Request.Challenge), n.Number, raw(n.Request.ID), n.CanResendAt, n.ExpiresAt, now)
}

// resendSQL stores the Message and makes its code the live one.
var resendSQL = `
with ` + changedByQueueingSQL + `, resent as (
	update challenges c set nonce = $26, send_number = $27, resend_id = $28, can_resend_at = $29, expires_at = $30, sim_check = $31, message_id = $2,
		version_base = c.version_base + (select state_version from messages where id = c.message_id)
	where c.id = $8
	returning c.id, c.person
), live as (
	update live_challenges l set expires_at = $30
	from resent r where l.person = r.person and l.challenge_id = r.id
)
insert into outbox (subject, challenge, client, state, reason, version, at)
select id, challenge_id, client, state, reason, state_version, $1 from changed`

// stopSQL ends the last Message of challenges, if no bridge has it: a newer code
// takes its place.
var stopSQL = `
with moves as (
	select m.id, m.account_id, m.operator, m.amount, m.charging, m.charge, m.charge_step, m.charged,
	       case when m.charge is distinct from 'pending' then null when ` + takenSQL + ` > 0 then 'posted' else 'voided' end as charge_to,
	       case when m.charge = 'pending' then ` + takenSQL + ` else 0 end as due
	from challenges c join messages m on m.id = c.message_id where c.id in ` + knownSQL + ` and m.state in ('queued', 'retry')
), changed as (
	update messages m set state = 'cancelled', reason = 'resent', state_version = m.state_version + 1, ` + chargeSQL + `,
	       sealed = null, seal_key = null, retry_at = null, owner = null, ended_at = $1
	from moves v where m.id = v.id
	returning m.id, m.challenge_id, m.client, m.state, m.reason, m.state_version
), postings as (` + postingsSQL("moves", "'stopped'") + `
), ` + moneySQL + `, announced as (
	insert into outbox (subject, challenge, client, state, reason, version, at)
	select id, challenge_id, client, state, reason, state_version, $1 from changed
)
select count(*) from changed`

func queueStop(b *pgx.Batch, now time.Time, ids [][]byte) { b.Queue(stopSQL, now, ids) }
