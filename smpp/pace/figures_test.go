package pace

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Each test prints a row; "go test -v" shows the table.

const roundTrip = 20 * time.Millisecond

func sec(n int) time.Duration { return time.Duration(n) * time.Second }

// row prints what was got and checks it: at least so many taken a second, at
// most that throttled share.
func row(t *testing.T, what string, f figures, taken, throttled float64) {
	t.Helper()
	t.Logf("%-58s %7.1f/s taken (want %6.1f)  %6.2f %% throttled (at most %5.2f %%)",
		what, f.taken, taken, 100*f.throttled, 100*throttled)
	if f.taken < taken {
		t.Errorf("%s: %.1f/s taken, want at least %.1f/s", what, f.taken, taken)
	}
	if f.throttled > throttled {
		t.Errorf("%s: %.2f %% throttled, want at most %.2f %%", what, 100*f.throttled, 100*throttled)
	}
}

func random(share float64) operator {
	return &sometimes{share, rand.New(rand.NewPCG(5, 6))}
}

func always(time.Duration, Destination) Kind { return Taken }

// jitter adds up to 2 ms to the round trip, and each ten seconds one that is
// twice longer, with what follows behind it at once: a lost segment.
func (w *world) jitter() {
	base, lost := w.trip(0), time.Duration(0)
	w.trip = func(at time.Duration) time.Duration {
		if at > lost+10*time.Second {
			lost = at
			return 3 * base
		}
		return base + time.Duration(w.chance.Int64N(int64(2*time.Millisecond)))
	}
}

func TestAKnownLimitIsFilledWithoutBeingThrottled(t *testing.T) {
	for _, c := range []struct {
		name     string
		operator func() operator
	}{
		{"500/s, burst 50, ceiling 500", func() operator { return newBucket(constant(500), 50) }},
		{"500 in each second, ceiling 500", func() operator { return &quota{limit: 500} }},
	} {
		for _, jitter := range []bool{false, true} {
			w := newWorld(c.operator(), roundTrip)
			name := c.name
			if jitter {
				w.jitter()
				name += ", jitter"
			}
			b := w.join(500, 100)
			w.run(sec(60))
			row(t, name, measure(0, w.now, b), 480, 0.01)
		}
	}
}

func TestAnUnknownLimitIsFoundFromAbove(t *testing.T) {
	for _, c := range []struct {
		name     string
		operator operator
		limit    float64
		ceiling  float64
		window   int
		share    float64 // throttled while it looks for more
	}{
		{"500/s, burst 50, from 2 x", newBucket(constant(500), 50), 500, Unknown, 20, 0.01},
		{"500/s, burst 50, from 2 x (ceiling too high)", newBucket(constant(500), 50), 500, 1000, 100, 0.01},
		{"500/s, burst 50, from 10 x", newBucket(constant(500), 50), 500, Unknown, 100, 0.01},
		{"500/s, burst 500, from 2 x", newBucket(constant(500), 500), 500, Unknown, 20, 0.01},
		{"500/s, burst 5, from 2 x", newBucket(constant(500), 5), 500, Unknown, 20, 0.01},
		{"500 in each second, from 2 x", &quota{limit: 500}, 500, Unknown, 20, 0.01},
		{"500 in each second, from 10 x", &quota{limit: 500}, 500, Unknown, 100, 0.01},
		{"2000/s, burst 200, from 2 x", newBucket(constant(2000), 200), 2000, Unknown, 80, 0.01},
		// A probe cannot be smaller than a few messages.
		{"10/s, burst 5, from 100 x", newBucket(constant(10), 5), 10, Unknown, 20, 0.05},
	} {
		w := newWorld(c.operator, roundTrip)
		w.jitter()
		b := w.join(c.ceiling, c.window)
		w.run(sec(90))
		row(t, c.name+", second 20 to 30", measure(sec(20), sec(30), b), 0.9*c.limit, 0.1)
		row(t, c.name+", the minute after", measure(sec(30), w.now, b), 0.96*c.limit, c.share)
	}
}

// Limits, starts, round trips and windows as they come.
func TestALimitIsFoundWhateverItIs(t *testing.T) {
	worst := 1.0
	for seed := range uint64(60) {
		chance := rand.New(rand.NewPCG(seed, 9))
		pick := func(v ...float64) float64 { return v[chance.IntN(len(v))] }
		limit := pick(2, 5, 10, 20, 50, 100, 200)
		trip := pick(0.005, 0.02, 0.05, 0.1)
		window := int(limit*pick(1.5, 2, 3, 5, 10)*trip) + 1
		w := newWorld(newBucket(constant(limit), max(2, limit*pick(0.05, 0.1, 0.2, 1))), seconds(trip))
		w.chance = chance
		b := w.join(Unknown, window)
		w.run(sec(90))
		for _, f := range []figures{measure(sec(20), sec(30), b), measure(sec(30), w.now, b)} {
			worst = min(worst, f.taken/limit)
			if f.taken < 0.9*limit {
				t.Errorf("%.0f/s, round trip %.0f ms, window %d: %.1f/s taken", limit, 1000*trip, window, f.taken)
			}
		}
	}
	t.Logf("60 random worlds: at least %.1f %% of the limit", 100*worst)
}

func TestACutThatDoesNotHelpIsUndone(t *testing.T) {
	for _, c := range []struct {
		name     string
		operator operator
		left     float64 // share that is not throttled
		ceiling  float64
		window   int
		full     float64 // a second, when nothing is throttled
		minutes  int
	}{
		{"every 10th throttled, no limit, window 40", &every{n: 10}, 0.9, Unknown, 40, 2000, 1},
		{"every 10th throttled, no limit, window 10", &every{n: 10}, 0.9, Unknown, 10, 500, 5},
		{"every 10th throttled, ceiling 500", &every{n: 10}, 0.9, 500, 100, 500, 5},
		{"every 10th throttled, ceiling 50", &every{n: 10}, 0.9, 50, 100, 50, 10},
		{"every 10th throttled, ceiling 10", &every{n: 10}, 0.9, 10, 10, 10, 10},
		{"every 3rd throttled, ceiling 500", &every{n: 3}, 0.67, 500, 100, 500, 5},
		{"10 % at random, ceiling 500", random(0.1), 0.9, 500, 100, 500, 5},
		{"2 % at random, ceiling 500", random(0.02), 0.98, 500, 100, 500, 5},
		{"10 % at random, ceiling 50", random(0.1), 0.9, 50, 100, 50, 10},
	} {
		w := newWorld(c.operator, roundTrip)
		b := w.join(c.ceiling, c.window)
		cuts, was := 0, b.pacer.Rate()
		w.second = func(time.Duration) {
			now := b.pacer.Rate()
			if now < was {
				cuts++
			}
			was = now
		}
		w.run(sec(60 * c.minutes))
		want := 0.85 / 0.9 * c.left * c.full
		row(t, c.name+", first minute", measure(0, sec(60), b), want, 1.02-c.left)
		row(t, c.name+", all minutes", measure(0, w.now, b), want, 1.02-c.left)
		// After 30 s, one minute, two, four and eight.
		if cuts > 2+c.minutes/2 {
			t.Errorf("%s: %d cuts in %d minutes: an undone cut is tried again too soon", c.name, cuts, c.minutes)
		}
		if r := b.pacer.Rate(); r != c.ceiling {
			t.Errorf("%s: at the end the rate is %v, want %v", c.name, r, c.ceiling)
		}
	}
}

func TestALimitIsFoundBeneathThrottlingThatNothingHelps(t *testing.T) {
	w := newWorld(chain{&every{n: 10}, newBucket(constant(500), 50)}, roundTrip)
	b := w.join(Unknown, 100)
	w.run(sec(300))
	row(t, "every 10th throttled and 500/s, burst 50", measure(sec(30), w.now, b), 0.85*500, 0.13)
}

func TestThrottlingThatEndsIsForgotten(t *testing.T) {
	w := newWorld(during{0, sec(60), &every{n: 10}}, roundTrip)
	w.operator = chain{w.operator, during{sec(75), sec(1000), newBucket(constant(460), 50)}}
	b := w.join(500, 100)
	w.run(sec(95))
	row(t, "every 10th until 60 s, then none", measure(sec(62), sec(75), b), 499, 0)
	// The cut before was undone for a minute, and 8 % would pass for its share.
	row(t, "then 460/s from 75 s", measure(sec(80), w.now, b), 0.96*460, 0.02)
}

func TestALimitThatChangesIsFollowed(t *testing.T) {
	limit := func(at time.Duration) float64 {
		switch {
		case at < sec(60):
			return 500
		case at < sec(180):
			return 250
		case at < sec(360):
			return 500
		}
		return 1000
	}
	for _, c := range []struct {
		name    string
		ceiling float64
	}{{"unknown", Unknown}, {"ceiling 1000", 1000}} {
		w := newWorld(newBucket(limit, 50), roundTrip)
		w.jitter()
		b := w.join(c.ceiling, 100)
		w.run(sec(600))
		row(t, c.name+": 500/s", measure(sec(30), sec(60), b), 450, 0.01)
		row(t, c.name+": halved at 60 s, 5 s later", measure(sec(65), sec(180), b), 0.95*250, 0.02)
		row(t, c.name+": doubled at 180 s, 75 s later", measure(sec(255), sec(360), b), 450, 0.01)
		row(t, c.name+": doubled at 360 s, 75 s later", measure(sec(435), w.now, b), 900, 0.01)
	}
}

func TestSlowAnswersAreNotThrottling(t *testing.T) {
	for _, ceiling := range []float64{Unknown, 500} {
		w := newWorld(answerFunc(always), roundTrip)
		slow := func(at time.Duration) time.Duration {
			if at >= sec(30) && at < sec(60) {
				return 400 * time.Millisecond
			}
			return roundTrip
		}
		w.trip = slow
		b := w.join(ceiling, 10)
		w.run(sec(90))
		row(t, "window 10, answers after 20 ms", measure(sec(1), sec(30), b), 0.95*500, 0)
		row(t, "answers after 400 ms", measure(sec(31), sec(60), b), 0.95*25, 0)
		row(t, "answers after 20 ms again", measure(sec(61), sec(90), b), 0.95*500, 0)
		if r := b.pacer.Rate(); r != ceiling {
			t.Errorf("the rate is %v, want %v", r, ceiling)
		}
	}
}

func TestAnOperatorWhoTakesNothingIsNotHammered(t *testing.T) {
	for _, c := range []struct {
		name    string
		ceiling float64
		full    float64
	}{{"ceiling 500", 500, 500}, {"unknown, window 20", Unknown, 1000}} {
		nothing := answerFunc(func(time.Duration, Destination) Kind { return Throttled })
		w := newWorld(during{sec(30), sec(60), nothing}, roundTrip)
		b := w.join(c.ceiling, 20)
		w.run(sec(120))
		if wrote := float64(between(b.written, sec(35), sec(60))) / 25; wrote > 0.01*c.full {
			t.Errorf("%s: %.1f/s written while nothing is taken", c.name, wrote)
		}
		row(t, c.name+": throttles all from 30 to 60 s; second 72 to 120", measure(sec(72), w.now, b), 0.9*c.full, 0.01)
	}
}

func TestBurstsOfDemandAreSpreadAndDoNotMisleadTheMeasurement(t *testing.T) {
	for _, c := range []struct {
		name    string
		ceiling float64
		share   float64
	}{{"ceiling 500", 500, 0}, {"unknown", Unknown, 0.12}} {
		w := newWorld(newBucket(constant(500), 50), roundTrip)
		b := w.join(c.ceiling, 100)
		b.demand = append(b.demand, bursts(1000, sec(10), func(time.Duration) bool { return true }))
		w.run(sec(300))
		row(t, c.name+": 1000 at once each 10 s", measure(sec(10), sec(300), b), 100, c.share)
		row(t, c.name+": while they are written", measure(sec(200), sec(202), b), 400, 0.05)
	}
}

func TestARateOutlastsIdleTime(t *testing.T) {
	w := newWorld(newBucket(constant(500), 50), roundTrip)
	b := w.join(Unknown, 100)
	b.demand = append(b.demand, bursts(5000, sec(10), func(at time.Duration) bool { return at < sec(60) || at >= sec(660) }))
	w.run(sec(700))
	row(t, "after ten minutes of silence", measure(sec(660), sec(700), b), 470, 0.01)
}

func TestSharesOfALeaseAddUp(t *testing.T) {
	for _, c := range []struct {
		name        string
		agreed, got float64
	}{{"500 agreed, 500/s", 500, 500}, {"500 agreed, 400/s in truth", 500, 400}} {
		w := newWorld(newBucket(constant(c.got), 50), roundTrip)
		one, two := w.join(c.agreed/2, 50), w.join(c.agreed/2, 50)
		late := w.join(0, 50)
		w.second = func(at time.Duration) {
			n := 2.0
			if at >= sec(60) && at < sec(120) {
				n = 3
			}
			one.pacer.SetCeiling(w.clock(), c.agreed/n)
			two.pacer.SetCeiling(w.clock(), c.agreed/n)
			if n == 3 {
				late.pacer.SetCeiling(w.clock(), c.agreed/n)
			} else {
				late.pacer.SetCeiling(w.clock(), 0)
			}
		}
		w.run(sec(300))
		name := "leases, " + c.name
		row(t, name+": two", measure(sec(20), sec(60), w.bridges...), 0.96*c.got, 0.01)
		row(t, name+": three from 60 to 120 s", measure(sec(60), sec(120), w.bridges...), 0.94*c.got, 0.03)
		row(t, name+": two again", measure(sec(120), w.now, w.bridges...), 0.94*c.got, 0.01)
		if n := between(late.written, 0, sec(60)) + between(late.written, sec(120), w.now); n > 0 {
			t.Errorf("%d were written without a share", n)
		}
		if n := between(late.written, sec(60), sec(120)); n == 0 {
			t.Error("the third wrote nothing with a share")
		}
	}
}

func TestTwoWhoDoNotKnowOfEachOtherFindTheLimitTogether(t *testing.T) {
	w := newWorld(newBucket(constant(500), 50), roundTrip)
	one, two := w.join(Unknown, 20), w.join(Unknown, 20)
	w.run(sec(330))
	row(t, "two unknown, second 20 to 30", measure(sec(20), sec(30), one, two), 450, 0.1)
	row(t, "two unknown, the five minutes after", measure(sec(30), w.now, one, two), 450, 0.01)
	for i, b := range []*bridge{one, two} {
		if f := measure(sec(30), w.now, b); f.taken < 100 {
			t.Errorf("number %d got %.0f/s of 500", i+1, f.taken)
		}
	}
}

// An operator who takes nothing for a while when the limit was exceeded.
func TestAPenaltyIsRarelyRisked(t *testing.T) {
	for _, length := range []time.Duration{time.Second, 5 * time.Second} {
		w := newWorld(&penalty{operator: newBucket(constant(500), 50), length: length}, roundTrip)
		b := w.join(Unknown, 20)
		w.run(sec(330))
		row(t, "500/s, or nothing for "+length.String(), measure(sec(30), w.now, b), 0.6*500, 0.05)
	}
}
