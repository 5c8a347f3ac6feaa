package consumers

import (
	"cmp"
	"slices"
	"sync"
)

// tracker remembers which records of one partition were handed out and which
// of them are done, in any order, and knows the offset that may be committed:
// the one after the longest prefix that is wholly done. It is safe for
// concurrent use.
type tracker struct {
	mu        sync.Mutex
	open      []slot // handed out, ascending; the first one is not done
	next      int64  // to commit: every record below it is done
	committed int64  // last offset that the broker has taken
}

type slot struct {
	offset int64
	done   bool
}

// newTracker starts at the first offset that will be handed out.
func newTracker(start int64) *tracker {
	return &tracker{next: start, committed: start}
}

// add hands out a record. Offsets come in ascending order; holes (markers of
// transactions) are allowed.
func (t *tracker) add(offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = append(t.open, slot{offset: offset})
}

// finish marks a record done; a second time changes nothing.
func (t *tracker) finish(offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, found := t.find(offset)
	if !found {
		return
	}
	t.open[i].done = true
	n := 0
	for n < len(t.open) && t.open[n].done {
		t.next = t.open[n].offset + 1
		n++
	}
	t.open = slices.Delete(t.open, 0, n)
}

// isDone reports whether a record that was handed out is done.
func (t *tracker) isDone(offset int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, found := t.find(offset)
	return !found || t.open[i].done
}

func (t *tracker) find(offset int64) (int, bool) {
	return slices.BinarySearchFunc(t.open, offset, func(s slot, o int64) int { return cmp.Compare(s.offset, o) })
}

// due returns the offset to commit, and whether the broker does not have it
// yet.
func (t *tracker) due() (int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next, t.next > t.committed
}

// settled notes that the broker has taken an offset.
func (t *tracker) settled(offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committed = max(t.committed, offset)
}
