package diameter

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// seen is a request as an ocs has read it.
type seen struct {
	session      string
	kind, number uint32
	again        bool
	hop, e2e     uint32
	action       int32
	units        uint64
	m            *diam.Message
}

// ocs is a charging server on go-diameter's server side, over pipes, that does
// what a test says. It answers 2001 unless told otherwise.
type ocs struct {
	t    *testing.T
	srv  *diam.Server
	l    *pipes
	name string

	mu       sync.Mutex
	seen     []seen
	dwr, dpr int
	dialed   []time.Time
	conns    []net.Conn // ours
	links    []diam.Conn
	script   func(c diam.Conn, n int, s seen) // n: 0, 1, ...
	base     func(c diam.Conn, m *diam.Message) bool
	refuse   error // of the dial
}

// pipes is a listener.
type pipes struct {
	c    chan net.Conn
	done chan struct{}
	once sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.c:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3868} }

func newOCS(t *testing.T, name string) *ocs {
	t.Helper()
	o := &ocs{t: t, name: name, l: &pipes{c: make(chan net.Conn), done: make(chan struct{})}}
	o.srv = &diam.Server{Handler: diam.HandlerFunc(o.serve)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := o.srv.Serve(o.l); !errors.Is(err, diam.ErrServerClosed) {
			t.Errorf("server: %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = o.srv.Close()
		<-served
		o.cut()
	})
	return o
}

// cut ends all connections.
func (o *ocs) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		_ = c.Close()
	}
	o.conns = nil
}

func (o *ocs) dial(ctx context.Context) (net.Conn, error) {
	o.mu.Lock()
	o.dialed = append(o.dialed, time.Now())
	refuse := o.refuse
	o.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	ours, theirs := net.Pipe()
	select {
	case o.l.c <- theirs:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	o.mu.Lock()
	o.conns = append(o.conns, ours)
	o.mu.Unlock()
	return ours, nil
}

func (o *ocs) serve(c diam.Conn, m *diam.Message) {
	o.mu.Lock()
	base := o.base
	if !slices.Contains(o.links, c) {
		o.links = append(o.links, c)
	}
	request := m.Header.CommandFlags&diam.RequestFlag != 0
	switch {
	case request && m.Header.CommandCode == diam.DeviceWatchdog:
		o.dwr++
	case request && m.Header.CommandCode == diam.DisconnectPeer:
		o.dpr++
	}
	o.mu.Unlock()
	if base != nil && base(c, m) {
		return
	}
	switch {
	case !request:
	case m.Header.CommandCode == diam.CreditControl:
		o.charge(c, m)
	case m.Header.CommandCode == diam.CapabilitiesExchange:
		a := o.answer(m, diam.Success)
		a.AddAVP(field(avp.AuthApplicationID, datatype.Unsigned32(4)))
		o.write(c, a)
	default:
		o.write(c, o.answer(m, diam.Success))
	}
}

func (o *ocs) charge(c diam.Conn, m *diam.Message) {
	s := seen{again: m.Header.CommandFlags&diam.RetransmittedFlag != 0, hop: m.Header.HopByHopID, e2e: m.Header.EndToEndID, action: -1, m: m}
	for _, a := range m.AVP {
		switch a.Code {
		case avp.SessionID:
			s.session = string(a.Data.(datatype.UTF8String))
		case avp.CCRequestType:
			s.kind = uint32(a.Data.(datatype.Enumerated))
		case avp.CCRequestNumber:
			s.number = uint32(a.Data.(datatype.Unsigned32))
		case avp.RequestedAction:
			s.action = int32(a.Data.(datatype.Enumerated))
		}
	}
	if units, err := m.FindAVP(uint32(avp.CCServiceSpecificUnits), 0); err == nil {
		s.units = uint64(units.Data.(datatype.Unsigned64))
	}
	o.mu.Lock()
	n, script := len(o.seen), o.script
	o.seen = append(o.seen, s)
	o.mu.Unlock()
	if script == nil {
		o.write(c, o.cca(s, diam.Success))
		return
	}
	script(c, n, s)
}

func (o *ocs) answer(m *diam.Message, code uint32, more ...*diam.AVP) *diam.Message {
	a := m.Answer(code)
	a.AddAVP(field(avp.OriginHost, datatype.DiameterIdentity(o.name)))
	a.AddAVP(field(avp.OriginRealm, datatype.DiameterIdentity("ocs.test")))
	for _, x := range more {
		a.AddAVP(x)
	}
	return a
}

// cca answers a request; code 0 leaves the Result-Code out.
func (o *ocs) cca(s seen, code uint32, more ...*diam.AVP) *diam.Message {
	return o.answer(s.m, code, append([]*diam.AVP{
		field(avp.SessionID, datatype.UTF8String(s.session)),
		field(avp.CCRequestType, datatype.Enumerated(s.kind)),
		field(avp.CCRequestNumber, datatype.Unsigned32(s.number)),
	}, more...)...)
}

func (o *ocs) write(c diam.Conn, m *diam.Message) {
	// A connection that has ended is the other side's business.
	_, _ = m.WriteTo(c)
}

// says has every request answered so.
func (o *ocs) says(code uint32, more ...*diam.AVP) {
	o.does(func(c diam.Conn, _ int, s seen) { o.write(c, o.cca(s, code, more...)) })
}

// never is a script without an answer.
func never(diam.Conn, int, seen) {}

func (o *ocs) does(script func(c diam.Conn, n int, s seen)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.script = script
}

// bases has f look at each message first; true: it is dealt with.
func (o *ocs) bases(f func(c diam.Conn, m *diam.Message) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.base = f
}

func (o *ocs) got() []seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

func (o *ocs) watched() (dwr, dpr, dials int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dwr, o.dpr, len(o.dialed)
}

// link is its side of the newest connection.
func (o *ocs) link() diam.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.links[len(o.links)-1]
}

// rig is a client of one or two servers, within a bubble of synctest.
type rig struct {
	*Client

	t      *testing.T
	one    *ocs
	two    *ocs // nil with one peer
	lates  []lateAnswer
	reg    *prometheus.Registry
	number int
}

// rigged runs a test with a client that is connected.
func rigged(t *testing.T, peers int, tune func(*Config), test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, one: newOCS(t, "ocs1.ocs.test"), reg: prometheus.NewRegistry()}
		servers := map[string]*ocs{"ocs1:3868": r.one}
		cfg := testConfig(Peer{Name: "one", Address: "ocs1:3868"})
		if peers == 2 {
			r.two = newOCS(t, "ocs2.ocs.test")
			servers["ocs2:3868"] = r.two
			cfg.Peers = append(cfg.Peers, Peer{Name: "two", Address: "ocs2:3868"})
		}
		cfg.Registry = r.reg
		cfg.Dial = func(ctx context.Context, _, address string) (net.Conn, error) { return servers[address].dial(ctx) }
		cfg.Late = func(id string, res Result) { r.lates = append(r.lates, lateAnswer{id, res}) }
		if tune != nil {
			tune(&cfg)
		}
		if wrong := cfg.Check(); len(wrong) > 0 {
			t.Fatalf("%+v", wrong)
		}
		r.Client = open(cfg)
		t.Cleanup(r.Close)
		synctest.Wait()
		test(r)
	})
}

// message is a new request.
func (r *rig) message(units int) Request {
	r.number++
	return asked(r.t, r.number, msisdn(r.t, "901234567"), units)
}

// within gives a call a deadline.
func (r *rig) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	r.t.Cleanup(cancel)
	return ctx
}

// reserve asks with the time that the bridge has.
func (r *rig) reserve(m Request) Result { return r.Reserve(r.within(8*time.Second), m) }

func (r *rig) settle(m Request, used int) error { return r.Settle(r.within(8*time.Second), m, used) }

// odd is how many messages were counted as such.
func (r *rig) odd(peer, kind string) float64 {
	return testutil.ToFloat64(r.metrics.odd.WithLabelValues(peer, kind))
}

// is compares an answer, its reason and who answered.
func is(t *testing.T, what string, got Result, answer Answer, reason Reason, peer string) {
	t.Helper()
	if got.Answer != answer || got.Reason != reason || got.Peer != peer {
		t.Errorf("%s: %+v, want %v, %s, %q", what, got, answer, reason, peer)
	}
}
