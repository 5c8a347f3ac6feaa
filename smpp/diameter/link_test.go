package diameter

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
)

// in returns the state that a peer is in, by the metric.
func (r *rig) in(peer string) (in state) {
	r.t.Helper()
	for _, s := range states() {
		if testutil.ToFloat64(r.metrics.state.WithLabelValues(peer, string(s))) == 1 {
			if in != "" {
				r.t.Errorf("%s is %s and %s", peer, in, s)
			}
			in = s
		}
	}
	return in
}

// deaf is a server that reads and says nothing from now on.
func deaf(o *ocs) { o.bases(func(diam.Conn, *diam.Message) bool { return true }) }

func TestAQuietPeerIsAskedAndASilentOneIsSuspectAndThenLeft(t *testing.T) {
	// Tx is not what ends the wait.
	rigged(t, 2, func(cfg *Config) { cfg.Tx = time.Minute }, func(r *rig) {
		t := r.t
		tw, wide := r.cfg.Tw, 2*time.Second
		sleep(t.Context(), 3*(tw+wide))
		if dwr, _, dials := r.one.watched(); dwr < 2 || dwr > 4 || dials != 1 {
			t.Errorf("%d watchdog requests in three intervals, %d connections", dwr, dials)
		}
		// A peer that talks is not asked.
		before, _, _ := r.one.watched()
		for range 6 {
			sleep(t.Context(), tw/3)
			is(t, "reserve", r.reserve(r.message(1)), Yes, Answered, "one")
		}
		if dwr, _, _ := r.one.watched(); dwr != before {
			t.Errorf("%d watchdog requests while it talked", dwr-before)
		}

		deaf(r.one)
		got := make(chan Result, 1)
		sleep(t.Context(), tw+wide) // the watchdog request that it does not answer
		go func() { got <- r.Reserve(t.Context(), r.message(1)) }()
		synctest.Wait()
		sleep(t.Context(), tw+wide)
		if r.in("one") != suspect {
			t.Errorf("after an unanswered watchdog request it is %s", r.in("one"))
		}
		synctest.Wait()
		select {
		case res := <-got:
			is(t, "what was under way", res, Yes, Answered, "two")
		default:
			t.Error("what was under way waits for a suspect peer")
		}
		is(t, "what comes then", r.reserve(r.message(1)), Yes, Answered, "two")

		// Any message brings it back.
		r.one.bases(nil)
		_, err := diamRequest(r.one, diam.DeviceWatchdog).WriteTo(r.one.link())
		synctest.Wait()
		if r.in("one") != okay || err != nil {
			t.Errorf("it spoke, and is %s, %v", r.in("one"), err)
		}
		r.one.bases(func(_ diam.Conn, m *diam.Message) bool { return m.Header.CommandCode == diam.DeviceWatchdog })
		// The watchdog request of before is still unanswered (RFC 3539, 3.4.1).
		sleep(t.Context(), 2*(tw+wide)+2*r.cfg.Backoff)
		if _, _, dials := r.one.watched(); dials != 2 {
			t.Errorf("after two silent intervals more there were %d connections, want 2", dials)
		}
	})
}

// diamRequest is a request of the server's.
func diamRequest(o *ocs, command uint32) *diam.Message {
	m := diam.NewRequest(command, 0, nil)
	m.AddAVP(field(avp.OriginHost, datatype.DiameterIdentity(o.name)))
	m.AddAVP(field(avp.OriginRealm, datatype.DiameterIdentity("ocs.test")))
	if command == diam.DisconnectPeer {
		m.AddAVP(field(avp.DisconnectCause, datatype.Enumerated(0)))
	}
	return m
}

func TestAReopenedConnectionIsTrustedAfterThreeWatchdogAnswers(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		r.one.cut()
		sleep(t.Context(), 2*r.cfg.Backoff)
		if r.in("one") != reopen {
			t.Fatalf("connected again it is %s", r.in("one"))
		}
		is(t, "the other is there", r.reserve(r.message(1)), Yes, Answered, "two")
		r.two.mu.Lock()
		r.two.refuse = net.ErrClosed
		r.two.mu.Unlock()
		r.two.cut()
		synctest.Wait()
		is(t, "no other is there", r.reserve(r.message(1)), Yes, Answered, "one")
		for n := 1; n < proofs; n++ {
			if dwr, _, _ := r.one.watched(); dwr != n || r.in("one") != reopen {
				t.Errorf("%d watchdog requests, %s", dwr, r.in("one"))
			}
			sleep(t.Context(), r.cfg.Tw+2*time.Second)
		}
		if r.in("one") != okay {
			t.Errorf("after three answers it is %s", r.in("one"))
		}
	})
	// One that does not answer is left.
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		r.one.bases(func(_ diam.Conn, m *diam.Message) bool { return m.Header.CommandCode == diam.DeviceWatchdog })
		r.one.cut()
		sleep(t.Context(), 2*r.cfg.Backoff)
		sleep(t.Context(), 2*(r.cfg.Tw+2*time.Second))
		sleep(t.Context(), 3*r.cfg.Backoff)
		if _, _, dials := r.one.watched(); dials != 3 {
			t.Errorf("%d connections, want 3", dials)
		}
	})
}

func TestWhatIsUnderWayMovesAtOnceWhenTheConnectionIsCut(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		r.one.does(never)
		got := make(chan Result, 100)
		for range 100 {
			m := r.message(1)
			go func() { got <- r.reserve(m) }()
		}
		synctest.Wait()
		began := time.Now()
		r.one.cut()
		for range 100 {
			res := <-got
			is(t, "reserve", res, Yes, Answered, "two")
			if !res.Resent {
				t.Error("not marked as sent again")
			}
		}
		if took := time.Since(began); took != 0 || len(r.two.got()) != 100 {
			t.Errorf("%d were asked again, after %v", len(r.two.got()), took)
		}
		for _, peer := range []string{"one", "two"} {
			if n := testutil.ToFloat64(r.metrics.inFlight.WithLabelValues(peer)); n != 0 {
				t.Errorf("%v are waited for from %s", n, peer)
			}
		}
	})
}

func TestThePauseBeforeAConnectionDoubles(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		r.one.mu.Lock()
		r.one.refuse = net.ErrClosed
		r.one.mu.Unlock()
		r.one.cut()
		sleep(t.Context(), 10*time.Minute)
		r.one.mu.Lock()
		tried := slices.Clone(r.one.dialed)
		r.one.refuse = nil
		r.one.mu.Unlock()
		pause := r.cfg.Backoff
		for n := 2; n < len(tried); n++ {
			pause = min(2*pause, r.cfg.BackoffMax)
			if gap := tried[n].Sub(tried[n-1]); gap < pause*3/4 || gap > pause*5/4 {
				t.Errorf("try %d came after %v, want %v", n, gap, pause)
			}
		}
		if r.Ready() {
			t.Error("ready without a peer")
		}
		sleep(t.Context(), 2*r.cfg.BackoffMax)
		if !r.Ready() {
			t.Error("not ready with a peer")
		}
		// A connection that lasted begins anew.
		sleep(t.Context(), 2*r.cfg.Tw)
		_, _, before := r.one.watched()
		r.one.cut()
		sleep(t.Context(), r.cfg.Backoff*5/4)
		if _, _, after := r.one.watched(); after != before+1 {
			t.Errorf("after a connection that lasted the pause is longer than %v", r.cfg.Backoff*5/4)
		}
	})
}

func TestACapabilitiesExchangeThatFailsIsNoConnection(t *testing.T) {
	cea := func(o *ocs, m *diam.Message, code uint32, more ...*diam.AVP) *diam.Message {
		return o.answer(m, code, more...)
	}
	application := field(avp.AuthApplicationID, datatype.Unsigned32(4))
	for _, c := range []struct {
		name, label string
		answer      func(o *ocs, m *diam.Message) *diam.Message
	}{
		{"refused", "refused", func(o *ocs, m *diam.Message) *diam.Message { return cea(o, m, 3010, application) }},
		{"without an application", "no_application", func(o *ocs, m *diam.Message) *diam.Message { return cea(o, m, 2001) }},
		{"with another application", "no_application", func(o *ocs, m *diam.Message) *diam.Message {
			return cea(o, m, 2001, field(avp.AuthApplicationID, datatype.Unsigned32(16777238)))
		}},
		{"to somebody else", "failed", func(o *ocs, m *diam.Message) *diam.Message {
			a := cea(o, m, 2001, application)
			a.Header.HopByHopID++
			return a
		}},
		{"that is a watchdog request", "failed", func(o *ocs, _ *diam.Message) *diam.Message { return diamRequest(o, diam.DeviceWatchdog) }},
		{"that is none", "failed", func(*ocs, *diam.Message) *diam.Message { return nil }},
	} {
		rigged(t, 1, nil, func(r *rig) {
			t := r.t
			r.one.bases(func(conn diam.Conn, m *diam.Message) bool {
				if m.Header.CommandCode == diam.CapabilitiesExchange {
					if a := c.answer(r.one, m); a != nil {
						r.one.write(conn, a)
					}
				}
				return true
			})
			r.one.cut()
			sleep(t.Context(), 2*r.cfg.Backoff+r.cfg.ConnectTimeout)
			if n := testutil.ToFloat64(r.metrics.connects.WithLabelValues("one", c.label)); n == 0 || r.Ready() {
				t.Errorf("an answer %s: counted %v, ready %v", c.name, n, r.Ready())
			}
		})
	}
	// What is one, said otherwise.
	for name, more := range map[string]*diam.AVP{
		"by vendor": field(avp.VendorSpecificApplicationID, group(field(avp.VendorID, datatype.Unsigned32(10415)), application)),
		"by relay":  field(avp.AuthApplicationID, datatype.Unsigned32(relay)),
	} {
		rigged(t, 1, nil, func(r *rig) {
			t := r.t
			r.one.bases(func(conn diam.Conn, m *diam.Message) bool {
				if m.Header.CommandCode != diam.CapabilitiesExchange {
					return false
				}
				r.one.write(conn, cea(r.one, m, 2001, more))
				return true
			})
			r.one.cut()
			sleep(t.Context(), 2*r.cfg.Backoff)
			is(t, name, r.reserve(r.message(1)), Yes, Answered, "one")
		})
	}
}

func TestWhatAPeerAsksIsAnswered(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		answers := make(chan *diam.Message, 10)
		r.one.bases(func(_ diam.Conn, m *diam.Message) bool {
			if m.Header.CommandFlags&diam.RequestFlag == 0 {
				answers <- m
				return true
			}
			return false
		})
		ask := func(command uint32, code uint32) {
			t.Helper()
			m := diamRequest(r.one, command)
			m.InsertAVP(field(avp.SessionID, datatype.UTF8String("ocs1;1;2")))
			if _, err := m.WriteTo(r.one.link()); err != nil {
				t.Fatal(err)
			}
			a := <-answers
			got, err := a.FindAVP(uint32(avp.ResultCode), 0)
			if err != nil || got.Data != datatype.Unsigned32(code) || a.Header.HopByHopID != m.Header.HopByHopID ||
				a.Header.EndToEndID != m.Header.EndToEndID || a.AVP[0].Code != avp.SessionID {
				t.Errorf("command %d was answered by %v, %v", command, a, err)
			}
			if (a.Header.CommandFlags&diam.ErrorFlag != 0) != (code == unsupported) {
				t.Errorf("command %d: the error flag", command)
			}
		}
		ask(diam.DeviceWatchdog, 2001)
		ask(diam.ReAuth, 3001)
		ask(diam.AbortSession, 3001)
		if r.odd("one", "request") != 2 {
			t.Errorf("counted %v", r.odd("one", "request"))
		}
		ask(diam.DisconnectPeer, 2001)
		synctest.Wait()
		if r.in("one") != leaving || r.Ready() {
			t.Errorf("a peer that leaves is %s", r.in("one"))
		}
		is(t, "reserve", r.reserve(r.message(1)), Unknown, NoPeer, "")
		sleep(t.Context(), leaveWithin+2*r.cfg.Backoff)
		if _, _, dials := r.one.watched(); dials != 2 {
			t.Errorf("%d connections", dials)
		}
	})
}

func TestCloseSaysGoodbyeAndEndsEverything(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		r.one.does(never)
		got := make(chan Result)
		go func() { got <- r.Reserve(t.Context(), r.message(1)) }()
		synctest.Wait()
		r.one.bases(func(_ diam.Conn, m *diam.Message) bool { return m.Header.CommandCode == diam.DisconnectPeer })
		began := time.Now()
		r.Close()
		if took := time.Since(began); took != leaveWithin {
			t.Errorf("a peer that does not answer is waited for %v, want %v", took, leaveWithin)
		}
		if res := <-got; res.Answer != Unknown || res.Reason != LinkLost {
			t.Errorf("what was under way: %+v", res)
		}
		if _, dpr, _ := r.one.watched(); dpr != 1 {
			t.Errorf("%d times goodbye", dpr)
		}
		r.Close() // again
		is(t, "after it", r.reserve(r.message(1)), Unknown, NoPeer, "")
	})
}

func TestACallStartsNoGoroutine(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		r.one.does(never)
		r.two.does(never)
		const callers = 500
		before := runtime.NumGoroutine()
		var all sync.WaitGroup
		for range callers {
			m := r.message(1)
			all.Go(func() { _ = r.reserve(m) })
		}
		synctest.Wait()
		const others = 5 // of the runtime
		if n := runtime.NumGoroutine() - before; n > callers+others {
			t.Errorf("%d callers, %d goroutines", callers, n)
		}
		all.Wait()
		synctest.Wait()
		left := runtime.NumGoroutine() - before
		for tries := 0; left > others && tries < 1_000_000; tries++ {
			runtime.Gosched() // the runtime counts those that have just ended
			left = runtime.NumGoroutine() - before
		}
		if left > others {
			t.Errorf("%d goroutines are left", left)
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What must never be in a log line, metric, error or Session-Id.
func TestNoNumberIsSaidAloud(t *testing.T) {
	var log lockedBuffer
	rigged(t, 2, func(cfg *Config) {
		cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}, func(r *rig) {
		t := r.t
		var said []string
		for _, f := range failures() {
			m := r.message(1)
			if got := r.reserve(m); got.Answer != Yes { // of whichever is there
				t.Errorf("%+v", got)
			}
			f.make(r, r.one)
			f.make(r, r.two)
			said = append(said, fmt.Sprintf("%+v %#v", r.reserve(r.message(1)), r.reserve(m)), fmt.Sprint(r.settle(m, 1)), fmt.Sprintf("%+v %#v", m, m))
			for _, o := range []*ocs{r.one, r.two} {
				o.mu.Lock()
				o.script, o.refuse = nil, nil
				o.mu.Unlock()
			}
			sleep(t.Context(), time.Minute)
		}
		for _, s := range r.one.got() {
			said = append(said, s.session)
		}
		families, err := r.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			said = append(said, f.String())
		}
		said = append(said, log.String(), fmt.Sprintf("%+v", r.lates))
		for _, s := range said {
			if strings.Contains(s, "1234567") {
				t.Errorf("a number: %s", s)
			}
		}
		if len(said) < 20 || log.String() == "" {
			t.Errorf("only %d texts were looked at", len(said))
		}
	})
}

func TestWhatGoesWithARequest(t *testing.T) {
	find := func(m *diam.Message, path ...any) any {
		found, err := m.FindAVPsWithPath(path, dictAny)
		if err != nil || len(found) == 0 {
			return nil
		}
		return found[0].Data
	}
	for _, plain := range []bool{false, true} {
		rigged(t, 1, func(cfg *Config) {
			cfg.PlainUnits = plain
			cfg.Peers[0].DestinationHost = "ocs1.ocs.test"
		}, func(r *rig) {
			t := r.t
			m := r.message(3)
			is(t, "reserve", r.reserve(m), Yes, Answered, "one")
			if err := r.settle(m, 2); err != nil {
				t.Fatal(err)
			}
			first, second := r.one.got()[0].m, r.one.got()[1].m
			asked, used := []any{uint32(456), uint32(437), uint32(417)}, []any{uint32(456), uint32(446), uint32(417)}
			if plain {
				asked, used = asked[1:], used[1:]
			}
			for _, c := range []struct {
				name string
				got  any
				want any
			}{
				{"Session-Id first", first.AVP[0].Code, uint32(263)},
				{"Destination-Host", find(first, uint32(293)), datatype.DiameterIdentity("ocs1.ocs.test")},
				{"Destination-Realm", find(first, uint32(283)), datatype.DiameterIdentity("ocs.test")},
				{"Auth-Application-Id", find(first, uint32(258)), datatype.Unsigned32(4)},
				{"Service-Context-Id", find(first, uint32(461)), datatype.UTF8String("8.32274@3gpp.org")},
				{"Subscription-Id-Type", find(first, uint32(443), uint32(450)), datatype.Enumerated(0)},
				{"Subscription-Id-Data", find(first, uint32(443), uint32(444)), datatype.UTF8String("998901234567")},
				{"units asked for", find(first, asked...), datatype.Unsigned64(3)},
				{"units used", find(second, used...), datatype.Unsigned64(2)},
				{"CC-Request-Type", find(second, uint32(416)), datatype.Enumerated(3)},
				{"CC-Request-Number", find(second, uint32(415)), datatype.Unsigned32(1)},
				{"Termination-Cause", find(second, uint32(295)), datatype.Enumerated(1)},
				{"Origin-State-Id", find(first, uint32(278)), nil},
			} {
				if c.got != c.want {
					t.Errorf("plain %v, %s: %v, want %v", plain, c.name, c.got, c.want)
				}
			}
			at := time.Time(find(first, uint32(55)).(datatype.Time))
			if !at.Equal(m.At.Truncate(time.Second)) {
				t.Errorf("Event-Timestamp %v, want %v", at, m.At)
			}
			if !plain {
				if rating := find(first, uint32(456), uint32(432)); rating != datatype.Unsigned32(100) {
					t.Errorf("Rating-Group %v", rating)
				}
			}
		})
	}
}

const dictAny = 0xFFFFFFFF

func TestSessionsFollowFromTheMessage(t *testing.T) {
	seen := map[string]string{}
	for n := range 1000 {
		id := fmt.Sprintf("ms_%032d", n)
		for _, of := range []struct {
			kind kind
			step int
		}{{initial, 0}, {giveBack, 0}, {refund, 3}, {refund, 4}} {
			s := sessionID("mobileid.test", id, of.kind, of.step)
			if s != sessionID("mobileid.test", id, of.kind, of.step) || !strings.HasPrefix(s, "mobileid.test;") || !strings.Contains(s, ";"+id) {
				t.Errorf("session %q", s)
			}
			if other, twice := seen[s]; twice {
				t.Errorf("%s and %s are both %q", other, id, s)
			}
			seen[s] = id
		}
		if sessionID("mobileid.test", id, initial, 1) != sessionID("mobileid.test", id, termination, 2) {
			t.Error("a termination has a session of its own")
		}
	}
}

func TestTheOldestSessionsAreForgotten(t *testing.T) {
	m := newMemory()
	for n := range remembered + 10 {
		m.with(fmt.Sprint(n), func(s *session) { s.settled = true })
	}
	if len(m.of) != remembered || m.look("9").settled || !m.look("10").settled || !m.look(fmt.Sprint(remembered+9)).settled {
		t.Errorf("%d are remembered", len(m.of))
	}
}

func TestCheckFindsEachMistake(t *testing.T) {
	good := testConfig(Peer{Address: "ocs1:3868"}, Peer{Address: "ocs2:3868"})
	if wrong := good.Check(); len(wrong) != 0 {
		t.Fatalf("%+v", wrong)
	}
	for path, spoil := range map[string]func(*Config){
		"origin_host":               func(c *Config) { c.OriginHost = "a b" },
		"origin_realm":              func(c *Config) { c.OriginRealm = "" },
		"session_host":              func(c *Config) { c.SessionHost = "a;b" },
		"destination_realm":         func(c *Config) { c.DestinationRealm = strings.Repeat("a", 256) },
		"service_context":           func(c *Config) { c.ServiceContext = "8.32274.3gpp.org" },
		"peers":                     func(c *Config) { c.Peers = nil },
		"peers[0].address":          func(c *Config) { c.Peers[0].Address = "ocs1" },
		"peers[1].address":          func(c *Config) { c.Peers[1].Address = "ocs2:0" },
		"peers[1].name":             func(c *Config) { c.Peers[1].Name = "ocs1:3868" },
		"peers[0].destination_host": func(c *Config) { c.Peers[0].DestinationHost = "ocs1:3868" },
		"mode":                      func(c *Config) { c.Mode = "scur" },
		"failure_handling":          func(c *Config) { c.FailureHandling = "stop" },
		"debit_failure":             func(c *Config) { c.DebitFailure = "terminate" },
		"services.otp":              func(c *Config) { c.Services = map[string]Service{"otp": {}} },
		"sender":                    func(c *Config) { c.Sender = strings.Repeat("a", 21) },
		"tx":                        func(c *Config) { c.Tx = time.Millisecond },
		"tw":                        func(c *Config) { c.Tw = 5 * time.Second },
		"connect_timeout":           func(c *Config) { c.ConnectTimeout = -1 },
		"backoff":                   func(c *Config) { c.Backoff = time.Hour; c.BackoffMax = time.Hour },
		"backoff_max":               func(c *Config) { c.Backoff, c.BackoffMax = 10*time.Second, time.Second },
		"late_for":                  func(c *Config) { c.LateFor = time.Hour },
		"window":                    func(c *Config) { c.Window = -1 },
	} {
		c := good
		c.Peers = slices.Clone(good.Peers)
		spoil(&c)
		if wrong := c.Check(); len(wrong) != 1 || wrong[0].Path != path {
			t.Errorf("%s: found %+v", path, wrong)
		}
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: opened, %v", path, err)
		}
	}
}

func TestAClientThatIsMadeAgainCountsOn(t *testing.T) {
	reg := prometheus.NewRegistry()
	first, second := newMetrics(reg), newMetrics(reg)
	first.odd.WithLabelValues("one", "twice").Inc()
	second.odd.WithLabelValues("one", "twice").Inc()
	if n := testutil.ToFloat64(first.odd.WithLabelValues("one", "twice")); n != 2 {
		t.Errorf("counted %v", n)
	}
	newMetrics(nil).odd.WithLabelValues("one", "twice").Inc()
}

func TestTheLoopsOfPeersRestWhileTheyWait(t *testing.T) {
	loops := map[string]*mobileid.Loop{}
	rigged(t, 2, func(cfg *Config) {
		cfg.Watch = func(name string) *mobileid.Loop {
			if loops[name] == nil {
				loops[name] = &mobileid.Loop{}
			}
			return loops[name]
		}
	}, func(r *rig) {
		t := r.t
		sleep(t.Context(), 5*r.cfg.Tw)
		synctest.Wait()
		if len(loops) != 2 {
			t.Fatalf("%d loops", len(loops))
		}
		for name, l := range loops {
			if step, yes := l.UnderWay(); yes || step == 0 {
				t.Errorf("%s: step %d is under way: %v", name, step, yes)
			}
		}
	})
}

// A peer that stops reading ends its own connection, not the callers' time.
func TestAPeerThatDoesNotReadIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(Peer{Name: "one", Address: "ocs1:3868"})
		good := newOCS(t, "ocs1.ocs.test")
		stop := make(chan struct{})
		cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := good.dial(ctx)
			if err != nil {
				return nil, err
			}
			return &clogged{Conn: c, stop: stop}, nil
		}
		c := open(cfg)
		defer c.Close()
		synctest.Wait()
		close(stop)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		got := c.Reserve(ctx, asked(t, 1, msisdn(t, "901234567"), 1))
		is(t, "reserve", got, Unknown, Silent, "one")
		sleep(t.Context(), writeTimeout)
		if _, _, dials := good.watched(); dials < 1 || time.Since(began) > time.Minute {
			t.Errorf("%d connections", dials)
		}
		if rank, _ := c.peers[0].rank(time.Now()); rank == 2 {
			t.Error("the connection is still there")
		}
	})
}

// clogged is a connection whose other side stops reading.
type clogged struct {
	net.Conn

	stop chan struct{}
	mu   sync.Mutex
	at   time.Time // the deadline
}

func (c *clogged) SetWriteDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
	return nil
}

func (c *clogged) Write(b []byte) (int, error) {
	select {
	case <-c.stop:
	default:
		return c.Conn.Write(b)
	}
	c.mu.Lock()
	at := c.at
	c.mu.Unlock()
	if at.IsZero() {
		return c.Conn.Write(b)
	}
	sleep(context.Background(), time.Until(at))
	return 0, context.DeadlineExceeded
}
