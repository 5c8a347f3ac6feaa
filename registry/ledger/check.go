// Package ledger checks the money of the registry.
//
// Its promise: Check finds every account whose balance is not the sum of its
// postings, and every Message whose Charge is not what its transfers say (README,
// promise P4). The postings are the transfers of the Charges, which say how much
// each reserves and takes more, the opening rows of archived months, and the
// credits.
package ledger

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Querier is the part of a pool or a transaction that Check needs.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Rule names what does not hold.
type Rule string

// The closed list of rules.
const (
	RuleAccount Rule = "account" // a balance is the sum of its postings
	RuleOrphan  Rule = "orphan"  // the account of a posting exists
	RuleArchive Rule = "archive" // what accounts opened with is what the operators' days of the month say

	RuleMessage Rule = "message" // transfers are of a Message that exists
	RulePayer   Rule = "payer"   // they name its account and its operator
	RuleSteps   Rule = "steps"   // they are numbered from 1, as many as the Message has counted
	RulePending Rule = "pending" // one is pending, the first
	RuleState   Rule = "state"   // the last one led to the state of the Charge
	RuleHeld    Rule = "held"    // a pending Charge holds its price, any other nothing
	RuleTaken   Rule = "taken"   // what they took is what the Message says
	RuleOver    Rule = "over"    // nothing is charged beyond the price, nor below zero
	RuleOpen    Rule = "open"    // a Message that ended has no pending Charge
)

// Finding is one thing that does not hold. It names rows by ids, never a person.
type Finding struct {
	Rule    Rule   `json:"rule"`
	Subject string `json:"subject"` // "account 17", "ms_...", "month 2026-09"
	What    string `json:"what"`    // what contradicts what
}

// MaxFindings is how many findings a report names; it counts all.
const MaxFindings = 100

// Report is what Check found. The amounts are balance minus sum of postings,
// added up as absolute values over the accounts: zero means that every single
// account agrees, not that mistakes cancel each other out.
type Report struct {
	Accounts int            // accounts that disagree
	Granted  mobileid.Money // against credits
	Pending  mobileid.Money // against transfers and openings
	Posted   mobileid.Money // against transfers and openings
	Late     mobileid.Money // against transfers and openings
	Orphans  int            // accounts that transfers name and that do not exist
	Messages int            // Messages that contradict their transfers, and archives that contradict themselves

	Findings []Finding // the first of all of these
}

// Balanced reports whether nothing disagrees.
func (r Report) Balanced() bool { return r.Accounts == 0 && r.Orphans == 0 && r.Messages == 0 }

// Imbalance is all that does not add up, in tiyin.
func (r Report) Imbalance() mobileid.Money { return r.Granted + r.Pending + r.Posted + r.Late }

// checking gathers what a check finds.
type checking struct{ Report }

func (r *checking) find(f Finding) {
	if len(r.Findings) < MaxFindings {
		r.Findings = append(r.Findings, f)
	}
}

// checkSQL returns the accounts that disagree, each row with the sums over all.
// A transfer that posts what was not reserved is late.
var checkSQL = fmt.Sprintf(`
with charged as (
	select account_id, sum(held) as pending, sum(taken) as posted, sum(late) as late from (
		select account_id, held, taken, case when held = 0 and taken > 0 then taken else 0 end as late from transfers
		union all
		select account_id, held, taken, late from openings) postings
	group by account_id
), credited as (
	select account_id, sum(amount) as granted from credits group by account_id
), gap as (
	select coalesce(a.id, c.account_id) as id, a.id is null as orphan,
	       coalesce(a.granted, 0) - coalesce(r.granted, 0) as granted,
	       coalesce(a.pending, 0) - coalesce(c.pending, 0) as pending,
	       coalesce(a.posted, 0) - coalesce(c.posted, 0) as posted,
	       coalesce(a.late, 0) - coalesce(c.late, 0) as late
	from accounts a
	full join charged c on c.account_id = a.id
	left join credited r on r.account_id = a.id
	where coalesce(a.kept, true)
)
select id, orphan, granted::bigint, pending::bigint, posted::bigint, late::bigint,
       count(*) filter (where not orphan) over (), count(*) filter (where orphan) over (),
       sum(abs(granted)) over ()::bigint, sum(abs(pending)) over ()::bigint, sum(abs(posted)) over ()::bigint, sum(abs(late)) over ()::bigint
from gap where orphan or granted <> 0 or pending <> 0 or posted <> 0 or late <> 0
order by id limit %d`, MaxFindings)

// archivesSQL compares both sides of each archived month.
const archivesSQL = `
select to_char(a.month, 'YYYY-MM'), coalesce(o.taken, 0)::bigint, coalesce(d.taken, 0)::bigint, coalesce(o.transfers, 0)::bigint, a.transfers
from archives a
left join (select month, sum(taken) as taken, sum(transfers) as transfers from openings group by month) o on o.month = a.month
left join (select month, sum(posted - reversed) as taken from operator_days group by month) d on d.month = a.month
where coalesce(o.taken, 0) <> coalesce(d.taken, 0) or coalesce(o.transfers, 0) <> a.transfers order by 1`

// Check compares every account with its postings in one statement, so that it
// sees one instant and may run beside traffic, and then every Message of the
// months that are not archived with its transfers.
func Check(ctx context.Context, q Querier) (Report, error) {
	var r checking
	for _, check := range []func(context.Context, Querier) error{r.accounts, r.archives, r.messages} {
		if err := check(ctx, q); err != nil {
			return Report{}, err
		}
	}
	return r.Report, nil
}

func (r *checking) accounts(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, checkSQL)
	if err != nil {
		return err
	}
	var id int64
	var orphan bool
	var granted, pending, posted, late mobileid.Money
	_, err = pgx.ForEachRow(rows, []any{
		&id, &orphan, &granted, &pending, &posted, &late,
		&r.Accounts, &r.Orphans, &r.Granted, &r.Pending, &r.Posted, &r.Late,
	}, func() error {
		f := Finding{Rule: RuleAccount, Subject: fmt.Sprintf("account %d", id)}
		if orphan {
			f.Rule = RuleOrphan
		}
		var off []string
		for _, x := range []struct {
			name string
			by   mobileid.Money
		}{{"granted", granted}, {"pending", pending}, {"posted", posted}, {"late", late}} {
			if x.by != 0 {
				off = append(off, fmt.Sprintf("%s is off by %s soum", x.name, x.by))
			}
		}
		f.What = strings.Join(off, ", ")
		if orphan {
			f.What = strings.Join(append([]string{"there is no such account"}, off...), ", ")
		}
		r.find(f)
		return nil
	})
	return err
}

func (r *checking) archives(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, archivesSQL)
	if err != nil {
		return err
	}
	var month string
	var accounts, operators mobileid.Money
	var have, want int64
	_, err = pgx.ForEachRow(rows, []any{&month, &accounts, &operators, &have, &want}, func() error {
		r.Messages++
		r.find(Finding{RuleArchive, "month " + month, fmt.Sprintf(
			"accounts opened with %s soum of %d transfers, operators with %s soum of %d", accounts, have, operators, want)})
		return nil
	})
	return err
}
