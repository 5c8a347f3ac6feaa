package pace

import (
	"math"
	"sync"
	"time"
)

// Unknown is the ceiling of an account whose limit nobody has named, and the
// rate of one that is not held back.
const Unknown = math.MaxFloat64

const (
	// burstTime is how much of the rate may be written at once: a timer that
	// fires late is made up for, an operator's small bucket is not overrun.
	burstTime = 10 * time.Millisecond
	minBurst  = 2
	// maxWait bounds what Wait asks for, so that whoever waits soon learns of a
	// new rate without being woken.
	maxWait = 100 * time.Millisecond
	// idleAfter is the gap between two writes that is counted as such a gap at
	// most; longer, there was nothing to write.
	idleAfter = 250 * time.Millisecond
	// Without a rate, when so many answers in a row were throttled, a write rests
	// for that long after the one before it, until one is taken. A rate is known a
	// second later; until then an operator is not asked as fast as he answers.
	restsAfter = 16
	rest       = 5 * time.Millisecond
)

// Config is what is known of an account. Rates are submit_sm a second.
type Config struct {
	Ceiling float64 // agreed with the operator, or Unknown; 0 stops writing
	Floor   float64 // 1: throttling alone does not slow it further; a lower ceiling does
	Burst   int     // what 10 ms bring, at least 2; of a lower ceiling, its part of it
	// Fixed keeps the rate at the ceiling whatever is answered: a full queue is
	// its destination's own then, however many there are.
	Fixed bool
}

// Stamp says when something was written, on a clock of the pacer's own that
// almost stands still while there is nothing to write. So a pause in demand
// does not look like a slow operator.
type Stamp time.Duration

// Pacer keeps the pace of one account. It is safe for concurrent use and
// allocates nothing after New.
type Pacer struct {
	mu      sync.Mutex
	start   time.Time
	now     time.Duration // since start; never runs backwards
	burst   float64       // 0: by the rate
	agreed  float64       // the ceiling that the burst goes with
	fixed   bool
	tokens  float64
	written time.Duration // the last write
	refused int           // throttled answers since one was taken
	busy    Stamp
	control controller
	full    destinations
	demand  demand
}

// New makes a pacer that may write a burst at once.
func New(now time.Time, c Config) *Pacer {
	p := &Pacer{start: now, burst: float64(max(c.Burst, 0)), fixed: c.Fixed, control: newController(c.Ceiling, c.Floor)}
	p.agreed = p.control.ceiling
	p.full.alone = c.Fixed
	if p.control.rate != Unknown {
		p.tokens = p.bucket()
	}
	return p
}

// Wait tells how long to wait before the next write, 0 for not at all. It asks
// for 100 ms at most: then ask again, the rate may be another.
func (p *Pacer) Wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	if p.control.rate == Unknown {
		if left := p.written + rest - p.now; p.refused >= restsAfter && left > 0 {
			p.demand.held = p.now + 1
			return left
		}
		return 0
	}
	const rounding = 1e-9
	missing := 1 - rounding - p.tokens
	if missing <= 0 {
		return 0
	}
	p.demand.held = p.now + 1
	wait := missing / p.control.rate * float64(time.Second) // +Inf while the rate is 0
	return time.Duration(min(wait, float64(maxWait)-1)) + 1
}

// Spend takes the tokens of n submit_sm that are about to be written together,
// the parts of one Message. Wait must have returned 0; what n needs beyond the
// tokens there are is owed. The stamp goes with each of them to Answer.
func (p *Pacer) Spend(now time.Time, n int) Stamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	n = max(n, 0)
	gap := p.now - p.written
	if longest := max(idleAfter, seconds(2/p.control.rate)); gap > longest {
		gap = longest
	}
	p.written = p.now
	p.busy += Stamp(gap)
	p.control.spent += n
	p.demand.add(p.now, n)
	if p.control.rate != Unknown {
		p.tokens -= float64(n)
	}
	return p.busy
}

// Kind is what a submit_sm_resp says about the pace.
type Kind uint8

// The kinds of answers. One that never came is not reported.
const (
	Taken     Kind = iota // ESME_ROK, and every status that is not about the pace
	Throttled             // ESME_RTHROTTLED
	QueueFull             // ESME_RMSGQFUL
)

// Answer tells of a submit_sm_resp. For a Throttled or QueueFull one the result
// is how long the Message must wait for its destination: 0 means that it is
// written again, before what came after it, as soon as Wait allows.
func (p *Pacer) Answer(now time.Time, written Stamp, to Destination, k Kind) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	switch k {
	case QueueFull:
		hold, account := p.full.refuse(p.now, to)
		if account {
			p.refused++
			p.control.answer(p.now, p.busy, written, true)
		}
		return hold
	case Throttled:
		p.refused++
		p.full.answered(p.now)
		if !p.fixed {
			p.control.answer(p.now, p.busy, written, true)
		}
	default:
		p.refused = 0
		p.full.take(p.now, to)
		p.control.answer(p.now, p.busy, written, false)
	}
	return 0
}

// Held tells how long the destination still waits because its queue was full,
// 0 when the Message may be written. After a wait that is said to one Message
// only until it has its answer or a second has gone.
func (p *Pacer) Held(now time.Time, to Destination) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	return p.full.held(p.now, to)
}

// SetCeiling changes the ceiling: what is configured, or the share of it that
// this process has leased. 0 stops writing. A rate at the ceiling follows it; a
// rate that was cut keeps its ratio to it.
func (p *Pacer) SetCeiling(now time.Time, perSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	p.control.setCeiling(perSecond)
	p.tokens = min(p.tokens, p.bucket())
}

// Rate returns the submit_sm a second that may be written now.
func (p *Pacer) Rate() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.control.rate
}

// Demand returns how many submit_sm were written in about the last second, and
// whether the pace held some back then: if so, more is wanted than that.
func (p *Pacer) Demand(now time.Time) (perSecond float64, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	return p.demand.perSecond(p.now), p.demand.more(p.now)
}

// advance moves the clock and what depends on it alone. Tokens come at the rate
// that was in force.
func (p *Pacer) advance(now time.Time) {
	at := max(now.Sub(p.start), p.now)
	rate := p.control.rate
	if rate == Unknown {
		p.tokens = min(p.tokens, 0) // after full speed nothing is left for a burst
	} else {
		p.tokens = min(p.tokens+rate*(at-p.now).Seconds(), p.bucket())
	}
	p.now = at
	p.control.step(at)
}

// bucket returns the largest burst at the present rate. Bridges that share the
// ceiling share the burst as well: the operator counts them together. One
// submit_sm each is the least that can be written.
func (p *Pacer) bucket() float64 {
	switch {
	case p.control.rate == 0:
		return 0
	case p.burst > 0 && p.control.ceiling < p.agreed && p.agreed < Unknown:
		return max(1, p.burst*p.control.ceiling/p.agreed)
	case p.burst > 0:
		return p.burst
	}
	return max(minBurst, p.control.rate*burstTime.Seconds())
}

// seconds turns a number of seconds into a Duration, a huge one into about 30
// years.
func seconds(s float64) time.Duration {
	return time.Duration(min(s, 1e9) * float64(time.Second))
}
