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

// Codes that come again are codes: neither a backlog of notices nor notices that
// are due before them hold them up.
func TestADueCodeGoesBeforeABacklogOfNotices(t *testing.T) {
	const slot, look = 100 * time.Millisecond, 130 * time.Millisecond // apart: a slot is not free at each look
	tune := func(c *Config) {
		c.Profile.Pace.Rate, c.Profile.Pace.Burst, c.RetryEvery = int(time.Second/slot), 1, look
	}
	for name, again := range map[string]mobileid.MessageState{"in doubt": mobileid.MessageInDoubt, "later": mobileid.MessageRetry} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, tune, statuses(), func(r *rig, o *operator) {
				var ids []mobileid.ID
				for i := range 400 {
					id := r.message(mobileid.LaneBulk, func(x *row) {
						if i%2 == 0 {
							x.state, x.retryAt = mobileid.MessageRetry, time.Now()
						}
					})
					if i%2 == 1 {
						ids = append(ids, id)
					}
				}
				go func() { _ = r.take(mobileid.LaneBulk, ids...) }()
				time.Sleep(3 * time.Second)
				for range 3 {
					due := time.Now()
					code := r.message(mobileid.LaneOTP, func(x *row) { x.state, x.retryAt = again, due })
					r.until(code, mobileid.MessageSent)
					if d := o.of(code)[0].at.Sub(due); d > look+4*slot {
						t.Errorf("a code that was due waited %v with a slot every %v", d, slot)
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

func TestWhatIsDueIsQueuedOnce(t *testing.T) {
	q := newIntake(make(chan struct{}, 1))
	due := []mobileid.AdmitItem{
		{ID: mobileid.ID{1}, Lane: mobileid.LaneOTP}, {ID: mobileid.ID{2}, Lane: mobileid.LaneBulk},
	}
	for range 3 {
		q.addDue(due)
		q.again(mobileid.ID{2}, mobileid.LaneBulk)
	}
	if got := q.next(10, 10); len(got) != 2 || got[0].ID != due[0].ID {
		t.Errorf("%d items", len(got))
	}
	q.addDue(due)
	if got := q.next(10, 0); len(got) != 1 || got[0].ID != due[0].ID {
		t.Errorf("%d items with room for codes alone, when they are due again", len(got))
	}
}
