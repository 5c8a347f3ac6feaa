package smpp

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
)

// What is coming back and has ended elsewhere is not kept for ever.
func TestWhatNeverComesBackIsForgotten(t *testing.T) {
	b := bridgeOn(nil)
	l := &lease{id: 1}
	b.extend(l, b.now())
	comes := func(i int, deadline time.Time) {
		id := mobileid.ID{1, byte(i >> 16), byte(i >> 8), byte(i)}
		b.readmit(&job{admission: mobileid.Admission{ID: id, Deadline: deadline}, lease: l, asked: b.now()})
	}
	for i := range maxHeld {
		comes(i, b.now().Add(-time.Second))
	}
	comes(maxHeld, b.now().Add(time.Hour))
	if n := len(b.coming); n != 1 {
		t.Errorf("%d jobs are remembered, want the one whose time is not over", n)
	}
}

// The registry was away for longer than the lease, and puts what the bridge had in
// doubt as soon as it is back. A notice that was not written says so and is sent.
func TestWhatWasNotWrittenIsSentAfterALeaseThatWasTakenForDead(t *testing.T) {
	const lease = 600 * time.Millisecond
	tune := func(c *Config) { c.Lease, c.Profile.Binds[0].Window = lease, 1 }
	answer := func(n int, _ submitted) reply {
		if n == 0 {
			return reply{after: lease + 100*time.Millisecond}
		}
		return reply{}
	}
	var gone atomic.Bool
	away := func() error {
		if gone.Load() {
			return mobileid.Unavailable("database_away", time.Second, nil)
		}
		return nil
	}
	breakable := func(r *rig) {
		r.store.onRenew = away
		r.store.onSettle = func([]mobileid.Outcome) error { return away() }
		r.store.onAdmit = func([]mobileid.AdmitItem) error { return away() }
	}
	inBubbleWith(t, tune, answer, breakable, func(r *rig, o *operator) {
		synctest.Wait()
		first, second := r.message(mobileid.LaneBulk, nil), r.message(mobileid.LaneBulk, nil)
		r.mustTake(mobileid.LaneBulk, first)
		r.mustTake(mobileid.LaneBulk, second)
		gone.Store(true)
		time.Sleep(5 * time.Second)
		r.store.mu.Lock()
		for _, id := range []mobileid.ID{first, second} {
			r.store.rows[id].state, r.store.rows[id].reason = mobileid.MessageInDoubt, mobileid.ReasonOwnerLost
		}
		r.store.mu.Unlock()
		gone.Store(false)
		r.until(first, mobileid.MessageSent)
		r.until(second, mobileid.MessageSent)
		if a, b := len(o.of(first)), len(o.of(second)); a != 1 || b != 1 {
			t.Errorf("written %d and %d times, want once each", a, b)
		}
	})
}
