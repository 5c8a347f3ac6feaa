package diameter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// toldLate is how many late answers may wait for Config.Late.
const toldLate = 1024

// Client asks a charging system. It is safe for concurrent use.
type Client struct {
	cfg     Config
	metrics *metrics
	peers   []*peer
	window  chan struct{}
	memory  *memory
	lates   chan lateAnswer
	next    atomic.Uint32 // End-to-End-Id
	stop    context.CancelFunc
	keepers sync.WaitGroup // of the peers
	teller  sync.WaitGroup
	closes  sync.Once

	mu       sync.Mutex
	handling FailureHandling // in force
	debit    DebitFailure
}

type lateAnswer struct {
	id string
	r  Result
}

// Open begins to connect to the peers and returns at once; until one is
// connected everything is unknown. An error lists what Check finds. Close ends
// it.
func Open(cfg Config) (*Client, error) {
	if wrong := cfg.Check(); len(wrong) > 0 {
		lines := make([]string, len(wrong))
		for i, m := range wrong {
			lines[i] = m.Path + ": " + m.Text
		}
		return nil, fmt.Errorf("charging by Diameter: %s", strings.Join(lines, "; "))
	}
	return open(cfg), nil
}

func open(cfg Config) *Client {
	cfg = cfg.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{
		cfg: cfg, metrics: newMetrics(cfg.Registry), window: make(chan struct{}, cfg.Window), memory: newMemory(),
		lates: make(chan lateAnswer, toldLate), stop: stop, handling: cfg.FailureHandling, debit: cfg.DebitFailure,
	}
	// Twelve bits of the time and twenty drawn, so that a process that is started
	// again does not repeat itself within minutes (RFC 6733, 3).
	c.next.Store(uint32(time.Now().Unix())<<20 | rand.Uint32N(1<<20))
	for _, p := range cfg.Peers {
		c.peers = append(c.peers, &peer{Peer: p, client: c, state: down, loop: cfg.Watch.Loop("charging peer " + p.Name)})
	}
	for _, p := range c.peers {
		p.show()
		c.keepers.Go(func() { p.run(ctx) })
	}
	c.teller.Go(c.tell)
	return c
}

// Close says goodbye to the peers (DPR), closes the connections and waits for
// all that the Client has started. Calls under way end as unknown, so the
// caller's own come to an end before.
func (c *Client) Close() {
	c.stop()
	c.keepers.Wait()
	c.closes.Do(func() { close(c.lates) }) // who tells has ended with the connections
	c.teller.Wait()
}

// endToEnd returns the next End-to-End-Id; 0 is none.
func (c *Client) endToEnd() uint32 {
	for {
		if id := c.next.Add(1); id != 0 {
			return id
		}
	}
}

// Ready reports whether a peer is connected that may be asked.
func (c *Client) Ready() bool { return c.pick(route{}, nil) != nil }

// tell tells of late answers.
func (c *Client) tell() {
	for a := range c.lates {
		if c.cfg.Late != nil {
			c.cfg.Late(a.id, a.r)
		}
	}
}

// Reserve asks whether a Message may be charged, and reserves (ECUR) or debits
// (IEC) it. It returns when there is an answer, nobody else is to be asked, or
// ctx ends. The same Message may be asked about again, also after an answer.
func (c *Client) Reserve(ctx context.Context, r Request) Result {
	k := initial
	if c.cfg.Mode == IEC {
		k = debit
	}
	if !r.valid() {
		return Result{Answer: Unknown, Reason: BadRequest}
	}
	cl, way := c.newCall(k, r, r.Units)
	way.stays = func() bool { return k == initial && c.failureHandling() == Terminate }
	o := c.exchange(ctx, cl, way)
	c.remember(cl, o)
	res := c.result(o, cl)
	if res.Reason == Partly {
		c.giveBackPart(ctx, r, int(o.reply.granted))
	}
	return res
}

// giveBackPart gives back what was granted of a Message that needs more: the
// caller hears No, and would not settle.
func (c *Client) giveBackPart(ctx context.Context, r Request, granted int) {
	used := 0
	if c.cfg.Mode == IEC {
		used = r.Units - granted
	}
	if err := c.Settle(ctx, r, used); err != nil {
		c.cfg.Log.Error("what a charging system granted in part could not be given back; a reservation lapses, a debit is for reconciliation", "id", r.ID, "err", err)
	}
}

// Settle ends what Reserve answered Yes for: used units are paid, the rest is
// given back. It returns nil when that is known to be done, also when it was
// before; what was said first holds. Another error than ErrNoSession asks for
// another try. A Message that was settled is not reserved again: its session is
// over, and a server would answer from its record.
func (c *Client) Settle(ctx context.Context, r Request, used int) error {
	if !r.valid() || used < 0 || used > r.Units {
		return &Error{Result{Reason: BadRequest}}
	}
	was := c.memory.look(r.ID)
	if was.settled {
		return nil
	}
	k, units := termination, used
	if c.cfg.Mode == IEC {
		k, units = giveBack, r.Units-used
		if units == 0 {
			c.settled(r.ID)
			return nil
		}
		if !was.debited { // whether there is something to give back is asked first
			again := r
			again.Again = true
			switch res := c.Reserve(ctx, again); res.Answer {
			case Yes:
			case No, Free, Denied, NoUser:
				c.settled(r.ID)
				return nil
			case Unknown, UnknownHold:
				return &Error{res}
			}
		}
	}
	cl, way := c.newCall(k, r, units)
	if k == termination && was.peer != nil {
		way.first = was.peer
		if !was.moves {
			way.only = was.peer
		}
	}
	way.stays = func() bool { return k == termination && !was.moves }
	o := c.exchange(ctx, cl, way)
	if other := c.other(o); o.noSession() && was.peer == nil && other != nil {
		// Another process, or this one before it was started again, reserved: perhaps
		// with the other peer.
		cl, way = c.newCall(k, r, units)
		way.only, way.stays = other, func() bool { return true }
		o = c.exchange(ctx, cl, way)
	}
	c.remember(cl, o)
	if o.done() || o.noSession() && cl.units == 0 {
		// Where nothing is held, nothing is to be given back.
		c.settled(r.ID)
		return nil
	}
	res := c.result(o, cl)
	if was.peer != nil && way.only == was.peer && res.Reason == NoPeer {
		res.Reason = HeldByPeer
	}
	return &Error{res}
}

// Refund gives back units that were paid: a receipt says that the Message never
// came. It is an event of its own, once for a Step of the Message. It returns as
// Settle does.
func (c *Client) Refund(ctx context.Context, r Request, units int) error {
	if !r.valid() || units < 0 || units > r.Units {
		return &Error{Result{Reason: BadRequest}}
	}
	if units == 0 {
		return nil
	}
	cl, way := c.newCall(refund, r, units)
	way.stays = func() bool { return false }
	o := c.exchange(ctx, cl, way)
	c.remember(cl, o)
	if o.done() {
		return nil
	}
	return &Error{c.result(o, cl)}
}

// settled notes that nothing more is due for a Message.
func (c *Client) settled(id string) {
	c.memory.with(id, func(s *session) { s.settled = true })
}

func (r *Request) valid() bool {
	return r.ID != "" && !strings.ContainsAny(r.ID, "; \t\r\n") && !r.Number.IsZero() && r.Units > 0
}

// newCall makes a call. One that may have been made before is the same again.
func (c *Client) newCall(k kind, r Request, units int) (*call, route) {
	cl := &call{
		kind: k, request: &r, units: units, session: sessionID(c.cfg.SessionHost, r.ID, k, r.Step),
		events: make(chan event, eventsEach*len(c.peers)),
	}
	cl.late = func(s *sending, rep *reply) { c.late(cl, s, rep) }
	way := route{again: r.Again}
	c.memory.with(r.ID, func(s *session) {
		was := s.of(k, r.Step)
		if was.endToEnd == 0 {
			was.endToEnd = c.endToEnd()
		}
		cl.endToEnd = was.endToEnd
		way.again = way.again || was.open
		if was.open {
			cl.units = was.units
		}
	})
	return cl, way
}

// remember keeps what the session needs to be settled, or asked about again.
func (c *Client) remember(k *call, o outcome) {
	c.memory.with(k.request.ID, func(s *session) {
		if o.processed {
			was := s.of(k.kind, k.request.Step)
			was.open, was.units = true, k.units
		}
		switch {
		case !o.processed:
		case k.kind.reserves() && o.answered && o.reply != nil:
			s.peer, s.moves = o.to.peer, o.reply.moves
		case k.kind == termination && s.peer == nil && !o.noSession():
			s.peer = o.to.peer // and not another, until it has answered
		}
		if !o.answered || o.reply == nil {
			return
		}
		if answer, why := o.reply.judge(k.units, o.resent); k.kind.reserves() {
			s.settled = s.settled || answer == Free
			s.debited = s.debited || answer == Yes || why == Partly
		}
	})
	if o.answered && o.reply != nil {
		c.obey(o.reply)
	}
}

// obey takes over the failure handling that the server wants.
func (c *Client) obey(r *reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.handling != "" && r.handling != c.handling {
		c.handling = r.handling
		c.cfg.Log.Info("the charging system has another failure handling", "handling", string(r.handling))
	}
	if r.debit != "" && r.debit != c.debit {
		c.debit = r.debit
		c.cfg.Log.Info("the charging system has another failure handling of debits", "handling", string(r.debit))
	}
}

func (c *Client) failureHandling() FailureHandling {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handling
}

// result says what an outcome means.
func (c *Client) result(o outcome, k *call) Result {
	r := Result{Reason: o.reason}
	if o.sending != nil {
		r.Peer, r.Resent = o.to.peer.Name, o.resent
	}
	switch {
	case o.reply != nil:
		r.Answer, r.Reason = o.reply.judge(k.units, o.resent)
		r.Code, r.Vendor = o.reply.decides(), o.reply.vendor
	case o.answered:
		r.Reason = Unreadable
	}
	if r.Answer == Unknown {
		r.Answer = c.unknown(k.kind, o.processed)
	}
	return r
}

// unknown is what is unknown under the failure handling in force.
func (c *Client) unknown(k kind, processed bool) Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case k == initial && c.handling != Continue:
		return UnknownHold
	case k == debit && c.debit == TerminateOrBuffer && !processed:
		return UnknownHold
	}
	return Unknown
}

// late takes an answer whose caller has gone. It must not wait: it is called by
// who reads the connection.
func (c *Client) late(k *call, s *sending, r *reply) {
	o := outcome{event: event{sending: s, reply: r}, answered: true, processed: true}
	c.remember(k, o)
	res := c.result(o, k)
	if res.Reason == Partly {
		c.cfg.Log.Error("a charging system granted in part, and too late to give that back: a reservation lapses, a debit is for reconciliation", "id", k.request.ID)
	}
	result := "told"
	switch {
	case k.kind.reserves():
		select {
		case c.lates <- lateAnswer{k.request.ID, res}:
		default:
			result = "dropped"
			c.cfg.Log.Error("a late answer of a charging system was dropped; what it reserved lapses", "id", k.request.ID)
		}
	case k.kind == termination || k.kind == giveBack:
		if o.done() {
			c.settled(k.request.ID)
		}
	}
	c.metrics.late.WithLabelValues(k.kind.String(), result).Inc()
}

// other returns the peer that an outcome is not of.
func (c *Client) other(o outcome) *peer {
	for _, p := range c.peers {
		if o.sending != nil && p != o.to.peer {
			return p
		}
	}
	return nil
}

// done reports whether a settlement or refund was accepted.
func (o outcome) done() bool {
	return o.answered && o.reply != nil && o.reply.vendor == 0 && succeeded(o.reply.decides())
}

// noSession reports whether the peer does not know the session.
func (o outcome) noSession() bool {
	return o.answered && o.reply != nil && o.reply.vendor == 0 && o.reply.decides() == unknownSession
}
