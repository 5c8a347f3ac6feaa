package diameter

import (
	"context"
	"sync"
	"time"
)

// call is one request to the charging system, to whichever peers it went.
type call struct {
	kind     kind
	request  *Request
	units    int
	session  string
	endToEnd uint32
	late     func(*sending, *reply) // told of an answer after the caller has gone

	mu       sync.Mutex
	events   chan event
	gone     bool
	finished bool
}

// event is what became of a sending: an answer; one that cannot be read when
// neither is set; or lost.
type event struct {
	*sending

	reply *reply
	lost  bool
}

// passes reports whether the peer only said that it did not process it.
func (e event) passes() bool {
	return e.reply != nil && e.reply.vendor == 0 && untouched(e.reply.decides())
}

// isOf reports whether an answer is of the call's session. An error answer of
// an agent may leave the session out (RFC 6733, 7.2).
func (r *reply) isOf(k *call) bool {
	requestType, number := k.kind.requestType()
	switch {
	case r.session != "" && r.session != k.session,
		r.session == "" && r.code/1000 != 3,
		r.hasKind && r.kind != requestType,
		r.hasNumber && r.number != number:
		return false
	}
	return true
}

// hear takes an event, from the goroutine that reads the connection.
func (k *call) hear(e event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.finished && !e.lost:
		e.to.odd("twice")
	case k.finished:
	case !k.gone:
		k.events <- e // there is room for all that a sending can bring
	case e.lost || e.passes():
	default:
		k.finished = true
		k.late(e.sending, e.reply)
	}
}

// eventsEach is how many events a sending can bring: suspect, and then lost or
// answered.
const eventsEach = 2

// finish says that the answer is there.
func (k *call) finish() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.finished = true
	for len(k.events) > 0 {
		if e := <-k.events; !e.lost {
			e.to.odd("twice")
		}
	}
}

// leave says that the caller goes; an event that is there already is its own.
func (k *call) leave() (e event, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.events) > 0 {
		if e := <-k.events; !e.lost && !e.passes() {
			k.finished = true
			return e, true
		}
	}
	k.gone = true
	return event{}, false
}

// outcome is how a call ended.
type outcome struct {
	event // the answer, or what was sent last

	answered  bool
	processed bool   // it may have been
	reason    Reason // when not answered
}

// route says where a call may go.
type route struct {
	only  *peer // nil: anywhere
	first *peer // gladly; nil: in the order of the configuration
	again bool  // marked as sent again from the beginning
	// stays: what was sent and not answered does not go to the other peer.
	stays func() bool
}

// exchange sends a request, to the other peer too when it has to, until there is
// an answer, nobody else to ask, or ctx ends.
func (c *Client) exchange(ctx context.Context, k *call, way route) outcome {
	if !c.place(ctx) {
		return outcome{reason: NoPlace}
	}
	defer func() { <-c.window }()
	if ctx.Err() != nil {
		return outcome{reason: NoPlace}
	}
	tried := map[*peer]bool{}
	unanswered := 0 // sendings that may have been processed
	end := outcome{reason: NoPeer}
	for ctx.Err() == nil {
		to := c.pick(way, tried)
		if to == nil {
			break
		}
		tried[to.peer] = true
		s := &sending{call: k, to: to, at: time.Now(), resent: way.again || unanswered > 0}
		f, err := c.cfg.ccr(k.kind, k.request, k.units, to.peer.Peer, k.endToEnd, s.resent)
		if err != nil {
			return outcome{reason: BadRequest}
		}
		if !to.send(ctx, f, s) {
			continue
		}
		if s.resent {
			c.metrics.resent.WithLabelValues(to.peer.Name, k.kind.String()).Inc()
		}
		unanswered++
		var answered bool
		if end, answered = c.await(ctx, k, s, &unanswered); answered {
			return end
		}
		if unanswered > 0 && way.stays() {
			break
		}
	}
	if e, ok := k.leave(); ok {
		return outcome{event: e, answered: true, processed: true}
	}
	end.processed = unanswered > 0
	return end
}

// await waits for the answer to what was sent last, or to anything that was sent
// before.
func (c *Client) await(ctx context.Context, k *call, s *sending, unanswered *int) (end outcome, answered bool) {
	tx := time.NewTimer(c.cfg.Tx)
	defer tx.Stop()
	for {
		select {
		case e := <-k.events:
			switch {
			case e.passes():
				*unanswered--
				c.counted(k, e)
				if e.sending == s {
					return outcome{event: e, reason: Busy}, false
				}
			case e.lost && e.sending == s:
				return outcome{event: event{sending: s}, reason: LinkLost}, false
			case e.lost:
			default:
				k.finish()
				c.counted(k, e)
				return outcome{event: e, answered: true, processed: true}, true
			}
		case <-tx.C:
			s.to.peer.wasSilent()
			c.metrics.silent.WithLabelValues(s.to.peer.Name, k.kind.String()).Inc()
			return outcome{event: event{sending: s}, reason: Silent}, false
		case <-ctx.Done():
			return outcome{event: event{sending: s}, reason: Silent}, false
		}
	}
}

func (c *Client) counted(k *call, e event) {
	label := "unreadable"
	if e.reply != nil {
		label = codeLabel(e.reply.decides(), e.reply.vendor)
	}
	c.metrics.answers.WithLabelValues(e.to.peer.Name, k.kind.String(), label).Inc()
}

// place takes a place in the window.
func (c *Client) place(ctx context.Context) bool {
	select {
	case c.window <- struct{}{}:
		return true
	default:
	}
	select {
	case c.window <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// pick returns the connection to ask next.
func (c *Client) pick(way route, tried map[*peer]bool) *conn {
	var best *conn
	most, now := -1, time.Now()
	for _, p := range c.peers {
		if tried[p] || way.only != nil && p != way.only {
			continue
		}
		rank, conn := p.rank(now)
		if rank >= 0 && p == way.first {
			rank = 10 // its session is there
		}
		if rank > most {
			best, most = conn, rank
		}
	}
	return best
}
