package diameter

import (
	"context"
	"math/rand/v2"
	"time"
)

// watchdog is the algorithm of RFC 3539, 3.4.1, for one connection. Any message
// counts as a sign of life; a request is sent only when there was none for an
// interval.
type watchdog struct {
	peer  *peer
	conn  *conn
	timer *time.Timer
	state state
	asked bool // a Device-Watchdog-Request is unanswered
	// answers since the connection was reopened; -1: one did not come.
	answers int
}

// interval is Tw with its jitter of two seconds either way.
func interval(tw time.Duration) time.Duration {
	wide := min(2*time.Second, tw/10)
	return tw - wide + rand.N(2*wide+1)
}

// keep serves a connection until it is over, and returns why. It leaves with
// DPR when ctx ends.
func (p *peer) keep(ctx context.Context, c *conn, begin state) error {
	defer c.work.Wait()
	defer c.end(errClientClose)
	w := watchdog{peer: p, conn: c, timer: time.NewTimer(interval(p.client.cfg.Tw)), state: begin}
	defer w.timer.Stop()
	p.become(begin, c)
	if begin == reopen {
		w.ask()
	}
	for {
		p.loop.Rest()
		select {
		case <-ctx.Done():
			return w.leave()
		case <-c.done:
			return c.err
		case <-c.dpr:
			p.loop.Step()
			return w.left()
		case <-c.heard:
			if w.state == suspect {
				w.become(okay)
			}
		case <-c.dwa:
			p.loop.Step()
			w.answered()
		case <-w.timer.C:
			p.loop.Step()
			w.ran()
		}
	}
}

func (w *watchdog) become(s state) {
	w.state = s
	w.peer.become(s, w.conn)
}

func (w *watchdog) ask() {
	w.asked = true
	w.conn.ask(w.peer.client.cfg.dwr(w.peer.client.endToEnd()))
}

// answered notes a Device-Watchdog-Answer.
func (w *watchdog) answered() {
	w.asked = false
	if w.state != reopen {
		return
	}
	if w.answers++; w.answers >= proofs {
		w.become(okay)
	}
}

// ran is the end of an interval.
func (w *watchdog) ran() {
	tw := interval(w.peer.client.cfg.Tw)
	defer func() { w.timer.Reset(tw) }()
	if w.state != reopen {
		if quiet := time.Since(time.Unix(0, w.conn.heardAt.Load())); quiet < tw {
			tw -= quiet
			return
		}
	}
	switch {
	case w.state == suspect:
		w.conn.end(errWatchdog)
	case !w.asked:
		w.ask()
	case w.state == okay:
		w.become(suspect)
		w.conn.suspect()
	case w.answers < 0:
		w.conn.end(errWatchdog)
	default:
		w.answers = -1
	}
}

// leave says goodbye and waits a little for the answer.
func (w *watchdog) leave() error {
	w.become(leaving)
	w.conn.ask(w.peer.client.cfg.dpr(w.peer.client.endToEnd()))
	t := time.NewTimer(leaveWithin)
	defer t.Stop()
	select {
	case <-w.conn.dpa:
	case <-w.conn.done:
	case <-t.C:
	}
	return errClientClose
}

// left lets a peer that goes answer what it has; it closes the connection when
// it has our answer (RFC 6733, 5.4).
func (w *watchdog) left() error {
	w.become(leaving)
	t := time.NewTimer(leaveWithin)
	defer t.Stop()
	select {
	case <-w.conn.done:
	case <-t.C:
	}
	return errPeerLeft
}
