package smpp

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
)

// stub is a Charger whose answers the test says.
type stub struct {
	answer func(ctx context.Context, n int, to mobileid.Pseudonym) ChargeAnswer // to the n-th call for a Message, from 0
	tell   func(n int, what string, units int) error                            // to the n-th Settle or Refund of a Message; nil: done
	store  *memoryStore

	mu    sync.Mutex
	calls map[mobileid.ID]int
	told  map[mobileid.ID][]string // "settle 1", "step 3: refund 2": each call
	asked []Charge
}

func (s *stub) Reserve(ctx context.Context, m Charge) ChargeAnswer {
	s.mu.Lock()
	n := s.calls[m.ID]
	s.calls[m.ID]++
	s.asked = append(s.asked, m)
	s.mu.Unlock()
	s.store.mu.Lock()
	to := s.store.rows[m.ID].admission.Dest
	s.store.mu.Unlock()
	return s.answer(ctx, n, to)
}

func (s *stub) Settle(_ context.Context, m Charge, used int) error {
	return s.call(m.ID, "settle", used)
}

func (s *stub) Refund(_ context.Context, m Charge, units int) error {
	return s.call(m.ID, fmt.Sprintf("step %d: refund", m.Step), units)
}

func (s *stub) call(id mobileid.ID, what string, units int) error {
	s.mu.Lock()
	n := len(s.told[id])
	s.told[id] = append(s.told[id], fmt.Sprint(what, " ", units))
	s.mu.Unlock()
	if s.tell == nil {
		return nil
	}
	return s.tell(n, what, units)
}

func charged(t *testing.T, answer func(context.Context, int, mobileid.Pseudonym) ChargeAnswer, f func(*rig, *operator, *stub)) {
	t.Helper()
	s := &stub{answer: answer, calls: map[mobileid.ID]int{}, told: map[mobileid.ID][]string{}}
	tune := func(c *Config) { c.ChargesAtOnce = 100 }
	inBubbleWith(t, tune, statuses(), func(r *rig) {
		r.bridge.charging.charger, r.charging, s.store = s, mobileid.ChargingDiameter, r.store
	}, func(r *rig, o *operator) { f(r, o, s) })
}

// A charging that takes five seconds for some does not slow the others; whoever
// waited for it is admitted again, the fence included, and not asked about
// twice.
func TestASlowChargerSlowsNobodyElse(t *testing.T) {
	slow := func(p mobileid.Pseudonym) bool { return p[0] == 1 }
	answer := func(_ context.Context, _ int, to mobileid.Pseudonym) ChargeAnswer {
		if slow(to) {
			time.Sleep(5 * time.Second)
		}
		return ChargeYes
	}
	charged(t, answer, func(r *rig, o *operator, s *stub) {
		var late []mobileid.ID
		for i := range 60 {
			late = append(late, r.message(mobileid.LaneOTP, func(x *row) { x.admission.Dest = mobileid.Pseudonym{1, byte(i)} }))
		}
		for ids := range slices.Chunk(late, 5) {
			r.mustTake(mobileid.LaneOTP, ids...)
		}
		revoked := late[0]
		began := time.Now()
		for i := range 100 {
			id := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Dest = mobileid.Pseudonym{2, byte(i)} })
			at := time.Now()
			r.mustTake(mobileid.LaneOTP, id)
			r.until(id, mobileid.MessageSent)
			if d := o.of(id)[0].at.Sub(at); d > 100*time.Millisecond {
				t.Errorf("number %d waited %v", i, d)
			}
		}
		if d := time.Since(began); d > 4*time.Second {
			t.Fatalf("the others took %v, so nobody slow was asked about meanwhile", d)
		}
		r.store.mu.Lock()
		r.store.rows[revoked].refuse = true // its binding is gone while the charger thinks
		r.store.mu.Unlock()
		r.until(revoked, mobileid.MessageFenced)
		for _, id := range late[1:] {
			r.until(id, mobileid.MessageSent)
			if got := r.outcomes(id); !slices.Equal(got, []string{"retry not_written", "sent "}) || s.calls[id] != 1 {
				t.Fatalf("stored %q, asked %d times", got, s.calls[id])
			}
		}
		if len(o.of(revoked)) != 0 {
			t.Error("written after the revocation")
		}
		synctest.Wait()
		r.bridge.charging.mu.Lock()
		n := len(r.bridge.charging.paid)
		r.bridge.charging.mu.Unlock()
		if n != 0 {
			t.Errorf("%d are remembered", n)
		}
	})
}

func TestTheChargerSaysYesNoOrUnknown(t *testing.T) {
	poor, mute, busy := mobileid.Pseudonym{1}, mobileid.Pseudonym{2}, mobileid.Pseudonym{3}
	var asking atomic.Int32 // about busy
	answer := func(ctx context.Context, n int, who mobileid.Pseudonym) ChargeAnswer {
		switch {
		case who == poor:
			return ChargeNo
		case who == mute && n == 0:
			<-ctx.Done()
			return ChargeUnknown
		case who == busy:
			if asking.Add(1) > 1 {
				t.Error("asked about two Messages of one subscriber at once")
			}
			time.Sleep(time.Second / 4)
			asking.Add(-1)
		}
		return ChargeYes
	}
	charged(t, answer, func(r *rig, o *operator, s *stub) {
		to := func(p mobileid.Pseudonym) mobileid.ID {
			return r.message(mobileid.LaneBulk, func(x *row) { x.admission.Dest = p })
		}
		no, unknown, first, second := to(poor), to(mute), to(busy), to(busy)
		r.mustTake(mobileid.LaneBulk, no, unknown, first, second)
		r.until(no, mobileid.MessageNoFunds)
		for _, id := range []mobileid.ID{unknown, first, second} {
			r.until(id, mobileid.MessageSent)
		}
		for id, want := range map[mobileid.ID][]string{
			no: {"no_funds balance"}, unknown: {"retry charge_unknown", "sent "}, first: {"sent "}, second: {"sent "},
		} {
			if got := r.outcomes(id); !slices.Equal(got, want) {
				t.Errorf("stored %q, want %q", got, want)
			}
		}
		if len(o.of(no)) != 0 || s.calls[unknown] != 2 || r.last(unknown).Tried {
			t.Errorf("%d submit_sm for who cannot pay, %d calls for the unknown", len(o.of(no)), s.calls[unknown])
		}
	})
}

// Who finds no place in charging waits for one in turn, without going back to the
// registry, as long as its admission is good.
func TestAFullChargingIsWaitedFor(t *testing.T) {
	for _, c := range []struct{ takes, all time.Duration }{
		{300 * time.Millisecond, 700 * time.Millisecond}, // the second hundred still finds its place
		{1500 * time.Millisecond, 10 * time.Second},      // it does not, and comes again
	} {
		t.Run(c.takes.String(), func(t *testing.T) {
			answer := func(context.Context, int, mobileid.Pseudonym) ChargeAnswer { time.Sleep(c.takes); return ChargeYes }
			charged(t, answer, func(r *rig, _ *operator, s *stub) {
				var ids []mobileid.ID
				began := time.Now()
				for i := range 200 {
					ids = append(ids, r.message(mobileid.LaneOTP, func(x *row) { x.admission.Dest = mobileid.Pseudonym{1, byte(i)} }))
				}
				r.mustTake(mobileid.LaneOTP, ids...)
				for i, id := range ids {
					r.until(id, mobileid.MessageSent)
					back := slices.Contains(r.outcomes(id), "retry charge_unknown")
					if want := i >= 100 && c.takes > admissionGood; back != want {
						t.Errorf("number %d: stored %q", i, r.outcomes(id))
					}
				}
				if d := time.Since(began); d > c.all {
					t.Errorf("%d charges of %v, 100 at once, took %v", len(ids), c.takes, d)
				}
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				for i, id := range ids {
					if s.calls[id] != 1 {
						t.Errorf("number %d was asked about %d times", i, s.calls[id])
					}
				}
				r.bridge.charging.mu.Lock()
				defer r.bridge.charging.mu.Unlock()
				if n := len(r.bridge.charging.line) + len(r.bridge.charging.asking); n != 0 {
					t.Errorf("%d places are still held or waited for", n)
				}
			})
		})
	}
}

// A drain does not wait for a charger that thinks.
func TestADrainGivesBackWhatIsBeingCharged(t *testing.T) {
	answer := func(ctx context.Context, _ int, _ mobileid.Pseudonym) ChargeAnswer {
		<-ctx.Done()
		return ChargeUnknown
	}
	charged(t, answer, func(r *rig, _ *operator, _ *stub) {
		id := r.message(mobileid.LaneBulk, nil)
		r.mustTake(mobileid.LaneBulk, id)
		began := time.Now()
		r.stop()
		if d := time.Since(began); d > time.Second || r.store.rows[id].state != mobileid.MessageRetry {
			t.Errorf("%s after %v", r.store.rows[id].state, d)
		}
	})
}
