package smpp

import (
	"slices"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// What came too fast is written again before what was put behind it in its lane,
// and its own slot is where it goes.
func TestAThrottledMessageKeepsItsPlaceInItsLane(t *testing.T) {
	for name, c := range map[string]struct {
		window    int
		throttled map[int]int // how often each Message is, by its place in the lane
		order     []int       // in which they are written
	}{
		"alone in the window": {1, map[int]int{1: 2, 3: 1}, []int{1, 1, 1, 2, 3, 3, 4, 5}},
		"a window full":       {3, map[int]int{1: 1, 2: 1, 3: 1}, []int{1, 2, 3, 1, 2, 3, 4, 5}},
		"the first of three":  {3, map[int]int{1: 3}, []int{1, 2, 3, 1, 4, 5, 1, 1}},
		"each of them":        {1, map[int]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1}, []int{1, 1, 2, 2, 3, 3, 4, 4, 5, 5}},
	} {
		for _, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
			t.Run(name+", "+string(lane), func(t *testing.T) {
				places := map[uint16]int{}
				left := map[int]int{}
				answer := func(n int, s submitted) reply {
					r := reply{after: time.Duration(10+n) * time.Millisecond} // one after the other
					if at := places[s.reference]; left[at] > 0 {
						left[at]--
						r.status = wire.StatusThrottled
					}
					return r
				}
				tune := func(cfg *Config) { cfg.Profile.Binds[0].Window = c.window }
				inBubble(t, tune, answer, func(r *rig, o *operator) {
					var ids []mobileid.ID
					for at := 1; at <= 5; at++ {
						id := r.message(lane, nil)
						ids, places[reference(id)], left[at] = append(ids, id), at, c.throttled[at]
					}
					r.mustTake(lane, ids...)
					for _, id := range ids {
						r.until(id, mobileid.MessageSent)
					}
					var order []int
					o.mu.Lock()
					defer o.mu.Unlock()
					for _, s := range o.seen {
						order = append(order, places[s.reference])
					}
					if !slices.Equal(order, c.order) {
						t.Errorf("written in the order %v, want %v", order, c.order)
					}
				})
			})
		}
	}
}

// The clock of the host may be set: what was answered in the last second is what
// was answered in the last second.
func TestTheMeterDoesNotBelieveTheClockOfTheHost(t *testing.T) {
	b := bridgeOn(nil)
	now := time.Now()
	count := func(n int) int {
		for range n {
			b.rate.add(now)
		}
		return b.rate.lastSecond(now)
	}
	if n := count(3); n != 3 {
		t.Fatalf("%d answers, want 3", n)
	}
	for range 5 {
		now = now.Add(2*time.Second - time.Hour)
		if n := count(3); n != 3 {
			t.Fatalf("%d answers after the clock was set back, want 3", n)
		}
	}
}

// An operator may answer with 128 KiB where an id is expected: it is not kept
// with what waits to be stored.
func TestAnAnswerIsNotKeptWithItsOctets(t *testing.T) {
	b := bridgeOn(nil)
	l := &lease{id: 1}
	b.extend(l, b.now())
	raw := wire.AppendCString(nil, wire.SubmitSM.Response(), wire.StatusOK, 7, "id-1")
	a := answer{fate: answered, frame: wire.Frame{Command: wire.SubmitSM.Response(), Sequence: 7, Raw: raw}}
	p := b.fateOf(place{link: b.links[0], session: &session{}}, &job{lease: l}, a)
	if p.operatorID != "id-1" || p.frame.Raw != nil {
		t.Errorf("id %q, %d octets kept", p.operatorID, len(p.frame.Raw))
	}
}
