package smsc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a running message centre.
type Server struct {
	cfg      Config
	listener net.Listener
	control  *http.Server
	ctlAddr  string
	journal  *journal
	events   hub
	schedule *schedule
	receipts *ledgerOfReceipts
	cancel   context.CancelFunc
	owners   sync.WaitGroup
	epoch    int64 // makes message ids differ between runs
	nextID   atomic.Int64
	parts    parts
	binding  sync.Mutex // one bind is admitted at a time

	mu       sync.Mutex
	sessions map[*session]struct{}
	waiting  map[string][]*delivery // receipts of an account without a receiving bind
	reversed []func()               // receipts that wait for their company
	script   script
	closed   bool
}

// Start listens and serves until Close. The error names what could not be
// opened.
func Start(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	for i := range cfg.Faults {
		if err := cfg.Faults[i].check(); err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	j, err := openJournal(cfg.MaxMessages, cfg.LogFile)
	if err != nil {
		return nil, err
	}
	receipts, owed, err := openReceipts(cfg.StateFile)
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("listen: %w", err), j.close(), receipts.close())
	}
	s := &Server{
		cfg: cfg, listener: l, journal: j, receipts: receipts, schedule: newSchedule(), cancel: cancel,
		sessions: map[*session]struct{}{}, waiting: map[string][]*delivery{}, epoch: time.Now().UnixMilli(),
	}
	for _, f := range cfg.Faults {
		s.script.add(f, time.Now())
	}
	if cfg.ControlAddr != "" {
		cl, err := lc.Listen(ctx, "tcp", cfg.ControlAddr)
		if err != nil {
			cancel()
			return nil, errors.Join(fmt.Errorf("listen for control: %w", err), l.Close(), j.close(), receipts.close())
		}
		s.ctlAddr = cl.Addr().String()
		s.control = &http.Server{
			Handler: s.controlHandler(), ReadHeaderTimeout: 5 * time.Second,
			BaseContext: func(net.Listener) context.Context { return ctx },
		}
		s.owners.Go(func() { _ = s.control.Serve(cl) })
	}
	for _, d := range owed {
		s.schedule.at(d.Due, func() {
			s.deliver(&delivery{
				receipt: Receipt{Account: d.Account, MessageID: d.MessageID, Dest: d.Dest, State: d.State},
				said:    d.Said, form: d.Form, source: d.Source,
			})
		})
	}
	s.owners.Go(func() { s.accept(ctx) })
	s.owners.Go(func() { s.schedule.run(ctx) })
	s.owners.Go(func() { s.flush(ctx) })
	return s, nil
}

// Addr is the SMPP address.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// ControlAddr is the address of the control API, "" if there is none.
func (s *Server) ControlAddr() string { return s.ctlAddr }

// Close cuts every connection and waits for everything that was started. It
// may be called again.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	open := make([]*session, 0, len(s.sessions))
	for x := range s.sessions {
		open = append(open, x)
	}
	s.mu.Unlock()
	s.cancel()
	errs := []error{s.listener.Close()}
	for _, x := range open {
		x.end()
	}
	s.events.close()
	if s.control != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.control.Shutdown(ctx); err != nil {
			errs = append(errs, s.control.Close())
		}
	}
	s.owners.Wait()
	return errors.Join(append(errs, s.journal.close(), s.receipts.close())...)
}

// Received returns the submits that are kept, oldest first.
func (s *Server) Received() []Submit {
	kept := s.journal.all()
	out := make([]Submit, len(kept))
	for i, m := range kept {
		out[i] = m.submit()
	}
	return out
}

// Count returns how many submits came since the start or the last Reset.
func (s *Server) Count() int { n, _ := s.journal.counts(); return n }

// Wait returns when at least n submits came, or with ctx's error.
func (s *Server) Wait(ctx context.Context, n int) error {
	for {
		have, changed := s.journal.count()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d submits: %w", have, n, ctx.Err())
		}
	}
}

// Subscribe returns events as they happen. A subscriber that is 4096 events
// behind loses further ones. cancel ends the subscription and closes the
// channel; Close does too.
func (s *Server) Subscribe() (events <-chan Event, cancel func()) { return s.events.subscribe() }

// SetFault adds a fault to those in force. Faults of one kind are used up in
// the order they were set.
func (s *Server) SetFault(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	if kindOf(f.Kind).Once {
		s.now(f)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script.add(f, time.Now())
	return nil
}

// Lift ends the faults of a kind, stalls included.
func (s *Server) Lift(kind FaultKind) {
	s.mu.Lock()
	s.script.lift(kind)
	s.mu.Unlock()
	if kind == FaultStall {
		s.liftStalls()
	}
}

func (s *Server) liftStalls() {
	for _, x := range s.open() {
		x.stall.lift()
	}
}

// Faults returns what is in force.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script.inForce(time.Now())
}

// Reset forgets faults, the log in memory and receipts that wait. Sessions
// stay.
func (s *Server) Reset() {
	s.mu.Lock()
	s.script.liftAll()
	s.reversed = nil
	clear(s.waiting)
	s.mu.Unlock()
	s.liftStalls()
	s.schedule.clear()
	s.journal.reset()
}

// Bound returns how many sessions are bound.
func (s *Server) Bound() int {
	n := 0
	for _, x := range s.open() {
		if x.bound() {
			n++
		}
	}
	return n
}

func (s *Server) open() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*session, 0, len(s.sessions))
	for x := range s.sessions {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *session) int { return a.number - b.number })
	return out
}

func (s *Server) accept(ctx context.Context) {
	for number := 1; ; number++ {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		x := newSession(s, conn, number)
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.sessions[x] = struct{}{}
		if a := s.script.find(FaultSessionInit, "", time.Now()); a != nil {
			s.schedule.at(time.Now().Add(a.Delay), x.endUnbound)
		}
		s.owners.Go(func() {
			x.serve(ctx)
			s.mu.Lock()
			delete(s.sessions, x)
			s.mu.Unlock()
		})
		s.mu.Unlock()
	}
}

func (s *Server) flush(ctx context.Context) {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.journal.flush()
		case <-ctx.Done():
			return
		}
	}
}

// use takes a fault from the script.
func (s *Server) use(kind FaultKind, dest string) (Fault, bool) {
	if !s.script.any() {
		return Fault{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script.use(kind, dest, time.Now())
}

// inForce returns a fault of a kind that is not counted down.
func (s *Server) inForce(kind FaultKind) (Fault, bool) {
	if !s.script.any() {
		return Fault{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.script.find(kind, "", time.Now())
	if a == nil {
		return Fault{}, false
	}
	return a.Fault, true
}
