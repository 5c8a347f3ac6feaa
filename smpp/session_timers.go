package smpp

import (
	"slices"
	"time"

	"mobileid/smpp/wire"
)

// overdueKept is how many timed-out requests are remembered for a late answer.
const overdueKept = 4096

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
		expired, ask, cause := s.check(s.cfg.now())
		for _, r := range expired {
			r.done(answer{fate: timedOut, sequence: r.sequence, writtenAt: r.writtenAt})
		}
		if len(expired) > 0 {
			signal(s.fewer)
			s.cfg.freed() // no slot, but who waits for one may have to look elsewhere
		}
		s.heedSilence(s.cfg.now())
		if cause != nil {
			s.end(cause)
			return
		}
		if ask {
			signal(s.wake)
		}
	}
}

// check looks at the timers.
func (s *session) check(now time.Time) (expired []*request, ask bool, cause error) {
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
			s.silence.ranOut(r, now)
		}
	}
	switch {
	case s.probe.IsZero():
		ask = now.Sub(s.heard) >= s.cfg.enquire
	case now.Sub(s.probe) >= s.cfg.response:
		cause = errSilent
	}
	if s.cfg.inactivity > 0 && now.Sub(s.carried) >= s.cfg.inactivity {
		cause = errInactive
	}
	if ask {
		s.probe = now
		link := &request{
			raw: wire.AppendHeader(nil, wire.EnquireLink, 0, 0), command: wire.EnquireLink, done: func(answer) {},
		}
		s.submits = slices.Insert(s.submits, 0, link)
	}
	return expired, ask, cause
}

// heedSilence gives back slots of what is not answered any more, and leaves an
// operator that answers nothing.
func (s *session) heedSilence(now time.Time) {
	s.mu.Lock()
	slots, hung := s.silence.lost(now, s.cfg.response), s.silence.hung(now, s.cfg.window, s.cfg.response)
	s.mu.Unlock()
	if slots > 0 {
		s.release(slots)
	}
	if hung {
		s.cfg.hung()
		s.leave(errHung, s.cfg.unbindWait) // what is in flight has no better prospects
	}
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
