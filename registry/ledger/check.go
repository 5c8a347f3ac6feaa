// Package ledger checks the money of the registry.
//
// Its promise: Check finds every account whose balance is not the sum of its
// postings (README, promise P4). The postings are the transfers of the Charges,
// which say how much each reserves and takes more, and the credits.
package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// Querier is the part of a pool or a transaction that Check needs.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Report is what Check found. The amounts are in tiyin, balance minus sum of
// postings, added up as absolute values over the accounts: zero means that
// every single account agrees, not that mistakes cancel each other out.
type Report struct {
	Accounts int            // accounts that disagree
	Granted  mobileid.Money // against credits
	Pending  mobileid.Money // against transfers
	Posted   mobileid.Money // against transfers
	Orphans  int            // accounts that transfers name and that do not exist
}

// Balanced reports whether nothing disagrees.
func (r Report) Balanced() bool { return r == Report{} }

const checkSQL = `
with charged as (
	select account_id, sum(held) as pending, sum(taken) as posted from transfers group by account_id
), credited as (
	select account_id, sum(amount) as granted from credits group by account_id
), gap as (
	select a.id is null as orphan,
	       abs(coalesce(a.granted, 0) - coalesce(r.granted, 0)) as granted,
	       abs(coalesce(a.pending, 0) - coalesce(c.pending, 0)) as pending,
	       abs(coalesce(a.posted, 0) - coalesce(c.posted, 0)) as posted
	from accounts a
	full join charged c on c.account_id = a.id
	left join credited r on r.account_id = a.id
	where coalesce(a.kept, true)
)
select count(*) filter (where not orphan and (granted <> 0 or pending <> 0 or posted <> 0)),
       coalesce(sum(granted), 0)::bigint, coalesce(sum(pending), 0)::bigint, coalesce(sum(posted), 0)::bigint,
       count(*) filter (where orphan)
from gap`

// Check compares every account with its postings in one statement, so that it
// sees one instant and may run beside traffic.
func Check(ctx context.Context, q Querier) (Report, error) {
	var r Report
	err := q.QueryRow(ctx, checkSQL).Scan(&r.Accounts, &r.Granted, &r.Pending, &r.Posted, &r.Orphans)
	return r, err
}
