package smpp

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// Codes without end leave the notices a sixteenth, in admission and in the
// window; a code that comes alone waits behind none of them.
func TestAFloodOfCodesLeavesNoticesASixteenth(t *testing.T) {
	const all = 320
	t.Run("window", func(t *testing.T) {
		q := newOutgoing(make(chan struct{}, 1))
		for i := range 2 * all {
			lane := mobileid.LaneOTP
			if i%2 == 1 {
				lane = mobileid.LaneBulk
			}
			q.put(&job{admission: mobileid.Admission{Lane: lane}})
		}
		notices := 0
		for i := range all {
			if q.pop().admission.Lane == mobileid.LaneBulk {
				if notices++; i%16 != 15 {
					t.Errorf("a notice was number %d", i)
				}
			}
		}
		if notices != all/16 {
			t.Errorf("%d notices among %d", notices, all)
		}
	})
	for name, room := range map[string]int{"admission in one batch": all, "admission one by one": 1} {
		t.Run(name, func(t *testing.T) {
			q := newIntake(make(chan struct{}, 1))
			for _, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
				items := make([]mobileid.AdmitItem, all)
				for i := range items {
					items[i].Source.Topic = mobileid.TopicSMS("beeline", lane)
				}
				q.add(items)
			}
			notices, n := 0, 0
			for n < all {
				for _, it := range q.next(room, room) {
					n++
					if _, lane, _ := mobileid.LaneOfTopic(it.Source.Topic); lane == mobileid.LaneBulk {
						notices++
					}
				}
			}
			if n != all || notices != all/16 {
				t.Errorf("%d notices among %d", notices, n)
			}
			if got := len(q.next(1, 0)); got != 1 {
				t.Errorf("%d codes when there is room for one and none for notices", got)
			}
		})
	}
}

// An account that codes alone fill carries notices all the same.
func TestNoticesArriveWhileCodesFillThePace(t *testing.T) {
	tune := func(c *Config) { c.Profile.Pace.Rate = 50 }
	inBubble(t, tune, statuses(), func(r *rig, o *operator) {
		ids := map[mobileid.Lane][]mobileid.ID{}
		for range 1000 {
			ids[mobileid.LaneOTP] = append(ids[mobileid.LaneOTP], r.message(mobileid.LaneOTP, nil))
		}
		for range 20 {
			ids[mobileid.LaneBulk] = append(ids[mobileid.LaneBulk], r.message(mobileid.LaneBulk, nil))
		}
		for lane := range ids {
			go func() { _ = r.take(lane, ids[lane]...) }()
		}
		time.Sleep(9 * time.Second)
		sent := 0
		for _, id := range ids[mobileid.LaneBulk] {
			sent += len(o.of(id))
		}
		if sent < 20 {
			t.Errorf("%d notices among %d submit_sm", sent, len(o.seen))
		}
	})
}
