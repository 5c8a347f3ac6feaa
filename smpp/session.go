package smpp

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"mobileid/smpp/wire"
)

// fate is how a request ended on a session.
type fate int

const (
	notWritten fate = iota // surely not sent: the link was lost before, or the permission was over
	answered               // the operator answered
	timedOut               // written; no answer within the response timer
	lost                   // written, at least in part; the link was lost before the answer
)

// answer tells how a request ended.
type answer struct {
	fate       fate
	frame      wire.Frame // when answered
	sequence   uint32     // 0 when not written
	writtenAt  time.Time
	answeredAt time.Time
}

// request is one PDU of ours that expects an answer.
type request struct {
	raw     []byte // encoded; the session gives it its sequence number
	command wire.Command
	// permit is asked right before the write: until when the bytes may be
	// handed over, or no. nil means at any time.
	permit func(now time.Time) (until time.Time, ok bool)
	// done is called exactly once, from a goroutine of the session, or by submit when
	// that has ended. It must not block.
	done func(answer)
	// late is told of an answer that came after done had been told timedOut; it
	// may be nil and must not block.
	late func(answer)

	sequence  uint32
	writtenAt time.Time
	onWire    bool // at least its first byte may have left
	slot      bool // it holds a slot of the window
}

// sessionHandler is told what comes from the operator. Its methods are called
// from the reading goroutine and must not block.
type sessionHandler interface {
	// deliver gets a deliver_sm or data_sm; somebody answers it with respond.
	deliver(s *session, f wire.Frame)
	// odd counts what should not come: its kind is a metric label.
	odd(kind string)
}

// sessionConfig holds the timers of SMPP 3.4, 7.2.
type sessionConfig struct {
	window       int
	response     time.Duration
	enquire      time.Duration
	inactivity   time.Duration // without a submit_sm, answer or receipt; 0: never
	writeTimeout time.Duration
	unbindWait   time.Duration // how long answers are awaited after the operator's unbind
	now          func() time.Time
	handler      sessionHandler
	freed        func() // a slot has come back; it must not block
	doubted      bool   // the one before it ended in doubt; see silence
	hung         func() // it is left because submit_sm are not answered; it must not block
	tap          tap    // is shown every PDU
}

// The reasons a session ends for.
var (
	errUnbound  = errors.New("the operator unbound")
	errSilent   = errors.New("enquire_link was not answered")
	errClosed   = errors.New("closed by us")
	errFraming  = errors.New("framing lost")
	errHalfOpen = errors.New("the peer stopped reading")
	errInactive = errors.New("nothing was carried for too long")
)

// session is one bind: a connection, the requests in flight and three
// goroutines (read, write, timers) that end together. A session is used once.
type session struct {
	number   int64 // of the bridge's sessions
	optional bool  // the operator says that he takes optional parameters
	conn     net.Conn
	br       *bufio.Reader
	cfg      sessionConfig

	wake   chan struct{} // the writer has work
	fewer  chan struct{} // something is no longer in flight
	dead   chan struct{} // closed when the session is ending
	gone   chan struct{} // closed when it has ended and every request knows its fate
	owners sync.WaitGroup

	mu       sync.Mutex
	used     int        // slots of the window
	control  []byte     // answers and enquire_link, encoded, in order; they go first
	submits  []*request // asked to be written, in order; at most window of them
	inFlight map[uint32]*request
	overdue  map[uint32]*request // timed out, kept for a late answer
	oldest   []uint32            // of overdue, in order
	silence  silence
	nextSeq  uint32
	heard    time.Time // last PDU from the operator
	probe    time.Time // enquire_link sent then and not answered; zero = none
	carried  time.Time // last PDU that was no enquire_link
	accepted time.Time // last submit_sm_resp that said yes
	closing  bool      // write what is queued, then end
	draining bool      // no further submits
	parting  error     // why we unbind; nil: we do not
	cause    error
}

// newSession wraps a bound connection; run must be called. br holds what was
// read ahead while binding, firstSeq is the next sequence number.
func newSession(conn net.Conn, br *bufio.Reader, firstSeq uint32, cfg sessionConfig) *session {
	return &session{
		conn: conn, br: br, cfg: cfg,
		wake:     make(chan struct{}, 1),
		fewer:    make(chan struct{}, 1),
		dead:     make(chan struct{}),
		gone:     make(chan struct{}),
		inFlight: make(map[uint32]*request, cfg.window+1),
		overdue:  map[uint32]*request{},
		nextSeq:  firstSeq,
		heard:    cfg.now(),
		carried:  cfg.now(),
		silence:  silence{doubted: cfg.doubted},
	}
}

// run serves the session until it ends and returns why. When it returns every
// request has been told its fate and the connection is closed.
func (s *session) run(ctx context.Context) error {
	s.owners.Go(s.read)
	s.owners.Go(s.write)
	s.owners.Go(s.watch)
	stop := context.AfterFunc(ctx, func() { s.end(errClosed) })
	<-s.dead
	stop()
	s.owners.Wait()

	s.mu.Lock()
	open := make([]*request, 0, len(s.inFlight)+len(s.submits))
	for _, r := range s.inFlight {
		open = append(open, r)
	}
	open = append(open, s.submits...)
	s.inFlight, s.submits = nil, nil
	cause := s.cause
	s.mu.Unlock()
	for _, r := range open {
		a := answer{fate: notWritten}
		if r.onWire {
			a = answer{fate: lost, sequence: r.sequence, writtenAt: r.writtenAt}
		}
		s.finish(r, a)
	}
	close(s.gone)
	return cause
}

// end begins the end; the first cause counts, and before it why we unbind: the
// operator may close before or behind his answer to that.
func (s *session) end(cause error) {
	s.mu.Lock()
	first := s.cause == nil
	if first {
		s.cause = cause
		if s.parting != nil {
			s.cause = s.parting
		}
	}
	s.mu.Unlock()
	if first {
		close(s.dead)
		_ = s.conn.Close()
	}
}

// reserve takes n slots of the window, or none when fewer are free or the
// session is ending.
func (s *session) reserve(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil || s.draining || s.used+n > s.cfg.window {
		return false
	}
	s.used += n
	return true
}

// release gives back slots that were reserved and not used.
func (s *session) release(n int) {
	s.mu.Lock()
	s.used -= n
	s.mu.Unlock()
	s.cfg.freed()
}

// submit asks for requests to be written together, each in a slot taken with
// reserve; the slot comes back with the answer, see silence. done tells what became of each,
// also when the session is already ending.
func (s *session) submit(rs ...*request) {
	for _, r := range rs {
		r.slot = true
	}
	s.mu.Lock()
	over := s.cause != nil || s.draining || s.inFlight == nil
	if !over {
		s.submits = append(s.submits, rs...)
	}
	s.mu.Unlock()
	if over {
		for _, r := range rs {
			s.finish(r, answer{fate: notWritten})
		}
		return
	}
	signal(s.wake)
}

// respond queues an answer to a request of the operator.
func (s *session) respond(pdu []byte) {
	s.mu.Lock()
	s.control = append(s.control, pdu...)
	full := len(s.control) > maxControl
	s.mu.Unlock()
	if full {
		s.end(errHalfOpen)
	}
	signal(s.wake)
}

// signal tells a goroutine that waits on a channel of one element to look.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// finish tells the fate and then frees the slot: what has to be written again is
// back in its place before the next Message can have the slot.
func (s *session) finish(r *request, a answer) {
	r.done(a)
	if r.slot {
		s.release(1)
	}
	signal(s.fewer)
}

// inUse returns how many slots are taken.
func (s *session) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// oldestUnanswered returns the age of the oldest submit_sm without an answer.
func (s *session) oldestUnanswered(now time.Time) (age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.inFlight {
		if r.command == wire.SubmitSM {
			age = max(age, now.Sub(r.writtenAt))
		}
	}
	return age
}

// drain lets no further submit_sm in.
func (s *session) drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
}

// unbind ends the session in the polite way: no further submits, unbind sent,
// its answer awaited for at most wait.
func (s *session) unbind(wait time.Duration) { s.unbindFor(errClosed, wait) }

// leave ends the session for a reason of the bind's: no further submits, the
// answers to those in flight awaited, unbind. It returns at once.
func (s *session) leave(cause error, wait time.Duration) {
	s.mu.Lock()
	already := s.draining
	s.draining = true
	if !already {
		s.parting = cause
	}
	s.mu.Unlock()
	if already {
		return
	}
	s.owners.Go(func() {
		s.awaitIdle(wait)
		s.unbindFor(cause, s.cfg.unbindWait)
	})
}

func (s *session) unbindFor(cause error, wait time.Duration) {
	reply := make(chan struct{})
	r := &request{
		raw: wire.AppendHeader(nil, wire.Unbind, 0, 0), command: wire.Unbind,
		done: func(answer) { close(reply) },
	}
	s.mu.Lock()
	over := s.cause != nil || s.inFlight == nil
	if !over {
		s.draining = true
		if s.parting == nil {
			s.parting = cause
		}
		s.submits = append(s.submits, r)
	}
	s.mu.Unlock()
	if over {
		return
	}
	signal(s.wake)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-reply:
	case <-t.C:
	case <-s.dead:
	}
	s.end(cause)
}

// answerUnbind stops the submits, gives the operator a moment to answer what
// it has, and answers the unbind; the connection is closed behind the answer.
// While one side unbinds already a further unbind is answered and starts
// nothing.
func (s *session) answerUnbind(f wire.Frame) {
	reply := wire.AppendHeader(nil, f.Command.Response(), wire.StatusOK, f.Sequence)
	s.mu.Lock()
	already := s.draining
	s.draining = true
	s.mu.Unlock()
	if already {
		s.respond(reply)
		return
	}
	s.owners.Go(func() {
		s.awaitIdle(s.cfg.unbindWait)
		s.closeAfter(reply)
	})
}

// awaitIdle waits until nothing is in flight, the session ends, or d is over.
func (s *session) awaitIdle(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		s.mu.Lock()
		idle := len(s.inFlight) == 0
		s.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-s.fewer:
		case <-t.C:
			return
		case <-s.dead:
			return
		}
	}
}

// closeAfter writes a last PDU and ends.
func (s *session) closeAfter(pdu []byte) {
	s.mu.Lock()
	s.control = append(s.control, pdu...)
	s.closing = true
	s.mu.Unlock()
	signal(s.wake)
}
