package smpp

import (
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// An answer that comes after the response timer is kept whatever it says, for
// each part, and settles the Message when nothing of it is in doubt any more;
// when the Message is sent again meanwhile, that sending decides.
func TestALateAnswerIsKeptAndSettlesWhatItCan(t *testing.T) {
	const (
		timer = 10 * time.Second
		alone = "nobody holds the Message"
		early = "its doubt is not stored yet"
		again = "its resend is under way"
	)
	for status, want := range map[wire.Status]string{
		wire.StatusOK:           "sent late_answer",
		wire.Status(0x0B):       "rejected smpp_0x0b",
		wire.Status(0x400):      "rejected subscriber_cannot_pay",
		wire.StatusThrottled:    "sent ", // it comes back
		wire.StatusSystemError:  "sent ",
		wire.Status(0x401):      "in_doubt no_answer", // maybe taken, says the table
		wire.StatusUnknownError: "rejected smpp_0xff",
	} {
		for _, parts := range []int{1, 2} {
			for _, held := range []string{alone, early, again} {
				t.Run(fmt.Sprintf("%s in %d, %s", status, parts, held), func(t *testing.T) {
					answer := func(n int, s submitted) reply {
						if n < parts {
							return reply{status: status, after: timer + time.Duration(1+s.part)*time.Second}
						}
						return reply{after: 6 * time.Second}
					}
					away := func(r *rig) {
						back := time.Now().Add(timer + 5*time.Second)
						r.store.onSettle = func([]mobileid.Outcome) error {
							if held == early && time.Now().Before(back) {
								return mobileid.Unavailable("database_away", time.Second, nil)
							}
							return nil
						}
					}
					inBubbleWith(t, nil, answer, away, func(r *rig, _ *operator) {
						lane, sendings, want := mobileid.LaneBulk, 1, want
						if want == "sent " {
							sendings = 2
						}
						if held == again {
							lane, sendings, want = mobileid.LaneOTP, 2, "sent "
						}
						id := r.message(lane, nil)
						if parts == 2 {
							id = r.long(lane)
						}
						r.mustTake(lane, id)
						time.Sleep(timer + 5*time.Second)
						r.store.mu.Lock()
						x := r.store.rows[id]
						if held == again && x.state != mobileid.MessageAdmitted {
							t.Errorf("%s while its resend is under way", x.state)
						}
						r.store.mu.Unlock()
						time.Sleep(time.Minute)
						r.store.mu.Lock()
						defer r.store.mu.Unlock()
						if got := string(x.state) + " " + x.reason; got != want {
							t.Errorf("%s, want %s", got, want)
						}
						kept := 0
						for k, p := range r.store.parts {
							if k.id != id || p.AnsweredAt.IsZero() || (p.Status == 0) != (p.OperatorID != "") {
								t.Errorf("part %+v", p)
							}
							kept++
						}
						if kept != parts*sendings {
							t.Errorf("%d parts are kept, want %d", kept, parts*sendings)
						}
					})
				})
			}
		}
	}
}

// One part of two has no answer at all: what came late of the other is kept,
// and the Message stays in doubt.
func TestALateAnswerOfOnePartLeavesTheOtherInDoubt(t *testing.T) {
	answer := func(n int, _ submitted) reply { return reply{silent: n == 1, after: 12 * time.Second} }
	inBubble(t, nil, answer, func(r *rig, _ *operator) {
		id := r.long(mobileid.LaneBulk)
		r.mustTake(mobileid.LaneBulk, id)
		time.Sleep(time.Minute)
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		kept := map[int]string{}
		for k, p := range r.store.parts {
			kept[k.part] = p.OperatorID
		}
		if x := r.store.rows[id]; x.state != mobileid.MessageInDoubt || kept[1] == "" || kept[2] != "" {
			t.Errorf("%s, ids of the parts %v", x.state, kept)
		}
	})
}

// Late answers say that the first part is taken and that the second is not, three
// times: only the second is written again, and the pace hears of it.
func TestOnlyWhatALateAnswerRefusedForNowIsWrittenAgain(t *testing.T) {
	for status, least := range map[wire.Status]time.Duration{
		wire.StatusThrottled: 0, wire.StatusQueueFull: 3 * time.Second, // a number that is full three times waits
	} {
		answer := func(n int, _ submitted) reply {
			switch n {
			case 0:
				return reply{after: 12 * time.Second}
			case 1, 2, 3:
				return reply{status: status, after: 13 * time.Second}
			}
			return reply{}
		}
		inBubble(t, func(c *Config) { c.RetryEvery = time.Millisecond }, answer, func(r *rig, o *operator) {
			id := r.long(mobileid.LaneBulk)
			r.mustTake(mobileid.LaneBulk, id)
			time.Sleep(2 * time.Minute)
			r.store.mu.Lock()
			defer r.store.mu.Unlock()
			got := o.all()
			if x := r.store.rows[id]; x.state != mobileid.MessageSent || len(got) != 5 {
				t.Fatalf("%s: %s after %d submit_sm", status, x.state, len(got))
			}
			for _, s := range got[2:] {
				if s.part != 2 {
					t.Errorf("%s: part %d is written again", status, s.part)
				}
			}
			if waited := got[4].at.Sub(got[3].at.Add(13 * time.Second)); waited < least || waited > least+time.Second {
				t.Errorf("%s: written again after %s, want %s", status, waited, least)
			}
		})
	}
}

// A part that had no turn before the doubt is written when it is over.
func TestWhatHadNoTurnIsWrittenWhenALateAnswerEndsTheDoubt(t *testing.T) {
	answer := func(n int, _ submitted) reply {
		if n == 0 {
			return reply{after: 12 * time.Second}
		}
		return reply{}
	}
	inBubble(t, func(c *Config) { c.Profile.Binds[0].Window = 1 }, answer, func(r *rig, o *operator) {
		id := r.long(mobileid.LaneBulk)
		r.mustTake(mobileid.LaneBulk, id)
		time.Sleep(time.Minute)
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		got := o.all()
		if x := r.store.rows[id]; x.state != mobileid.MessageSent || len(got) != 2 || got[0].part != 1 || got[1].part != 2 {
			t.Errorf("%s after %+v", x.state, got)
		}
	})
}

func TestALateRefusalForNowIsNotObeyedAfterTheDeadline(t *testing.T) {
	answer := func(int, submitted) reply { return reply{status: wire.StatusThrottled, after: 12 * time.Second} }
	inBubble(t, nil, answer, func(r *rig, o *operator) {
		id := r.message(mobileid.LaneBulk, func(x *row) { x.admission.Deadline = time.Now().Add(13 * time.Second) })
		r.mustTake(mobileid.LaneBulk, id)
		time.Sleep(time.Minute)
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		if x := r.store.rows[id]; x.state != mobileid.MessageExpired || x.reason != mobileid.ReasonLateAnswer || len(o.all()) != 1 {
			t.Errorf("%s %s after %d submit_sm", x.state, x.reason, len(o.all()))
		}
	})
}
