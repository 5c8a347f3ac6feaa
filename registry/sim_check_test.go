package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func (e *env) simCheck(c mobileid.NewChallenge) (check string) {
	e.t.Helper()
	must(e.t, e.pool.QueryRow(e.ctx(), `select sim_check from challenges where id = $1`, c.Request.ID[:]).Scan(&check))
	return check
}

func TestASIMForWhichACodeIsNotEnoughEndsTheChallenge(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	until := e.clk.now().Add(24 * time.Hour).Truncate(time.Microsecond)
	c, v := e.askedAgain(p, "1", func(c *mobileid.NewChallenge) {
		c.Message, c.Nonce = nil, ""
		c.StepUp, c.RetryAt, c.SIMCheck = mobileid.ReasonSIMSwapped, until, mobileid.SIMSwapped
	})
	if v.State != mobileid.ChallengeStepUp || v.Reason != mobileid.ReasonSIMSwapped || !v.RetryAt.Equal(until) || v.MessageState != "" {
		t.Errorf("%s %s until %s, Message %q", v.State, v.Reason, v.RetryAt, v.MessageState)
	}
	if got := e.simCheck(c); got != "swapped" {
		t.Errorf("stored %s", got)
	}
	live, err := e.LiveChallenge(e.ctx(), client, c.Request.ID)
	if err != nil || live.State != mobileid.ChallengeStepUp || live.Reason != mobileid.ReasonSIMSwapped {
		t.Errorf("%s %s, %v", live.State, live.Reason, err)
	}
	// What was counted of the person comes first: whoever may not know of his SIM sees that.
	other, _ := e.askedAgain(p, "2", nil)
	e.guess(other, 3)
	if _, v := e.askedAgain(p, "3", func(c *mobileid.NewChallenge) { c.Message, c.StepUp = nil, mobileid.ReasonSIMSwapped }); v.State != mobileid.ChallengeLimited {
		t.Errorf("of who is paused: %s", v.State)
	}
}

func TestWhatIsKnownOfTheSIMIsEvidence(t *testing.T) {
	for check, want := range map[mobileid.SIMCheck]mobileid.SIMCheck{
		"": mobileid.SIMNotAsked, mobileid.SIMClear: mobileid.SIMClear, mobileid.SIMUnknown: mobileid.SIMUnknown,
	} {
		e := newEnv(t)
		c, _ := e.askedAgain(e.bind(0), "1", func(c *mobileid.NewChallenge) { c.SIMCheck = check })
		done, err := e.confirmCode(c, 1)
		if err != nil || done.SIMCheck != want {
			t.Errorf("%q: %q, %v", check, done.SIMCheck, err)
		}
	}
}

func TestTheLastCodeSaysWhatIsKnownOfTheSIM(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	c, _ := e.askedAgain(p, "1", func(c *mobileid.NewChallenge) { c.SIMCheck = mobileid.SIMClear })
	e.clk.advance(pace)
	n := e.next(p, c, 2, "second")
	n.SIMCheck = mobileid.SIMUnknown
	if _, ok := e.resend(n); !ok || e.simCheck(c) != "unknown" {
		t.Errorf("%v, %s", ok, e.simCheck(c))
	}
}

func TestASIMThatWasSwappedBetweenTwoCodesEndsTheFirst(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(cost)
	c := e.challenge(p, "c")
	e.issue(c)
	e.clk.advance(pace)
	n := e.next(p, c, 2, "second")
	n.Message, n.Nonce = nil, ""
	n.StepUp, n.SIMCheck, n.RetryAt = mobileid.ReasonSIMSwapped, mobileid.SIMSwapped, e.clk.now().Add(24*time.Hour).Truncate(time.Microsecond)
	if _, ok := e.resend(n); ok {
		t.Error("a Message is published")
	}
	v, err := e.Challenge(e.ctx(), client, c.Request.ID)
	// The times and numbers go on: a client that may not know sees those of another code.
	if err != nil || v.State != mobileid.ChallengeStepUp || v.Reason != mobileid.ReasonSIMSwapped || !v.RetryAt.Equal(n.RetryAt) ||
		v.Sends != 2 || !v.CanResendAt.Equal(n.CanResendAt.Truncate(time.Microsecond)) || !v.ExpiresAt.Equal(n.ExpiresAt.Truncate(time.Microsecond)) {
		t.Errorf("%+v, %v", v, err)
	}
	e.wantMessage(c.Message.ID, mobileid.MessageCancelled, mobileid.ReasonOfChallenge(mobileid.ChallengeStepUp))
	if _, err := e.confirmCode(c, 1); err == nil {
		t.Error("the code that was sent before still confirms")
	}
}

func TestABindingTellsWhenItsPersonHasShownHimself(t *testing.T) {
	e := newEnv(t)
	p, other := e.bind(0), e.bind(0)
	must(t, e.StepUp(e.ctx(), p.binding.Person, "app", "face_id"))
	at := e.clk.now().Truncate(time.Microsecond)
	bound, _, err := e.Known(e.ctx(), []mobileid.Pseudonym{p.binding.Person, other.binding.Person}, nil)
	if err != nil || !bound[p.binding.Person].SteppedUpAt.Equal(at) || !bound[other.binding.Person].SteppedUpAt.IsZero() {
		t.Errorf("%+v, %v", bound, err)
	}
}
