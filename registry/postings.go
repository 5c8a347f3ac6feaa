package registry

// A Charge is the money of one Message. Its state stands in the Message's row
// (charge, charge_step, charged), which the same statements change anyway and which
// the lock of the Message guards; each step is a row of transfers, written once.
//
//	priced -> pending -> posted | voided | unknown -> posted | voided
//	                     posted -> reversed
//
// An unknown one holds nobody's money: nobody knows whether the operator took the
// SMS, or whether his charging system has reserved it. What settles it is posted
// late: there may be less by then than it costs.
//
// A statement that moves Charges has a CTE whose rows say of a Message what it had
// (charge, charge_step, charged, amount, account_id, operator, charging) and what
// it gets: charge_to, null for nothing, and due, what is to be posted in the end.
// From it chargeSQL sets the Message's columns and postingsSQL makes the transfers,
// which moneySQL stores.

// What told us of a transfer is its column why:
//
//	admitted   the price is reserved
//	answer     to submit_sm, or the Message was never written
//	receipt    or a line of the operator's file, which says as much
//	confirmed  no answer and no receipt, but the code was entered: it came
//	doubt      no answer and no receipt in time
//	stopped    the Message ended before it was sent
//	absent     the operator's file has no line of it
//	charger    the operator's charging system said so, or said nothing
//	reconciled a difference between the operator's debits and our books was settled
//	migrated   a Charge of the time before transfers

// chargeSQL sets the columns of a Charge in an update of messages m from rows v.
const chargeSQL = `charge = coalesce(v.charge_to, m.charge), charge_step = m.charge_step + (v.charge_to is not null)::integer,
		charged = case when v.charge_to is null then m.charged else v.due end`

// takenSQL is what is to be paid of a Message that ends with some of its parts taken:
// nothing, unless the tariff is by the part.
const takenSQL = `case when units > 1 then amount / units * least(units, bit_count(parts_taken::bit(64))) else 0 end`

// postingsSQL is the select of a CTE postings over rows, a CTE; why is an expression.
// What is posted again for less was reversed in part, and what is posted without
// having been reserved is late.
func postingsSQL(rows, why string) string {
	return `
	select id, charge_step + 1 as step, case when charge = 'posted' and due < charged then 'reversed' else charge_to end as kind, ` + why + ` as why,
	       account_id, operator, charging,
	       case when charge is null then amount when charge = 'pending' then -amount else 0 end as held,
	       due - charged as taken, case when charge <> 'pending' then greatest(due - charged, 0) else 0 end as late
	from ` + rows + ` where charge_to is not null`
}

// moneySQL ends every statement that moves Charges, which gives it the CTE postings;
// $1 is the time. A charging system is not told what it said itself, nor what was
// settled with its operator. What was reserved counts for its day even when it is
// given back.
const moneySQL = `
transferred as (
	insert into transfers (message_id, step, kind, why, account_id, operator, held, taken, at)
	select id, step, kind, why, account_id, operator, held, taken, $1 from postings
), untold as (
	insert into charge_calls (message_id, step, operator, due_at)
	select id, step, operator, $1 from postings where charging = 'diameter' and case
		when kind = 'unknown' then true
		when kind = 'posted' then why <> 'reconciled'
		else kind in ('voided', 'reversed') and why not in ('charger', 'reconciled') end
), moved as (
	update accounts a set pending = a.pending + p.held, posted = a.posted + p.taken, late = a.late + p.late,
	       told_at = case when p.outside then null else a.told_at end,
	       day_spent = case when a.day >= p.today then a.day_spent else 0 end + p.reserved, day = greatest(a.day, p.today)
	from (select account_id, sum(held)::bigint as held, sum(taken)::bigint as taken, sum(late)::bigint as late,
	             coalesce(sum(held) filter (where kind = 'pending'), 0)::bigint as reserved,
	             bool_or(kind = 'pending' and charging <> 'ledger') as outside, ` + todaySQL + ` as today
	      from postings where charging <> 'payer' group by account_id) p
	where a.id = p.account_id and (p.held <> 0 or p.taken <> 0 or p.late <> 0 or p.reserved <> 0)
)`

// tailSQL ends every statement that changes states: it is moneySQL, and wants two
// more CTEs, changed (Messages) and ended (challenges).
const tailSQL = moneySQL + `, gone as (
	delete from live_challenges
	where person = any(array(select person from ended)) and challenge_id = any(array(select id from ended))
), announced as (
	insert into outbox (subject, challenge, client, state, reason, version, at)
	select id, challenge_id, client, state, reason, state_version, $1 from changed
	union all
	select id, null, client, state, reason, state_version, $1 from ended
)`

// todaySQL is the day of the statement's time: a day of money is one of Tashkent.
const todaySQL = `($1::timestamptz at time zone 'Asia/Tashkent')::date`
