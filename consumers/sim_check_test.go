package consumers

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
)

// simSays is an operator with one answer for all, after some time.
type simSays struct {
	check mobileid.SIMCheck
	after time.Duration

	mu    sync.Mutex
	asked []mobileid.SIMQuestion
}

func (s *simSays) Check(ctx context.Context, q mobileid.SIMQuestion) mobileid.SIMCheck {
	s.mu.Lock()
	s.asked = append(s.asked, q)
	s.mu.Unlock()
	if s.after > 0 {
		select {
		case <-time.After(s.after):
		case <-ctx.Done():
			return mobileid.SIMUnknown
		}
	}
	return s.check
}

func simHandler(t *testing.T, r *room, says *simSays, change func(*mobileid.Purpose)) *otpRequests {
	t.Helper()
	var opener *mobileid.Opener
	h := otpHandler(t, r, &opener).(*otpRequests)
	if says != nil {
		h.SIM = says
	}
	p := h.Purposes["sign_in"]
	p.SIMMaxAge = 72 * time.Hour
	if change != nil {
		change(&p)
	}
	h.Purposes["sign_in"] = p
	return h
}

func TestACodeByWhatIsKnownOfTheSIM(t *testing.T) {
	const (
		sent    = ""
		swapped = mobileid.ReasonSIMSwapped
		unknown = mobileid.ReasonSIMUnknown
	)
	strict := func(p *mobileid.Purpose) { p.SIMUnknown = mobileid.SIMUnknownStepUp }
	for name, c := range map[string]struct {
		purpose func(*mobileid.Purpose)
		shown   time.Duration // ago; 0 is never
		says    mobileid.SIMCheck
		asked   time.Duration // 0 is not
		want    string
		until   time.Duration
		check   mobileid.SIMCheck
	}{
		"clear":                        {nil, 0, mobileid.SIMClear, 72 * time.Hour, sent, 0, mobileid.SIMClear},
		"swapped":                      {nil, 0, mobileid.SIMSwapped, 72 * time.Hour, swapped, 24 * time.Hour, mobileid.SIMSwapped},
		"swapped, short":               {func(p *mobileid.Purpose) { p.SIMMaxAge = 5 * time.Hour }, 0, mobileid.SIMSwapped, 5 * time.Hour, swapped, 5 * time.Hour, mobileid.SIMSwapped},
		"unknown":                      {nil, 0, mobileid.SIMUnknown, 72 * time.Hour, sent, 0, mobileid.SIMUnknown},
		"unknown, allow":               {func(p *mobileid.Purpose) { p.SIMUnknown = mobileid.SIMUnknownAllow }, 0, mobileid.SIMUnknown, 72 * time.Hour, sent, 0, mobileid.SIMUnknown},
		"unknown, step up":             {strict, 0, mobileid.SIMUnknown, 72 * time.Hour, unknown, time.Minute, mobileid.SIMUnknown},
		"clear, step up":               {strict, 0, mobileid.SIMClear, 72 * time.Hour, sent, 0, mobileid.SIMClear},
		"the purpose does not ask":     {func(p *mobileid.Purpose) { p.SIMMaxAge = 0 }, 0, mobileid.SIMSwapped, 0, sent, 0, ""},
		"an enrollment":                {func(p *mobileid.Purpose) { p.Use = mobileid.UseEnrollment }, 0, mobileid.SIMSwapped, 0, sent, 0, ""},
		"a face just now":              {strict, 59 * time.Minute, mobileid.SIMSwapped, 0, sent, 0, ""},
		"a face, and nothing since":    {strict, 150 * time.Minute, mobileid.SIMClear, 2 * time.Hour, sent, 0, mobileid.SIMClear},
		"a face, and who knows since":  {strict, 150 * time.Minute, mobileid.SIMUnknown, 2 * time.Hour, sent, 0, mobileid.SIMUnknown},
		"a face, and another SIM then": {strict, 150 * time.Minute, mobileid.SIMSwapped, 2 * time.Hour, swapped, 24 * time.Hour, mobileid.SIMSwapped},
		"a face too long ago":          {strict, 72 * time.Hour, mobileid.SIMUnknown, 72 * time.Hour, unknown, time.Minute, mobileid.SIMUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			says := &simSays{check: c.says}
			r := newRoom()
			h := simHandler(t, r, says, c.purpose)
			b := r.bind(t, 1)
			if c.shown > 0 {
				b.SteppedUpAt = noon.Add(-c.shown)
				r.bindings[b.Person] = b
			}
			req := challengeRequest(t, "a", 1)
			again, resend := resendOf(t, r, b, nil)
			recs := append(tracked(challengeMessage(t, req)), resend...)
			if err := h.Handle(t.Context(), recs); err != nil {
				t.Fatal(err)
			}
			first, next := r.challenges[req.ID], r.resent[0]
			var until time.Time
			if c.until > 0 {
				until = noon.Add(c.until)
			}
			codes := 2
			if c.want != sent {
				codes = 0
			}
			if first.StepUp != c.want || first.SIMCheck != c.check || !first.RetryAt.Equal(until) || (first.Message != nil) != (c.want == sent) {
				t.Errorf("first: %q %q until %s, Message %v", first.StepUp, first.SIMCheck, first.RetryAt, first.Message != nil)
			}
			if next.StepUp != c.want || next.SIMCheck != c.check || !next.RetryAt.Equal(until) || (next.Message != nil) != (c.want == sent) {
				t.Errorf("next: %q %q until %s, Message %v", next.StepUp, next.SIMCheck, next.RetryAt, next.Message != nil)
			}
			if r.issued != codes || len(r.lane) != codes {
				t.Errorf("%d codes, %d on the lane", r.issued, len(r.lane))
			}
			var want []mobileid.SIMQuestion
			if c.asked > 0 {
				want = []mobileid.SIMQuestion{{For: req.ID, Number: b.MSISDN, MaxAge: c.asked}, {For: again.ID, Number: b.MSISDN, MaxAge: c.asked}}
			}
			if fmt.Sprint(says.asked) != fmt.Sprint(want) || len(says.asked) != len(want) {
				t.Errorf("asked %d times", len(says.asked))
			}
		})
	}
}

func TestNobodyIsAskedOfASIMWhenNoCodeWouldBeSent(t *testing.T) {
	says := &simSays{check: mobileid.SIMSwapped}
	r := newRoom()
	h := simHandler(t, r, says, nil)
	r.bind(t, 2)
	unbound, late := challengeRequest(t, "a", 1), challengeRequest(t, "b", 2)
	late.Deadline = noon.Add(-time.Millisecond)
	if err := h.Handle(t.Context(), tracked(challengeMessage(t, unbound), challengeMessage(t, late))); err != nil {
		t.Fatal(err)
	}
	r.wait = time.Minute
	limited := challengeRequest(t, "c", 2)
	if err := h.Handle(t.Context(), tracked(challengeMessage(t, limited))); err != nil {
		t.Fatal(err)
	}
	if len(says.asked) != 0 || !r.challenges[limited.ID].RetryAt.Equal(noon.Add(time.Minute)) || r.challenges[limited.ID].StepUp != "" {
		t.Errorf("asked %d times, %+v", len(says.asked), r.challenges[limited.ID])
	}
}

func TestWithoutAServiceToAskTheCodeIsSent(t *testing.T) {
	r := newRoom()
	h := simHandler(t, r, nil, func(p *mobileid.Purpose) { p.SIMUnknown = mobileid.SIMUnknownStepUp })
	r.bind(t, 1)
	req := challengeRequest(t, "a", 1)
	if err := h.Handle(t.Context(), tracked(challengeMessage(t, req))); err != nil {
		t.Fatal(err)
	}
	if c := r.challenges[req.ID]; c.SIMCheck != "" || c.Message == nil {
		t.Errorf("%q, Message %v", c.SIMCheck, c.Message != nil)
	}
}

// A batch is held no longer than one question lasts.
func TestAllOfABatchAreAskedOfAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := &simSays{check: mobileid.SIMUnknown, after: 500 * time.Millisecond}
		r := newRoom()
		h := simHandler(t, r, says, nil)
		const n = 3 * parallel
		var recs []*Record
		for i := range byte(n) {
			r.bind(t, i+1)
			recs = append(recs, tracked(challengeMessage(t, challengeRequest(t, fmt.Sprint(i), i+1)))...)
		}
		began := time.Now()
		if err := h.Handle(t.Context(), recs); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 500*time.Millisecond || len(says.asked) != n || r.issued != n {
			t.Errorf("%d asked, %d codes in %s", len(says.asked), r.issued, took)
		}
	})
}

func TestAnAnswerThatNobodyWaitsForIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := &simSays{check: mobileid.SIMClear, after: time.Hour}
		r := newRoom()
		h := simHandler(t, r, says, func(p *mobileid.Purpose) { p.SIMUnknown = mobileid.SIMUnknownStepUp })
		r.bind(t, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		recs := tracked(challengeMessage(t, challengeRequest(t, "a", 1)))
		if err := h.Handle(ctx, recs); err == nil || len(r.challenges) != 0 || recs[0].isDone() {
			t.Errorf("%v, %d stored", err, len(r.challenges))
		}
	})
}
