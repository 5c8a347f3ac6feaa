package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

const (
	chargeMessages = 60_000 // admitted in batches, and inserted bare
	chargeOneByOne = 12_000 // a transaction each
	chargeBatch    = 300
	chargeWorkers  = 16 // of those who take a transaction a Message
	chargePrice    = 100

	aimOneByOne = 5 // times a transaction a Message
	aimInsert   = 3 // of the bare insert's time
)

// BenchmarkCharge is `make bench-charge`: admissions a second, each priced, checked
// and reserved, on few accounts and on many; beside one transaction a Message, as
// one would write it first, and beside the bare insert of the same rows. Half
// of each is measured before the other and half after, so that none has the newer
// machine.
func BenchmarkCharge(b *testing.B) {
	s := prepare(b, setup{window: bridgeWindow, silent: true})
	if set := os.Getenv("MOBILEID_BENCH_MESSAGES"); set != "" {
		s.unusual = append(s.unusual, "fewer messages (MOBILEID_BENCH_MESSAGES)")
	}
	header := s.describe(b)
	p := s.preloader(b, bridgeRow{lane: mobileid.LaneBulk, charged: true})
	must(b, p.publisher.Close())
	c := &charging{preloader: p}
	c.open(b)
	var rows []chargeRow
	for _, accounts := range []int{1, 100, 10_000} {
		r := c.row(b, min(accounts, len(p.bound)))
		rows = append(rows, r)
		fmt.Fprintf(os.Stderr, "%d accounts: %.0f admissions/s, %.0f one by one, %.0f bare\n", r.accounts, r.batched.rate(), r.oneByOne.rate(), r.bare.rate())
	}
	if got, err := s.db.CheckLedger(b.Context()); err != nil || !got.Balanced() {
		b.Errorf("the ledger does not balance: %+v (%v)", got, err)
	}
	fmt.Printf("\n%s\n", header)
	fmt.Printf("Admissions a second, each priced, checked and reserved; batches of %d on one connection, one by one on %d\n\n", chargeBatch, chargeWorkers)
	fmt.Println("| Accounts | batched | p50, p99 of a batch | one transaction each | p50, p99 of one | times | bare insert | p50, p99 of a batch | times the insert's time |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, r := range rows {
		fmt.Printf("| %d | **%.0f/s** | %s | %.0f/s | %s | **%.1f** | %.0f/s | %s | **%.2f** |\n", r.accounts, r.batched.rate(), r.batched,
			r.oneByOne.rate(), r.oneByOne, r.overOneByOne(), r.bare.rate(), r.bare, r.overInsert())
	}
	least := slices.MinFunc(rows, func(a, b chargeRow) int { return cmp.Compare(a.overOneByOne(), b.overOneByOne()) })
	most := slices.MaxFunc(rows, func(a, b chargeRow) int { return cmp.Compare(a.overInsert(), b.overInsert()) })
	fmt.Printf("\n%s; %s\n",
		aim{fmt.Sprintf("at least %d times one transaction a Message: %.1f", aimOneByOne, least.overOneByOne()), least.overOneByOne() >= aimOneByOne},
		aim{fmt.Sprintf("at most %d times the time of the bare insert: %.2f", aimInsert, most.overInsert()), most.overInsert() <= aimInsert})
}

// timed are the times of equal steps.
type timed struct {
	messages int
	took     time.Duration
	steps    []time.Duration
}

func (t timed) rate() float64 { return float64(t.messages) / t.took.Seconds() }

func (t timed) String() string {
	slices.Sort(t.steps)
	at := func(share float64) float64 {
		return float64(t.steps[int(share*float64(len(t.steps)-1))].Microseconds()) / 1000
	}
	return fmt.Sprintf("%.2f, %.2f ms", at(0.5), at(0.99))
}

// add joins two measurements.
func (t timed) add(o timed) timed {
	return timed{t.messages + o.messages, t.took + o.took, append(t.steps, o.steps...)}
}

type chargeRow struct {
	accounts                int
	batched, oneByOne, bare timed
}

func (r chargeRow) overOneByOne() float64 { return r.batched.rate() / r.oneByOne.rate() }
func (r chargeRow) overInsert() float64   { return r.bare.rate() / r.batched.rate() }

// charging makes Messages and admits them.
type charging struct {
	*preloader
	bridge int64
	pool   *pgxpool.Pool
	made   int
}

func (c *charging) open(b *testing.B) {
	b.Helper()
	var err error
	c.bridge, err = c.db.OpenBridge(b.Context(), sandbox.Operator, "bench", time.Hour)
	must(b, err)
	cfg, err := pgxpool.ParseConfig(c.env.Postgres())
	must(b, err)
	cfg.MaxConns = chargeWorkers
	c.pool, err = pgxpool.NewWithConfig(b.Context(), cfg)
	must(b, err)
	b.Cleanup(c.pool.Close)
	c.exec(b, `create table bare (like transfers including all) with (fillfactor = 100)`)
	c.exec(b, `create table bare_outbox (like outbox including all)`)
}

// row measures the three ways, twice each.
func (c *charging) row(b *testing.B, accounts int) chargeRow {
	b.Helper()
	r := chargeRow{accounts: accounts}
	for range 2 {
		r.batched = r.batched.add(c.batched(b, c.queue(b, accounts, chargeMessages/2)))
		r.oneByOne = r.oneByOne.add(c.oneByOne(b, c.queue(b, accounts, chargeOneByOne/2)))
		r.bare = r.bare.add(c.inserted(b, c.queue(b, accounts, chargeMessages/2)))
	}
	return r
}

// queue stores Messages of so many accounts, as consumers would, and waits until
// the server has written them.
func (c *charging) queue(b *testing.B, accounts, n int) []mobileid.ID {
	b.Helper()
	if set := os.Getenv("MOBILEID_BENCH_MESSAGES"); set != "" {
		_, err := fmt.Sscan(set, &n)
		must(b, err)
	}
	all := c.bound
	c.bound = all[:accounts]
	defer func() { c.bound = all }()
	ids, rows := make([]mobileid.ID, n), make([][]any, n)
	for i := range n {
		stored, _, item := c.message(b, c.made+i)
		rows[i], ids[i] = stored, item.ID
	}
	c.made += n
	_, err := c.sql.CopyFrom(b.Context(), pgx.Identifier{"messages"}, messageColumns, pgx.CopyFromRows(rows))
	must(b, err)
	c.exec(b, `checkpoint`)
	return ids
}

// batched admits as a bridge does, one statement in flight.
func (c *charging) batched(b *testing.B, ids []mobileid.ID) timed {
	b.Helper()
	t := timed{messages: len(ids)}
	began := time.Now()
	for batch := range slices.Chunk(ids, chargeBatch) {
		items := make([]mobileid.AdmitItem, len(batch))
		for i, id := range batch {
			items[i] = mobileid.AdmitItem{ID: id, Source: mobileid.RecordRef{Topic: "lane", Offset: int64(i)}}
		}
		at := time.Now()
		got, err := c.db.Admit(b.Context(), c.bridge, items)
		must(b, err)
		t.steps = append(t.steps, time.Since(at))
		for _, a := range got {
			if a.Verdict != mobileid.VerdictMine {
				b.Fatalf("a Message that can be paid was not admitted: %s, %s", a.Verdict, a.State)
			}
		}
	}
	t.took = time.Since(began)
	return t
}

// oneByOne takes a transaction for each Message: locks the account, looks at what
// decides, reserves, and marks the Message.
func (c *charging) oneByOne(b *testing.B, ids []mobileid.ID) timed {
	b.Helper()
	t := timed{messages: len(ids), steps: make([]time.Duration, len(ids))}
	work := make(chan int)
	var wg sync.WaitGroup
	began := time.Now()
	for range chargeWorkers {
		wg.Go(func() {
			for i := range work {
				at := time.Now()
				if err := pgx.BeginFunc(b.Context(), c.pool, func(tx pgx.Tx) error { return admitOne(b.Context(), tx, c.bridge, ids[i]) }); err != nil {
					b.Error(err)
				}
				t.steps[i] = time.Since(at)
			}
		})
	}
	for i := range ids {
		work <- i
	}
	close(work)
	wg.Wait()
	t.took = time.Since(began)
	return t
}

var errNotAdmitted = errors.New("a Message that can be paid was not admitted")

func admitOne(ctx context.Context, tx pgx.Tx, bridge int64, id mobileid.ID) error {
	var account, amount, free int64
	var operator, state string
	var holds bool
	err := tx.QueryRow(ctx, `
select m.account_id, m.amount, m.operator, m.state, b.state = 'active' and b.version = m.fence_version and not b.sms_suspended
from messages m join bindings b on b.id = m.fence_id where m.id = $1`, id[:]).Scan(&account, &amount, &operator, &state, &holds)
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `select granted - posted - pending from accounts where id = $1 for no key update`, account).Scan(&free)
	if err != nil {
		return err
	}
	if !holds || state != "queued" || free < amount {
		return errNotAdmitted
	}
	if _, err := tx.Exec(ctx, `update accounts set pending = pending + $2 where id = $1`, account, amount); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
insert into transfers (message_id, step, kind, why, account_id, operator, held, taken, at)
values ($1, 1, 'pending', 'admitted', $2, $3, $4, 0, now())`, id[:], account, operator, amount)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
update messages set state = 'admitted', state_version = state_version + 1, owner = $2, admitted_at = now(), charge = 'pending', charge_step = 1
where id = $1`, id[:], bridge)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
insert into outbox (subject, client, state, reason, version, at) values ($1, $2, 'admitted', '', 2, now())`, id[:], sandbox.Client)
	return err
}

// inserted stores the rows that admission adds, a transfer and a row of the outbox
// each, in tables like theirs, and nothing else.
func (c *charging) inserted(b *testing.B, ids []mobileid.ID) timed {
	b.Helper()
	t := timed{messages: len(ids)}
	conn, err := c.pool.Acquire(b.Context())
	must(b, err)
	defer conn.Release()
	account := c.bound[0].account
	began := time.Now()
	for batch := range slices.Chunk(ids, chargeBatch) {
		raw := make([][]byte, len(batch))
		for i := range batch {
			raw[i] = batch[i][:]
		}
		at := time.Now()
		_, err := conn.Exec(b.Context(), `
with added as (
	insert into bare (message_id, step, kind, why, account_id, operator, held, taken, at)
	select id, 1, 'pending', 'admitted', $2::bigint, $3::text, $4::bigint, 0, now() from unnest($1::bytea[]) as x(id)
)
insert into bare_outbox (subject, client, state, reason, version, at)
select id, $5::text, 'admitted', '', 2, now() from unnest($1::bytea[]) as x(id)`,
			raw, account, sandbox.Operator, chargePrice, sandbox.Client)
		must(b, err)
		t.steps = append(t.steps, time.Since(at))
	}
	t.took = time.Since(began)
	return t
}
