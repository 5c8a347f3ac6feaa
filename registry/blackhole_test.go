package registry_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// hole is a way to Postgres whose connections can be made to swallow
// everything without ending, as a dead host does.
type hole struct {
	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns []*swallowing
}

type swallowing struct {
	net.Conn
	mute chan struct{}
}

// Write says that all is written, and forgets it once the connection is mute.
func (s *swallowing) Write(p []byte) (int, error) {
	select {
	case <-s.mute:
		return len(p), nil
	default:
		return s.Conn.Write(p)
	}
}

func newHole(t *testing.T, target string) *hole {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h := &hole{ln: ln, target: target}
	h.wg.Go(h.serve)
	return h
}

func (h *hole) close() {
	_ = h.ln.Close()
	h.mu.Lock()
	for _, c := range h.conns {
		_ = c.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *hole) serve() {
	for {
		in, err := h.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", h.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		mute := make(chan struct{})
		a, b := &swallowing{in, mute}, &swallowing{out, mute}
		h.mu.Lock()
		h.conns = append(h.conns, a, b)
		h.mu.Unlock()
		h.wg.Go(func() { _, _ = io.Copy(a, b.Conn); _ = in.Close() })
		h.wg.Go(func() { _, _ = io.Copy(b, a.Conn); _ = out.Close() })
	}
}

// swallow makes the connections that are open now mute; new ones work.
func (h *hole) swallow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := 0; i < len(h.conns); i += 2 {
		select {
		case <-h.conns[i].mute:
		default:
			close(h.conns[i].mute)
		}
	}
}

func TestAConnectionThatSwallowsEverythingStallsNobody(t *testing.T) {
	e := newEnv(t)
	u, err := url.Parse(databaseDSN(e.name))
	must(t, err)
	h := newHole(t, u.Host)
	u.Host = h.ln.Addr().String()
	db, err := registry.Open(t.Context(), registry.Config{DSN: u.String(), MaxConns: 8, Now: e.clk.now})
	must(t, err)
	defer func() {
		h.close()
		db.Close()
	}()
	sweeper := registry.NewSweeper(db, registry.SweepConfig{Grace: time.Second, StepTimeout: 300 * time.Millisecond}, nil, nil)
	relay := registry.NewRelay(db, publisher(func([]mobileid.StatusChanged) error { return nil }),
		registry.RelayConfig{Timeout: 300 * time.Millisecond})
	for name, run := range map[string]func() error{
		"sweeper": func() error { return sweeper.Sweep(t.Context()) },
		"relay":   func() error { _, err := relay.Once(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			must(t, run())
			h.swallow()
			done := make(chan error, 1)
			go func() { done <- run() }()
			select {
			case err := <-done:
				if err == nil {
					t.Fatal("answered through a dead connection")
				}
			case <-time.After(10 * time.Second):
				t.Fatal("stalled")
			}
			must(t, run()) // on a new connection
		})
	}
}
