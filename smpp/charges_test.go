package smpp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
)

func yes(context.Context, int, mobileid.Pseudonym) ChargeAnswer { return ChargeYes }

// Each answer does what it says to a code and to a notice; the outcome says what
// is known of the Charge.
func TestEachAnswerOfTheChargerHasItsEffect(t *testing.T) {
	for _, c := range []struct {
		answer       ChargeAnswer
		code, notice string
		note         mobileid.ChargeNote // of what was sent
	}{
		{ChargeYes, "sent ", "sent ", mobileid.ChargeAsReserved},
		{ChargeFree, "sent ", "sent ", mobileid.ChargeFree},
		{ChargeNo, "no_funds balance", "no_funds balance", ""},
		{ChargeDenied, "rejected charge_denied", "rejected charge_denied", ""},
		{ChargeNoUser, "rejected charge_no_user", "rejected charge_no_user", ""},
		{ChargeUnknown, "sent ", "retry charge_unknown", mobileid.ChargeNotKnown},
		{ChargeHeld, "retry charge_unknown", "retry charge_unknown", ""},
	} {
		t.Run(c.answer.String(), func(t *testing.T) {
			answer := func(context.Context, int, mobileid.Pseudonym) ChargeAnswer { return c.answer }
			charged(t, answer, func(r *rig, o *operator, s *stub) {
				code, notice := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneBulk, nil)
				for id, lane := range map[mobileid.ID]mobileid.Lane{code: mobileid.LaneOTP, notice: mobileid.LaneBulk} {
					r.mustTake(lane, id)
				}
				for id, want := range map[mobileid.ID]string{code: c.code, notice: c.notice} {
					r.store.until(t, "the first outcome", func() bool {
						return slices.ContainsFunc(r.store.outcomes, func(o mobileid.Outcome) bool { return o.ID == id })
					})
					if got := r.outcomes(id)[0]; got != want {
						t.Errorf("stored %q, want %q", got, want)
					}
					written := want == "sent "
					if len(o.of(id)) > 0 != written {
						t.Errorf("%q, and %d submit_sm", want, len(o.of(id)))
					}
					refused := strings.HasPrefix(want, "no_funds") || strings.HasPrefix(want, "rejected")
					if refused && r.last(id).Charge != mobileid.ChargeFree {
						t.Errorf("%q, and something is to be told", want)
					}
					if note := r.last(id).Charge; written && note != c.note {
						t.Errorf("the outcome says %q of the Charge, want %q", note, c.note)
					}
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if m := s.asked[0]; m.Number.RevealDigits() != secretTo || m.Units != 1 || m.Deadline.IsZero() {
					t.Errorf("asked without a number, units or deadline: %d units, deadline %s", m.Units, m.Deadline)
				}
			})
		})
	}
}

// Who is charged otherwise is not asked about.
func TestOnlyWhatIsChargedThereIsAsked(t *testing.T) {
	charged(t, yes, func(r *rig, _ *operator, s *stub) {
		for _, by := range []mobileid.Charging{"", mobileid.ChargingLedger, mobileid.ChargingOperator, mobileid.ChargingPayer, mobileid.ChargingDiameter} {
			id := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Charging = by })
			r.mustTake(mobileid.LaneOTP, id)
			r.until(id, mobileid.MessageSent)
			if asked := s.calls[id] > 0; asked != (by == mobileid.ChargingDiameter) {
				t.Errorf("charging %q: asked %v", by, asked)
			}
		}
	})
}

// A text that cannot be opened has no number to ask about, and fails as any other.
func TestAnUnreadableTextIsNotAskedAbout(t *testing.T) {
	charged(t, yes, func(r *rig, _ *operator, s *stub) {
		for _, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
			id := r.message(lane, func(x *row) { x.admission.Sealed = []byte("not sealed") })
			r.mustTake(lane, id)
			r.until(id, mobileid.MessageFailed)
			if got := r.outcomes(id); !slices.Equal(got, []string{"failed " + mobileid.ReasonUnsealable}) || s.calls[id] != 0 {
				t.Errorf("%s: stored %q, asked %d times", lane, got, s.calls[id])
			}
		}
	})
}

// What stands in the registry to be told is told, each kind by its own call, and
// what the answer shows is stored.
func TestChargesAreToldWhatBecameOfThem(t *testing.T) {
	lapsed := func(int, string, int) error { return ErrNotReserved }
	for name, c := range map[string]struct {
		call   mobileid.ChargeCall
		answer ChargeAnswer
		tell   func(n int, what string, units int) error
		told   []string
		known  mobileid.ChargeState
	}{
		"posted":                {mobileid.ChargeCall{Kind: mobileid.ChargePosted, Units: 4, Moved: 3}, ChargeYes, nil, []string{"settle 3"}, ""},
		"voided":                {mobileid.ChargeCall{Kind: mobileid.ChargeVoided, Units: 3}, ChargeYes, nil, []string{"settle 0"}, ""},
		"reversed":              {mobileid.ChargeCall{Kind: mobileid.ChargeReversed, Step: 3, Units: 4, Moved: 2}, ChargeYes, nil, []string{"step 3: refund 2"}, ""},
		"unknown, now yes":      {mobileid.ChargeCall{Kind: mobileid.ChargeUnknown, Units: 1}, ChargeYes, nil, nil, mobileid.ChargePosted},
		"unknown, now no":       {mobileid.ChargeCall{Kind: mobileid.ChargeUnknown, Units: 1}, ChargeNo, nil, nil, mobileid.ChargeVoided},
		"unknown, now free":     {mobileid.ChargeCall{Kind: mobileid.ChargeUnknown, Units: 1}, ChargeFree, nil, nil, mobileid.ChargeVoided},
		"posted, told before":   {mobileid.ChargeCall{Kind: mobileid.ChargePosted, Units: 1, Moved: 1, Tries: 2}, ChargeYes, lapsed, []string{"settle 1"}, ""},
		"posted, but lapsed":    {mobileid.ChargeCall{Kind: mobileid.ChargePosted, Units: 1, Moved: 1, Tries: 1}, ChargeYes, lapsed, []string{"settle 1"}, mobileid.ChargeReversed},
		"voided, and lapsed":    {mobileid.ChargeCall{Kind: mobileid.ChargeVoided, Units: 1}, ChargeYes, lapsed, []string{"settle 0"}, ""},
		"reversed, of no user ": {mobileid.ChargeCall{Kind: mobileid.ChargeReversed, Step: 4, Units: 1, Moved: 1}, ChargeNoUser, nil, []string{"step 4: refund 1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(context.Context, int, mobileid.Pseudonym) ChargeAnswer { return c.answer }
			charged(t, answer, func(r *rig, _ *operator, s *stub) {
				s.tell = c.tell
				c.call.ID = r.message(mobileid.LaneBulk, nil)
				r.store.mu.Lock()
				r.store.calls = append(r.store.calls, c.call)
				r.store.mu.Unlock()
				r.store.until(t, "it is told", func() bool { _, told := r.store.known[c.call.ID]; return told })
				if known := r.store.known[c.call.ID]; known != c.known {
					t.Errorf("stored as %q, want %q", known, c.known)
				}
				if got := s.told[c.call.ID]; !slices.Equal(got, c.told) {
					t.Errorf("told %q, want %q", got, c.told)
				}
			})
		})
	}
}

// What the charging system does not take, or does not know yet, stays due.
func TestAChargeThatIsNotToldStaysDue(t *testing.T) {
	answer := func(context.Context, int, mobileid.Pseudonym) ChargeAnswer { return ChargeUnknown }
	charged(t, answer, func(r *rig, _ *operator, s *stub) {
		s.tell = func(int, string, int) error { return errors.New("busy") }
		failed := r.bridge.metrics.charger.settlements.WithLabelValues("failed")
		for n, kind := range []mobileid.ChargeState{mobileid.ChargePosted, mobileid.ChargeVoided, mobileid.ChargeReversed, mobileid.ChargeUnknown} {
			call := mobileid.ChargeCall{ID: r.message(mobileid.LaneBulk, nil), Kind: kind, Units: 1}
			r.store.mu.Lock()
			r.store.calls = append(r.store.calls, call)
			r.store.mu.Unlock()
			time.Sleep(2 * time.Second)
			if got := testutil.ToFloat64(failed); got != float64(n+1) {
				t.Errorf("%s: %v calls failed, want %d", kind, got, n+1)
			}
			if _, told := r.store.known[call.ID]; told {
				t.Errorf("%s: it is stored as told", kind)
			}
		}
	})
}

// A call that takes its time holds up neither Messages nor other calls, and a
// drain waits for it no longer than it may take.
func TestASlowCallHoldsUpNobody(t *testing.T) {
	charged(t, yes, func(r *rig, o *operator, s *stub) {
		s.tell = func(_ int, what string, units int) error {
			if units == 1 {
				time.Sleep(5 * time.Second)
			}
			return nil
		}
		slow := mobileid.ChargeCall{ID: r.message(mobileid.LaneBulk, nil), Kind: mobileid.ChargePosted, Units: 2, Moved: 1}
		quick := mobileid.ChargeCall{ID: r.message(mobileid.LaneBulk, nil), Kind: mobileid.ChargePosted, Units: 2, Moved: 2}
		r.store.mu.Lock()
		r.store.calls = append(r.store.calls, slow, quick)
		r.store.mu.Unlock()
		id := r.message(mobileid.LaneOTP, nil)
		began := time.Now()
		r.mustTake(mobileid.LaneOTP, id)
		r.until(id, mobileid.MessageSent)
		r.store.until(t, "the quick one is told", func() bool { _, told := r.store.known[quick.ID]; return told })
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
		r.stop()
		if _, told := r.store.known[slow.ID]; !told {
			t.Error("the drain did not wait for a call under way")
		}
	})
}
