package smpp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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
			j := q.head()
			if !q.take(j) {
				t.Fatal("another job goes next")
			}
			if j.admission.Lane == mobileid.LaneBulk {
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
				for _, it := range q.next(room, room, false) {
					n++
					if _, lane, _ := mobileid.LaneOfTopic(it.Source.Topic); lane == mobileid.LaneBulk {
						notices++
					}
				}
			}
			if n != all || notices != all/16 {
				t.Errorf("%d notices among %d", notices, n)
			}
			if got := len(q.next(1, 0, true)); got != 1 {
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

// At a slow operator fifteen codes take longer than an admission is good: a flood
// of them leaves the notices about their sixteenth all the same.
func TestNoticesHaveTheirShareOfASlowPace(t *testing.T) {
	for _, pace := range []int{5, 10} {
		t.Run(fmt.Sprint(pace), func(t *testing.T) {
			tune := func(c *Config) { c.Profile.Pace.Rate, c.Profile.Pace.Burst = pace, 1 }
			inBubble(t, tune, statuses(), func(r *rig, o *operator) {
				const seconds = 120
				until, stop := context.WithTimeout(r.t.Context(), seconds*time.Second)
				defer stop()
				var notices []mobileid.ID
				var lanes sync.WaitGroup
				for _, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
					var items []mobileid.AdmitItem
					for range 2 * pace * seconds {
						id := r.message(lane, func(x *row) { x.admission.Deadline = time.Now().Add(time.Hour) })
						items = append(items, mobileid.AdmitItem{ID: id, Source: mobileid.RecordRef{Topic: mobileid.TopicSMS("beeline", lane)}})
						if lane == mobileid.LaneBulk {
							notices = append(notices, id)
						}
					}
					lanes.Go(func() {
						for batch := range slices.Chunk(items, 20) {
							for err := errors.New("not yet"); err != nil && until.Err() == nil; { // as a member of a group does
								try, cancel := context.WithTimeout(until, 2500*time.Millisecond)
								err = r.bridge.Take(try, batch)
								cancel()
							}
						}
					})
				}
				lanes.Wait()
				synctest.Wait()
				sent, all := 0, len(o.all())
				for _, id := range notices {
					if slices.Contains(r.outcomes(id), "sent ") {
						sent++
					}
				}
				if want := all / 16; all < pace*seconds*9/10 || sent < want*3/4 || sent > want*5/4 {
					t.Errorf("%d notices among %d submit_sm in %d s, want about %d", sent, all, seconds, want)
				}
			})
		})
	}
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

// Where no notice waits to be written one is admitted, and no code later for it.
func TestANoticeIsAdmittedWhereNoneWaits(t *testing.T) {
	q := newIntake(make(chan struct{}, 1))
	for i, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
		items := make([]mobileid.AdmitItem, 4)
		for n := range items {
			items[n] = mobileid.AdmitItem{ID: mobileid.ID{byte(i), byte(n)}, Source: mobileid.RecordRef{Topic: mobileid.TopicSMS("beeline", lane)}}
		}
		q.add(items)
	}
	lanes := func(items []*item) (codes, notices int) {
		for _, it := range items {
			notices += int(it.ID[0])
		}
		return len(items) - notices, notices
	}
	for _, c := range []struct {
		all            int
		none           bool
		codes, notices int
	}{{2, true, 2, 1}, {0, true, 1, 0}, {1, false, 1, 0}, {1, true, 0, 1}} {
		if codes, notices := lanes(q.next(max(1, c.all), c.all, c.none)); codes != c.codes || notices != c.notices {
			t.Errorf("%+v: %d codes, %d notices", c, codes, notices)
		}
	}
}

func TestWhatIsDueIsQueuedOnce(t *testing.T) {
	q := newIntake(make(chan struct{}, 1))
	due := []mobileid.AdmitItem{
		{ID: mobileid.ID{1}, Lane: mobileid.LaneOTP}, {ID: mobileid.ID{2}, Lane: mobileid.LaneBulk},
	}
	for range 3 {
		q.addDue(due)
		q.again(due[1].ID, mobileid.LaneBulk)
	}
	if got := q.next(10, 10, false); len(got) != 2 || got[0].ID != due[0].ID {
		t.Errorf("%d items", len(got))
	}
	q.addDue(due)
	if got := q.next(10, 0, false); len(got) != 1 || got[0].ID != due[0].ID {
		t.Errorf("%d items with room for codes alone, when they are due again", len(got))
	}
}

// Notices of three parts fill the window: the slots kept for codes are not
// theirs, and none of them holds slots while it waits for more (P8).
func TestACodeDoesNotWaitBehindNoticesOfManyParts(t *testing.T) {
	answer := func(int, submitted) reply { return reply{after: 200 * time.Millisecond} }
	inBubble(t, nil, answer, func(r *rig, o *operator) {
		first := r.message(mobileid.LaneOTP, nil) // codes are expected
		r.mustTake(mobileid.LaneOTP, first)
		var ids []mobileid.ID
		for range 300 {
			ids = append(ids, r.text(mobileid.LaneBulk, strings.Repeat("щ", 3*66)))
		}
		go func() { _ = r.take(mobileid.LaneBulk, ids...) }()
		time.Sleep(time.Second)
		for range 20 {
			code, began := r.message(mobileid.LaneOTP, nil), time.Now()
			r.mustTake(mobileid.LaneOTP, code)
			r.until(code, mobileid.MessageSent)
			if d := o.of(code)[0].at.Sub(began); d > time.Millisecond {
				t.Errorf("a code waited %v, and an answer takes 200ms", d)
			}
			time.Sleep(37 * time.Millisecond)
		}
		if n := r.bridge.outgoing.len(); n == 0 {
			t.Error("no notice waits: nothing was shown")
		}
		notices, apart := 0, 0
		for _, id := range ids {
			parts := o.of(id)
			notices += len(parts)
			if n := len(parts); n > 0 && parts[n-1].at.After(parts[0].at) {
				apart++
			}
		}
		if 5*apart > notices/3 { // few: those that codes kept from their slots for a whole admission
			t.Errorf("%d of %d notices were not written in one go", apart, notices/3)
		}
		if seconds := time.Since(o.all()[0].at).Seconds(); float64(notices) < 20*seconds {
			t.Errorf("%d parts of notices in %.1f s: the window carries 40 a second", notices, seconds)
		}
	})
}

// Codes without end in a window that is small for a notice: it is written
// before its deadline all the same.
func TestANoticeOfManyPartsArrivesWhileCodesFillTheWindow(t *testing.T) {
	tune := func(c *Config) { c.Profile.Binds[0].Window = 3 }
	answer := func(int, submitted) reply { return reply{after: 30 * time.Millisecond} }
	inBubble(t, tune, answer, func(r *rig, o *operator) {
		var codes []mobileid.ID
		for range 1000 {
			codes = append(codes, r.message(mobileid.LaneOTP, nil))
		}
		long := r.text(mobileid.LaneBulk, strings.Repeat("щ", 4*66))
		go func() { _ = r.take(mobileid.LaneOTP, codes...) }()
		go func() { _ = r.take(mobileid.LaneBulk, long) }()
		time.Sleep(9 * time.Second)
		if parts := o.of(long); len(parts) != 4 {
			t.Errorf("%d of 4 parts are written", len(parts))
		}
		if n := len(o.all()); n < 800 {
			t.Errorf("%d submit_sm in 9 s: the window carries 100 a second", n)
		}
	})
}

// A submit_sm that is not answered keeps a slot: a notice that needs it is
// content with the other one before long. While it is admitted again for that,
// what is behind it may go first: the lane does not stand still for the registry.
func TestANoticeThatDoesNotFindItsSlotsTogetherTakesTurns(t *testing.T) {
	tune := func(c *Config) { c.Profile.Binds[0].Window = 2 }
	answer := func(n int, _ submitted) reply {
		if n == 0 {
			return reply{after: 9 * time.Second}
		}
		return reply{after: 10 * time.Millisecond}
	}
	inBubble(t, tune, answer, func(r *rig, o *operator) {
		r.mustTake(mobileid.LaneOTP, r.message(mobileid.LaneOTP, nil))
		synctest.Wait()
		long, next := r.long(mobileid.LaneBulk), r.message(mobileid.LaneBulk, nil)
		r.mustTake(mobileid.LaneBulk, long)
		go func() { _ = r.take(mobileid.LaneBulk, next) }()
		time.Sleep(2 * time.Second)
		if n := len(o.of(long)); n != 2 {
			t.Fatalf("%d of 2 parts are written", n)
		}
		r.until(next, mobileid.MessageSent)
	})
}
