package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// page is how many Messages one statement compares: each is bounded by the
// statement timeout.
const page = 20_000

// monthsSQL lists the partitions of transfers that are of a month, with the ids
// that they hold.
const monthsSQL = `
select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'transfers'::regclass and c.relname ~ '^transfers_[0-9]{4}_[0-9]{2}$' order by 1`

// messagesSQL returns the Messages of a range of ids ($1 to $2, or to the $3-th
// id, whichever is less) that contradict their transfers, with the first rule that
// is broken, and the last id that it looked at. What was posted again for less is
// reversed in part; for more than its price two persons have agreed to it.
const messagesSQL = `
with edge as (
	select coalesce((select id from messages where id >= $1 and id < $2 order by id offset $3 limit 1), $2) as until
), m as (
	select id, account_id, operator, amount, charge, charge_step, charged, ended_at
	from messages, edge where id >= $1 and id < until
), t as (
	select message_id, count(*) as steps, max(step) as last, sum(held) as held, sum(taken) as taken,
	       count(*) filter (where kind = 'pending') as pendings, min(step) filter (where kind = 'pending') as pending,
	       (array_agg(kind order by step desc))[1] as state, min(account_id) as account, max(account_id) as other,
	       min(operator) as operator, max(operator) as other_operator, bool_or(why = 'reconciled') as agreed
	from transfers, edge where message_id >= $1 and message_id < until group by message_id
), broken as (
	select coalesce(m.id, t.message_id) as id, case
		when m.id is null then 'message'
		when m.charge_step <> coalesce(t.steps, 0) or t.steps <> t.last then 'steps'
		when t.message_id is not null and (t.account <> m.account_id or t.other <> m.account_id or m.account_id is null
		     or t.operator <> m.operator or t.other_operator <> m.operator) then 'payer'
		when t.message_id is not null and (t.pendings <> 1 or t.pending <> 1) then 'pending'
		when m.charge is distinct from t.state and not (m.charge = 'posted' and t.state = 'reversed' and m.charged > 0) then 'state'
		when m.charged < 0 or m.charged > m.amount and not coalesce(t.agreed, false) then 'over'
		when coalesce(t.taken, 0) <> m.charged then 'taken'
		when coalesce(t.held, 0) <> case when m.charge = 'pending' then m.amount else 0 end then 'held'
		when m.ended_at is not null and m.charge = 'pending' then 'open' end as rule,
	       coalesce(m.charge, 'none') as charge, coalesce(m.charge_step, 0) as step, coalesce(m.charged, 0) as charged, coalesce(m.amount, 0) as amount,
	       coalesce(t.steps, 0) as steps, coalesce(t.state, 'none') as state, coalesce(t.held, 0)::bigint as held, coalesce(t.taken, 0)::bigint as taken
	from m full join t on t.message_id = m.id
)
select edge.until, b.id, coalesce(b.rule, ''), coalesce(b.charge, ''), coalesce(b.step, 0), coalesce(b.charged, 0), coalesce(b.amount, 0),
       coalesce(b.steps, 0), coalesce(b.state, ''), coalesce(b.held, 0), coalesce(b.taken, 0)
from edge left join (select * from broken where rule is not null order by id) b on true`

// messages walks over the Messages of each month by their ids.
func (r *checking) messages(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, monthsSQL)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		var year, month int
		if _, err := fmt.Sscanf(name, "transfers_%d_%d", &year, &month); err != nil {
			return fmt.Errorf("partition %s: %w", name, err)
		}
		from, until := monthIDs(year, month)
		for at := from; at < until; {
			if at, err = r.compare(ctx, q, at, until); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare looks at one page and returns where the next one begins.
func (r *checking) compare(ctx context.Context, q Querier, from, until string) (next string, err error) {
	rows, err := q.Query(ctx, messagesSQL, []byte(from), []byte(until), page)
	if err != nil {
		return "", err
	}
	var edge, id []byte
	var rule Rule
	var charge, state string
	var step, steps int
	var charged, amount, held, taken mobileid.Money
	_, err = pgx.ForEachRow(rows, []any{&edge, &id, &rule, &charge, &step, &charged, &amount, &steps, &state, &held, &taken}, func() error {
		if id == nil {
			return nil
		}
		r.Messages++
		var subject mobileid.ID
		copy(subject[:], id)
		r.find(Finding{rule, subject.String(), fmt.Sprintf(
			"the Message says %s, step %d, %s of %s soum charged; %d transfers say %s, %s held, %s taken",
			charge, step, charged, amount, steps, state, held, taken)})
		return nil
	})
	return string(edge), err
}

// monthIDs are the ids of a month, as strings of bytes, which compare as Postgres
// compares them.
func monthIDs(year, month int) (from, until string) {
	first, after := mobileid.IDFloor(firstOf(year, month)), mobileid.IDFloor(firstOf(year, month+1))
	return string(first[:]), string(after[:])
}

func firstOf(year, month int) time.Time {
	return time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC)
}
