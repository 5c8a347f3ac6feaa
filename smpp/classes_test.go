package smpp

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// A code that came too fast is written again at once, before what waits behind
// it; nothing is stored for it and the bind goes on.
func TestTooFastIsWrittenAgainInItsPlace(t *testing.T) {
	tune := func(c *Config) { c.Profile.Binds[0].Window = 1 }
	inBubble(t, tune, statuses(wire.StatusThrottled, wire.StatusThrottled), func(r *rig, o *operator) {
		first, second := r.message(mobileid.LaneBulk, nil), r.message(mobileid.LaneBulk, nil)
		r.mustTake(mobileid.LaneBulk, first, second)
		r.until(first, mobileid.MessageSent)
		r.until(second, mobileid.MessageSent)
		if got := r.outcomes(first); !slices.Equal(got, []string{"sent "}) {
			t.Errorf("stored %q", got)
		}
		if n := len(o.of(first)); n != 3 || o.seen[2].reference != reference(first) || o.binds != 1 {
			t.Errorf("written %d times, on %d binds: %+v", n, o.binds, o.seen)
		}
		if n := testutil.ToFloat64(r.bridge.metrics.throttled); n != 2 {
			t.Errorf("%v throttled", n)
		}
	})
}

// What was taken is not written again: neither in the same second nor when the
// Message has been admitted again.
func TestOnlyThePartThatIsMissingIsWrittenAgain(t *testing.T) {
	for name, status := range map[string]wire.Status{"too fast": wire.StatusThrottled, "later": wire.StatusSystemError, "trouble of the bind": wire.StatusNotBound} {
		t.Run(name, func(t *testing.T) {
			refused := false
			answer := func(_ int, s submitted) reply {
				if s.part == 2 && !refused {
					refused = true
					return reply{status: status}
				}
				return reply{}
			}
			inBubble(t, nil, answer, func(r *rig, o *operator) {
				id := r.long(mobileid.LaneBulk)
				r.mustTake(mobileid.LaneBulk, id)
				r.until(id, mobileid.MessageSent)
				var parts []int
				for _, s := range o.of(id) {
					parts = append(parts, s.part)
				}
				if !slices.Equal(parts, []int{1, 2, 2}) {
					t.Errorf("parts %v were written", parts)
				}
				ids := map[int]string{}
				for _, x := range r.store.outcomes {
					for _, p := range x.Parts {
						if p.OperatorID != "" {
							ids[p.Part] = p.OperatorID
						}
					}
				}
				if len(ids) != 2 || ids[1] == ids[2] {
					t.Errorf("ids of the parts: %v", ids)
				}
			})
		})
	}
}

// "Later" counts, over all admissions; "too fast" does not.
func TestTriesAreCountedToTheirBound(t *testing.T) {
	const later = wire.Status(0x45) // once more, says the table
	inBubble(t, nil, statuses(wire.StatusThrottled, later, wire.StatusThrottled, later), func(r *rig, _ *operator) {
		id := r.message(mobileid.LaneBulk, nil)
		r.mustTake(mobileid.LaneBulk, id)
		r.until(id, mobileid.MessageRejected)
		if got := r.outcomes(id); !slices.Equal(got, []string{"retry smpp_0x45", "rejected smpp_0x45"}) {
			t.Errorf("stored %q", got)
		}
	})
}

// An operator who asks for later for ever: nothing is written after the
// Message's deadline.
func TestLaterEndsWithTheDeadline(t *testing.T) {
	always := func(int, submitted) reply { return reply{status: wire.StatusSystemError} }
	inBubble(t, nil, always, func(r *rig, o *operator) {
		deadline := time.Now().Add(3 * time.Minute)
		id := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Deadline = deadline })
		r.mustTake(mobileid.LaneOTP, id)
		time.Sleep(4 * time.Minute)
		r.until(id, mobileid.MessageExpired)
		seen := o.of(id)
		if last := seen[len(seen)-1].at; len(seen) < 10 || len(seen) > 20 || last.After(deadline) {
			t.Errorf("%d times, last %v after the deadline", len(seen), last.Sub(deadline))
		}
	})
}

// Trouble of the bind renews it; the Message was surely not taken.
func TestTroubleOfTheBindRenewsItAndSendsTheMessageOnce(t *testing.T) {
	inBubble(t, nil, statuses(wire.StatusNotBound), func(r *rig, o *operator) {
		id := r.message(mobileid.LaneOTP, nil)
		r.mustTake(mobileid.LaneOTP, id)
		r.until(id, mobileid.MessageSent)
		if got := r.outcomes(id); !slices.Equal(got, []string{"retry not_written", "sent "}) || o.binds != 2 || len(o.seen) != 2 {
			t.Errorf("stored %q, %d binds, %d submit_sm", got, o.binds, len(o.seen))
		}
	})
}

// Wrong settings cost the Message and raise an alarm; ten in a row stop the
// link, which is tried again after a while. One that is taken starts the count
// anew.
func TestWrongSettingsStopTheLinkWhenTheyRepeat(t *testing.T) {
	const wrong = wire.Status(0x0A)
	answer := func(n int, _ submitted) reply {
		if n == wrongInRow-1 || n >= 2*wrongInRow {
			return reply{}
		}
		return reply{status: wrong}
	}
	tune := func(c *Config) { c.Profile.Binds[0].Window = 1 }
	inBubble(t, tune, answer, func(r *rig, o *operator) {
		began := time.Now()
		var ids []mobileid.ID
		for range 2*wrongInRow + 1 {
			ids = append(ids, r.message(mobileid.LaneBulk, nil))
		}
		r.mustTake(mobileid.LaneBulk, ids[:2*wrongInRow]...)
		r.until(ids[2*wrongInRow-1], mobileid.MessageRejected)
		r.linkIs("a", LinkRefused)
		if n := testutil.ToFloat64(r.bridge.metrics.misconfigured.WithLabelValues("0x0a")); n != 2*wrongInRow-1 {
			t.Errorf("%v counted", n)
		}
		logs := r.logs.String()
		if strings.Count(logs, "our settings are wrong") != 1 || strings.Count(logs, `"msg":"the operator refuses our settings"`) != 1 {
			t.Errorf("want one alarm for the answers and one for the link: %s", logs)
		}
		time.Sleep(3 * time.Minute)
		if v := r.linkIs("a", LinkUp); v.Since.Sub(began) < time.Minute || o.binds != 2 {
			t.Errorf("bound again after %v, %d binds", v.Since.Sub(began), o.binds)
		}
		r.mustTake(mobileid.LaneBulk, ids[2*wrongInRow])
		r.until(ids[2*wrongInRow], mobileid.MessageSent)
	})
}

func TestAStatusInNoTableIsCounted(t *testing.T) {
	inBubble(t, nil, statuses(0x4FE), func(r *rig, _ *operator) {
		id := r.message(mobileid.LaneOTP, nil)
		r.mustTake(mobileid.LaneOTP, id)
		r.until(id, mobileid.MessageRejected)
		if n := testutil.ToFloat64(r.bridge.metrics.unmapped.WithLabelValues("0x4fe")); n != 1 {
			t.Errorf("%v counted", n)
		}
	})
}

// One number's full queue makes only its own Messages wait.
func TestAFullQueueOfOneNumberDoesNotHoldTheOthers(t *testing.T) {
	full := mobileid.Pseudonym{9}
	var blocked []uint16
	answer := func(_ int, s submitted) reply {
		if slices.Contains(blocked, s.reference) {
			return reply{status: wire.StatusQueueFull}
		}
		return reply{}
	}
	inBubble(t, nil, answer, func(r *rig, o *operator) {
		its := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Dest = full })
		blocked = append(blocked, reference(its))
		r.mustTake(mobileid.LaneOTP, its)
		r.until(its, mobileid.MessageRetry)
		if n := len(o.of(its)); n != 3 || r.last(its).Tried {
			t.Errorf("written %d times before it waits: %+v", n, r.last(its))
		}
		began := time.Now()
		another := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Dest = full })
		r.mustTake(mobileid.LaneOTP, another)
		r.until(another, mobileid.MessageRetry)
		if n := len(o.of(another)); n != 0 {
			t.Errorf("written %d times to a number that waits", n)
		}
		for range 20 {
			id := r.message(mobileid.LaneOTP, nil)
			r.mustTake(mobileid.LaneOTP, id)
			r.until(id, mobileid.MessageSent)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("the others waited %v", d)
		}
	})
}

// The pace of the profile, and the share of it that is leased.
func TestThePaceBoundsWhatIsWritten(t *testing.T) {
	tune := func(c *Config) { c.Profile.Pace.Rate, c.Profile.Binds[0].Window = 20, 50 }
	inBubble(t, tune, statuses(), func(r *rig, o *operator) {
		var ids []mobileid.ID
		for range 400 {
			ids = append(ids, r.message(mobileid.LaneBulk, nil))
		}
		go func() { _ = r.take(mobileid.LaneBulk, ids...) }()
		count := func(d time.Duration) int {
			o.mu.Lock()
			before := len(o.seen)
			o.mu.Unlock()
			time.Sleep(d)
			o.mu.Lock()
			defer o.mu.Unlock()
			return len(o.seen) - before
		}
		if n := count(5 * time.Second); n < 95 || n > 106 {
			t.Errorf("%d in 5 s at 20/s with a burst of 5", n)
		}
		if rate, more := r.bridge.Demand(); !more || rate < 18 || rate > 22 {
			t.Errorf("demand %v, more %t", rate, more)
		}
		r.bridge.SetPace(5)
		if n := count(4 * time.Second); n < 18 || n > 25 {
			t.Errorf("%d in 4 s at 5/s", n)
		}
		r.bridge.SetPace(0)
		if n := count(4 * time.Second); n > 1 {
			t.Errorf("%d at 0/s", n)
		}
		r.store.mu.Lock()
		for _, x := range r.store.rows {
			if x.state == mobileid.MessageAdmitted {
				t.Error("a Message waits with an old admission while the pace is 0")
			}
		}
		r.store.mu.Unlock()
	})
}

// A code overtakes notices that wait for the pace.
func TestACodeOvertakesNoticesThatWaitForThePace(t *testing.T) {
	tune := func(c *Config) { c.Profile.Pace.Rate, c.Profile.Pace.Burst = 10, 1 }
	inBubble(t, tune, statuses(), func(r *rig, o *operator) {
		var ids []mobileid.ID
		for range 50 {
			ids = append(ids, r.message(mobileid.LaneBulk, nil))
		}
		go func() { _ = r.take(mobileid.LaneBulk, ids...) }()
		time.Sleep(time.Second)
		code, began := r.message(mobileid.LaneOTP, nil), time.Now()
		r.mustTake(mobileid.LaneOTP, code)
		r.until(code, mobileid.MessageSent)
		if d := o.of(code)[0].at.Sub(began); d > 150*time.Millisecond {
			t.Errorf("the code waited %v", d)
		}
	})
}
