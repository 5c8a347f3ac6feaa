package smsc

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"

	"mobileid/smpp/wire"
)

// writeTimeout ends a session whose peer does not read.
const writeTimeout = 10 * time.Second

// maxQueued bounds the bytes that wait for a session's writer.
const maxQueued = 16 << 20

// session is one connection of an account.
type session struct {
	server *Server
	conn   net.Conn
	number int
	wake   chan struct{}
	dead   chan struct{}

	mu       sync.Mutex
	account  string
	receives bool // bound to get receipts
	sends    bool // bound to submit
	queue    []byte
	last     bool // close when queue is written
	ended    bool
	nextSeq  uint32
	unacked  map[uint32]*delivery
	heard    time.Time
}

func newSession(s *Server, conn net.Conn, number int) *session {
	return &session{
		server: s, conn: conn, number: number, wake: make(chan struct{}, 1), dead: make(chan struct{}),
		unacked: map[uint32]*delivery{}, heard: time.Now(),
	}
}

func (x *session) bound() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.account != "" && !x.ended
}

func (x *session) end() {
	x.mu.Lock()
	first := !x.ended
	x.ended = true
	x.mu.Unlock()
	if first {
		close(x.dead)
		_ = x.conn.Close()
	}
}

// serve runs the session until it ends.
func (x *session) serve(ctx context.Context) {
	var owners sync.WaitGroup
	owners.Go(x.write)
	if x.server.cfg.Enquire > 0 {
		owners.Go(x.enquire)
	}
	stop := context.AfterFunc(ctx, x.end)
	x.read()
	x.end()
	stop()
	owners.Wait()
	x.mu.Lock()
	account := x.account
	unacked := x.unacked
	x.unacked = nil
	x.mu.Unlock()
	if account != "" {
		x.server.cfg.Log.Info("session ended", "account", account, "session", x.number)
		x.server.events.publish(Event{At: time.Now(), Kind: EventUnbind, Account: account})
	}
	for _, d := range unacked {
		x.server.again(d)
	}
}

func (x *session) read() {
	frames := wire.NewReader(bufio.NewReaderSize(x.conn, 64<<10))
	for {
		f, err := frames.Read()
		if errors.Is(err, wire.ErrLength) {
			x.sendLast(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidLength, f.Sequence))
			<-x.dead
			return
		}
		if err != nil {
			return
		}
		x.mu.Lock()
		x.heard = time.Now()
		x.mu.Unlock()
		if over := x.handle(f); over {
			<-x.dead // the last answer is on its way
			return
		}
	}
}

// handle serves one PDU; true means that the session ends behind its answer.
func (x *session) handle(f wire.Frame) bool {
	switch f.Command {
	case wire.BindReceiver, wire.BindTransmitter, wire.BindTransceiver:
		return x.bind(f)
	case wire.SubmitSM:
		return x.submit(f)
	case wire.EnquireLink:
		if _, ignore := x.server.use(FaultIgnoreLink, ""); !ignore {
			x.send(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
		}
	case wire.Unbind:
		x.sendLast(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
		return true
	case wire.Unbind.Response():
		x.end()
		return true
	case wire.DeliverSM.Response(), wire.GenericNack:
		x.acknowledged(f)
	case wire.EnquireLink.Response():
	default:
		x.send(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidID, f.Sequence))
	}
	return false
}

func (x *session) bind(f wire.Frame) bool {
	refuse := func(status wire.Status) bool {
		x.server.cfg.Log.Info("bind refused", "session", x.number, "status", status.String())
		x.sendLast(wire.AppendHeader(nil, f.Command.Response(), status, f.Sequence))
		return true
	}
	if _, ignore := x.server.use(FaultIgnoreBind, ""); ignore {
		return false
	}
	if fault, ok := x.server.use(FaultRefuseBind, ""); ok {
		return refuse(wire.Status(fault.Status))
	}
	fields, err := wire.Decode(f)
	if err != nil {
		return refuse(wire.StatusBindFailed)
	}
	account := fields.Text(pdufield.SystemID)
	password, known := x.server.cfg.Accounts[account]
	if !known {
		return refuse(wire.StatusBadSystemID)
	}
	if subtle.ConstantTimeCompare([]byte(password), []byte(fields.Text(pdufield.Password))) != 1 {
		return refuse(wire.StatusBadPassword)
	}
	x.mu.Lock()
	if x.account != "" {
		x.mu.Unlock()
		x.send(wire.AppendHeader(nil, f.Command.Response(), wire.StatusAlreadyBound, f.Sequence))
		return false
	}
	x.account = account
	x.receives = f.Command != wire.BindTransmitter
	x.sends = f.Command != wire.BindReceiver
	x.mu.Unlock()
	x.send(wire.AppendCString(nil, f.Command.Response(), 0, f.Sequence, x.server.cfg.SystemID))
	x.server.cfg.Log.Info("bound", "account", account, "session", x.number, "as", f.Command.String())
	x.server.events.publish(Event{At: time.Now(), Kind: EventBind, Account: account})
	if f.Command != wire.BindTransmitter {
		x.server.deliverWaiting(account)
	}
	return false
}

// submit takes a submit_sm: into the log first, then the answer.
func (x *session) submit(f wire.Frame) bool {
	at := time.Now()
	srv := x.server
	x.mu.Lock()
	account, may := x.account, x.sends
	x.mu.Unlock()
	if !may {
		x.send(wire.AppendHeader(nil, f.Command.Response(), wire.StatusNotBound, f.Sequence))
		return false
	}
	fields, err := wire.Decode(f)
	if err != nil {
		x.send(wire.AppendHeader(nil, f.Command.Response(), wire.StatusSystemError, f.Sequence))
		return false
	}
	dest := fields.Text(pdufield.DestinationAddr)
	m := &stored{at: at, account: account, frame: f, answered: true}
	fault, refused := srv.use(FaultStatus, dest)
	if refused {
		m.status = fault.Status
	} else {
		m.messageID = srv.newID()
	}
	_, silent := srv.use(FaultNoAnswer, dest)
	drop, counted := srv.use(FaultDrop, dest)
	cut := counted && drop.Count == 1 // used: as it was before it was counted down
	m.answered = !silent && !cut
	srv.journal.add(m)
	answer := wire.AppendCString(nil, f.Command.Response(), 0, f.Sequence, m.messageID)
	if refused {
		answer = wire.AppendHeader(nil, f.Command.Response(), wire.Status(m.status), f.Sequence)
	}
	if srv.events.any() {
		s := m.submit()
		if m.answered {
			s.Answer = answer
		}
		srv.events.publish(Event{At: at, Kind: EventSubmit, Account: account, Submit: &s})
	}
	if cut {
		return x.cut()
	}
	if !refused {
		defer srv.plan(x, m, fields)()
	}
	if silent {
		return false
	}
	if late, ok := srv.use(FaultDelay, dest); ok {
		srv.schedule.at(at.Add(late.Delay), func() { x.send(answer) })
		return false
	}
	x.send(answer)
	return false
}

// cut ends the connection as a lost link does.
func (x *session) cut() bool {
	x.end()
	return true
}

func (x *session) send(pdu []byte) {
	x.mu.Lock()
	x.queue = append(x.queue, pdu...)
	full := len(x.queue) > maxQueued
	x.mu.Unlock()
	if full {
		x.end()
	}
	x.poke()
}

func (x *session) sendLast(pdu []byte) {
	x.mu.Lock()
	x.queue = append(x.queue, pdu...)
	x.last = true
	x.mu.Unlock()
	x.poke()
}

// request sends a request of ours with its own sequence number, which before,
// if any, is told ahead of the write; d, if any, is remembered until it is
// answered. False when the session has ended.
func (x *session) request(pdu []byte, d *delivery, before func(sequence uint32)) bool {
	x.mu.Lock()
	if x.ended || x.unacked == nil {
		x.mu.Unlock()
		return false
	}
	x.nextSeq = x.nextSeq%wire.MaxSequence + 1
	seq := x.nextSeq
	wire.SetSequence(pdu, seq)
	if d != nil {
		x.unacked[seq] = d
	}
	if before != nil {
		before(seq)
	}
	x.queue = append(x.queue, pdu...)
	x.mu.Unlock()
	x.poke()
	return true
}

func (x *session) poke() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *session) write() {
	var buf []byte
	for {
		select {
		case <-x.wake:
		case <-x.dead:
			return
		}
		x.mu.Lock()
		buf, x.queue = x.queue, buf[:0]
		last := x.last
		x.mu.Unlock()
		if len(buf) > 0 {
			_ = x.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := x.conn.Write(buf); err != nil {
				x.end()
				return
			}
		}
		if last {
			x.end()
			return
		}
	}
}

func (x *session) enquire() {
	every := x.server.cfg.Enquire
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-x.dead:
			return
		}
		x.mu.Lock()
		silent := x.account != "" && time.Since(x.heard) >= every
		x.mu.Unlock()
		if silent {
			x.request(wire.AppendHeader(nil, wire.EnquireLink, 0, 0), nil, nil)
		}
	}
}
