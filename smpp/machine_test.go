package smpp

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// life is one Message of the property test.
type life struct {
	Code bool
	Long bool
	Life time.Duration // to its deadline
	Wait time.Duration // before it is taken
}

// unheard reports whether the answer did not reach us in time: a fault.
func (s submitted) unheard() bool {
	return s.answered.IsZero() || s.answered.Sub(s.at) >= testProfile("", 1).Timers.Response
}

// maybeHeard reports whether the connection was cut in the moment of the answer.
func (s submitted) maybeHeard() bool {
	return !s.on.cut.IsZero() && !s.answered.Before(s.on.cut)
}

// Whatever the operator answers, and when the connection is cut: each Message
// ends, or is in doubt after a fault; nothing is written after its deadline;
// what he has is not written again, save a code after a fault, once (P1, P5).
func TestEveryMessageEndsOnceWhateverTheOperatorSays(t *testing.T) {
	replies := rapid.Custom(func(rt *rapid.T) reply {
		r := reply{status: rapid.SampledFrom([]wire.Status{
			0, 0, 0, 0x58, 0x58, 0x14, 0x08, 0x45, 0x0B, 0x0A, 0x04, 0x400, 0x401, 0x4FE,
		}).Draw(rt, "status")}
		r.after = rapid.SampledFrom([]time.Duration{0, 0, 0, 50 * time.Millisecond, 3 * time.Second, 12 * time.Second}).Draw(rt, "after")
		switch rapid.IntRange(0, 9).Draw(rt, "fault") {
		case 0:
			r.silent = true
		case 1:
			r.cut = true
		case 2:
			r.silent, r.cut = true, true
		}
		return r
	})
	lives := rapid.Custom(func(rt *rapid.T) life {
		return life{
			Code: rapid.Bool().Draw(rt, "code"), Long: rapid.Bool().Draw(rt, "long"),
			Life: time.Duration(rapid.IntRange(1, 60).Draw(rt, "life")) * time.Second,
			Wait: time.Duration(rapid.IntRange(0, 2000).Draw(rt, "wait")) * time.Millisecond,
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(replies, 0, 40).Draw(rt, "replies")
		messages := rapid.SliceOfN(lives, 1, 12).Draw(rt, "messages")
		window := rapid.IntRange(1, 5).Draw(rt, "window")
		rate := rapid.SampledFrom([]int{0, 5, 100}).Draw(rt, "rate")
		answer := func(n int, _ submitted) reply {
			if n < len(plan) {
				return plan[n]
			}
			return reply{}
		}
		tune := func(c *Config) {
			c.Profile.Binds[0].Window, c.Profile.Pace.Rate = window, rate
			c.Profile.Timers.Refused = 5 * time.Second
		}
		var wrong []string
		inBubble(t, tune, answer, func(r *rig, o *operator) {
			ids := make([]mobileid.ID, len(messages))
			for i, m := range messages {
				lane := mobileid.LaneBulk
				if m.Code {
					lane = mobileid.LaneOTP
				}
				if m.Long {
					ids[i] = r.long(lane)
				} else {
					ids[i] = r.message(lane, nil)
				}
				r.store.mu.Lock()
				r.store.rows[ids[i]].admission.Deadline = time.Now().Add(m.Wait + m.Life)
				r.store.mu.Unlock()
				go func() {
					time.Sleep(m.Wait)
					for r.bridge.Take(r.t.Context(), []mobileid.AdmitItem{{ID: ids[i], Source: mobileid.RecordRef{Topic: mobileid.TopicSMS("beeline", lane)}}}) != nil {
						time.Sleep(100 * time.Millisecond)
					}
				}()
			}
			time.Sleep(5 * time.Minute)
			r.store.mu.Lock()
			defer r.store.mu.Unlock()
			for i, id := range ids {
				for _, what := range judgeLife(messages[i], r.store.rows[id], o.of(id)) {
					wrong = append(wrong, fmt.Sprintf("message %d, %+v: %s", i, messages[i], what))
				}
			}
		})
		if len(wrong) > 0 {
			rt.Fatal(wrong)
		}
	})
}

// judgeLife says what is wrong with the life of a Message.
func judgeLife(m life, x *row, written []submitted) (wrong []string) {
	fault := false
	maybe, has := map[int]int{}, map[int]bool{} // by part: after a fault, for sure
	refused := map[int]time.Time{}              // by part: when he said, too late, that he has not taken it
	for _, s := range written {
		if has[s.part] {
			wrong = append(wrong, fmt.Sprintf("part %d was written again after it was taken", s.part))
		}
		if s.at.After(x.admission.Deadline) {
			wrong = append(wrong, fmt.Sprintf("written %v after the deadline", s.at.Sub(x.admission.Deadline)))
		}
		if extra := maybe[s.part]; extra > 0 && (!m.Code || extra > 1) {
			wrong = append(wrong, fmt.Sprintf("part %d was written again after %d faults", s.part, extra))
		}
		if !m.Code && s.at.Before(refused[s.part]) {
			wrong = append(wrong, fmt.Sprintf("part %d was written again before the late answer", s.part))
		}
		const maybe401 = 0x401 // "the operator may have taken it", says the table
		fault = fault || s.unheard() || s.maybeHeard() || s.reply.status == maybe401
		switch took := s.reply.status == wire.StatusOK; {
		case s.unheard() && !took && !s.answered.IsZero() && s.reply.status != maybe401:
			refused[s.part] = s.answered
		case s.unheard(), s.maybeHeard() && took, s.reply.status == maybe401:
			maybe[s.part]++
		case took:
			has[s.part] = true
		}
	}
	switch x.state {
	case mobileid.MessageInDoubt:
		if !fault {
			wrong = append(wrong, "in doubt without a fault")
		}
	case mobileid.MessageSent:
		if parts := map[bool]int{false: 1, true: 2}[m.Long]; len(has) < parts && !fault {
			wrong = append(wrong, fmt.Sprintf("sent with %d of %d parts", len(has), parts))
		}
	case mobileid.MessageRejected, mobileid.MessageNoFunds, mobileid.MessageExpired:
	default:
		wrong = append(wrong, "it ended "+string(x.state))
	}
	return wrong
}
