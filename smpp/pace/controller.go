package pace

import (
	"math"
	"time"
)

const (
	defaultFloor = 1
	// margin is where below the measured limit a cut goes.
	margin = 0.98
	// settling is how long after a cut the answers say nothing about it: an
	// operator who counts by the second has spent this second's quota.
	settling = Stamp(time.Second)

	// An undone cut is not tried again for undoneFor, doubling up to undoneMax.
	undoneFor = 30 * time.Second
	undoneMax = 10 * time.Minute

	// More is asked for again probeAfter a cut, doubling up to probeMax while
	// probes find the limit where it was, give or take sameLimit and few.
	probeAfter = 3 * time.Second
	probeMax   = time.Minute
	sameLimit  = 0.1
	// climbBy is what the first second of a probe adds; the second adds twice
	// that, and so on up to climbMax times.
	climbBy  = 0.02
	climbMax = 10

	// An account that takes fewer than few in a measurement is asked at the
	// share askAt of the rate, then at half of that, and so on; when it takes
	// again, at resumeBy times more each second up to the share resumeAt.
	few      = 5
	askAt    = 0.01
	resumeBy = 4
	resumeAt = 0.7
)

// controller decides the rate. It watches; when throttling is real it cuts and
// tries the cut; while a cut stands it probes for more from time to time.
type controller struct {
	floor, ceiling float64
	rate           float64
	since          Stamp // what was written up to here was not written at this rate
	answers        int   // to what was

	watching suspicion
	// usual is the throttled share that a cut did not lower. It is believed
	// until doubtAt, and follows the real one (recent) down.
	usual   float64
	recent  share
	doubtAt time.Duration
	undone  time.Duration

	trying bool
	trial  trial
	before float64 // the rate before the cut on trial
	wrote  float64 // what was written a second then
	lost   bool    // the account took almost nothing then

	limit   float64 // as last measured
	pause   time.Duration
	probeAt time.Duration // when the next probe may begin
	climb   int           // steps of the probe

	stepAt time.Duration
	spent  int // submit_sm since stepAt
}

func newController(ceiling, floor float64) controller {
	if !(floor > 0) { // NaN too
		floor = defaultFloor
	}
	ceiling = ceilingOf(ceiling)
	return controller{
		floor: floor, ceiling: ceiling, rate: ceiling,
		undone: undoneFor, pause: probeAfter, watching: suspect(0),
	}
}

func ceilingOf(perSecond float64) float64 {
	if !(perSecond > 0) { // NaN too
		return 0
	}
	return min(perSecond, Unknown)
}

// setCeiling keeps the ratio of rate and ceiling: shares of a lease change with
// the number of processes, and a cut tells how much less than the agreed the
// account takes.
func (c *controller) setCeiling(perSecond float64) {
	old := c.ceiling
	c.ceiling = ceilingOf(perSecond)
	move := func(rate float64) float64 {
		switch {
		case rate >= old:
			return c.ceiling
		case old < Unknown && c.ceiling < Unknown:
			rate *= c.ceiling / old
		}
		return c.within(rate)
	}
	if c.rate >= old {
		c.trying = false // there is no cut to judge
	}
	c.rate, c.before = move(c.rate), move(c.before)
	c.wrote = min(c.wrote, c.ceiling)
}

// within bounds a rate. The ceiling is stronger than the floor.
func (c *controller) within(rate float64) float64 { return min(max(rate, c.floor), c.ceiling) }

// answer takes one answer to what was written at that stamp; busy is the newest
// stamp of all.
func (c *controller) answer(now time.Duration, busy, written Stamp, throttled bool) {
	if written <= c.since {
		return
	}
	if c.trying {
		c.trial.add(written, throttled)
		if fell, over := c.trial.over(); over {
			c.judge(now, busy, fell)
		}
		return
	}
	c.answers++
	c.follow(written, throttled)
	c.watching.add(written, throttled)
	if c.watching.alarm() {
		c.cut(now, busy)
	}
}

// cut goes to what the operator took while he throttled, and puts that on trial.
func (c *controller) cut(now time.Duration, busy Stamp) {
	seen := c.watching.share
	perSecond := 1 / seen.span().Seconds()
	took := float64(seen.all-seen.throttled) * perSecond

	c.trying, c.before = true, c.rate
	c.wrote = min(float64(seen.all)*perSecond, c.rate)
	c.lost = seen.throttledShare() >= mostly && seen.all-seen.throttled < few
	to := margin * min(took, c.rate)
	if c.lost {
		to = askAt * c.wrote
	}
	if c.climb > 0 && (c.lost || math.Abs(took-c.limit) < sameLimit*c.limit+few*perSecond) {
		c.pause = min(2*c.pause, probeMax)
	} else {
		c.pause = probeAfter
	}
	c.probeAt, c.climb = now+c.pause, 0
	if c.limit == 0 {
		c.climb = climbMax / 2 // the first measurement is the roughest
	}
	if !c.lost {
		c.limit = took
	}
	c.change(to, busy+settling)
	c.trial = try(seen, c.usual, c.since)
}

// judge ends a trial.
func (c *controller) judge(now time.Duration, busy Stamp, fell bool) {
	left := c.trial.share.throttledShare()
	switch {
	case fell:
		c.trying = false
		c.usual = min(c.usual, c.trial.share.atMost())
		if c.lost {
			c.probeAt = now + c.pause
		}
		c.change(c.rate, busy)
	case c.lost || left >= mostly:
		// Almost nothing is taken: nothing is lost by being slow, and who refuses
		// everything should not be hammered.
		c.lost = true
		c.change(c.rate/2, busy)
		c.trial = try(c.trial.share, c.usual, c.since)
	default:
		c.trying = false
		both := pool(c.trial.seen, c.trial.share)
		c.usual = both.atMost()
		c.doubtAt = now + c.undone
		c.undone = min(2*c.undone, undoneMax)
		c.change(c.before, busy)
	}
}

// change sets the rate; answers count again from what is written after since.
func (c *controller) change(rate float64, since Stamp) {
	c.rate, c.since, c.answers = c.within(rate), since, 0
	c.watching = suspect(c.usual)
	c.recent = share{}
}

// follow lets the usual share fall with the real one, so that new throttling is
// not taken for the old.
func (c *controller) follow(written Stamp, throttled bool) {
	const enough = 200 // throttled answers, if the share were the usual one
	if c.usual == 0 {
		return
	}
	c.recent.add(written, throttled)
	if float64(c.recent.all)*c.usual < enough {
		return
	}
	if now := c.recent.throttledShare(); now < c.usual/2 {
		c.usual = c.recent.atMost()
		if now < tolerated {
			c.usual, c.undone = 0, undoneFor
		}
		c.watching = suspect(c.usual)
	}
	c.recent = share{}
}

// step does what the clock does, once a second: it doubts an undone cut, and
// climbs when the rate is below the ceiling and used up.
func (c *controller) step(now time.Duration) {
	elapsed := now - c.stepAt
	if elapsed < time.Second {
		return
	}
	// A longer step had nothing to write in it.
	used := elapsed < 2*time.Second && float64(c.spent+1) >= 0.9*c.rate*elapsed.Seconds()
	c.spent, c.stepAt = 0, now
	if c.usual > 0 && now >= c.doubtAt && !c.trying {
		c.usual = 0
		c.watching = suspect(0)
	}
	if c.trying || c.rate >= c.ceiling || !used {
		return
	}
	if back := resumeAt * c.wrote; c.lost && c.rate < back {
		c.rate = c.within(min(resumeBy*c.rate, back))
		return
	}
	if now < c.probeAt || c.answers < few || c.watching.lively() {
		return
	}
	c.climb = min(c.climb+1, climbMax)
	c.change(c.rate*(1+climbBy*float64(c.climb)), c.since)
}
