package smpp

import (
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// A process that is bound and carries nothing is not ready: readiness looks at
// what comes on, not at what is connected.
func TestReadinessWatchesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, func(c *sessionConfig) { c.response = time.Hour; c.enquire = time.Hour })
		b := bridgeOn(nil)
		l := &lease{}
		until := time.Now().Add(time.Hour)
		l.until.Store(&until)
		b.lease = l
		b.links[0].session, b.links[0].state = p.s, LinkUp
		ready := func(want string) {
			t.Helper()
			if err := b.Ready(); mobileid.CodeOf(err) != want {
				t.Errorf("after %v: %v, want %q", time.Since(until.Add(-time.Hour)), err, want)
			}
		}
		accept := func(status wire.Status) {
			f := p.read()
			p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), status, f.Sequence))
			synctest.Wait()
		}
		ready("")
		time.Sleep(10 * time.Minute) // nothing to do is no standstill
		ready("")

		// Throttled without end: each answer is in time, and nothing comes on.
		b.submit(&job{}, nil)
		ready("")
		for range 4 {
			p.submit(nil)
			accept(0x58)
			time.Sleep(5 * time.Second)
		}
		ready("standstill")
		p.submit(nil)
		accept(wire.StatusOK)
		ready("")
		time.Sleep(14 * time.Second)
		ready("")
		time.Sleep(2 * time.Second)
		ready("standstill")
		b.outgoing.take(b.outgoing.head())
		ready("")

		// The response timer has let one be: whatever else is accepted.
		p.submit(nil)
		p.read()
		for range 4 {
			time.Sleep(4 * time.Second)
			p.submit(nil)
			accept(wire.StatusOK)
		}
		ready("unanswered")
		b.links[0].session = nil
		ready("link_down")
		p.end()
	})
}

// Whoever looks first is told how long it has stood: a probe that comes late,
// or seldom, does not begin to count.
func TestAStandstillCountsFromWhatBeganToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, func(c *sessionConfig) { c.response = time.Hour; c.enquire = time.Hour })
		b := bridgeOn(nil)
		b.links[0].session, b.links[0].state = p.s, LinkUp
		stands := func(when string, want time.Duration) {
			t.Helper()
			if got := b.standstill(time.Now()); got != want {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		time.Sleep(time.Minute)
		b.submit(&job{}, nil)
		time.Sleep(10 * time.Second)
		b.submit(&job{}, nil) // behind the one that waits
		time.Sleep(10 * time.Second)
		stands("at the first look", 20*time.Second)
		p.submit(nil) // from here on something waits for its answer
		b.outgoing.take(b.outgoing.head())
		b.outgoing.take(b.outgoing.head())
		f := p.read()
		b.submit(&job{}, nil)
		b.outgoing.take(b.outgoing.head())
		time.Sleep(10 * time.Second)
		stands("written, without an answer", 30*time.Second)

		// It is throttled, grows old, and comes back from the registry: for a
		// moment nothing waits here, and nothing has come on.
		p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), 0x58, f.Sequence))
		synctest.Wait()
		stands("with nothing to do", 0)
		b.submit(&job{returned: true}, nil)
		time.Sleep(10 * time.Second)
		stands("admitted again", 40*time.Second)

		// It is refused. What comes an hour later has not waited.
		b.outgoing.take(b.outgoing.head())
		time.Sleep(time.Hour)
		b.submit(&job{}, nil)
		time.Sleep(time.Second)
		stands("another after an hour", time.Second)
		p.end()
	})
}

// One Message at an operator who throttles everything is admitted again every
// second, and stands all the while.
func TestAThrottledMessageStandsHoweverOftenItIsAdmitted(t *testing.T) {
	throttled := func(int, submitted) reply { return reply{status: wire.StatusThrottled} }
	tune := func(c *Config) { c.Profile.Pace.Rate, c.Profile.Pace.Burst = 10, 1 }
	inBubble(t, tune, throttled, func(r *rig, _ *operator) {
		r.mustTake(mobileid.LaneOTP, r.message(mobileid.LaneOTP, nil))
		time.Sleep(time.Minute)
		still := time.Duration(0)
		for range 200 { // for a moment nothing waits here: it is on its way to the registry and back
			still = max(still, r.bridge.standstill(time.Now()))
			time.Sleep(10 * time.Millisecond)
		}
		r.store.mu.Lock()
		admits := len(r.store.admits)
		r.store.mu.Unlock()
		if still < time.Minute || admits < 30 {
			t.Errorf("stands for %v after a minute and %d admissions", still, admits)
		}
	})
}
