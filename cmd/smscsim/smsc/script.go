package smsc

import (
	"slices"
	"sync/atomic"
	"time"
)

// armed is a fault in force, with what it has counted.
type armed struct {
	Fault
	ends    time.Time // zero: not by itself
	seen    int
	bucket  bucket
	buckets map[string]*bucket // of each number
}

// script is the faults in force, in the order they were set. The caller holds
// the server's lock, but for any.
type script struct {
	faults map[FaultKind][]*armed // no kind without a fault
	set    atomic.Bool            // faults is not empty
}

// any reports whether there is a fault at all: most often there is none, and
// every submit_sm asks for a dozen kinds. A fault is seen by whatever comes
// after it was added.
func (s *script) any() bool { return s.set.Load() }

func (s *script) add(f Fault, now time.Time) {
	a := &armed{Fault: f, bucket: newBucket(f, now), buckets: map[string]*bucket{}}
	if f.For > 0 {
		a.ends = now.Add(f.For)
	}
	if s.faults == nil {
		s.faults = map[FaultKind][]*armed{}
	}
	s.put(f.Kind, append(s.faults[f.Kind], a))
}

func (s *script) put(kind FaultKind, faults []*armed) {
	s.faults[kind] = faults
	if len(faults) == 0 {
		delete(s.faults, kind)
	}
	s.set.Store(len(s.faults) > 0)
}

func (s *script) lift(kind FaultKind) {
	delete(s.faults, kind)
	s.set.Store(len(s.faults) > 0)
}

func (s *script) liftAll() {
	s.faults = nil
	s.set.Store(false)
}

// find returns the first fault of a kind for a destination.
func (s *script) find(kind FaultKind, dest string, now time.Time) *armed {
	if len(s.faults[kind]) == 0 {
		return nil
	}
	s.expire(kind, now)
	for _, a := range s.faults[kind] {
		if a.To == "" || a.To == dest {
			return a
		}
	}
	return nil
}

// use is find, and counts it down.
func (s *script) use(kind FaultKind, dest string, now time.Time) (Fault, bool) {
	a := s.find(kind, dest, now)
	if a == nil {
		return Fault{}, false
	}
	used := a.Fault
	if a.Count > 0 {
		if a.Count--; a.Count == 0 {
			s.put(kind, slices.DeleteFunc(s.faults[kind], func(o *armed) bool { return o == a }))
		}
	}
	return used, true
}

// refuses asks the rules that refuse some submits and not others.
func (s *script) refuses(dest string, unanswered int, now time.Time) (Fault, bool) {
	if a := s.find(FaultEvery, dest, now); a != nil {
		if a.seen++; a.seen%a.N == 0 {
			return s.use(FaultEvery, dest, now)
		}
	}
	if a := s.find(FaultWindow, dest, now); a != nil && unanswered > a.N {
		return a.Fault, true
	}
	if a := s.find(FaultThrottleDest, dest, now); a != nil && !a.ofNumber(dest, now).take(now) {
		return a.Fault, true
	}
	if a := s.find(FaultThrottle, dest, now); a != nil && !a.bucket.take(now) {
		return a.Fault, true
	}
	return Fault{}, false
}

// maxNumbers bounds the numbers that have a bucket of their own.
const maxNumbers = 100_000

func (a *armed) ofNumber(dest string, now time.Time) *bucket {
	b := a.buckets[dest]
	if b == nil {
		if len(a.buckets) >= maxNumbers {
			clear(a.buckets)
		}
		fresh := newBucket(a.Fault, now)
		b = &fresh
		a.buckets[dest] = b
	}
	return b
}

func (s *script) expire(kind FaultKind, now time.Time) {
	s.put(kind, slices.DeleteFunc(s.faults[kind], func(a *armed) bool { return !a.ends.IsZero() && !now.Before(a.ends) }))
}

// inForce lists what is, by kind.
func (s *script) inForce(now time.Time) []Fault {
	out := []Fault{}
	for _, k := range kinds {
		if len(s.faults[k.Kind]) == 0 {
			continue
		}
		s.expire(k.Kind, now)
		for _, a := range s.faults[k.Kind] {
			out = append(out, a.Fault)
		}
	}
	return out
}

// bucket is a token bucket.
type bucket struct {
	rate, burst, tokens float64
	at                  time.Time
}

func newBucket(f Fault, now time.Time) bucket {
	burst := float64(max(f.Burst, 1))
	return bucket{rate: f.Rate, burst: burst, tokens: burst, at: now}
}

func (b *bucket) take(now time.Time) bool {
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
