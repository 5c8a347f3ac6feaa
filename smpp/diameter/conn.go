package diameter

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
)

// writeTimeout ends a connection whose peer does not read.
const writeTimeout = 5 * time.Second

// queued is how many messages may wait to be written; a caller waits beyond.
const queued = 256

var errWriteQueue = errors.New("the peer does not read what it has to answer")

// sending is a request as it went to one peer.
type sending struct {
	call   *call
	to     *conn
	at     time.Time
	resent bool // with the T flag
}

// conn is one connection, with its reader and its writer.
type conn struct {
	peer *peer
	net  net.Conn
	out  chan []byte
	done chan struct{} // closed when it is over
	ends sync.Once
	err  error // why; read after done
	work sync.WaitGroup

	heardAt atomic.Int64 // Unix nanoseconds of the last message
	heard   chan struct{}
	dwa     chan struct{}
	dpr     chan struct{}
	dpa     chan struct{}

	mu      sync.Mutex
	over    bool
	pending map[uint32]*sending // by hop-by-hop id
	first   uint32              // hop-by-hop ids count up from it
	next    uint32
	oldest  uint32 // none before it is pending
}

func newConn(p *peer, nc net.Conn, firstHop uint32) *conn {
	c := &conn{
		peer: p, net: nc, out: make(chan []byte, queued), done: make(chan struct{}),
		heard: make(chan struct{}, 1), dwa: make(chan struct{}, 1), dpr: make(chan struct{}, 1), dpa: make(chan struct{}, 1),
		pending: map[uint32]*sending{}, first: firstHop, next: firstHop, oldest: firstHop,
	}
	c.heardAt.Store(time.Now().UnixNano())
	return c
}

func newReader(nc net.Conn) *bufio.Reader { return bufio.NewReaderSize(nc, 1<<15) }

// start begins to read and to write.
func (c *conn) start(r *bufio.Reader) {
	c.work.Go(func() { c.read(r) })
	c.work.Go(c.write)
}

// end ends it, once; everything unanswered is lost.
func (c *conn) end(err error) {
	c.ends.Do(func() {
		c.err = err
		close(c.done)
		_ = c.net.Close()
		c.mu.Lock()
		c.over = true
		lost := c.pending
		c.pending = nil
		c.mu.Unlock()
		c.peer.client.metrics.inFlight.WithLabelValues(c.peer.Name).Sub(float64(len(lost)))
		for _, s := range lost {
			s.call.hear(event{sending: s, lost: true})
		}
	})
}

// suspect tells all callers that they need not wait for this peer; an answer
// still counts.
func (c *conn) suspect() {
	c.mu.Lock()
	waiting := make([]*sending, 0, len(c.pending))
	for _, s := range c.pending {
		waiting = append(waiting, s)
	}
	c.mu.Unlock()
	for _, s := range waiting {
		s.call.hear(event{sending: s, lost: true})
	}
}

// add numbers a request.
func (c *conn) add(s *sending) (hop uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, false
	}
	gone := 0
	for c.oldest != c.next {
		old, there := c.pending[c.oldest]
		if there && s.at.Sub(old.at) < c.peer.client.cfg.LateFor {
			break
		}
		if there {
			delete(c.pending, c.oldest)
			gone++
		}
		c.oldest++
	}
	hop = c.next
	c.next++
	c.pending[hop] = s
	c.peer.client.metrics.inFlight.WithLabelValues(c.peer.Name).Add(float64(1 - gone))
	return hop, true
}

// take returns the request that an answer is of, and forgets it.
func (c *conn) take(hop, endToEnd uint32, r *reply) (s *sending, odd string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.pending[hop]
	switch {
	case !ok && hop-c.first < c.next-c.first:
		return nil, "twice" // or after it was given up
	case !ok:
		return nil, "unknown_hop_by_hop"
	case endToEnd != s.call.endToEnd:
		return nil, "wrong_end_to_end"
	case r != nil && !r.isOf(s.call):
		// The right answer may still come.
		return nil, "wrong_session"
	}
	delete(c.pending, hop)
	c.peer.client.metrics.inFlight.WithLabelValues(c.peer.Name).Dec()
	return s, ""
}

// forget takes back a request that was surely not written.
func (c *conn) forget(hop uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.pending[hop]; ok {
		delete(c.pending, hop)
		c.peer.client.metrics.inFlight.WithLabelValues(c.peer.Name).Dec()
	}
}

// send hands a request to the writer; false: it has surely not been written.
func (c *conn) send(ctx context.Context, f frame, s *sending) bool {
	hop, ok := c.add(s)
	if !ok {
		return false
	}
	f.setHopByHop(hop)
	select {
	case c.out <- f:
		return true
	default:
	}
	select {
	case c.out <- f:
		return true
	case <-c.done:
	case <-ctx.Done():
	}
	c.forget(hop)
	return false
}

// say hands the writer a message of the connection itself.
func (c *conn) say(f frame, err error) {
	if err != nil {
		c.end(err)
		return
	}
	select {
	case c.out <- f:
	case <-c.done:
	default:
		c.end(errWriteQueue)
	}
}

// ask hands the writer a request of the connection itself.
func (c *conn) ask(f frame, err error) {
	if err == nil {
		c.mu.Lock()
		f.setHopByHop(c.next)
		c.next++
		c.mu.Unlock()
	}
	c.say(f, err)
}

// write writes what is handed to it, together what waits together.
func (c *conn) write() {
	w := bufio.NewWriterSize(c.net, 1<<15)
	for {
		var f []byte
		select {
		case f = <-c.out:
		case <-c.done:
			return
		}
		err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err == nil {
			_, err = w.Write(f)
		}
		if err == nil && len(c.out) == 0 {
			err = w.Flush()
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// read reads until the connection ends.
func (c *conn) read(r *bufio.Reader) {
	for {
		f, err := readFrame(r)
		if err != nil {
			if errors.Is(err, errLength) {
				c.odd("length")
			}
			c.end(err)
			return
		}
		c.heardAt.Store(time.Now().UnixNano())
		signal(c.heard)
		c.dispatch(f)
	}
}

func (c *conn) dispatch(f frame) {
	request := f.flags()&diam.RequestFlag != 0
	switch {
	case request && f.application() == diam.BASE_APP_ID && f.command() == diam.DeviceWatchdog:
		c.say(c.peer.client.cfg.answer(f, success))
	case request && f.application() == diam.BASE_APP_ID && f.command() == diam.DisconnectPeer:
		c.say(c.peer.client.cfg.answer(f, success))
		signal(c.dpr)
	case request:
		// Re-Auth and Abort-Session, too: a reservation is settled within seconds.
		c.odd("request")
		c.say(c.peer.client.cfg.answer(f, unsupported))
	case f.application() == diam.CHARGING_CONTROL_APP_ID && f.command() == diam.CreditControl:
		c.answered(f)
	case f.application() == diam.BASE_APP_ID && f.command() == diam.DeviceWatchdog:
		signal(c.dwa) // whatever it says: somebody is there
	case f.application() == diam.BASE_APP_ID && f.command() == diam.DisconnectPeer:
		signal(c.dpa)
	default:
		c.odd("answer")
	}
}

// answered finds whose answer it is.
func (c *conn) answered(f frame) {
	r, err := readReply(f)
	s, odd := c.take(f.hopByHop(), f.endToEnd(), r)
	if odd != "" {
		c.odd(odd)
		return
	}
	if err != nil {
		c.odd("unreadable")
	}
	c.peer.client.metrics.seconds.WithLabelValues(c.peer.Name, s.call.kind.String()).Observe(time.Since(s.at).Seconds())
	c.peer.spoke()
	s.call.hear(event{sending: s, reply: r})
}

func (c *conn) odd(kind string) {
	c.peer.client.metrics.odd.WithLabelValues(c.peer.Name, kind).Inc()
}

// signal leaves a note; one that is there already says the same.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
