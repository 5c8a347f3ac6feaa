package registry

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Wrong codes are counted here and not with the code that they were wrong for: that
// one goes, and whoever guesses asks for another.
//
//   - The last try of a challenge pauses its person with its client for a while.
//   - So many in a day (Asia/Tashkent), over all clients, and codes are not enough for
//     the rest of it: he shows his face, or waits.
//   - A right code clears what was counted with its client, and the day.
//
// Nothing here is about codes of an enrollment (decree clauses 16, 18, 25, 27: no
// refusal outside a closed list).

// GuardRules are the bounds.
type GuardRules struct {
	Pause time.Duration // after the last try of a challenge
	Day   int           // wrong codes of a person a day
}

// countWrongSQL counts a wrong code ($1) on its challenge, and unless it is exempt
// ($4) on the person's day ($2) and on the person with the client. When it is the last
// that the day allows ($6), it is the last of its challenge, too.
const countWrongSQL = `
with c as (
	update challenges c set wrong_tries = greatest(c.wrong_tries + 1, case when not $4 and $6 <= 1 + coalesce((
		select t.tries - t.forgiven from wrong_tries t where t.person = c.person and t.day = $2), 0) then c.tries end)
	where id = $1
	returning person, client, wrong_tries, tries
), d as (
	insert into wrong_tries (person, day, tries) select person, $2, 1 from c where not $4
	on conflict (person, day) do update set tries = wrong_tries.tries + 1
), r as (
	insert into wrong_in_a_row (person, client, tries, paused_until, at)
	select person, client, 1, case when wrong_tries >= tries then $3::timestamptz + $5::interval end, $3 from c where not $4
	on conflict (person, client) do update
	set tries = wrong_in_a_row.tries + 1, paused_until = coalesce(excluded.paused_until, wrong_in_a_row.paused_until), at = $3
)
select wrong_tries from c`

// CountWrongTry counts a wrong code for good and returns how many of its tries the
// challenge has used now: all of them, when the person may try no more today. It does
// not judge: the caller ends the challenge then. A code of an enrollment (exempt)
// counts on its challenge only.
func (db *DB) CountWrongTry(ctx context.Context, id mobileid.ID, exempt bool) (used int, err error) {
	now := db.clock()
	err = db.one(ctx, "count wrong try", []any{&used}, countWrongSQL, raw(id), dayOf(now), now, exempt, db.guards.Pause, db.guards.Day)
	return used, err
}

// StepUp stores that a person has shown himself otherwise than by a code: what was
// counted of him is cleared, so he may ask for codes again.
func (db *DB) StepUp(ctx context.Context, person mobileid.Pseudonym, client, method string) error {
	now := db.clock()
	return db.inTx(ctx, "step up", func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`
insert into step_ups (person, client, method, at) values ($1, $2, $3, $4)
on conflict (person) do update set client = excluded.client, method = excluded.method, at = excluded.at`, person[:], client, method, now)
		b.Queue(`update wrong_tries set forgiven = tries where person = $1 and day = $2`, person[:], dayOf(now))
		b.Queue(`delete from wrong_in_a_row where person = $1`, person[:])
		return tx.SendBatch(ctx, b).Close()
	})
}

// guard says whether a person may have a code from a client.
type guard struct {
	paused time.Time // until then not
	today  int       // wrong codes
}

// guardKey is whose it is.
type guardKey struct {
	person mobileid.Pseudonym
	client string
}

// queueGuards reads the guards of persons with clients; who has none is missing.
func queueGuards(b *pgx.Batch, persons [][]byte, clients []string, now time.Time) map[guardKey]guard {
	out := map[guardKey]guard{}
	b.Queue(`
select k.person, k.client, r.paused_until, coalesce(t.tries - t.forgiven, 0)
from (select distinct person, client from unnest($1::bytea[], $2::text[]) as k(person, client)) k
left join wrong_in_a_row r on r.person = k.person and r.client = k.client and r.paused_until > $3
left join wrong_tries t on t.person = k.person and t.day = $4 and t.tries > t.forgiven
where r.person is not null or t.person is not null`, persons, clients, now, dayOf(now)).
		Query(func(rows pgx.Rows) error {
			var person []byte
			var k guardKey
			var paused *time.Time
			var today int
			_, err := pgx.ForEachRow(rows, []any{&person, &k.client, &paused, &today}, func() error {
				k.person = toPseudonym(person)
				out[k] = guard{orZero(paused), today}
				return nil
			})
			return err
		})
	return out
}

// judge returns what stands against a new code, until when and why; "" is nothing.
func (g guard) judge(r GuardRules, now time.Time) (state mobileid.ChallengeState, until time.Time, reason string) {
	switch {
	case r.Day > 0 && g.today >= r.Day:
		return mobileid.ChallengeStepUp, tashkentDay(now).AddDate(0, 0, 1), mobileid.ReasonWrongCodes
	case g.paused.After(now):
		return mobileid.ChallengeLimited, g.paused, mobileid.ReasonWrongCodes
	}
	return "", time.Time{}, ""
}
