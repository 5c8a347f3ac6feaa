package smpp

import (
	"time"

	"mobileid/internal/mobileid"
)

// Ready returns nil when Messages can be carried, and are: a link is bound, the
// lease is held, and what waits comes on; and when the operator is disabled, because
// nothing is expected then. Otherwise the error is
// KindUnavailable with code "link_down", "no_lease", "draining", "unanswered" (a
// submit_sm is older than the response timer lets it become) or "standstill"
// (the operator accepts nothing for half as long again).
func (b *Bridge) Ready() error {
	if !b.cfg.Profile.Enabled {
		return nil
	}
	now := b.now()
	still, limit := b.standstill(now), b.cfg.Profile.Timers.Response*3/2
	b.mu.Lock()
	defer b.mu.Unlock()
	var code string
	switch {
	case b.draining:
		code = "draining"
	case !b.carries():
		code = "link_down"
	case b.lease == nil || !b.lease.writable(now):
		code = "no_lease"
	case b.oldest(now) > limit:
		code = "unanswered"
	case still > limit:
		code = "standstill"
	default:
		return nil
	}
	return mobileid.Unavailable(code, time.Second, nil)
}

// oldest is the age of the oldest submit_sm without an answer. The caller holds
// mu.
func (b *Bridge) oldest(now time.Time) (age time.Duration) {
	for _, l := range b.links {
		if l.session != nil {
			age = max(age, l.session.oldestUnanswered(now))
		}
	}
	return age
}

// beginsToWait notes that a job is about to be put where nothing waits, to be
// written or for its answer. One that comes back because its admission grew old
// has waited all the time.
func (b *Bridge) beginsToWait(j *job, now time.Time) {
	if j.returned || b.outgoing.len() > 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.links {
		if l.session == nil {
			continue
		}
		if used, _ := l.session.standing(); used > 0 {
			return
		}
	}
	b.waits = now
}

// standstill is how long something has waited, to be written or for its answer,
// while a link was bound and the operator accepted nothing.
func (b *Bridge) standstill(now time.Time) time.Duration {
	waits := b.outgoing.len() > 0
	b.mu.Lock()
	defer b.mu.Unlock()
	var bound, accepted time.Time
	for _, l := range b.links {
		if l.session == nil || !l.bind.Type.Carries() {
			continue
		}
		used, at := l.session.standing()
		waits = waits || used > 0
		accepted = latest(accepted, at)
		if bound.IsZero() || l.since.Before(bound) {
			bound = l.since
		}
	}
	if !waits || bound.IsZero() {
		return 0
	}
	return now.Sub(latest(latest(b.waits, bound), accepted))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// standing returns how many slots are taken by what may still be answered in
// time, and when a submit_sm was accepted last.
func (s *session) standing() (used int, accepted time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used - len(s.silence.kept), s.accepted
}
