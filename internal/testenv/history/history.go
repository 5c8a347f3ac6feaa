// Package history records what clients and operators saw during a test, and
// checks it afterwards against the promises that outsiders can see.
//
// Its promise: it knows nothing of our tables and topics. What it is told comes
// from the outside only (answers of the edge, announced states, the simulated
// operator's own log), so it cannot be fooled by a mistake that our own store
// shares.
package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// Recorder collects events; any goroutine may record at any time. Its zero
// value is ready.
type Recorder struct {
	mu       sync.Mutex
	requests map[string]*request
	messages map[string]*message
}

// request is a challenge or a notification, by its id.
type request struct {
	accepted      time.Time // zero = no 202 was seen
	ends          []end
	confirmations []string
}

type end struct {
	state string
	at    time.Time
}

// message is a text that the operator received.
type message struct {
	code    bool
	submits int
}

func (r *Recorder) request(id string) *request {
	if r.requests == nil {
		r.requests = map[string]*request{}
	}
	found, ok := r.requests[id]
	if !ok {
		found = &request{}
		r.requests[id] = found
	}
	return found
}

// Accepted records that a request was answered 202.
func (r *Recorder) Accepted(id string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.request(id)
	if found.accepted.IsZero() || at.Before(found.accepted) { // repeating a request is no new acceptance
		found.accepted = at
	}
}

// Ended records a terminal state of a request, each time somebody is told it.
func (r *Recorder) Ended(id, state string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.request(id)
	found.ends = append(found.ends, end{state, at})
}

// Confirmed records that a code was accepted, with the id of the confirmation
// that the edge answered, each time it did.
func (r *Recorder) Confirmed(challenge, confirmation string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.request(challenge)
	found.confirmations = append(found.confirmations, confirmation)
}

// Submitted records one submit_sm that the operator received and took. The
// caller names the Message by what makes it unique at the operator, for
// example number and text.
func (r *Recorder) Submitted(name string, lane mobileid.Lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.messages == nil {
		r.messages = map[string]*message{}
	}
	found, ok := r.messages[name]
	if !ok {
		found = &message{code: lane == mobileid.LaneOTP}
		r.messages[name] = found
	}
	found.submits++
}

// Allowed is what the test's faults excuse. Its zero value excuses nothing.
type Allowed struct {
	// Within is deadline and grace: by then an accepted request has ended. 0
	// means that it has to end, whenever.
	Within time.Duration
	// Doubtful is how many Messages were written and unanswered at the moment
	// of a crash or lost link: as many codes may have gone out once more.
	Doubtful int
}

// Violation is a broken promise (README, promises).
type Violation struct {
	Promise string // "P1"
	ID      string // of the request; empty where it would name a person
	What    string
}

// String prints promise, id and what happened.
func (v Violation) String() string { return v.Promise + " " + v.ID + ": " + v.What }

// Check returns every promise broken in what was recorded, in a fixed order:
// P1 (one terminal state, in time), P5 (no second SMS that no fault excuses)
// and P6 (a code works once).
func (r *Recorder) Check(allowed Allowed) []Violation {
	r.mu.Lock()
	defer r.mu.Unlock()
	var broken []Violation
	for _, id := range slices.Sorted(maps.Keys(r.requests)) {
		found := r.requests[id]
		broken = append(broken, found.checkEnd(id, allowed.Within)...)
		if n := distinct(found.confirmations); n > 1 {
			broken = append(broken, Violation{"P6", id, fmt.Sprintf("one code gave %d confirmations", n)})
		}
	}
	return append(broken, r.checkDuplicates(allowed.Doubtful)...)
}

func (q *request) checkEnd(id string, within time.Duration) []Violation {
	var broken []Violation
	states := make([]string, 0, len(q.ends))
	for _, e := range q.ends {
		states = append(states, e.state)
	}
	switch {
	case q.accepted.IsZero():
		// A 503 says "outcome unknown": it may end, or never have been.
	case len(q.ends) == 0:
		broken = append(broken, Violation{"P1", id, "accepted and never ended"})
	default:
		first := slices.MinFunc(q.ends, func(a, b end) int { return a.at.Compare(b.at) })
		took := first.at.Sub(q.accepted)
		if within > 0 && took > within {
			broken = append(broken, Violation{"P1", id, fmt.Sprintf("ended %v after it was accepted, limit %v", took, within)})
		}
	}
	if distinct(states) > 1 {
		slices.Sort(states)
		broken = append(broken, Violation{"P1", id, fmt.Sprintf("ended in %v", slices.Compact(states))})
	}
	return broken
}

func (r *Recorder) checkDuplicates(doubtful int) []Violation {
	var codes, notices, repeated int
	for _, m := range r.messages {
		switch extra := m.submits - 1; {
		case extra == 0:
		case !m.code:
			notices += extra
		case extra > 1:
			repeated++
			codes += extra
		default:
			codes += extra
		}
	}
	var broken []Violation
	if notices > 0 {
		broken = append(broken, Violation{"P5", "", fmt.Sprintf("%d notices were sent again", notices)})
	}
	if repeated > 0 {
		broken = append(broken, Violation{"P5", "", fmt.Sprintf("%d codes were sent more than twice", repeated)})
	}
	if codes > doubtful {
		broken = append(broken, Violation{"P5", "", fmt.Sprintf("%d codes were sent again, %d were in doubt", codes, doubtful)})
	}
	return broken
}

func distinct[T cmp.Ordered](values []T) int {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return len(slices.Compact(sorted))
}
