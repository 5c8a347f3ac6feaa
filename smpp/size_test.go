package smpp

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// Room is counted in submit_sm: of texts of three parts a third as many are
// admitted ahead, so none of them waits until its admission is old.
func TestNoMoreIsAdmittedThanIsWrittenWithinASecondWhateverTheParts(t *testing.T) {
	const rate, parts = 100, 3
	var r *rig
	most := 0
	answer := func(n int, _ submitted) reply { // one at a time: a single bind
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		ahead := -n
		for _, x := range r.store.rows {
			if x.state != mobileid.MessageQueued {
				ahead += parts
			}
		}
		most = max(most, ahead)
		return reply{}
	}
	tune := func(c *Config) { c.Profile.Pace = profile.Pace{Rate: rate, Burst: 5, Adaptive: true} }
	inBubbleWith(t, tune, answer, func(it *rig) { r = it }, func(r *rig, o *operator) {
		var ids []mobileid.ID
		for range 100 {
			ids = append(ids, r.message(mobileid.LaneBulk, func(x *row) {
				plain, _ := json.Marshal(mobileid.SealedText{To: secretTo, Text: strings.Repeat("Ўзбекистон ", 16)})
				x.admission.Sealed, _ = r.sealer.Seal(x.admission.ID[:], plain)
				x.admission.Parts = parts
			}))
		}
		began := time.Now()
		r.mustTake(mobileid.LaneBulk, ids...)
		for _, id := range ids {
			r.until(id, mobileid.MessageSent)
		}
		o.mu.Lock()
		written := len(o.seen)
		o.mu.Unlock()
		if written != parts*len(ids) {
			t.Errorf("%d submit_sm", written)
		}
		if took := time.Since(began); took > parts*time.Duration(len(ids))*time.Second/rate*11/10 {
			t.Errorf("it took %v: the pace was not used up", took)
		}
		// Half a second of the pace waits, and what is in the window or was popped
		// has just left it.
		if limit := rate/2 + 10 + 2*parts; most > limit {
			t.Errorf("%d submit_sm were admitted and not written, want at most %d", most, limit)
		}
		if n := testutil.ToFloat64(r.bridge.metrics.readmitted); n != 0 {
			t.Errorf("%v were admitted in vain", n)
		}
	})
}

func TestTheAverageOfALaneFollowsIt(t *testing.T) {
	var s sizes
	is := func(want, submits int) {
		t.Helper()
		if got := s.bulk.fit(submits); got != want {
			t.Errorf("%d Messages fit %d submit_sm, want %d: %+v", got, submits, want, s.bulk)
		}
	}
	is(4, 10) // before any is known
	is(0, 0)
	is(0, -7)
	s.of(mobileid.LaneOTP).add(9)
	is(4, 10)
	for range 1000 {
		s.of(mobileid.LaneBulk).add(1)
	}
	is(10, 10)
	is(1, 1)
	for range 2 * sizesKept {
		s.of(mobileid.LaneBulk).add(5)
	}
	if got := s.bulk.fit(100); got > 30 {
		t.Errorf("%d Messages of five parts fit 100 submit_sm: %+v", got, s.bulk)
	}
	is(1, 2)
}
