package registry

import (
	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// These two statements only lock, in the order of the package comment. The
// statement that follows takes its snapshot after the last lock, so what it
// reads of the locked rows cannot change under it. NO KEY UPDATE leaves foreign
// keys (bindings -> accounts) alone.
//
// A row that is committed after their snapshot is not locked and yet seen by
// the statement that follows. So they note which of the ids exist, one
// character each in a setting of the transaction, and the others look at those
// only. Rows are never deleted, so what exists stays; the columns that lead
// from table to table never change.
//
// Each locking CTE is held back until all of the one before it are locked: the
// count of its rows is a condition on what the next one looks for. One
// statement instead of four, because at one Message a batch each costs as much
// as what it does.
var (
	lockFromMessagesSQL = lockSQL(`
	select i.ord, m.id as known, m.challenge_id, m.account_id, m.id as message_id
	from unnest($1::bytea[]) with ordinality as i(id, ord) left join messages m on m.id = i.id`)

	lockFromChallengesSQL = lockSQL(`
	select i.ord, c.id as known, c.id as challenge_id, m.account_id, c.message_id
	from unnest($1::bytea[]) with ordinality as i(id, ord)
	left join challenges c on c.id = i.id left join messages m on m.id = c.message_id`)
)

// lockSQL locks the challenges, accounts and Messages of a batch, whose rows
// have the columns ord, known (null if the id has no row), challenge_id,
// account_id and message_id.
func lockSQL(batch string) string {
	return `
with batch as materialized (` + batch + `
), challenge as materialized (
	select from challenges where id in (select challenge_id from batch) order by id for no key update
), account as materialized (
	select from accounts where id in (select account_id from batch where (select count(*) from challenge) >= 0)
	order by id for no key update
), message as materialized (
	select from messages where id in (select message_id from batch where (select count(*) from account) >= 0)
	order by id for no key update
)
select set_config('mobileid.known', coalesce((
	select string_agg(case when known is null then '0' else '1' end, '' order by ord) from batch), ''), true),
       (select count(*) from message)`
}

// isKnown is the condition that the ord-th id was noted.
func isKnown(ord string) string {
	return `substr(current_setting('mobileid.known'), ` + ord + `::integer, 1) = '1'`
}

// knownSQL is the subquery of the noted ones among the ids in $2, which must be
// the array that was noted.
var knownSQL = `(select k.id from unnest($2::bytea[]) with ordinality as k(id, ord) where ` + isKnown("k.ord") + `)`

// lockFromChallenges notes and locks challenges, what pays for their Messages
// and the Messages.
func lockFromChallenges(b *pgx.Batch, ids [][]byte) { b.Queue(lockFromChallengesSQL, ids) }

// lockFromMessages notes Messages and locks their challenges, what pays for
// them and the Messages.
func lockFromMessages(b *pgx.Batch, ids [][]byte) { b.Queue(lockFromMessagesSQL, ids) }

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
