package smpp

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

func yes(context.Context, int, Charge) ChargeAnswer { return ChargeYes }

// What became of a Message settles its charge, once that is stored; while nobody
// knows, nothing does.
func TestAChargeIsSettledByWhatBecameOfItsMessage(t *testing.T) {
	byReference := map[uint16]func(n int) reply{} // to the n-th submit_sm of a Message
	seen := map[uint16]int{}
	answer := func(_ int, m submitted) reply {
		n := seen[m.reference]
		seen[m.reference]++
		if f := byReference[m.reference]; f != nil {
			return f(n)
		}
		return reply{}
	}
	s := &stub{answer: yes, calls: map[mobileid.ID]int{}, settled: map[mobileid.ID][]bool{}}
	inBubbleWith(t, nil, answer, func(r *rig) { r.bridge.charging.charger = s }, func(r *rig, _ *operator) {
		always := func(status wire.Status) func(int) reply { return func(int) reply { return reply{status: status} } }
		queue := func(change func(*row), f func(int) reply) mobileid.ID {
			id := r.message(mobileid.LaneBulk, func(x *row) {
				r.n++
				x.admission.Dest = mobileid.Pseudonym{byte(r.n)}
				if change != nil {
					change(x)
				}
			})
			byReference[reference(id)] = f
			return id
		}
		sent, rejected := queue(nil, nil), queue(nil, always(0x0B))
		unreadable := queue(func(x *row) { x.admission.Sealed = []byte("not sealed") }, nil)
		expired := queue(func(x *row) { x.admission.Deadline = time.Now().Add(time.Second) }, always(wire.StatusSystemError))
		later := queue(nil, func(n int) reply {
			if n == 0 {
				return reply{status: wire.StatusSystemError}
			}
			return reply{}
		})
		fenced := queue(nil, always(wire.StatusSystemError))
		doubtful := queue(nil, func(int) reply { return reply{after: 15 * time.Second} })
		mute := queue(nil, func(int) reply { return reply{silent: true} })
		all := []mobileid.ID{sent, rejected, unreadable, expired, later, fenced, doubtful, mute}
		r.mustTake(mobileid.LaneBulk, all...)
		r.until(fenced, mobileid.MessageRetry)
		if !s.is(fenced) {
			t.Error("settled while it waits to be tried again")
		}
		r.store.mu.Lock()
		r.store.rows[fenced].refuse = true
		r.store.mu.Unlock()
		r.until(fenced, mobileid.MessageFenced)
		r.until(doubtful, mobileid.MessageInDoubt)
		if !s.is(doubtful) {
			t.Error("settled while it is in doubt")
		}
		r.until(doubtful, mobileid.MessageSent)
		time.Sleep(time.Minute)
		for name, c := range map[string]struct {
			id   mobileid.ID
			want []bool
		}{
			"sent": {sent, []bool{true}}, "rejected": {rejected, []bool{false}}, "failed": {unreadable, []bool{false}},
			"expired": {expired, []bool{false}}, "sent later": {later, []bool{true}}, "fenced": {fenced, []bool{false}},
			"in doubt and taken": {doubtful, []bool{true}}, "in doubt for good": {mute, nil},
		} {
			if !s.is(c.id, c.want...) {
				t.Errorf("%s: settled %v, want %v (%q)", name, s.settled[c.id], c.want, r.outcomes(c.id))
			}
		}
		told := r.bridge.metrics.charger.settlements
		if used, back := testutil.ToFloat64(told.WithLabelValues("used")), testutil.ToFloat64(told.WithLabelValues("given_back")); used != 3 || back != 4 {
			t.Errorf("%v used, %v given back are counted", used, back)
		}
		if n := testutil.ToFloat64(r.bridge.metrics.charger.answers.WithLabelValues("yes")); n != float64(len(all)) {
			t.Errorf("%v yes", n)
		}
	})
}

// Settlements that take five seconds, and fail, go on side by side until they
// are done, and no Message waits for them.
func TestSlowSettlementsHoldUpNobody(t *testing.T) {
	charged(t, yes, func(r *rig, o *operator, s *stub) {
		s.settle = func(_ context.Context, n int, _ Charge) error {
			time.Sleep(5 * time.Second)
			if n < 2 {
				return errors.New("busy")
			}
			return nil
		}
		var ids []mobileid.ID
		for i := range 250 {
			id := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Dest = mobileid.Pseudonym{1, byte(i)} })
			at := time.Now()
			r.mustTake(mobileid.LaneOTP, id)
			r.until(id, mobileid.MessageSent)
			if d := o.of(id)[0].at.Sub(at); d > 100*time.Millisecond {
				t.Fatalf("number %d waited %v", i, d)
			}
			ids = append(ids, id)
		}
		time.Sleep(2 * time.Minute)
		for i, id := range ids {
			if !s.is(id, true, true, true) {
				t.Fatalf("number %d is settled %v", i, s.settled[id])
			}
		}
		if s.most != 100 {
			t.Errorf("%d were settled at once, want 100", s.most)
		}
		if n := testutil.ToFloat64(r.bridge.metrics.charger.settlements.WithLabelValues("failed")); n != 500 || r.bridge.charging.unsettled() != 0 {
			t.Errorf("%v failed, %d are left", n, r.bridge.charging.unsettled())
		}
	})
}

// A settlement that is refused again and again is given up when the reservation
// has lapsed.
func TestASettlementEndsWithItsReservation(t *testing.T) {
	charged(t, yes, func(r *rig, _ *operator, s *stub) {
		s.settle = func(context.Context, int, Charge) error { return errors.New("no such session") }
		id := r.message(mobileid.LaneOTP, nil)
		deadline := r.store.rows[id].admission.Deadline
		r.mustTake(mobileid.LaneOTP, id)
		time.Sleep(time.Until(deadline) + SettleWithin - settleAgainMax)
		if r.bridge.charging.unsettled() != 1 {
			t.Error("it was given up early")
		}
		time.Sleep(4 * settleAgainMax)
		if n := testutil.ToFloat64(r.bridge.metrics.charger.settlements.WithLabelValues("lost")); n != 1 || r.bridge.charging.unsettled() != 0 {
			t.Errorf("%v lost, %d left", n, r.bridge.charging.unsettled())
		}
	})
}

// A drain lets settlements end that do, and does not wait for one that does not.
func TestADrainSettlesChargesForAWhile(t *testing.T) {
	for name, c := range map[string]struct {
		settle func(ctx context.Context, n int, m Charge) error
		took   time.Duration
	}{
		"slow": {func(ctx context.Context, _ int, _ Charge) error {
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			}
			return ctx.Err()
		}, 3 * time.Second},
		"stuck": {func(ctx context.Context, _ int, _ Charge) error { <-ctx.Done(); return ctx.Err() }, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			charged(t, yes, func(r *rig, _ *operator, s *stub) {
				s.settle = c.settle
				id := r.message(mobileid.LaneOTP, nil)
				r.mustTake(mobileid.LaneOTP, id)
				r.until(id, mobileid.MessageSent)
				synctest.Wait()
				began := time.Now()
				r.stop()
				if d := time.Since(began); d < c.took-100*time.Millisecond || d > c.took+time.Second {
					t.Errorf("the drain took %v, want %v", d, c.took)
				}
				if !s.is(id, true) {
					t.Errorf("settled %v", s.settled[id])
				}
			})
		})
	}
}

func TestMoreSettlementsThanFitLoseTheOldest(t *testing.T) {
	c := newCharging(&stub{})
	var ids []mobileid.ID
	for i := range maxUnsettled + 2 {
		id := mobileid.ID{byte(i), byte(i >> 8), byte(i >> 16)}
		ids = append(ids, id)
		c.paid[id] = Charge{ID: id}
		c.ended(id, true)
	}
	s, lost, ok := c.next()
	if !ok || lost != 2 || s.charge.ID != ids[2] || c.unsettled() != maxUnsettled || len(c.paid) != 0 {
		t.Errorf("%v lost, %d left, first %v", lost, c.unsettled(), slices.Index(ids, s.charge.ID))
	}
}
