package registry

import (
	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// These statements only lock, in the order of the package comment. The
// statement that follows them takes its snapshot after the last lock, so what
// it reads of the locked rows cannot change under it. NO KEY UPDATE leaves
// foreign keys (bindings -> accounts) alone.
const (
	lockChallengesSQL = `select from challenges where id = any($1) order by id for no key update`

	lockAccountsOfChallengesSQL = `
select from accounts where id in (
	select m.account_id from challenges c join messages m on m.id = c.message_id where c.id = any($1))
order by id for no key update`

	lockMessagesOfChallengesSQL = `
select from messages where id in (select message_id from challenges where id = any($1))
order by id for no key update`

	lockChallengesOfMessagesSQL = `
select from challenges where id in (select challenge_id from messages where id = any($1))
order by id for no key update`

	lockAccountsOfMessagesSQL = `
select from accounts where id in (select account_id from messages where id = any($1))
order by id for no key update`

	lockMessagesSQL = `select from messages where id = any($1) order by id for no key update`
)

// lockFromChallenges locks challenges, what pays for their Messages and the
// Messages.
func lockFromChallenges(b *pgx.Batch, ids [][]byte) {
	b.Queue(lockChallengesSQL, ids)
	b.Queue(lockAccountsOfChallengesSQL, ids)
	b.Queue(lockMessagesOfChallengesSQL, ids)
}

// lockFromMessages locks the challenges of Messages, what pays for them and
// the Messages.
func lockFromMessages(b *pgx.Batch, ids [][]byte) {
	b.Queue(lockChallengesOfMessagesSQL, ids)
	b.Queue(lockAccountsOfMessagesSQL, ids)
	b.Queue(lockMessagesSQL, ids)
}

// tailSQL ends every statement that changes states. The statement gives it
// three CTEs: changed (Messages), ended (challenges) and postings (what the
// change of a charge adds to its account); $1 is the time.
const tailSQL = `
gone as (
	delete from live_challenges l using ended e
	where l.person = e.person and l.purpose = e.purpose and l.client = e.client and l.challenge_id = e.id
), moved as (
	update accounts a set pending = a.pending + p.pending, posted = a.posted + p.posted
	from (select account_id, sum(pending)::bigint as pending, sum(posted)::bigint as posted
	      from postings group by account_id) p
	where a.id = p.account_id and (p.pending <> 0 or p.posted <> 0)
), announced as (
	insert into outbox (subject, challenge, client, state, reason, version, at)
	select id, challenge_id, client, state, reason, state_version, $1 from changed
	union all
	select id, null, client, state, reason, state_version, $1 from ended
)`

// rawIDs gives ids as the driver wants them. An ID itself must never be an
// argument: it prints as text.
func rawIDs(ids []mobileid.ID) [][]byte {
	out := make([][]byte, len(ids))
	for i := range ids {
		out[i] = raw(ids[i])
	}
	return out
}

// raw gives the bytes of an id; none is null.
func raw(id mobileid.ID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

// toID reads a bytea column; null is the zero id.
func toID(b []byte) mobileid.ID {
	var id mobileid.ID
	copy(id[:], b)
	return id
}

// toPseudonym reads a bytea column; null is the zero pseudonym.
func toPseudonym(b []byte) mobileid.Pseudonym {
	var p mobileid.Pseudonym
	copy(p[:], b)
	return p
}
