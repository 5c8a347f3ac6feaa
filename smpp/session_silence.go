package smpp

import (
	"errors"
	"slices"
	"time"
)

// hungAfter is how many response timers in a row must run out, with no
// submit_sm answered between, before a session is left; fewer when the window is
// smaller. One slow answer, or one that never comes, does not cost the bind.
const hungAfter = 3

// errHung ends a session whose operator answers everything but submit_sm.
var errHung = errors.New("submit_sm are not answered")

// silence keeps what an operator has not answered in time. He has those
// submit_sm all the same, so their slots stay taken, or he would be given more
// than his window. A slot comes back
//
//   - with the late answer;
//   - when he has answered a submit_sm that was written after the timer of that
//     one had run out: what he has passed over he has lost;
//   - two more response timers later: somebody has to be asked again some time.
//
// The session's mu guards it.
type silence struct {
	doubted     bool // a timer has run out, and nothing was answered since
	inRow       int  // timers that have run out since the last answer
	first, last time.Time
	kept        []*request // timed out, and their slots taken
	answered    time.Time  // when the newest submit_sm that was answered had been written
	left        bool
}

// ranOut notes that the timer of a submit_sm has run out.
func (q *silence) ranOut(r *request, now time.Time) {
	if q.inRow == 0 {
		q.first = now
	}
	q.inRow++
	q.doubted, q.last = true, now
	if r.slot {
		q.kept = append(q.kept, r)
	}
}

// broken notes an answer to a submit_sm, in time or late.
func (q *silence) broken(r *request) {
	q.doubted, q.inRow = false, 0
	if r.writtenAt.After(q.answered) {
		q.answered = r.writtenAt
	}
	if i := slices.Index(q.kept, r); i >= 0 {
		q.kept = slices.Delete(q.kept, i, i+1)
	}
}

// lost counts the slots that come back without an answer.
func (q *silence) lost(now time.Time, response time.Duration) int {
	before := len(q.kept)
	q.kept = slices.DeleteFunc(q.kept, func(r *request) bool {
		over := r.writtenAt.Add(response)
		r.slot = !over.Before(q.answered) && now.Sub(over) < 2*response
		return !r.slot
	})
	return before - len(q.kept)
}

// hung reports, once, that the session is no use: as many timers as that have
// run out in a row, and a further one since the first.
func (q *silence) hung(now time.Time, window int, response time.Duration) bool {
	if q.left || q.inRow == 0 || q.inRow < min(hungAfter, window) || now.Sub(q.first) < response {
		return false
	}
	q.left = true
	return true
}

// offer is what a session has for one Message more.
type offer struct {
	free int // slots
	// doubted: nothing has been answered since a response timer ran out. Such a
	// session takes one Message at a time, until one is answered.
	doubted bool
	due     bool // it is doubted, and has rested for a response timer: it is tried again
}

// offers tells what could be reserved; only reserve makes it less, a response
// timer, or the end of the session.
func (s *session) offers(now time.Time) offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil || s.draining {
		return offer{doubted: true} // nothing can be hoped from it
	}
	o := offer{doubted: s.silence.doubted}
	idle := s.used == len(s.silence.kept)
	if !o.doubted || idle {
		o.free = s.cfg.window - s.used
	}
	o.due = o.doubted && idle && now.Sub(s.silence.last) >= s.cfg.response
	return o
}

// inDoubt reports whether nothing was answered since a response timer ran out.
func (s *session) inDoubt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silence.doubted
}
