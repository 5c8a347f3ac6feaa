package smpp

import (
	"sync"
	"testing"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// An account whose pace is not adaptive keeps to its rate, however often and for
// however many numbers the operator says that it is too fast.
func TestAPaceThatIsNotAdaptiveNeverChanges(t *testing.T) {
	const rate = 100
	for name, c := range map[string]struct {
		adaptive bool
		status   wire.Status
	}{
		"throttled":             {false, wire.StatusThrottled},
		"full queues":           {false, wire.StatusQueueFull},
		"throttled, adaptive":   {true, wire.StatusThrottled},
		"full queues, adaptive": {true, wire.StatusQueueFull},
	} {
		t.Run(name, func(t *testing.T) {
			var r *rig
			var mu sync.Mutex
			lowest := float64(rate)
			answer := func(n int, _ submitted) reply {
				mu.Lock()
				defer mu.Unlock()
				lowest = min(lowest, r.bridge.pacer.Rate())
				if n%2 == 0 && n < 4*rate {
					return reply{status: c.status}
				}
				return reply{}
			}
			tune := func(cfg *Config) { cfg.Profile.Pace = profile.Pace{Rate: rate, Burst: 5, Adaptive: c.adaptive} }
			inBubbleWith(t, tune, answer, func(it *rig) { r = it }, func(r *rig, _ *operator) {
				var ids []mobileid.ID
				for i := range 2 * rate {
					ids = append(ids, r.message(mobileid.LaneBulk, func(x *row) { x.admission.Dest = mobileid.Pseudonym{1, byte(i), byte(i >> 8)} }))
				}
				r.mustTake(mobileid.LaneBulk, ids...)
				for _, id := range ids {
					r.until(id, mobileid.MessageSent)
				}
				if cut := lowest < rate; cut != c.adaptive {
					t.Errorf("the rate fell to %v", lowest)
				}
			})
		})
	}
}
