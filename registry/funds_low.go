package registry

import (
	"context"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// The warning before the money ends is found by a step of the sweeper, not where
// money is spent: freshSQL and sentSQL are what nearly every Message goes through,
// and a price to compare with, a binding to lock and an event to write are no part
// of them. Nor can an index find who has little left, since its columns would
// change with every Message and take each update off its page. So the step walks
// the accounts of a known balance that were not warned since money came (index
// accounts_to_warn), lowPage a pass and sweeper, and around again. A person is
// warned within accounts / lowPage passes of a second: at once in a town, within
// the hour with ten million known balances and one sweeper, and each consumer has
// one. Messages that overtake the walk end in a suspension, which is told, too.

// lowPage is how many accounts a pass looks at: some milliseconds.
const lowPage = 5000

// lowSQL is a page of the walk. $3 and $4 are the operators and what is too
// little with each.
const lowSQL = `
with page as materialized (
	select id, number, operator, granted - posted - pending as left_over from accounts
	where told_at is not null and warned is null and id > $1 order by id limit $2
)
select (select count(*) from page), (select max(id) from page), p.id, p.number, p.least
from (select 1) one left join (
	select page.id, page.number, t.least from page
	join unnest($3::text[], $4::bigint[]) as t(operator, least) using (operator)
	where page.left_over < t.least) p on true`

// lowAccount is one that seems to have too little.
type lowAccount struct {
	id     int64
	number mobileid.Pseudonym
	least  mobileid.Money
}

// fundsLow warns the bindings whose account has not enough for WarnBelow Messages.
func (s *Sweeper) fundsLow(ctx context.Context) (int, error) {
	operators, least, err := s.tooLittle(ctx)
	if err != nil || len(operators) == 0 {
		return 0, err
	}
	var low []lowAccount
	looked, last := 0, s.lowAfter
	err = s.db.query(ctx, "look for little money", lowSQL, []any{s.lowAfter, s.lowPage, operators, least}, func(r pgx.Rows) error {
		var to, id *int64
		var number []byte
		var enough *mobileid.Money
		if err := r.Scan(&looked, &to, &id, &number, &enough); err != nil || to == nil {
			return err
		}
		last = *to
		if id != nil {
			low = append(low, lowAccount{*id, toPseudonym(number), *enough})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	warned := 0
	for len(low) > 0 {
		n := min(len(low), s.cfg.Batch)
		told, err := s.db.warn(ctx, low[:n])
		if err != nil {
			return warned, err // the same page again in the next pass
		}
		warned, low = warned+told, low[n:]
	}
	if s.lowAfter = last; looked < s.lowPage {
		s.lowAfter = 0
	}
	return warned, nil
}

// tooLittle returns below what an account has too little, by operator: WarnBelow
// times the dearest of the prices in force there, because which kind of text comes
// next is not known. An operator whose SMS are free has none.
func (s *Sweeper) tooLittle(ctx context.Context) (operators []string, least []int64, err error) {
	if s.cfg.WarnBelow <= 0 {
		return nil, nil, nil
	}
	err = s.db.query(ctx, "prices in force", `
select operator, max(amount) from (
	select distinct on (operator, kind) operator, amount from tariffs where valid_from <= $1
	order by operator, kind, valid_from desc, id desc) t
group by operator having max(amount) > 0 order by operator`, []any{s.db.clock()}, func(r pgx.Rows) error {
		var operator string
		var price int64
		err := r.Scan(&operator, &price)
		operators, least = append(operators, operator), append(least, price*int64(s.cfg.WarnBelow))
		return err
	})
	return operators, least, err
}

// warn warns those of the bindings whose account still has too little and was not
// warned: whoever looks second finds it so. A suspended one was told more than
// that.
func (db *DB) warn(ctx context.Context, low []lowAccount) (told int, err error) {
	ids, numbers, least := make([]int64, len(low)), make([][]byte, len(low)), make([]int64, len(low))
	for i := range low {
		ids[i], numbers[i], least[i] = low[i].id, low[i].number[:], int64(low[i].least)
	}
	err = db.inTx(ctx, "warn", func(tx pgx.Tx) error {
		// Only what is locked here is changed: a binding that is made in between
		// has its turn when the walk comes around. An account that pays for none
		// is met at each turn, so it is not even locked.
		rows, err := tx.Query(ctx, `
select b.id, x.paying from bindings b cross join lateral (select `+payingSQL+` as paying) x
where b.number = any($2::bytea[]) and x.paying = any($3::bigint[]) and b.state = 'active' order by b.id for no key update of b`, db.clock(), numbers, ids)
		if err != nil {
			return err
		}
		var bindings, accounts []int64
		var id, payer int64
		_, err = pgx.ForEachRow(rows, []any{&id, &payer}, func() error {
			bindings, accounts = append(bindings, id), append(accounts, payer)
			return nil
		})
		if err != nil || len(bindings) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `select from accounts where id = any($1::bigint[]) order by id for no key update`, accounts); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `
with low as materialized (
	select a.id, b.id as binding, b.sms_suspended as suspended
	from unnest($2::bigint[], $3::bigint[]) as i(id, least)
	join accounts a on a.id = i.id
	join unnest($4::bigint[], $5::bigint[]) as p(binding, account) on p.account = a.id
	join bindings b on b.id = p.binding and b.state = 'active'
	where a.told_at is not null and a.warned is null and a.granted - a.posted - a.pending < i.least
), warned as (
	update accounts a set warned = a.granted - a.posted - a.pending from low where a.id = low.id
), changed as (
	update bindings b set event_version = b.event_version + 1 from low where b.id = low.binding and not low.suspended
	returning `+bindingColumns+`
), told as (`+bindingToldSQL(`'funds_low'`, `''`, `changed`)+`
)
select count(*) from changed`, db.clock(), ids, least, bindings, accounts).Scan(&told)
	})
	return told, err
}
