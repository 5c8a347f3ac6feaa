package smpp

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// steadyAfter is how long a session must have lived for its loss to count as
// the first of a series: an operator that drops each bind at once must not be
// dialled in a tight loop.
const steadyAfter = 10 * time.Second

// link keeps one bind of the profile.
type link struct {
	bridge  *Bridge
	bind    profile.Bind
	name    string // operator/system_id/bind
	log     *slog.Logger
	metrics *linkMetrics
	binds   *mobileid.Loop
	changed chan struct{} // what is wanted has changed

	// Guarded by the bridge's mu.
	session *session // nil: not bound
	doubted bool     // the session before it ended in doubt
	wanted  wanted
	state   LinkState
	host    string // dialled last, or bound to
	since   time.Time
	failure string    // why it was not bound, or did not stay so, last
	failed  time.Time // when that was
	wrong   int       // answers in a row that say that our settings are wrong
	alarmed time.Time // when that was last told
}

// wanted is what an operator of ours wants of a link.
type wanted int

const (
	wantUp    wanted = iota
	wantDrain        // no further submit_sm; unbind when the window is empty
	wantDown         // unbind now
)

func (b *Bridge) newLink(bind profile.Bind, watch mobileid.Watch) *link {
	name := b.cfg.account() + "/" + bind.Name
	return &link{
		bridge: b, bind: bind, name: name, log: b.log.With("link", name),
		changed: make(chan struct{}, 1), state: LinkDown, since: b.now(),
		binds: watch.Loop("bridge " + b.cfg.Profile.ID + " binds " + bind.Name),
	}
}

// keep binds, serves and binds again, with back-off, until ctx ends. A host that
// cannot be bound to, or that takes the bind and does not keep it, is followed by
// the next one; one that was steady is tried first when it comes back.
func (l *link) keep(ctx context.Context) {
	t := l.bridge.cfg.Profile.Timers
	wait, host := t.ReconnectMin, 0
	for l.awaitWanted(ctx) {
		at, leave := l.bind.Hosts[host], true
		l.become(LinkBinding, at, nil)
		l.binds.Step()
		s, err := l.connect(ctx, at)
		l.binds.Rest() // a link lasts as long as it likes
		if err == nil {
			l.metrics.binds.WithLabelValues("ok").Inc()
			began := l.bridge.now()
			l.bound(s, at)
			err = l.serve(ctx, s)
			l.unbound(err)
			steady := l.bridge.now().Sub(began) >= steadyAfter
			if steady {
				wait = t.ReconnectMin
			}
			if errors.Is(err, errUnwanted) {
				continue
			}
			leave = !steady || deaf(err)
		} else if ctx.Err() == nil {
			l.metrics.binds.WithLabelValues("failed").Inc()
			l.become(LinkDown, at, err)
		}
		if ctx.Err() != nil {
			break
		}
		// The other hosts are asked before anything is waited for.
		if leave {
			host = (host + 1) % len(l.bind.Hosts)
		}
		if leave && host != 0 && !refused(err) {
			l.log.Warn("link down", "host", at, "err", err, "next", l.bind.Hosts[host])
			continue
		}
		pause := jitter(wait)
		wait = min(2*wait, t.ReconnectMax)
		if refused(err) {
			pause, wait = jitter(t.Refused), t.ReconnectMin
			l.become(LinkRefused, at, err)
			if errors.Is(err, errWrong) {
				l.log.Error("the operator refuses our settings", "host", at, "err", err, "again_in", pause)
			} else {
				l.log.Error("the operator refuses our credentials", "host", at, "err", err, "again_in", pause)
			}
		} else {
			l.log.Warn("link down", "host", at, "err", err, "again_in", pause)
		}
		if !l.rest(ctx, pause) {
			break
		}
	}
}

// refused reports whether trying again soon would do harm: the operator refuses
// our credentials, or what we send.
func refused(err error) bool {
	e, ok := errors.AsType[*bindError](err)
	return ok && e.credentials() || errors.Is(err, errWrong)
}

// deaf reports whether a session ended because nobody was there behind an open
// connection: that host would take the next bind, too.
func deaf(err error) bool {
	return errors.Is(err, errSilent) || errors.Is(err, errHalfOpen) || errors.Is(err, errHung)
}

// rest waits; a changed wish ends the wait. False when ctx ended.
func (l *link) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.changed:
	case <-ctx.Done():
		return false
	}
	return true
}

// awaitWanted waits until the link is wanted; false when ctx ended first.
func (l *link) awaitWanted(ctx context.Context) bool {
	for {
		l.bridge.mu.Lock()
		up := l.wanted == wantUp
		l.bridge.mu.Unlock()
		if up {
			return ctx.Err() == nil
		}
		l.become(LinkStopped, "", nil)
		select {
		case <-l.changed:
		case <-ctx.Done():
			return false
		}
	}
}

// errUnwanted ends a session that is not wanted any more.
var errUnwanted = errors.New("stopped by hand")

// serve runs a session until it ends or is not wanted any more.
func (l *link) serve(ctx context.Context, s *session) error {
	over := make(chan struct{})
	var cause error
	go func() {
		defer close(over)
		cause = s.run(ctx)
	}()
	for {
		select {
		case <-over:
			return cause
		case <-l.changed:
		}
		l.bridge.mu.Lock()
		want := l.wanted
		l.bridge.mu.Unlock()
		if want == wantUp {
			continue
		}
		if want == wantDrain {
			l.become(LinkDraining, "", nil)
			s.drain()
			idle := l.awaitDrained(s)
			defer func() { <-idle }() // it ends with the session
		}
		s.unbind(l.bridge.cfg.UnbindWait)
		<-over
		return errUnwanted
	}
}

// awaitDrained waits until nothing is in flight, at the latest for the response
// timer; an order to stop ends the wait. What is returned closes when the session
// is idle or has ended: its end may be waiting for its owners by now, and a
// WaitGroup that is waited for must not be added to.
func (l *link) awaitDrained(s *session) <-chan struct{} {
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		s.awaitIdle(l.bridge.cfg.Profile.Timers.Response)
	}()
	for {
		select {
		case <-idle:
			return idle
		case <-l.changed:
		}
		l.bridge.mu.Lock()
		stop := l.wanted == wantDown
		l.bridge.mu.Unlock()
		if stop {
			return idle
		}
	}
}

// become notes a state for people; "" keeps the host.
func (l *link) become(state LinkState, host string, err error) {
	l.bridge.mu.Lock()
	defer l.bridge.mu.Unlock()
	if l.state != state {
		l.state, l.since = state, l.bridge.now()
	}
	if host != "" {
		l.host = host
	}
	if err != nil {
		l.failure, l.failed = err.Error(), l.bridge.now()
	}
}

func (l *link) bound(s *session, host string) {
	b := l.bridge
	b.mu.Lock()
	l.session, l.state, l.since, l.host = s, LinkUp, b.now(), host
	b.linkChanged()
	b.mu.Unlock()
	l.log.Info("link bound", "host", host, "window", l.bind.Window)
	signal(b.kick)
	signal(b.places)
}

func (l *link) unbound(cause error) {
	b := l.bridge
	b.mu.Lock()
	l.doubted = l.session.inDoubt()
	l.session, l.state, l.since = nil, LinkDown, b.now()
	if !errors.Is(cause, errUnwanted) { // an order is no failure
		l.failure, l.failed = cause.Error(), b.now()
	}
	if !b.carries() {
		b.down = b.now()
	}
	b.linkChanged()
	b.mu.Unlock()
	l.metrics.lost.Inc()
	l.log.Info("link lost", "err", cause)
	signal(b.quiet)
}

// hung counts a session that is left.
func (l *link) hung() {
	l.bridge.mu.Lock()
	host := l.host
	l.bridge.mu.Unlock()
	l.metrics.hung.Inc()
	l.log.Error("the operator answers the link and no submit_sm: the session is left", "host", host)
}

// carries reports whether a link that submit_sm go on is bound. The caller
// holds mu.
func (b *Bridge) carries() bool {
	for _, l := range b.links {
		if l.session != nil && l.bind.Type.Carries() && l.wanted == wantUp {
			return true
		}
	}
	return false
}

// sessions returns the bound sessions.
func (b *Bridge) sessions() []*session {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*session
	for _, l := range b.links {
		if l.session != nil {
			all = append(all, l.session)
		}
	}
	return all
}

// jitter spreads d over 0.8 d to 1.2 d, so that bridges that lost one operator
// together do not come back together.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(rand.Int64N(int64(d)*2/5+1))
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
