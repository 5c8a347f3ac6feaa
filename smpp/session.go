package smpp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"mobileid/smpp/wire"
)

// writeMargin is how much of a request's permission must be left when its
// bytes are handed to the kernel: a write that blocks past the permission costs
// the link, so it is not begun at the last moment.
const writeMargin = 50 * time.Millisecond

// maxWrite bounds how many bytes of PDUs go into one write, maxControl how many
// bytes of answers wait for the writer.
const (
	maxWrite   = 64 << 10
	maxControl = 1 << 20
)

// overdueKept is how many timed-out requests are remembered for a late answer.
const overdueKept = 4096

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
	// done is called exactly once, from a goroutine of the session. It must not
	// block.
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
	writeTimeout time.Duration
	unbindWait   time.Duration // how long answers are awaited after the operator's unbind
	now          func() time.Time
	handler      sessionHandler
}

// The reasons a session ends for.
var (
	errUnbound  = errors.New("the operator unbound")
	errSilent   = errors.New("enquire_link was not answered")
	errClosed   = errors.New("closed by us")
	errFraming  = errors.New("framing lost")
	errHalfOpen = errors.New("the peer stopped reading")
)

// session is one bind: a connection, the requests in flight and three
// goroutines (read, write, timers) that end together. A session is used once.
type session struct {
	number int64 // of the bridge's sessions
	conn   net.Conn
	br     *bufio.Reader
	cfg    sessionConfig

	slots  chan struct{} // free slots of the window
	wake   chan struct{} // the writer has work
	fewer  chan struct{} // something is no longer in flight
	dead   chan struct{} // closed when the session is ending
	gone   chan struct{} // closed when it has ended and every request knows its fate
	owners sync.WaitGroup

	mu       sync.Mutex
	control  []byte     // answers and enquire_link, encoded, in order; they go first
	submits  []*request // asked to be written, in order; at most window of them
	inFlight map[uint32]*request
	overdue  map[uint32]*request // timed out, kept for a late answer
	oldest   []uint32            // of overdue, in order
	nextSeq  uint32
	heard    time.Time // last PDU from the operator
	probe    time.Time // enquire_link sent then and not answered; zero = none
	closing  bool      // write what is queued, then end
	draining bool      // no further submits
	cause    error
}

// newSession wraps a bound connection; run must be called. br holds what was
// read ahead while binding, firstSeq is the next sequence number.
func newSession(conn net.Conn, br *bufio.Reader, firstSeq uint32, cfg sessionConfig) *session {
	s := &session{
		conn: conn, br: br, cfg: cfg,
		slots:    make(chan struct{}, cfg.window),
		wake:     make(chan struct{}, 1),
		fewer:    make(chan struct{}, 1),
		dead:     make(chan struct{}),
		gone:     make(chan struct{}),
		inFlight: make(map[uint32]*request, cfg.window+1),
		overdue:  map[uint32]*request{},
		nextSeq:  firstSeq,
		heard:    cfg.now(),
	}
	for range cfg.window {
		s.slots <- struct{}{}
	}
	return s
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

// end begins the end; the first cause counts.
func (s *session) end(cause error) {
	s.mu.Lock()
	first := s.cause == nil
	if first {
		s.cause = cause
	}
	s.mu.Unlock()
	if first {
		close(s.dead)
		_ = s.conn.Close()
	}
}

// reserve takes a slot of the window, waiting for one. It fails when ctx or
// the session ends.
func (s *session) reserve(ctx context.Context) error {
	select {
	case <-s.slots:
		return nil
	case <-s.dead:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release gives back a slot that was reserved and not used.
func (s *session) release() { s.slots <- struct{}{} }

// submit asks for a request to be written in a slot taken with reserve; the
// slot comes back with the answer. r.done tells what became of it, also when
// the session is already ending.
func (s *session) submit(r *request) {
	r.slot = true
	s.mu.Lock()
	over := s.cause != nil || s.draining || s.inFlight == nil
	if !over {
		s.submits = append(s.submits, r)
	}
	s.mu.Unlock()
	if over {
		s.finish(r, answer{fate: notWritten})
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

// finish frees the slot before the fate is told, so that whoever reacts to the
// fate finds the slot free.
func (s *session) finish(r *request, a answer) {
	if r.slot {
		s.release()
	}
	r.done(a)
	signal(s.fewer)
}

// inUse returns how many slots are taken.
func (s *session) inUse() int { return s.cfg.window - len(s.slots) }

// unbind ends the session in the polite way: no further submits, unbind sent,
// its answer awaited for at most wait.
func (s *session) unbind(wait time.Duration) {
	reply := make(chan struct{})
	r := &request{
		raw: wire.AppendHeader(nil, wire.Unbind, 0, 0), command: wire.Unbind,
		done: func(answer) { close(reply) },
	}
	s.mu.Lock()
	over := s.cause != nil || s.inFlight == nil
	if !over {
		s.draining = true
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
	s.end(errClosed)
}

// write is the one writer: what is queued goes out in one write, answers
// first, and every write has a deadline, so a peer that stops reading costs the
// link and never the process.
func (s *session) write() {
	var out parcel
	for {
		select {
		case <-s.wake:
		case <-s.dead:
			return
		}
		for s.gather(&out) {
			for _, r := range out.refused {
				s.finish(r, answer{fate: notWritten})
			}
			if len(out.buf) == 0 {
				continue
			}
			if n, err := s.conn.Write(out.buf); err != nil {
				s.unwritten(&out, n)
				if isTimeout(err) {
					err = errHalfOpen
				}
				s.end(fmt.Errorf("write: %w", err))
				return
			}
		}
		s.mu.Lock()
		over, cause := s.closing && len(s.control) == 0, errFraming
		if s.draining {
			cause = errUnbound
		}
		s.mu.Unlock()
		if over {
			s.end(cause)
			return
		}
	}
}

// parcel is what one write carries. Its slices are used again.
type parcel struct {
	buf     []byte
	placed  []*request
	starts  []int // of placed, in buf
	refused []*request
}

// gather moves what may be written now into out and sets the deadline of the
// write; false means there was nothing. Requests are in flight from here on:
// the answer may be faster than the return of the write.
func (s *session) gather(out *parcel) bool {
	out.buf, out.placed, out.starts, out.refused = out.buf[:0], out.placed[:0], out.starts[:0], out.refused[:0]
	now := s.cfg.now()
	deadline := now.Add(s.cfg.writeTimeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.control)+len(s.submits) == 0 {
		return false
	}
	out.buf = append(out.buf, s.control...)
	s.control = s.control[:0]
	taken := 0
	for _, r := range s.submits {
		if len(out.buf) >= maxWrite {
			break
		}
		taken++
		if r.permit != nil {
			until, ok := r.permit(now)
			if !ok || until.Sub(now) < writeMargin || s.closing || s.draining {
				out.refused = append(out.refused, r)
				continue
			}
			if until.Before(deadline) {
				deadline = until
			}
		}
		r.sequence, r.writtenAt, r.onWire = s.sequence(), now, true
		wire.SetSequence(r.raw, r.sequence)
		s.inFlight[r.sequence] = r
		out.placed, out.starts = append(out.placed, r), append(out.starts, len(out.buf))
		out.buf = append(out.buf, r.raw...)
		r.raw = nil // it holds the text
	}
	s.submits = slices.Delete(s.submits, 0, taken)
	// The connection counts on the system's clock, whatever clock we were given.
	_ = s.conn.SetWriteDeadline(time.Now().Add(deadline.Sub(now)))
	return true
}

// unwritten marks the requests of a failed write of which no byte left.
func (s *session) unwritten(out *parcel, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range out.placed {
		if out.starts[i] >= n {
			r.onWire = false
		}
	}
}

// sequence returns the next number, 1..0x7FFFFFFF, skipping those in flight.
// The caller holds mu.
func (s *session) sequence() uint32 {
	for {
		n := s.nextSeq
		s.nextSeq++
		if s.nextSeq > wire.MaxSequence {
			s.nextSeq = 1
		}
		if _, taken := s.inFlight[n]; !taken {
			return n
		}
	}
}

// read serves what comes from the operator.
func (s *session) read() {
	for {
		f, err := wire.Read(s.br)
		switch {
		case errors.Is(err, wire.ErrLength):
			s.cfg.handler.odd("bad_length")
			s.closeAfter(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidLength, f.Sequence))
			return
		case err != nil:
			if errors.Is(err, io.EOF) {
				err = errors.New("the operator closed the connection")
			}
			s.end(err)
			return
		}
		s.mu.Lock()
		s.heard = s.cfg.now()
		s.mu.Unlock()
		if f.Command.IsResponse() {
			s.resolve(f)
			continue
		}
		switch f.Command {
		case wire.EnquireLink:
			s.respond(wire.AppendHeader(nil, f.Command.Response(), wire.StatusOK, f.Sequence))
		case wire.DeliverSM, wire.DataSM:
			s.cfg.handler.deliver(s, f)
		case wire.Unbind:
			s.answerUnbind(f)
		case wire.AlertNotification, wire.Outbind:
			s.cfg.handler.odd(f.Command.String()) // neither has an answer (SMPP 3.4, 4.12.1, 4.1.7)
		default:
			s.cfg.handler.odd("unknown_command")
			s.respond(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidID, f.Sequence))
		}
	}
}

// resolve finds the request that a response answers: by command and sequence,
// or by sequence alone for generic_nack, which has no command of its own.
func (s *session) resolve(f wire.Frame) {
	now := s.cfg.now()
	s.mu.Lock()
	r, late := s.inFlight[f.Sequence], false
	if r == nil {
		r, late = s.overdue[f.Sequence], true
	}
	if r == nil || (f.Command != r.command.Response() && f.Command != wire.GenericNack) {
		s.mu.Unlock()
		s.cfg.handler.odd("unmatched_response")
		return
	}
	if r.command == wire.EnquireLink {
		s.probe = time.Time{}
	}
	if late {
		delete(s.overdue, f.Sequence)
	} else {
		delete(s.inFlight, f.Sequence)
	}
	s.mu.Unlock()
	a := answer{fate: answered, frame: f, sequence: r.sequence, writtenAt: r.writtenAt, answeredAt: now}
	switch {
	case !late:
		s.finish(r, a)
	case r.late != nil:
		r.late(a)
	}
	if late {
		s.cfg.handler.odd("late_response")
	}
}

// watch runs the response timers and enquire_link. It looks at them a few
// times in each interval, so a timer fires up to a twentieth late.
func (s *session) watch() {
	every := max(min(s.cfg.response, s.cfg.enquire)/20, 5*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.dead:
			return
		}
		expired, ask, silent := s.check(s.cfg.now())
		for _, r := range expired {
			s.finish(r, answer{fate: timedOut, sequence: r.sequence, writtenAt: r.writtenAt})
		}
		if silent {
			s.end(errSilent)
			return
		}
		if ask {
			signal(s.wake)
		}
	}
}

// check looks at the timers.
func (s *session) check(now time.Time) (expired []*request, ask, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for seq, r := range s.inFlight {
		if r.command == wire.EnquireLink || now.Sub(r.writtenAt) < s.cfg.response {
			continue
		}
		expired = append(expired, r)
		delete(s.inFlight, seq)
		if r.command == wire.SubmitSM {
			s.remember(r)
		}
	}
	switch {
	case s.probe.IsZero():
		ask = now.Sub(s.heard) >= s.cfg.enquire
	case now.Sub(s.probe) >= s.cfg.response:
		silent = true
	}
	if ask {
		s.probe = now
		link := &request{
			raw: wire.AppendHeader(nil, wire.EnquireLink, 0, 0), command: wire.EnquireLink, done: func(answer) {},
		}
		s.submits = slices.Insert(s.submits, 0, link)
	}
	return expired, ask, silent
}

// remember keeps a timed-out request for a late answer. The caller holds mu.
func (s *session) remember(r *request) {
	if len(s.oldest) >= overdueKept {
		delete(s.overdue, s.oldest[0])
		s.oldest = s.oldest[1:]
	}
	s.overdue[r.sequence] = r
	s.oldest = append(s.oldest, r.sequence)
}

// answerUnbind stops the submits, gives the operator a moment to answer what
// it has, and answers the unbind; the connection is closed behind the answer.
func (s *session) answerUnbind(f wire.Frame) {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	reply := wire.AppendHeader(nil, f.Command.Response(), wire.StatusOK, f.Sequence)
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

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
