package smpp

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// The pace of smpp/pace, on a whole bridge. An operator needs some time for each
// answer: without it no time would pass in the bubble.
const answerTime = 20 * time.Millisecond

// meteredOperator answers by what comes in a time.
type meteredOperator struct {
	mu     sync.Mutex
	tokens float64
	at     time.Time
}

// limit throttles above so many a second and ten at once.
func (m *meteredOperator) limit(perSecond float64) func(int, submitted) reply {
	return func(_ int, s submitted) reply {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.at.IsZero() {
			m.tokens = 10
		} else {
			m.tokens = min(10, m.tokens+perSecond*s.at.Sub(m.at).Seconds())
		}
		m.at = s.at
		if m.tokens < 1 {
			return reply{status: wire.StatusThrottled, after: answerTime}
		}
		m.tokens--
		return reply{after: answerTime}
	}
}

// traffic is notices that come at a steady rate, each for a number of its own.
type traffic struct {
	*rig
	came map[string]time.Time // by number
}

func newTraffic(r *rig) *traffic { return &traffic{rig: r, came: map[string]time.Time{}} }

// one brings a notice for a number.
func (f *traffic) one(dest string) {
	id := f.message(mobileid.LaneBulk, func(x *row) {
		plain, _ := json.Marshal(mobileid.SealedText{To: dest, Text: secretText})
		x.admission.Sealed, _ = f.sealer.Seal(x.admission.ID[:], plain)
		number, _ := mobileid.ParseMSISDN(dest)
		x.admission.Dest = f.bridge.numbers.Number(number)
	})
	go f.bring(mobileid.LaneBulk, id)
}

// run brings so many a second for so long; each is called beside, once a second.
func (f *traffic) run(perSecond int, length time.Duration, each func()) {
	every := time.Second / time.Duration(perSecond)
	for n := range int(length / every) {
		dest := fmt.Sprintf("9989%08d", n)
		f.came[dest] = time.Now()
		f.one(dest)
		if each != nil && n%perSecond == 0 {
			each()
		}
		time.Sleep(every)
	}
}

// counts are what an operator took and throttled a second between two times.
func counts(o *operator, from, to time.Time) (taken, throttled float64) {
	for _, s := range o.all() {
		if s.at.Before(from) || !s.at.Before(to) {
			continue
		}
		if s.reply.status == wire.StatusOK {
			taken++
		} else {
			throttled++
		}
	}
	seconds := to.Sub(from).Seconds()
	return taken / seconds, throttled / seconds
}

func wide(rate int) func(*Config) {
	return func(c *Config) { c.Profile.Binds[0].Window, c.Profile.Pace.Rate = 50, rate }
}

// An operator whose limit nobody has named, and twice as much to send: within
// half a minute nine tenths of it are taken, and hardly anything is throttled.
func TestALimitThatNobodyNamedIsFound(t *testing.T) {
	const limit = 100
	inBubble(t, wide(0), (&meteredOperator{}).limit(limit), func(r *rig, o *operator) {
		began := time.Now()
		newTraffic(r).run(2*limit, 90*time.Second, nil)
		taken, throttled := counts(o, began.Add(30*time.Second), began.Add(90*time.Second))
		if taken < 0.9*limit || throttled > 0.01*(taken+throttled) {
			t.Errorf("%.1f/s taken of %d, %.2f/s throttled", taken, limit, throttled)
		}
	})
}

// Each tenth submit_sm is throttled, whatever the pace: it is not slowed for it.
func TestThrottlingThatSlownessDoesNotHelpIsBorne(t *testing.T) {
	rate := func(answer func(int, submitted) reply) (taken float64) {
		inBubble(t, wide(100), answer, func(r *rig, o *operator) {
			began := time.Now()
			newTraffic(r).run(150, 90*time.Second, nil)
			taken, _ = counts(o, began, began.Add(90*time.Second))
		})
		return taken
	}
	plain := rate(func(int, submitted) reply { return reply{after: answerTime} })
	tenth := rate(func(n int, _ submitted) reply {
		if n%10 == 9 {
			return reply{status: wire.StatusThrottled, after: answerTime}
		}
		return reply{after: answerTime}
	})
	if tenth < 0.85*plain {
		t.Errorf("%.1f/s are taken, and %.1f/s without throttling", tenth, plain)
	}
}

// The queue of one number is full for three minutes: the others do not wait for it.
func TestAFullQueueOfOneNumberDoesNotSlowTheOthers(t *testing.T) {
	const blocked = "998991112233"
	p99 := func(status wire.Status) (wait time.Duration, refused int) {
		answer := func(_ int, s submitted) reply {
			if s.dest == blocked {
				return reply{status: status, after: answerTime}
			}
			return reply{after: answerTime}
		}
		inBubble(t, wide(100), answer, func(r *rig, o *operator) {
			f := newTraffic(r)
			f.run(60, 3*time.Minute, func() { f.one(blocked) })
			time.Sleep(10 * time.Second)
			taken := map[string]time.Time{}
			for _, s := range o.all() {
				switch {
				case s.reply.status == wire.StatusOK:
					taken[s.dest] = s.answered
				case s.dest == blocked:
					refused++
				}
			}
			var waits []time.Duration
			for dest, came := range f.came {
				at, is := taken[dest]
				if !is {
					t.Errorf("%s was not taken", dest)
				}
				waits = append(waits, at.Sub(came))
			}
			slices.Sort(waits)
			wait = waits[len(waits)*99/100]
		})
		return wait, refused
	}
	without, _ := p99(wire.StatusOK)
	with, refused := p99(wire.StatusQueueFull)
	if with > without+time.Millisecond {
		t.Errorf("p99 of the others went from %v to %v", without, with)
	}
	if refused == 0 || refused > 20 {
		t.Errorf("the full queue was written to %d times", refused)
	}
}

// Who throttles everything, in no time at all, is not asked as fast as he answers,
// and takes the whole backlog soon after he takes again.
func TestAnOperatorWhoThrottlesEverythingIsNotHammered(t *testing.T) {
	var back atomic.Bool
	answer := func(int, submitted) reply {
		if back.Load() {
			return reply{after: answerTime}
		}
		return reply{status: wire.StatusThrottled}
	}
	inBubble(t, wide(0), answer, func(r *rig, o *operator) {
		began := time.Now()
		f := newTraffic(r)
		f.run(20, 20*time.Second, nil)
		if _, n := counts(o, began, began.Add(time.Second)); n > 300 {
			t.Errorf("%v submit_sm in the first second", n)
		}
		if _, n := counts(o, began.Add(15*time.Second), began.Add(20*time.Second)); n < 0.5 || n > 5 {
			t.Errorf("%v submit_sm a second after a quarter of a minute", n)
		}
		back.Store(true)
		time.Sleep(30 * time.Second)
		if taken, _ := counts(o, began, time.Now()); int(taken*time.Since(began).Seconds()+0.5) != len(f.came) {
			t.Errorf("%.0f of %d were taken half a minute after he takes again", taken*time.Since(began).Seconds(), len(f.came))
		}
	})
}
