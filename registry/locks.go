package registry

import (
	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// These statements only lock, in the order of the package comment. The
// statement that follows them takes its snapshot after the last lock, so what
// it reads of the locked rows cannot change under it. NO KEY UPDATE leaves
// foreign keys (bindings -> accounts) alone.
//
// A row that is committed while they run would be seen by the later ones and
// not by the earlier, and be changed without its locks or locked in the wrong
// order. So the first statement notes which of the ids exist, one character
// each in a setting of the transaction, and all others look at those only.
// Rows are never deleted, so what exists stays.
var (
	noteMessagesSQL   = noteSQL("messages")
	noteChallengesSQL = noteSQL("challenges")

	lockChallengesSQL = `select from challenges where id in ` + known("$1") + ` order by id for no key update`

	lockAccountsOfChallengesSQL = `
select from accounts where id in (
	select m.account_id from challenges c join messages m on m.id = c.message_id where c.id in ` + known("$1") + `)
order by id for no key update`

	lockMessagesOfChallengesSQL = `
select from messages where id in (select message_id from challenges where id in ` + known("$1") + `)
order by id for no key update`

	lockChallengesOfMessagesSQL = `
select from challenges where id in (select challenge_id from messages where id in ` + known("$1") + `)
order by id for no key update`

	lockAccountsOfMessagesSQL = `
select from accounts where id in (select account_id from messages where id in ` + known("$1") + `)
order by id for no key update`

	lockMessagesSQL = `select from messages where id in ` + known("$1") + ` order by id for no key update`
)

// noteSQL notes which of the ids in $1 have a row.
func noteSQL(table string) string {
	return `
select set_config('mobileid.known', coalesce(
	string_agg(case when t.id is null then '0' else '1' end, '' order by i.ord), ''), true)
from unnest($1::bytea[]) with ordinality as i(id, ord) left join ` + table + ` t on t.id = i.id`
}

// isKnown is the condition that the ord-th id was noted.
func isKnown(ord string) string {
	return `substr(current_setting('mobileid.known'), ` + ord + `::integer, 1) = '1'`
}

// known is the subquery of the noted ones among the ids in a parameter, which
// must be the array that was noted.
func known(param string) string {
	return `(select k.id from unnest(` + param + `::bytea[]) with ordinality as k(id, ord) where ` + isKnown("k.ord") + `)`
}

// lockFromChallenges notes and locks challenges, what pays for their Messages
// and the Messages.
func lockFromChallenges(b *pgx.Batch, ids [][]byte) {
	for _, sql := range []string{noteChallengesSQL, lockChallengesSQL, lockAccountsOfChallengesSQL, lockMessagesOfChallengesSQL} {
		b.Queue(sql, ids)
	}
}

// lockFromMessages notes Messages and locks their challenges, what pays for
// them and the Messages.
func lockFromMessages(b *pgx.Batch, ids [][]byte) {
	for _, sql := range []string{noteMessagesSQL, lockChallengesOfMessagesSQL, lockAccountsOfMessagesSQL, lockMessagesSQL} {
		b.Queue(sql, ids)
	}
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
