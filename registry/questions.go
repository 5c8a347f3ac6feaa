package registry

import (
	"context"

	"mobileid/internal/mobileid"
)

// AskPerson answers what is known of a person and keeps who asked what and when, in
// one statement: there is no answer without its row. Of a person without a binding
// nothing more is known.
func (db *DB) AskPerson(ctx context.Context, q mobileid.PersonQuestion) (mobileid.PersonAnswer, error) {
	a := mobileid.PersonAnswer{At: db.clock()}
	var number []byte
	if q.Number != nil {
		number = q.Number[:]
	}
	err := db.one(ctx, "ask person", []any{&a.Bound, &a.Number, &a.SMS}, `
with known as (
	select b.id is not null as bound, b.number = $3 as same, not b.sms_suspended as sms
	from (select 1) one left join bindings b on b.person = $2 and b.state = 'active'
), answer as (
	select case when bound then 'yes' else 'no' end as bound,
	       case when $3::bytea is null then '' when not bound then 'unknown' when same then 'yes' else 'no' end as number,
	       case when not bound then 'unknown' when sms then 'yes' else 'no' end as sms
	from known
)
insert into person_questions (client, person, number, client_ref, bound, same_number, sms, at)
select $1, $2, $3, $4, bound, number, sms, $5 from answer
returning bound, same_number, sms`, q.Client, q.Person[:], number, q.ClientRef, a.At)
	return a, err
}
