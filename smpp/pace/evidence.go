package pace

import (
	"math"
	"time"
)

// share counts answers and the throttled among them, in order of writing.
type share struct {
	from, to       Stamp
	all, throttled int
	last           Stamp // the last throttled one
}

func (s *share) add(written Stamp, throttled bool) {
	s.to = max(s.to, written)
	s.all++
	if throttled {
		s.throttled++
		s.last = max(s.last, written)
	}
}

// throttledShare returns 0..1.
func (s *share) throttledShare() float64 { return float64(s.throttled) / float64(max(s.all, 1)) }

// pool adds the answers of two shares.
func pool(a, b share) share {
	return share{from: a.from, to: b.to, all: a.all + b.all, throttled: a.throttled + b.throttled}
}

// atMost returns what the throttled share is at most, by two deviations.
func (s *share) atMost() float64 {
	p := s.throttledShare()
	return min(p+2*math.Sqrt(p*(1-p)/float64(max(s.all, 1))), 1)
}

func (s *share) span() time.Duration { return time.Duration(s.to - s.from) }

// weights are the log-likelihood ratios of one answer, for a throttled share of
// high against one of low: what a throttled answer adds and a taken one.
type weights struct{ throttled, taken float64 }

func weigh(low, high float64) weights {
	return weights{math.Log(high / low), math.Log((1 - high) / (1 - low))}
}

func (w weights) of(throttled bool) float64 {
	if throttled {
		return w.throttled
	}
	return w.taken
}

const (
	// tolerated is the throttled share that nothing is done about.
	tolerated = 0.002
	// mostly is the share from which on almost nothing is taken.
	mostly = 0.9
	// suspicious is the evidence that makes a suspicion an alarm: five throttled
	// answers close together when there were none before. At a steady share a
	// false alarm takes some e^8 answers, and costs one small cut for seconds.
	suspicious = 8
	// enduring bounds a suspicion, so that a burst of throttling is forgotten
	// after some 6000 answers.
	enduring = 64
	// certain is the evidence that ends a trial: wrong once in e^6 = 400.
	certain = 6
)

// suspicion is Page's CUSUM: it grows while answers speak for twice the usual
// throttled share, and begins anew whenever they spoke against it. Where it
// last began is the likeliest moment that throttling did, so what is counted
// since then is the share under throttling. From that moment on the operator's
// bucket is empty, and what he takes is his limit.
type suspicion struct {
	weights  weights
	evidence float64
	share    share
	quiet    int // answers since the last throttled one
}

func suspect(usual float64) suspicion {
	low := min(max(usual, tolerated), 0.98)
	return suspicion{weights: weigh(low, min(max(2*low, 5*tolerated), (1+low)/2))}
}

func (s *suspicion) add(written Stamp, throttled bool) {
	if s.evidence == 0 {
		// The answer that begins it was chosen for being throttled: not counted.
		s.share = share{from: written, to: written}
	} else {
		s.share.add(written, throttled)
	}
	s.quiet++
	if throttled {
		s.quiet = 0
	}
	s.evidence = min(max(s.evidence+s.weights.of(throttled), 0), enduring)
}

// alarm tells that throttling is real and measured: over a second at least,
// since many operators count by the second and throttle only at its end, and
// over enough answers to know the rate from. It must have come back after about
// a second: a segment that was lost brings many submits at once, which says
// nothing about the rate.
func (s *suspicion) alarm() bool {
	const enough, long, back = 50, 5 * time.Second, Stamp(900 * time.Millisecond)
	span := s.share.span()
	return s.evidence >= suspicious && span >= time.Second && s.share.last-s.share.from >= back &&
		(s.share.all >= enough || span >= long)
}

// lively tells that there was throttling just now, so that asking for more
// would confuse the measurement.
func (s *suspicion) lively() bool {
	const quiet, recent = 20, Stamp(1500 * time.Millisecond)
	return s.evidence >= suspicious/4 && (s.quiet < quiet || s.share.to-s.share.last < recent)
}

// trial is Wald's SPRT of a cut: is the throttled share still what it was, or a
// quarter of it?
type trial struct {
	weights  weights
	evidence float64 // for "still what it was"
	seen     share   // before the cut
	share    share
}

// try begins a trial of what is written after from.
func try(seen share, usual float64, from Stamp) trial {
	before := min(max(seen.throttledShare(), 2*tolerated), 0.98)
	after := min(max(before/4, usual, tolerated), 0.75*before)
	return trial{weights: weigh(after, before), seen: seen, share: share{from: from, to: from}}
}

func (t *trial) add(written Stamp, throttled bool) {
	t.share.add(written, throttled)
	t.evidence = max(t.evidence+t.weights.of(throttled), -2*certain)
}

// over tells that the trial has ended, after a second at least, and whether the
// share fell. Throttling that came in bursts must be seen to stay away for as
// long as it took to come back, within reason.
func (t *trial) over() (fell, over bool) {
	const reason = 30 * time.Second
	fell = t.evidence < 0
	if t.share.span() < time.Second || math.Abs(t.evidence) < certain || fell && t.share.span() < min(t.seen.span(), reason) {
		return false, false
	}
	return fell, true
}
