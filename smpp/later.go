package smpp

import (
	"strings"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// later remembers on which bind the operator asked for a Message later: the next
// try goes to another one, if that has room, because the trouble may be of that
// bind's SMSC alone. It is a preference, so what is forgotten costs nothing.
type later struct {
	mu sync.Mutex
	of map[mobileid.ID]laterOf
}

type laterOf struct {
	link     string // of the session
	deadline time.Time
}

// asked notes a Message that is tried again.
func (q *later) asked(j *job, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.of == nil {
		q.of = map[mobileid.ID]laterOf{}
	}
	if len(q.of) >= maxHeld {
		for id, l := range q.of {
			if l.deadline.Before(now) {
				delete(q.of, id)
			}
		}
	}
	if len(q.of) < maxHeld {
		q.of[j.admission.ID] = laterOf{j.link, j.admission.Deadline}
	}
}

// took returns the session that a Message is better not written to, "" for any,
// and forgets it.
func (q *later) took(id mobileid.ID) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.of[id]
	delete(q.of, id)
	return l.link
}

// elsewhere changes the slots for a job against those of another bind, when the
// bind that they are of has asked for it later.
func (b *Bridge) elsewhere(at place, j *job) place {
	if j.admission.Tries == 0 || !strings.HasPrefix(b.later.took(j.admission.ID), at.link.name+"#") {
		return at
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.links {
		if l == at.link || l.session == nil || !l.bind.Type.Carries() {
			continue
		}
		if has := l.session.offers(now); !has.doubted && l.session.reserve(at.slots) {
			at.session.release(at.slots)
			return place{link: l, session: l.session, slots: at.slots}
		}
	}
	return at
}
