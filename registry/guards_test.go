package registry_test

import (
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// guess types a wrong code so many times, ends the challenge, as the edge does, and
// returns how many tries it has used.
func (e *env) guess(c mobileid.NewChallenge, times int) (used int) {
	e.t.Helper()
	for range times {
		var err error
		used, err = e.CountWrongTry(e.ctx(), c.Request.ID, c.Exempt)
		must(e.t, err)
		if used >= c.Tries {
			must(e.t, e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeExhausted, mobileid.ReasonWrongCodes))
		}
	}
	return used
}

// askedAgain issues a new challenge of the person and returns it as it is stored.
func (e *env) askedAgain(p person, key string, change func(*mobileid.NewChallenge)) (mobileid.NewChallenge, mobileid.ChallengeView) {
	e.t.Helper()
	e.clk.advance(time.Millisecond) // ids sort by time
	c := e.challenge(p, key)
	if change != nil {
		change(&c)
	}
	e.issue(c)
	v, err := e.Challenge(e.ctx(), c.Request.Client, c.Request.ID)
	must(e.t, err)
	return c, v
}

func TestTheLastWrongCodePausesThePersonWithTheClient(t *testing.T) {
	e := newEnv(t)
	p, beside := e.bind(0), e.bind(0)
	c, _ := e.askedAgain(p, "1", nil)
	e.guess(c, 2)
	// A new code does not reset what was counted.
	c, v := e.askedAgain(p, "2", nil)
	if v.State != mobileid.ChallengePending {
		t.Fatalf("after two wrong ones: %s", v.State)
	}
	e.guess(c, 3)
	end := e.clk.now().Add(15 * time.Minute)
	_, v = e.askedAgain(p, "3", nil)
	if v.State != mobileid.ChallengeLimited || v.Reason != mobileid.ReasonWrongCodes || !v.RetryAt.Equal(end) {
		t.Errorf("%s %s, again at %s, want %s", v.State, v.Reason, v.RetryAt, end)
	}
	if _, v := e.askedAgain(p, "4", func(c *mobileid.NewChallenge) { c.Binding, c.Message = nil, nil }); v.State != mobileid.ChallengeLimited {
		t.Errorf("who may not know of a binding sees %s", v.State)
	}
	if _, v := e.askedAgain(beside, "5", nil); v.State != mobileid.ChallengePending {
		t.Errorf("another person: %s", v.State)
	}
	e.clk.ns.Store(end.Add(-2 * time.Millisecond).UnixNano())
	if _, v := e.askedAgain(p, "6", nil); v.State != mobileid.ChallengeLimited {
		t.Errorf("a moment before: %s", v.State)
	}
	if _, v := e.askedAgain(p, "7", nil); v.State != mobileid.ChallengePending {
		t.Errorf("after it: %s", v.State)
	}
}

func TestAnotherClientIsNotHeldUpByAPause(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	c, _ := e.askedAgain(p, "1", nil)
	e.guess(c, 3)
	other := e.challenge(p, "2")
	other.Request.Client = "tax"
	other.Request.ID = e.key.Make(mobileid.KindChallenge, "tax", "2", e.clk.now())
	other.Message.ID, other.Message.Client = e.key.Derive(mobileid.KindMessage, "tax", other.Request.ID, 1), "tax"
	e.issue(other)
	if v, err := e.Challenge(e.ctx(), "tax", other.Request.ID); err != nil || v.State != mobileid.ChallengePending {
		t.Errorf("%s %v", v.State, err)
	}
}

func TestSoManyWrongCodesADayWantAnotherProof(t *testing.T) {
	exhaust := func(e *env, p person) {
		e.t.Helper()
		for i := range 4 {
			c, v := e.askedAgain(p, fmt.Sprint("wrong", i), nil)
			if v.State != mobileid.ChallengePending {
				e.t.Fatalf("code %d: %s", i, v.State)
			}
			if used := e.guess(c, min(3, 10-3*i)); used != 3 { // of the fourth the first is the day's last
				e.t.Fatalf("%d used", used)
			}
			e.clk.advance(16 * time.Minute)
		}
		_, v := e.askedAgain(p, "eleventh", nil)
		midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, mobileid.Tashkent)
		if v.State != mobileid.ChallengeStepUp || v.Reason != mobileid.ReasonWrongCodes || !v.RetryAt.Equal(midnight) {
			e.t.Fatalf("%s %s until %s", v.State, v.Reason, v.RetryAt)
		}
	}
	t.Run("it ends with the day", func(t *testing.T) {
		e := newEnv(t)
		p := e.bind(0)
		exhaust(e, p)
		e.clk.ns.Store(time.Date(2026, 11, 24, 0, 0, 0, 0, mobileid.Tashkent).UnixNano())
		if _, v := e.askedAgain(p, "next day", nil); v.State != mobileid.ChallengePending {
			t.Errorf("%s", v.State)
		}
	})
	t.Run("a face ends it", func(t *testing.T) {
		e := newEnv(t)
		p := e.bind(0)
		exhaust(e, p)
		must(t, e.StepUp(e.ctx(), p.binding.Person, "app", "face_id"))
		if _, v := e.askedAgain(p, "after", nil); v.State != mobileid.ChallengePending {
			t.Errorf("%s", v.State)
		}
	})
	t.Run("a right code before it clears the day", func(t *testing.T) {
		e := newEnv(t)
		p := e.bind(0)
		for i := range 6 {
			c, v := e.askedAgain(p, fmt.Sprint(i), nil)
			if v.State != mobileid.ChallengePending {
				t.Fatalf("round %d: %s", i, v.State)
			}
			e.guess(c, 2)
			_, err := e.confirmCode(c, byte(i))
			must(t, err)
		}
	})
}

// Named after requirement R16-2: codes of an enrollment may be asked for and mistyped
// any number of times.
func TestR16_2_NothingThatWasCountedStandsAgainstAnEnrollment(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	exempt := func(c *mobileid.NewChallenge) { c.Exempt = true }
	for i := range 30 {
		c, v := e.askedAgain(p, fmt.Sprint(i), exempt)
		if v.State != mobileid.ChallengePending {
			t.Fatalf("code %d: %s", i, v.State)
		}
		e.guess(c, 1)
		if i%3 == 2 {
			e.guess(c, 2)
		}
	}
	if _, v := e.askedAgain(p, "sign in", nil); v.State != mobileid.ChallengePending {
		t.Errorf("they count against other codes: %s", v.State)
	}
}

func TestTooManyCodesEndLimited(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	until := e.clk.now().Add(7 * time.Minute)
	_, v := e.askedAgain(p, "1", func(c *mobileid.NewChallenge) { c.Binding, c.Message, c.RetryAt = nil, nil, until })
	if v.State != mobileid.ChallengeLimited || v.Reason != mobileid.ReasonTooMany || !v.RetryAt.Equal(until) {
		t.Errorf("%+v", v)
	}
}
