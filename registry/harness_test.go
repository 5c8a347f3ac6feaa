package registry_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"mobileid/internal/engines"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// clusterDSN is the cluster of this test binary.
var clusterDSN string

const template = "registry_template"

func TestMain(m *testing.M) {
	flag.Parse()
	// A random life takes a quarter of a second on a real Postgres. More of
	// them: go test -rapid.checks=1000.
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		_ = flag.Set("rapid.checks", "30")
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	pg, err := engines.StartPostgres(ctx, engines.PostgresConfig{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		return 1
	}
	defer func() { _ = pg.Stop() }()
	clusterDSN = pg.DSN()
	if err := makeTemplate(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "template:", err)
		return 1
	}
	return m.Run()
}

// now0 is where the clock of every test starts.
var now0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// makeTemplate migrates one database, which each test then gets a copy of.
func makeTemplate(ctx context.Context) error {
	if err := admin(ctx, "create database "+template); err != nil {
		return err
	}
	db, err := registry.Open(ctx, registry.Config{DSN: databaseDSN(template), Now: func() time.Time { return now0 }})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Migrate(ctx)
}

// adminLock keeps two tests from copying the template at once, which Postgres
// refuses.
var adminLock sync.Mutex

func admin(ctx context.Context, sql string) error {
	adminLock.Lock()
	defer adminLock.Unlock()
	conn, err := pgx.Connect(ctx, clusterDSN)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func databaseDSN(name string) string {
	u, err := url.Parse(clusterDSN)
	if err != nil {
		panic(err)
	}
	u.Path = "/" + name
	return u.String()
}

// clock is a clock that a test turns.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// env is a registry of its own with a clock.
type env struct {
	*registry.DB
	t    testing.TB
	clk  *clock
	pool *pgxpool.Pool // to look and to interfere
	name string
	key  mobileid.IDKey
	n    atomic.Int64
}

var databases atomic.Int64

func newEnv(t testing.TB) *env {
	t.Helper()
	return newEnvLog(t, nil)
}

func newEnvLog(t testing.TB, log *slog.Logger) *env {
	t.Helper()
	return newEnvOf(t, template, log)
}

// newEnvOf is a copy of a database that nobody is connected to.
func newEnvOf(t testing.TB, template string, log *slog.Logger) *env {
	t.Helper()
	ctx := context.Background()
	e := &env{t: t, clk: &clock{}, name: fmt.Sprintf("registry_%d", databases.Add(1))}
	e.clk.ns.Store(now0.UnixNano())
	must(t, admin(ctx, "create database "+e.name+" template "+template))
	var err error
	e.DB, err = registry.Open(ctx, registry.Config{DSN: databaseDSN(e.name), MaxConns: 16, Now: e.clk.now, Log: log})
	must(t, err)
	e.pool, err = pgxpool.New(ctx, databaseDSN(e.name))
	must(t, err)
	e.key, err = mobileid.NewIDKey([]byte("0123456789abcdef"))
	must(t, err)
	t.Cleanup(func() {
		e.DB.Close()
		e.pool.Close()
		must(t, admin(ctx, "drop database "+e.name+" with (force)"))
	})
	return e
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%v)", err, cause(err))
	}
}

func cause(err error) error {
	e := &mobileid.Error{}
	if errors.As(err, &e) {
		return e.Err
	}
	return nil
}

func (e *env) ctx() context.Context { return context.Background() }

// query reads one value of the database.
func query[T any](e *env, sql string, args ...any) T {
	e.t.Helper()
	var v T
	must(e.t, e.pool.QueryRow(e.ctx(), sql, args...).Scan(&v))
	return v
}

// empty truncates tables, whatever triggers they have.
func (e *env) empty(tables string) {
	e.t.Helper()
	must(e.t, pgx.BeginFunc(e.ctx(), e.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(e.ctx(), `set local session_replication_role = replica; truncate `+tables, pgx.QueryExecModeSimpleProtocol)
		return err
	}))
}

func (e *env) exec(sql string, args ...any) {
	e.t.Helper()
	_, err := e.pool.Exec(e.ctx(), sql, args...)
	must(e.t, err)
}

const (
	client   = "oneid"
	operator = "beeline"
	account  = "mobileid-1" // system_id
	cost     = mobileid.Money(12_000)
)

// person is somebody with a binding and an account.
type person struct {
	binding mobileid.Binding
	asked   mobileid.NewBinding // what it was made from
}

// bind makes a person with that much money.
func (e *env) bind(funds mobileid.Money) person {
	e.t.Helper()
	n := e.n.Add(1)
	msisdn, err := mobileid.ParseMSISDN(fmt.Sprintf("90%07d", n))
	must(e.t, err)
	nb := mobileid.NewBinding{MSISDN: msisdn, Operator: operator, Locale: mobileid.LocaleUzLatn}
	nb.PINFL, err = mobileid.ParsePINFL(pinfl(int(n)))
	must(e.t, err)
	key, err := mobileid.NewPseudonymKey([]byte("fedcba9876543210"))
	must(e.t, err)
	nb.Person, nb.Number = key.Person(nb.PINFL), key.Number(nb.MSISDN)
	_, err = e.Bind(e.ctx(), nb)
	must(e.t, err)
	found, err := e.ActiveBindings(e.ctx(), []mobileid.Pseudonym{nb.Person})
	must(e.t, err)
	b, ok := found[nb.Person]
	if !ok {
		e.t.Fatal("a new binding is not active")
	}
	must(e.t, e.Credit(e.ctx(), b.Account, "test", fmt.Sprint("seed-", n), funds))
	return person{b, nb}
}

// pinfl makes a valid PINFL with a serial.
func pinfl(n int) string {
	body := fmt.Sprintf("3150190%06d", n)
	return body + string(mobileid.PINFLCheckDigit(body))
}

func (e *env) tariff() { e.price(operator, cost, now0.AddDate(-1, 0, 0)) }

// price loads a version of an operator's common price.
func (e *env) price(operator string, amount mobileid.Money, from time.Time) {
	e.t.Helper()
	_, err := e.LoadTariffs(e.ctx(), []ledger.Tariff{tariffOf(operator, "", amount, from)})
	must(e.t, err)
}

func tariffOf(operator, kind string, amount mobileid.Money, from time.Time) ledger.Tariff {
	return ledger.Tariff{
		Operator: operator, Kind: kind, Price: amount, Unit: ledger.UnitMessage, RefundUndelivered: true, From: from,
		Author: "tests", Act: "Decision 1 of 2025-11-01",
	}
}

const codeLife = 3 * time.Minute

// challenge makes a request for a code, accepted now.
func (e *env) challenge(p person, key string) mobileid.NewChallenge {
	now := e.clk.now()
	id := e.key.Make(mobileid.KindChallenge, client, key, now)
	b := p.binding
	return mobileid.NewChallenge{
		Request: mobileid.ChallengeRequested{
			ID: id, Client: client, Person: b.Person.String(), Purpose: "login", Locale: mobileid.LocaleRu,
			ContextHash: "c0ffee", BodyHash: "body", Deadline: now.Add(30 * time.Second),
		},
		Person: b.Person, Nonce: "nonce-" + key, Tries: 3, ExpiresAt: now.Add(codeLife),
		Source:  mobileid.RecordRef{Topic: mobileid.TopicOTPRequests, Partition: 1, Offset: 7},
		Binding: &b,
		Message: e.message(b, e.key.Derive(mobileid.KindMessage, client, id, 1), mobileid.LaneOTP, now.Add(codeLife)),
	}
}

func (e *env) message(b mobileid.Binding, id mobileid.ID, lane mobileid.Lane, deadline time.Time) *mobileid.NewMessage {
	return &mobileid.NewMessage{
		ID: id, Client: client, Person: b.Person, Lane: lane, Operator: b.Operator, TextID: "code",
		Fence:   mobileid.Fence{Kind: "binding", ID: b.ID, Version: b.Version},
		Account: b.Account, Deadline: deadline, Dest: b.Number, Sealed: []byte("sealed text"), Parts: 1,
	}
}

// notice makes a request for a notification, accepted now.
func (e *env) notice(p person, key string) mobileid.NewNotification {
	now := e.clk.now()
	id := e.key.Make(mobileid.KindMessage, client, key, now)
	return mobileid.NewNotification{
		Request: mobileid.NotificationRequested{
			ID: id, Client: client, Person: p.binding.Person.String(), TextID: "notice", BodyHash: "body", Deadline: now.Add(time.Hour),
		},
		Person: p.binding.Person, Source: mobileid.RecordRef{Topic: mobileid.TopicNotificationRequests, Partition: 2, Offset: 8},
		Message: e.message(p.binding, id, mobileid.LaneBulk, now.Add(time.Hour)),
	}
}

func (e *env) issue(cs ...mobileid.NewChallenge) []mobileid.LaneItem {
	e.t.Helper()
	items, err := e.IssueChallenges(e.ctx(), cs)
	must(e.t, err)
	return items
}

func (e *env) queue(ns ...mobileid.NewNotification) []mobileid.LaneItem {
	e.t.Helper()
	items, err := e.QueueNotifications(e.ctx(), ns)
	must(e.t, err)
	return items
}

func (e *env) bridge() int64 {
	e.t.Helper()
	id, err := e.OpenBridge(e.ctx(), operator, "test", time.Hour)
	must(e.t, err)
	return id
}

// kill ends a bridge's lease long ago.
func (e *env) kill(bridge int64) {
	e.t.Helper()
	e.exec(`update bridges set lease_until = now() - interval '1 minute' where id = $1`, bridge)
}

func (e *env) admit(bridge int64, ids ...mobileid.ID) []mobileid.Admission {
	e.t.Helper()
	items := make([]mobileid.AdmitItem, len(ids))
	for i, id := range ids {
		items[i] = mobileid.AdmitItem{ID: id, Source: mobileid.RecordRef{Topic: "lane", Partition: 3, Offset: int64(100 + i)}}
	}
	out, err := e.Admit(e.ctx(), bridge, items)
	must(e.t, err)
	return out
}

// admittedCode is a code that a bridge has, of somebody who can pay for no
// other.
func (e *env) admittedCode() (person, mobileid.NewChallenge, int64) {
	e.t.Helper()
	e.tariff()
	p, b := e.bind(cost), e.bridge()
	c := e.challenge(p, "k")
	e.issue(c)
	e.admit(b, c.Message.ID)
	return p, c, b
}

// admittedNotice is a notice that a bridge has, likewise.
func (e *env) admittedNotice() (person, mobileid.NewNotification, int64) {
	e.t.Helper()
	e.tariff()
	p, b := e.bind(cost), e.bridge()
	n := e.notice(p, "k")
	e.queue(n)
	e.admit(b, n.Message.ID)
	return p, n, b
}

// outcome makes the answer of an operator to a Message of one part.
func (e *env) outcome(id mobileid.ID, state mobileid.MessageState, dest mobileid.Pseudonym, operatorID string) mobileid.Outcome {
	o := mobileid.Outcome{ID: id, State: state, Link: "link-1", SubmittedAt: e.clk.now()}
	seq := uint32(e.n.Add(1))
	p := mobileid.PartOutcome{Part: 1, Link: o.Link, Sequence: seq, OperatorID: operatorID, Dest: dest}
	if operatorID != "" {
		p.AnsweredAt = e.clk.now()
	}
	o.Parts = []mobileid.PartOutcome{p}
	return o
}

func (e *env) settle(bridge int64, os ...mobileid.Outcome) {
	e.t.Helper()
	must(e.t, e.Settle(e.ctx(), bridge, account, os))
}

func (e *env) receipt(dest mobileid.Pseudonym, operatorID string, state mobileid.MessageState) mobileid.Receipt {
	return mobileid.Receipt{
		Account: account, OperatorID: operatorID, Dest: dest, State: state, Stat: strings.ToUpper("x" + string(state)), At: e.clk.now(),
	}
}

func (e *env) receipts(rs ...mobileid.Receipt) int {
	e.t.Helper()
	n, err := e.StoreReceipts(e.ctx(), rs)
	must(e.t, err)
	return n
}

func (e *env) challengeState(id mobileid.ID) mobileid.ChallengeState {
	e.t.Helper()
	v, err := e.Challenge(e.ctx(), client, id)
	must(e.t, err)
	return v.State
}

func (e *env) wantMessage(id mobileid.ID, state mobileid.MessageState, reason string) {
	e.t.Helper()
	v, err := e.Message(e.ctx(), client, id)
	must(e.t, err)
	if v.State != state || v.Reason != reason {
		e.t.Fatalf("message is %s (%s), want %s (%s)", v.State, v.Reason, state, reason)
	}
}

func (e *env) wantChallenge(id mobileid.ID, state mobileid.ChallengeState, reason string) {
	e.t.Helper()
	v, err := e.Challenge(e.ctx(), client, id)
	must(e.t, err)
	if v.State != state || v.Reason != reason {
		e.t.Fatalf("challenge is %s (%s), want %s (%s)", v.State, v.Reason, state, reason)
	}
}

func (e *env) wantCharge(id mobileid.ID, state string) {
	e.t.Helper()
	have := query[string](e, `select coalesce((select charge from messages where id = $1), 'none')`, id[:])
	if have != state {
		e.t.Fatalf("charge is %s, want %s", have, state)
	}
	e.wantBalanced()
}

func (e *env) wantBalanced() {
	e.t.Helper()
	r, err := e.CheckLedger(e.ctx())
	must(e.t, err)
	if !r.Balanced() {
		e.t.Fatalf("ledger: %+v", r)
	}
}

func (e *env) wantErased(id mobileid.ID, erased bool) {
	e.t.Helper()
	if have := query[bool](e, `select sealed is null and seal_key is null from messages where id = $1`, id[:]); have != erased {
		e.t.Fatalf("erased = %v, want %v", have, erased)
	}
}
