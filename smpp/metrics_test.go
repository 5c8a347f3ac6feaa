package smpp

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// metric reads a counter, a gauge, or the sum and count of a histogram, of the
// operator or of the link "a"; with is a label more, "" for none.
func (r *rig) metric(name, with, value string) (sum float64, count uint64) {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "mobileid_smpp_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			fits := with == ""
			for _, l := range m.GetLabel() {
				switch {
				case l.GetName() == with:
					fits = l.GetValue() == value
				case l.GetName() == "operator" && l.GetValue() != "beeline", l.GetName() == "link" && l.GetValue() != "beeline/mobileid/a":
					r.t.Errorf("%s of %s", name, l.GetValue())
				}
			}
			if fits {
				h := m.GetHistogram()
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + h.GetSampleSum(), h.GetSampleCount()
			}
		}
	}
	return 0, 0
}

func (r *rig) wantMetric(when, name, with, value string, want float64) {
	r.t.Helper()
	if got, _ := r.metric(name, with, value); got != want {
		r.t.Errorf("%s: %s is %v, want %v", when, fmt.Sprint(name, " ", value), got, want)
	}
}

// What a person watches at night: each link's state, window and age of what is
// not answered, how long answers take, and what the pace is.
func TestTheMetricsSayHowTheOperatorAnswers(t *testing.T) {
	states := []LinkState{LinkDown, LinkBinding, LinkUp, LinkRefused, LinkDraining, LinkStopped}
	tune := func(c *Config) { c.Profile.Pace.Rate, c.Profile.Timers.Response = 50, 5*time.Second }
	inBubble(t, tune, func(int, submitted) reply { return reply{after: 2 * time.Second} }, func(r *rig, _ *operator) {
		in := func(when string, state LinkState) {
			t.Helper()
			for _, s := range states {
				want := 0.0
				if s == state {
					want = 1
				}
				r.wantMetric(when, "link_state", "state", string(s), want)
			}
		}
		id := r.message(mobileid.LaneOTP, nil)
		r.mustTake(mobileid.LaneOTP, id)
		synctest.Wait()
		time.Sleep(1500 * time.Millisecond)
		in("while it waits", LinkUp)
		r.wantMetric("while it waits", "window_size", "", "", 10)
		r.wantMetric("while it waits", "window_in_flight", "", "", 1)
		r.wantMetric("while it waits", "oldest_unanswered_seconds", "", "", 1.5)
		r.wantMetric("while it waits", "pace", "", "", 50)
		r.until(id, mobileid.MessageSent)
		r.wantMetric("answered", "oldest_unanswered_seconds", "", "", 0)
		r.wantMetric("answered", "submits_total", "status", wire.StatusOK.String(), 1)
		if sum, n := r.metric("submit_seconds", "", ""); sum != 2 || n != 1 {
			t.Errorf("%d answers in %v s, want 1 in 2", n, sum)
		}
		r.bridge.SetPace(20)
		r.wantMetric("with a share", "pace", "", "", 20)
		if err := r.bridge.StopLink("a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		in("stopped", LinkStopped)
	})
}

func TestReceiptsBeforeTheirAnswerAreCounted(t *testing.T) {
	o := newOperatorEnd(t, nil)
	for range 2 {
		o.deliver(wire.Message{ESMClass: esmReceipt, Source: subscriber, ShortMessage: []byte("id:1 stat:DELIVRD err:000")})
	}
	o.wantMetric("of two", "receipts_unmatched_total", "", "", 2)
	o.store.mu.Lock()
	o.store.parts[partKey{part: 1}] = mobileid.PartOutcome{OperatorID: "1"}
	o.store.mu.Unlock()
	o.deliver(wire.Message{ESMClass: esmReceipt, Source: subscriber, ShortMessage: []byte("id:1 stat:DELIVRD err:000")})
	o.wantMetric("and one more that is", "receipts_unmatched_total", "", "", 2)
}
