package pace

import (
	"encoding/binary"
	"time"
)

// Destination stands for a number: its pseudonym, whose bits are evenly spread.
type Destination [16]byte

const (
	// blameAfter is how many full queues in a row are the destination's own;
	// blameLate, while the account's queue is suspected.
	blameAfter = 3
	blameLate  = 10
	// firstHold is how long it waits then, doubling up to longestHold.
	firstHold   = 3 * time.Second
	longestHold = 30 * time.Second
	// askFor is how long the others wait while one message asks whether there
	// is room again.
	askFor = time.Second
	// forgetAfter is how long after its wait a destination is remembered.
	forgetAfter = time.Minute

	// The queue is the account's when this many destinations began to have a
	// full one in about the last ten seconds, and this share of the answers.
	manyFull     = 8
	manyShare    = 0.05
	manySlice    = 5 * time.Second
	sets, places = 256, 4 // of the table: 1024 destinations, 40 KiB
)

// destinations remembers whose queue is full, in a table of fixed size. When a
// set is full the one whose wait ends first is forgotten, which costs a few
// writes to a full queue.
type destinations struct {
	table [sets][places]fullQueue
	used  int  // places in use; 0 = every answer is cheap
	alone bool // never the account's queue

	slice         time.Duration // number of the running one
	began, others [2]int        // full queues that began, all other answers: running slice, the one before
}

type fullQueue struct {
	to    Destination
	until time.Duration // the end of its wait, or the time of its first refusals
	tries int           // refused in a row; 0 = the place is free
	held  bool          // blamed: it waits
	asked bool          // one message may ask again, and its answer is awaited
}

func (d *destinations) set(to Destination) *[places]fullQueue {
	return &d.table[binary.LittleEndian.Uint16(to[:2])%sets]
}

func (d *destinations) find(to Destination) *fullQueue {
	if d.used == 0 {
		return nil
	}
	for i := range d.set(to) {
		if q := &d.set(to)[i]; q.tries > 0 && q.to == to {
			return q
		}
	}
	return nil
}

// refuse counts a full queue. It returns how long the destination must wait,
// and whether it speaks for the account's queue.
func (d *destinations) refuse(now time.Duration, to Destination) (hold time.Duration, account bool) {
	d.move(now)
	q := d.find(to)
	if q == nil || now-q.until > forgetAfter {
		q = d.place(now, to)
		d.began[0]++
	}
	account = d.many()
	if q.held && !q.asked && q.until > now {
		return q.until - now, account // it was under way when the wait began
	}
	blame := blameAfter
	if account {
		blame = blameLate
	}
	if q.tries++; q.tries < blame {
		q.until = now
		return 0, account
	}
	hold = min(firstHold<<min(q.tries-blame, 10), longestHold)
	q.until, q.held, q.asked = now+hold, true, false
	return hold, account
}

// place finds room for a destination.
func (d *destinations) place(now time.Duration, to Destination) *fullQueue {
	set := d.set(to)
	best := &set[0]
	for i := range set {
		q := &set[i]
		if q.tries > 0 && (q.to == to || now-q.until > forgetAfter) {
			*q = fullQueue{}
			d.used--
		}
		if best.tries > 0 && (q.tries == 0 || q.until < best.until) {
			best = q
		}
	}
	if best.tries == 0 {
		d.used++
	}
	*best = fullQueue{to: to, until: now}
	return best
}

// take forgets a destination that has taken something.
func (d *destinations) take(now time.Duration, to Destination) {
	d.answered(now)
	if q := d.find(to); q != nil {
		*q = fullQueue{}
		d.used--
	}
}

// held tells how long the destination still waits. Whoever comes first at the
// end of the wait asks for the others.
func (d *destinations) held(now time.Duration, to Destination) time.Duration {
	q := d.find(to)
	switch {
	case q == nil || !q.held:
		return 0
	case q.until > now:
		return q.until - now
	}
	q.until, q.asked = now+askFor, true
	return 0
}

// answered counts an answer that is not a full queue.
func (d *destinations) answered(now time.Duration) {
	d.move(now)
	d.others[0]++
}

func (d *destinations) move(now time.Duration) {
	s := now / manySlice
	switch s - d.slice {
	case 0:
	case 1:
		d.began, d.others = [2]int{0, d.began[0]}, [2]int{0, d.others[0]}
	default:
		d.began, d.others = [2]int{}, [2]int{}
	}
	d.slice = s
}

// many tells that the full queue is the account's.
func (d *destinations) many() bool {
	began := d.began[0] + d.began[1]
	return !d.alone && began >= manyFull && float64(began) >= manyShare*float64(began+d.others[0]+d.others[1])
}
