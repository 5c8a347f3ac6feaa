package smpp

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// steadyAfter is how long a session must have lived for its loss to count as
// the first of a series: an operator that drops each bind at once must not be
// dialled in a tight loop.
const steadyAfter = 10 * time.Second

// keepLink binds, serves and binds again, with back-off, until ctx ends.
func (b *Bridge) keepLink(ctx context.Context) {
	wait := b.cfg.ReconnectMin
	for ctx.Err() == nil {
		b.progress.link.Step()
		s, err := b.bind(ctx)
		b.progress.link.Rest() // a link lasts as long as it likes
		if err == nil {
			b.metrics.binds.WithLabelValues("ok").Inc()
			began := b.now()
			b.bound(s)
			err = s.run(ctx)
			b.unbound(err)
			if b.now().Sub(began) >= steadyAfter {
				wait = b.cfg.ReconnectMin
			}
		} else if ctx.Err() == nil {
			b.metrics.binds.WithLabelValues("failed").Inc()
		}
		if ctx.Err() != nil {
			break
		}
		pause := jitter(wait)
		wait = min(2*wait, b.cfg.ReconnectMax)
		if refused := (*bindError)(nil); errors.As(err, &refused) && refused.credentials() {
			pause, wait = jitter(b.cfg.RefusedWait), b.cfg.ReconnectMin
			b.log.Error("the operator refuses our credentials", "err", err, "again_in", pause)
		} else {
			b.log.Warn("link down", "err", err, "again_in", pause)
		}
		if !sleep(ctx, pause) {
			break
		}
	}
}

func (b *Bridge) bound(s *session) {
	b.mu.Lock()
	b.link = s
	close(b.linkUp)
	b.mu.Unlock()
	b.log.Info("link bound", "window", b.cfg.Window)
	signal(b.kick)
}

func (b *Bridge) unbound(cause error) {
	b.mu.Lock()
	b.link = nil
	b.down = b.now()
	b.linkUp = make(chan struct{})
	b.mu.Unlock()
	b.metrics.lost.Inc()
	b.log.Info("link lost", "err", cause)
	signal(b.quiet)
}

// boundSession waits for a bound session.
func (b *Bridge) boundSession(ctx context.Context) (*session, bool) {
	for {
		b.mu.Lock()
		s, up := b.link, b.linkUp
		b.mu.Unlock()
		if s != nil {
			return s, true
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, false
		}
	}
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
