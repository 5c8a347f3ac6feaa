package smsc

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"mobileid/smpp/wire"
)

// session is one connection of an account.
type session struct {
	server *Server
	conn   net.Conn
	number int
	wake   chan struct{}
	dead   chan struct{}
	stall  stall

	mu       sync.Mutex
	account  string
	receives bool // bound to get receipts
	sends    bool // bound to submit
	queue    []byte
	queued   int  // PDUs in queue
	last     bool // close when queue is written
	ended    bool
	nextSeq  uint32
	unacked  map[uint32]*delivery
	held     []*delivery // wait for the receipt window
	// unanswered counts the submit_sm taken whose answer is not queued yet.
	unanswered int
	heard      time.Time
}

func newSession(s *Server, conn net.Conn, number int) *session {
	return &session{
		server: s, conn: conn, number: number, wake: make(chan struct{}, 1), dead: make(chan struct{}),
		stall: newStall(), unacked: map[uint32]*delivery{}, heard: time.Now(),
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

// endUnbound ends a connection that nobody has bound in time.
func (x *session) endUnbound() {
	if !x.bound() {
		x.end()
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
	x.forget()
}

// forget gives up the bind: what it has not acknowledged comes again on
// another.
func (x *session) forget() {
	x.mu.Lock()
	account, owed := x.account, x.held
	for _, d := range x.unacked {
		owed = append(owed, d)
	}
	x.account, x.receives, x.sends = "", false, false
	x.unacked, x.held = nil, nil
	x.mu.Unlock()
	if account != "" {
		x.server.cfg.Log.Info("session ended", "account", account, "session", x.number)
		x.server.events.publish(Event{At: time.Now(), Kind: EventUnbind, Account: account})
	}
	for _, d := range owed {
		x.server.again(d)
	}
}

func (x *session) read() {
	frames := wire.NewReader(bufio.NewReaderSize(x.conn, 64<<10))
	for {
		f, err := frames.Read()
		x.stall.wait(x.dead)
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
	case wire.DeliverSM.Response(), wire.DataSM.Response(), wire.GenericNack:
		x.acknowledged(f)
	case wire.EnquireLink.Response():
	default:
		x.send(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidID, f.Sequence))
	}
	return false
}

// cut ends the connection as a lost link does.
func (x *session) cut() bool {
	x.end()
	return true
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
