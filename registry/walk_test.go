package registry_test

import (
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// Plans are made once a connection, here of tables that are empty and known to
// be. What grows afterwards must still be reached by its key.
func TestAPlanOfAnEmptyTableDoesNotWalkAFullOne(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(100 * cost)
	bridge := e.bridge()
	life := func(db *registry.DB, relay *registry.Relay, key string) {
		t.Helper()
		c := e.challenge(p, key)
		_, _, err := db.Known(e.ctx(), []mobileid.Pseudonym{p.binding.Person}, []mobileid.ID{c.Request.ID})
		must(t, err)
		_, err = db.IssueChallenges(e.ctx(), []mobileid.NewChallenge{c})
		must(t, err)
		e.clk.advance(time.Second)
		again := e.challenge(p, key+"-newer") // supersedes: live_challenges is asked
		_, err = db.IssueChallenges(e.ctx(), []mobileid.NewChallenge{again})
		must(t, err)
		got, err := db.Admit(e.ctx(), bridge, []mobileid.AdmitItem{{ID: again.Message.ID}})
		must(t, err)
		if len(got) != 1 || got[0].Verdict != mobileid.VerdictMine {
			t.Fatalf("admitted %+v", got)
		}
		must(t, db.Settle(e.ctx(), bridge, account, []mobileid.Outcome{
			e.outcome(again.Message.ID, mobileid.MessageSent, again.Message.Dest, key),
		}))
		_, err = db.StoreReceipts(e.ctx(), []mobileid.Receipt{e.receipt(again.Message.Dest, key, mobileid.MessageDelivered)})
		must(t, err)
		must(t, db.EndChallenge(e.ctx(), again.Request.ID, mobileid.ChallengeLost, "code_lost"))
		_, err = relay.Once(e.ctx())
		must(t, err)
		e.clk.advance(time.Second)
	}
	silent := publisher(func([]mobileid.StatusChanged) error { return nil })
	for i := range 3 {
		life(e.DB, registry.NewRelay(e.DB, silent, registry.RelayConfig{}), fmt.Sprint("first-", i))
	}
	e.exec(`analyze`) // the pages are there, the rows are not
	db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name), MaxConns: 1, Now: e.clk.now})
	must(t, err)
	closed := false
	defer func() {
		if !closed {
			db.Close()
		}
	}()
	relay := registry.NewRelay(db, silent, registry.RelayConfig{Batch: 100})
	for i := range 3 {
		life(db, relay, fmt.Sprint("empty-", i))
	}
	const rows = 20_000
	e.exec(`insert into live_challenges select 'other', int4send(i), 'login', int8send(i), now() + interval '1 hour' from generate_series(1, $1) i`, rows)
	e.exec(`insert into retries select int8send(i), 'other', now() + interval '1 hour' from generate_series(1, $1) i`, rows)
	e.exec(`insert into outbox (subject, client, state, version, at) select int8send(i), 'other', 'sent', 1, now() from generate_series(1, $1) i`, rows)
	e.exec(`insert into ported_numbers (number, operator, valid_from, source, seq, imported_at)
		select decode(md5(i::text), 'hex'), 'ucell', now(), 'mnp', i, now() from generate_series(1, $1) i`, rows)
	before := query[int64](e, readsSQL)
	const lives = 3
	for i := range lives {
		life(db, relay, fmt.Sprint("full-", i))
	}
	db.Close() // and with it the connection, which tells its counts as it ends
	closed = true
	var reads int64
	await(t, func() bool {
		last := reads
		reads = query[int64](e, readsSQL) - before
		return reads > 0 && reads == last
	})
	if reads > lives*500 {
		t.Fatalf("%d lives read %d rows of tables with %d", lives, reads, rows)
	}
}

// An operator whose ids come round soon, or never change, has many parts of one
// id: a receipt is found by its destination, too, and not by looking at all of them.
func TestAReceiptOfAnIDThatRepeatsDoesNotWalkItsParts(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "0"))
	const rows, receipts = 20_000, 20
	e.exec(`insert into message_parts (message_id, part, account, operator_id, dest, link, sequence, status, answered_at)
		select set_byte($1::bytea, 23, get_byte($1, 23) # 1), 1, $2, '0', decode(md5(i::text), 'hex'), 'link-2', i, 0, $3 from generate_series(1, $4::integer) i`,
		n.Message.ID[:], account, e.clk.now(), rows)
	db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name), MaxConns: 1, Now: e.clk.now})
	must(t, err)
	var told []mobileid.Receipt
	for i := range receipts {
		r := e.receipt(p.binding.Number, "0", mobileid.MessageUndeliverable)
		r.Dest[0] ^= byte(i) // all but the first of numbers that nothing was sent to
		told = append(told, r)
	}
	before := query[int64](e, partReadsSQL)
	matched, err := db.StoreReceipts(e.ctx(), told)
	db.Close() // and with it the connection, which tells its counts as it ends
	must(t, err)
	if matched != 1 {
		t.Fatalf("%d matched, want 1", matched)
	}
	var reads int64
	await(t, func() bool {
		last := reads
		reads = query[int64](e, partReadsSQL) - before
		return reads > 0 && reads == last
	})
	if reads > 10*receipts {
		t.Fatalf("%d receipts read %d rows of parts, of which %d have their id", receipts, reads, rows)
	}
}

// What is about one person, or a batch of them, does not look at all bindings.
func TestNobodyWalksBindings(t *testing.T) {
	const rows = 20_000
	for name, c := range map[string]struct {
		before func(*env, person, int64)
		act    func(*env, *registry.DB, person, int64) error
	}{
		"a probe that goes well": {
			func(e *env, p person, b int64) {
				e.refuse(p, b)
				e.exec(`update accounts set told_at = null`) // he may pay
				e.clk.advance(2 * time.Minute)
			},
			func(e *env, db *registry.DB, p person, b int64) error {
				n := e.notice(p, "probe")
				e.queue(n)
				_, err := db.Admit(e.ctx(), b, []mobileid.AdmitItem{{ID: n.Message.ID}})
				if e.suspended(p) {
					t.Error("the probe went well and the SMS are not back")
				}
				return err
			},
		},
		"a number that is barred is bound again": {
			func(e *env, p person, _ int64) {
				e.clk.advance(time.Second)
				e.tell(e.news(p, mobileid.BalanceBarred, 0))
				must(t, e.Revoke(e.ctx(), p.binding.ID))
			},
			func(e *env, db *registry.DB, p person, _ int64) error {
				_, err := db.Bind(e.ctx(), p.asked)
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.tariff()
			p, b := e.bind(0), e.bridge()
			e.exec(`insert into bindings (person, number, pinfl, msisdn, operator, state, locale, account_id, bound_at)
				select decode(md5(i::text), 'hex'), decode(md5(i::text), 'hex'), '', '', $1, 'active', 'ru', $2, $3 from generate_series(1, $4::integer) i`,
				operator, p.binding.Account, e.clk.now(), rows)
			e.exec(`analyze bindings`)
			c.before(e, p, b)
			db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name), MaxConns: 1, Now: e.clk.now})
			must(t, err)
			before := query[int64](e, bindingReadsSQL)
			err = c.act(e, db, p, b)
			db.Close() // and with it the connection, which tells its counts as it ends
			must(t, err)
			var reads int64
			await(t, func() bool {
				last := reads
				reads = query[int64](e, bindingReadsSQL) - before
				return reads > 0 && reads == last
			})
			if reads > 100 {
				t.Fatalf("%d of %d bindings were read for one", reads, rows)
			}
		})
	}
}

const bindingReadsSQL = `
select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint from pg_stat_user_tables where relname = 'bindings'`

const partReadsSQL = `
select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint from pg_stat_user_tables where relname like 'message_parts%'`

const readsSQL = `
select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint from pg_stat_user_tables
where relname in ('live_challenges', 'retries', 'outbox', 'ported_numbers')`

// await asks until the answer is yes: Postgres counts what it read some time
// after, and signals nothing.
func await(t *testing.T, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !yes(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited 10 s")
		}
	}
}
