package diameter

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"mobileid/internal/mobileid"
	"mobileid/internal/testenv/charging"
)

// noTools is the environment variable that lets outside programs be absent;
// TOOLS=0 make test sets it.
const noTools = "MOBILEID_TEST_NO_TOOLS"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// erlang is a charging server that nobody here wrote.
type erlang struct {
	*charging.Server
	t    *testing.T
	port string
	ups  int // peers that have come
}

// start begins a client of charging servers, and waits until they know it.
func start(t *testing.T, cfg Config, servers ...*erlang) *Client {
	t.Helper()
	changes := watchStates(&cfg)
	c := open(cfg)
	t.Cleanup(c.Close)
	changes.until(t, "connections", func() bool { return c.connected() == len(cfg.Peers) })
	for _, e := range servers {
		e.ups++
		e.told("up %d", e.ups)
	}
	return c
}

func startErlang(t *testing.T, host string, watchdog time.Duration) *erlang {
	t.Helper()
	server := charging.Start(t, host, watchdog)
	_, port, _ := strings.Cut(server.Addr, ":")
	return &erlang{Server: server, t: t, port: port}
}

// told tells it something and returns its answer.
func (e *erlang) told(format string, args ...any) string {
	e.t.Helper()
	return e.Tell(format, args...)
}

// account compares the money of a number.
func (e *erlang) account(number mobileid.MSISDN, free, held int) {
	e.t.Helper()
	if gotFree, gotHeld := e.Account(number.RevealDigits()); gotFree != free || gotHeld != held {
		e.t.Errorf("%d free and %d held, want %d and %d", gotFree, gotHeld, free, held)
	}
}

func (e *erlang) peer() Peer { return Peer{Name: e.port, Address: "127.0.0.1:" + e.port} }

// counts are messages that it has received.
type counts struct{ ccr, replays, errors, dwr, dwa int }

func (e *erlang) counts() (c counts) {
	e.t.Helper()
	if _, err := fmt.Sscanf(e.told("counts"), "counts %d %d %d %d %d", &c.ccr, &c.replays, &c.errors, &c.dwr, &c.dwa); err != nil {
		e.t.Fatal(err)
	}
	return c
}

func msisdn(t *testing.T, s string) mobileid.MSISDN {
	t.Helper()
	m, err := mobileid.ParseMSISDN(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testConfig is that of a client of this machine.
func testConfig(peers ...Peer) Config {
	return Config{
		OriginHost: "bridge1.mobileid.test", OriginRealm: "mobileid.test", SessionHost: "mobileid.test",
		DestinationRealm: "ocs.test", Peers: peers, Sender: "MobileID",
		Services: map[string]Service{"otp": {Identifier: 7, RatingGroup: 100}, "notice": {Identifier: 8, RatingGroup: 200}},
		Registry: prometheus.NewRegistry(),
	}
}

func (c *Client) connected() (n int) {
	for _, p := range c.peers {
		if rank, _ := p.rank(time.Now()); rank >= 0 {
			n++
		}
	}
	return n
}

// stateChanges is a log that says when a peer's state has changed.
type stateChanges struct {
	slog.Handler

	changed chan struct{}
}

func watchStates(cfg *Config) *stateChanges {
	s := &stateChanges{slog.DiscardHandler, make(chan struct{}, 1)}
	cfg.Log = slog.New(s)
	return s
}

func (s *stateChanges) Enabled(context.Context, slog.Level) bool { return true }

func (s *stateChanges) Handle(context.Context, slog.Record) error {
	signal(s.changed)
	return nil
}

// until waits for what follows from changes of states.
func (s *stateChanges) until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for limit := time.After(20 * time.Second); !f(); {
		select {
		case <-s.changed:
		case <-limit:
			t.Fatalf("no %s", what)
		}
	}
}

// until asks the charging server until it says so.
func (e *erlang) until(what string, f func(counts) bool) {
	e.t.Helper()
	for limit := time.Now().Add(20 * time.Second); !f(e.counts()); {
		if time.Now().After(limit) {
			e.t.Fatalf("no %s", what)
		}
	}
}

// state waits until a peer is used that gladly.
func (c *Client) state(t *testing.T, p, rank int) {
	t.Helper()
	c.cfg.Log.Handler().(*stateChanges).until(t, "change of state", func() bool {
		r, _ := c.peers[p].rank(time.Now())
		return r == rank
	})
}

// asked is a request for one Message.
func asked(t *testing.T, n int, number mobileid.MSISDN, units int) Request {
	t.Helper()
	return Request{ID: fmt.Sprintf("ms_%032d", n), Number: number, Units: units, Kind: "otp", At: time.Now()}
}

func reserve(t *testing.T, c *Client, r Request) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return c.Reserve(ctx, r)
}

func mustSettle(t *testing.T, c *Client, r Request, used int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Settle(ctx, r, used); err != nil {
		t.Fatalf("settle %s with %d used: %v", r.ID, used, err)
	}
}

func TestErlangStopsOnTheExactMessageAtWhichTheMoneyEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		tune  func(*Config)
		inner bool
	}{
		{"ECUR with MSCC", func(*Config) {}, false},
		{"ECUR with MSCC, refused within it", func(*Config) {}, true},
		{"ECUR with plain units", func(c *Config) { c.PlainUnits = true }, false},
		{"IEC", func(c *Config) { c.Mode = IEC }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := startErlang(t, "ocs1.ocs.test", 10*time.Second)
			if c.inner {
				e.told("inner")
			}
			number := msisdn(t, "901234567")
			e.told("balance %s 5", number.RevealDigits())
			cfg := testConfig(e.peer())
			c.tune(&cfg)
			client := start(t, cfg, e)
			for n := range 8 {
				r := asked(t, n, number, 1)
				got := reserve(t, client, r)
				switch {
				case n < 5 && (got.Answer != Yes || got.Code != 2001):
					t.Fatalf("message %d: %+v", n, got)
				case n >= 5 && (got.Answer != No || got.Code != 4012):
					t.Fatalf("message %d, and the money is out: %+v", n, got)
				case n < 5:
					mustSettle(t, client, r, 1)
				}
			}
			e.account(number, 0, 0)
			got := reserve(t, client, asked(t, 100, msisdn(t, "909999999"), 1))
			if got.Answer != NoUser || got.Code != 5030 {
				t.Errorf("a number that it does not know: %+v", got)
			}
			if n := e.counts(); n.errors != 0 || n.replays != 0 {
				t.Errorf("its decoder refused %d of our requests, %d came as replays", n.errors, n.replays)
			}
		})
	}
}

func TestErlangDebitsWhatWasUsedAndGivesTheRestBack(t *testing.T) {
	for _, mode := range []Mode{ECUR, IEC} {
		t.Run(string(mode), func(t *testing.T) {
			e := startErlang(t, "ocs1.ocs.test", 10*time.Second)
			number := msisdn(t, "901234567")
			e.told("balance %s 10", number.RevealDigits())
			cfg := testConfig(e.peer())
			cfg.Mode = mode
			client := start(t, cfg, e)
			held := 0
			if mode == ECUR {
				held = 3
			}
			all, some, none := asked(t, 1, number, 3), asked(t, 2, number, 3), asked(t, 3, number, 3)
			for n, r := range []Request{all, some, none} {
				if got := reserve(t, client, r); got.Answer != Yes {
					t.Fatalf("%+v", got)
				}
				e.account(number, 10-3*(n+1), held*(n+1))
			}
			mustSettle(t, client, all, 3)
			e.account(number, 1, 2*held)
			mustSettle(t, client, some, 2)
			e.account(number, 2, held)
			mustSettle(t, client, none, 0)
			e.account(number, 5, 0)
			// Told again, also otherwise: what was first holds.
			mustSettle(t, client, some, 2)
			mustSettle(t, client, some, 0)
			e.account(number, 5, 0)
			// A receipt says that a part never came, and later one says so of another;
			// each is told twice, the second time by a process that knows of nothing.
			for i, step := range []int{3, 4} {
				all.Step = step
				for range 2 {
					if err := client.Refund(t.Context(), all, 1); err != nil {
						t.Fatal(err)
					}
					e.account(number, 6+i, 0)
					client.memory = newMemory()
					all.Again = true
				}
				all.Again = false
			}
		})
	}
}

func TestErlangAnswersAReplayFromItsRecordAndDebitsOnce(t *testing.T) {
	e := startErlang(t, "ocs1.ocs.test", 10*time.Second)
	number := msisdn(t, "901234567")
	e.told("balance %s 10", number.RevealDigits())
	cfg := testConfig(e.peer())
	cfg.Tx = 200 * time.Millisecond
	client := start(t, cfg, e)
	r := asked(t, 1, number, 2)

	e.told("mute 1")
	if got := reserve(t, client, r); got.Answer != Unknown || got.Reason != Silent {
		t.Fatalf("without an answer: %+v", got)
	}
	e.account(number, 8, 2)
	if got := reserve(t, client, r); got.Answer != Yes || !got.Resent {
		t.Fatalf("asked again: %+v", got)
	}
	e.account(number, 8, 2)

	e.told("mute 1")
	if err := client.Settle(t.Context(), r, 1); err == nil {
		t.Fatal("a settlement without an answer is done")
	}
	e.account(number, 9, 0)
	mustSettle(t, client, r, 1)
	e.account(number, 9, 0)
	if n := e.counts(); n != (counts{ccr: 4, replays: 2, dwr: n.dwr, dwa: n.dwa}) {
		t.Errorf("%+v, want 4 requests and 2 replays", n)
	}
	// Another process, which only knows that it was asked.
	cfg.OriginHost, cfg.Registry = "bridge2.mobileid.test", prometheus.NewRegistry()
	second := start(t, cfg, e)
	r.Again = true
	if got := reserve(t, second, r); got.Answer != Yes || !got.Resent {
		t.Errorf("asked by another process: %+v", got)
	}
	e.account(number, 9, 0)
	// A server that refuses what it has is not taken for a refusal.
	e.told("exists")
	if got := reserve(t, second, r); got.Answer != Unknown || got.Reason != Exists || got.Code != 5030 {
		t.Errorf("refused since it is there: %+v", got)
	}
}

func TestErlangMovesToTheOtherPeerAndBack(t *testing.T) {
	one, two := startErlang(t, "ocs1.ocs.test", 10*time.Second), startErlang(t, "ocs2.ocs.test", 10*time.Second)
	number := msisdn(t, "901234567")
	for _, e := range []*erlang{one, two} {
		e.told("balance %s 10", number.RevealDigits())
	}
	cfg := testConfig(one.peer(), two.peer())
	cfg.Tx, cfg.Backoff, cfg.Tw = 200*time.Millisecond, 10*time.Millisecond, 100*time.Millisecond
	client := start(t, cfg, one, two)

	one.told("mute 1")
	r := asked(t, 1, number, 1)
	if got := reserve(t, client, r); got.Answer != Yes || got.Peer != two.port || !got.Resent {
		t.Fatalf("the first peer is silent: %+v", got)
	}
	mustSettle(t, client, r, 1) // where the session is
	two.account(number, 9, 0)

	// The first says goodbye: everything goes to the second.
	one.told("leave")
	client.state(t, 0, -1)
	r = asked(t, 2, number, 1)
	if got := reserve(t, client, r); got.Answer != Yes || got.Peer != two.port || got.Resent {
		t.Fatalf("the first peer has left: %+v", got)
	}
	mustSettle(t, client, r, 1)
	two.account(number, 8, 0)
	if n := two.counts(); n.replays != 1 || n.errors != 0 {
		t.Errorf("%+v", n)
	}

	// It comes back, and is used when the watchdog has shown that it stays.
	one.told("return")
	client.state(t, 0, 2)
	one.told("up 2")
	r = asked(t, 3, number, 1)
	if got := reserve(t, client, r); got.Answer != Yes || got.Peer != one.port {
		t.Fatalf("the first peer is back: %+v", got)
	}
}

func TestErlangAndWeWatchEachOther(t *testing.T) {
	e := startErlang(t, "ocs1.ocs.test", 150*time.Millisecond)
	cfg := testConfig(e.peer())
	cfg.Tw = 100 * time.Millisecond
	client := start(t, cfg, e)
	// It asks after 150 ms without a message, and we after 100: for it to ask, ours
	// must rest.
	e.until("watchdog requests of ours", func(n counts) bool { return n.dwr >= 3 })
	if n := e.counts(); n.errors != 0 || client.connected() != 1 {
		t.Errorf("%+v, %d connections", n, client.connected())
	}
	client.Close()
	cfg.Tw, cfg.OriginHost, cfg.Registry = 10*time.Second, "bridge2.mobileid.test", prometheus.NewRegistry()
	client = start(t, cfg, e)
	e.until("watchdog answers of ours", func(n counts) bool { return n.dwa >= 3 })
	if client.connected() != 1 {
		t.Error("the connection did not last")
	}
}
