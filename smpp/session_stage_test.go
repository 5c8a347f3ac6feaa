package smpp

import (
	"context"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mobileid/smpp/wire"
)

// stage is an operator on a real socket that plays a script on each
// connection, the same one whoever dials.
type stage struct {
	addr   string
	events chan string // what the script told
	mu     sync.Mutex
	conns  []net.Conn
	owners sync.WaitGroup
}

// actor is one connection of a stage.
type actor struct {
	net.Conn
	stage    *stage
	received chan<- wire.Frame // of submit_sm; nil: nobody looks at them
}

func play(t *testing.T, script func(*actor)) *stage {
	t.Helper()
	// A small buffer, so that not reading is felt soon.
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	l, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{addr: l.Addr().String(), events: make(chan string, 1000)}
	s.owners.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			s.owners.Go(func() { script(&actor{Conn: conn, stage: s}) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.hangUp()
		s.owners.Wait()
	})
	return s
}

// hangUp closes every connection.
func (s *stage) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// connections is how often somebody dialled.
func (s *stage) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// hears waits for the script's next words.
func (s *stage) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s.events:
		if got != want {
			t.Fatalf("the operator tells %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("the operator never tells %q", want)
	}
}

func (o *actor) tell(what string) {
	select {
	case o.stage.events <- what:
	default: // nobody listens that long
	}
}

// send writes a PDU with a sequence number.
func (o *actor) send(raw []byte, sequence uint32) {
	wire.SetSequence(raw, sequence)
	_, _ = o.Write(raw)
}

// bound reads a bind and accepts it.
func (o *actor) bound() bool {
	f, err := wire.Read(o)
	if err != nil {
		return false
	}
	o.send(wire.AppendCString(nil, f.Command.Response(), 0, 0, "operator"), f.Sequence)
	return true
}

// serve tells each PDU and accepts each submit_sm and an unbind until the connection ends.
func (o *actor) serve() {
	for {
		f, err := wire.Read(o)
		if err != nil {
			return
		}
		o.tell(f.Command.String())
		switch f.Command {
		case wire.SubmitSM:
			if o.received != nil {
				o.received <- f
			}
			o.send(wire.AppendCString(nil, f.Command.Response(), 0, 0, "id"), f.Sequence)
		case wire.Unbind:
			o.send(wire.AppendHeader(nil, f.Command.Response(), 0, 0), f.Sequence)
		}
	}
}

// mo is a deliver_sm from a handset.
func mo(text []byte, change func(*wire.Message)) []byte {
	m := wire.Message{Command: wire.DeliverSM, Source: wire.Address{TON: 1, NPI: 1, Addr: secretTo}, ShortMessage: text}
	if change != nil {
		change(&m)
	}
	raw, err := m.Encode()
	if err != nil {
		panic(err)
	}
	return raw
}

// ours is a bound session of ours on a stage; the test is its handler.
type ours struct {
	*session
	delivered chan wire.Frame
	ended     chan error
	onDeliver func(*session, wire.Frame)
}

func (o *ours) odd(string) {}

func (o *ours) deliver(s *session, f wire.Frame) {
	if o.onDeliver != nil {
		o.onDeliver(s, f)
	}
	s.respond(wire.AppendCString(nil, f.Command.Response(), wire.StatusOK, f.Sequence, ""))
	o.delivered <- f
}

// bindTo binds a session of ours.
func (s *stage) bindTo(t *testing.T, tune func(*sessionConfig), onDeliver func(*session, wire.Frame)) *ours {
	t.Helper()
	b := NewBridge(Config{Profile: testProfile(s.addr, 1000)}, Deps{Store: newStore()})
	bound, err := b.links[0].connect(t.Context(), s.addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &ours{session: bound, delivered: make(chan wire.Frame, 100), ended: make(chan error, 1), onDeliver: onDeliver}
	bound.cfg.handler = o
	if tune != nil {
		tune(&bound.cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { o.ended <- bound.run(ctx) }()
	t.Cleanup(func() { cancel(); <-bound.gone })
	return o
}

// send submits a PDU and returns where its fate will be told.
func (o *ours) send(t *testing.T, raw []byte) <-chan answer {
	t.Helper()
	if !o.reserve(1) {
		t.Fatal("no slot")
	}
	fate := make(chan answer, 2)
	o.submit(&request{
		raw: raw, command: wire.SubmitSM, done: func(a answer) { fate <- a }, late: func(a answer) { fate <- a },
	})
	return fate
}

// within waits for something that comes soon or never.
func within[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(5 * time.Second):
		t.Fatalf("never: %s", what)
	}
	return v
}

func otp() []byte {
	raw, err := wire.Message{
		Command: wire.SubmitSM, Dest: wire.Address{TON: 1, NPI: 1, Addr: secretTo},
		ShortMessage: []byte(strings.Repeat("x", 37)), RegisteredDelivery: 1,
	}.Encode()
	if err != nil {
		panic(err)
	}
	return raw
}
