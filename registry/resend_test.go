package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

const pace = time.Minute

// next is the sending of that number of a challenge, asked for now.
func (e *env) next(p person, c mobileid.NewChallenge, number int, key string) *mobileid.NewSend {
	n := &mobileid.NewSend{
		Request: mobileid.ResendRequested{
			ID: e.key.Make(mobileid.KindResend, c.Request.Client, key, e.clk.now()), Challenge: c.Request.ID, Client: c.Request.Client,
			Person: p.binding.Person.String(), Deadline: e.clk.now().Add(30 * time.Second),
		},
		Number: number, Nonce: "nonce-" + key, ExpiresAt: e.clk.now().Add(3 * time.Minute), CanResendAt: e.clk.now().Add(pace), Binding: &p.binding,
	}
	n.Message = e.message(p.binding, e.key.Derive(mobileid.KindMessage, c.Request.Client, c.Request.ID, number), mobileid.LaneOTP, n.ExpiresAt)
	return n
}

func (e *env) resend(n *mobileid.NewSend) (mobileid.LaneItem, bool) {
	e.t.Helper()
	item, ok, err := e.Resend(e.ctx(), n)
	must(e.t, err)
	return item, ok
}

func (e *env) wantNonce(c mobileid.NewChallenge, want string) {
	e.t.Helper()
	live, err := e.LiveChallenge(e.ctx(), c.Request.Client, c.Request.ID)
	must(e.t, err)
	if live.Nonce != want {
		e.t.Errorf("the live code is %s, want %s", live.Nonce, want)
	}
}

func TestTheNextCodeTakesThePlaceOfTheOneBefore(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	c := e.challenge(p, "c")
	e.issue(c)
	e.clk.advance(pace)
	second := e.next(p, c, 2, "second")
	item, ok := e.resend(second)
	if !ok || item.ID != second.Message.ID {
		t.Fatalf("%+v %v", item, ok)
	}
	e.wantNonce(c, second.Nonce)
	e.wantMessage(c.Message.ID, mobileid.MessageCancelled, mobileid.ReasonResent)
	if again, ok := e.resend(second); !ok || again.ID != item.ID {
		t.Errorf("read again: %+v %v", again, ok)
	}
	e.admit(b, c.Message.ID, second.Message.ID)
	if _, ok := e.resend(second); ok {
		t.Error("its Message is published again although a bridge has it")
	}
	e.settle(b, e.outcome(second.Message.ID, mobileid.MessageSent, p.binding.Number, "op-2"))
	e.wantCharge(second.Message.ID, "posted")
	_, err := e.confirmCode(c, 1)
	must(t, err)
	e.wantBalanced()
}

func TestWhatBecomesOfTheOldMessageIsNotOfTheChallenge(t *testing.T) {
	for name, become := range map[string]func(e *env, b int64, p person, old mobileid.ID){
		"refused": func(e *env, b int64, p person, old mobileid.ID) {
			e.settle(b, e.outcome(old, mobileid.MessageRejected, p.binding.Number, ""))
			e.wantMessage(old, mobileid.MessageRejected, "")
		},
		"undelivered": func(e *env, b int64, p person, old mobileid.ID) {
			e.settle(b, e.outcome(old, mobileid.MessageSent, p.binding.Number, "op-1"))
			e.receipts(e.receipt(p.binding.Number, "op-1", mobileid.MessageUndeliverable))
			e.wantMessage(old, mobileid.MessageUndeliverable, "receipt")
		},
		"in doubt": func(e *env, b int64, p person, old mobileid.ID) {
			e.settle(b, e.outcome(old, mobileid.MessageInDoubt, p.binding.Number, ""))
			for _, a := range e.admit(b, old) {
				if a.Verdict == mobileid.VerdictMine {
					e.t.Error("the old code is sent again")
				}
			}
		},
		"asked for later": func(e *env, b int64, p person, old mobileid.ID) {
			o := e.outcome(old, mobileid.MessageRetry, p.binding.Number, "")
			o.RetryAt = e.clk.now()
			e.settle(b, o)
			for _, a := range e.admit(b, old) {
				if a.Verdict == mobileid.VerdictMine {
					e.t.Error("the old code is sent after all")
				}
			}
			e.wantMessage(old, mobileid.MessageCancelled, mobileid.ReasonChallengeGone)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.tariff()
			p, b := e.bind(10*cost), e.bridge()
			c := e.challenge(p, "c")
			e.issue(c)
			e.admit(b, c.Message.ID)
			e.clk.advance(pace)
			second := e.next(p, c, 2, "second")
			e.resend(second)
			become(e, b, p, c.Message.ID)
			e.wantChallenge(c.Request.ID, mobileid.ChallengePending, "")
			if a := e.admit(b, second.Message.ID)[0]; a.Verdict != mobileid.VerdictMine {
				t.Errorf("the new code: %s %s", a.Verdict, a.State)
			}
			e.wantBalanced()
		})
	}
}

func TestWrongTriesAndVersionsGoOnOverCodes(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	c := e.challenge(p, "c")
	e.issue(c)
	e.admit(b, c.Message.ID)
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "op-1"))
	_, err := e.CountWrongTry(e.ctx(), c.Request.ID, false)
	must(t, err)
	before, err := e.Challenge(e.ctx(), c.Request.Client, c.Request.ID)
	must(t, err)
	e.clk.advance(pace)
	e.resend(e.next(p, c, 2, "second"))
	after, err := e.Challenge(e.ctx(), c.Request.Client, c.Request.ID)
	must(t, err)
	if after.Version <= before.Version || after.TriesLeft != before.TriesLeft || !after.ExpiresAt.After(before.ExpiresAt) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	sent, err := e.SentChallenges(e.ctx(), []mobileid.ID{c.Request.ID})
	must(t, err)
	if s := sent[c.Request.ID]; s.Sends != 2 || s.TriesLeft != c.Tries-1 || s.MessageItem == nil {
		t.Errorf("%+v", s)
	}
}

func TestWhenNothingIsSentAgain(t *testing.T) {
	for name, prepare := range map[string]func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend{
		"too early": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			e.resend(e.next(p, c, 2, "second"))
			e.clk.advance(pace - time.Millisecond)
			return e.next(p, c, 3, "third")
		},
		"another came in between": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			e.resend(e.next(p, c, 2, "second"))
			e.clk.advance(pace)
			return e.next(p, c, 2, "third")
		},
		"a younger one was done": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			old := e.next(p, c, 3, "old")
			e.clk.advance(time.Millisecond)
			e.resend(e.next(p, c, 2, "young"))
			return old
		},
		"read too late": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			n := e.next(p, c, 2, "late")
			e.clk.advance(31 * time.Second)
			return n
		},
		"of another client": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			n := e.next(p, c, 2, "strange")
			n.Request.Client = "somebody"
			return n
		},
		"cancelled": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			_, err := e.CancelChallenge(e.ctx(), c.Request.Client, c.Request.ID)
			must(e.t, err)
			return e.next(p, c, 2, "second")
		},
		"confirmed": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			_, err := e.confirmCode(c, 1)
			must(e.t, err)
			return e.next(p, c, 2, "second")
		},
		"revoked": func(e *env, p person, c mobileid.NewChallenge) *mobileid.NewSend {
			must(e.t, e.Revoke(e.ctx(), p.binding.ID))
			return e.next(p, c, 2, "second")
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			p := e.bind(0)
			c := e.challenge(p, "c")
			e.issue(c)
			e.clk.advance(pace)
			n := prepare(e, p, c)
			before := query[int](e, `select count(*) from messages`)
			if item, ok := e.resend(n); ok {
				t.Errorf("published %+v", item)
			}
			if after := query[int](e, `select count(*) from messages`); after != before {
				t.Errorf("%d Messages, had %d", after, before)
			}
			if name == "revoked" {
				e.wantChallenge(c.Request.ID, mobileid.ChallengeFenced, mobileid.ReasonBindingChanged)
			}
		})
	}
}

// A client that may not know whether a person is bound sees the same times and
// numbers of both.
func TestCodesOfNobodyAreCountedAlike(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	c := e.challenge(p, "c")
	c.Binding, c.Message = nil, nil
	e.issue(c)
	e.clk.advance(pace)
	n := e.next(p, c, 2, "second")
	n.Binding, n.Message = nil, nil
	if _, ok := e.resend(n); ok {
		t.Error("something is sent")
	}
	sent, err := e.SentChallenges(e.ctx(), []mobileid.ID{c.Request.ID})
	must(t, err)
	if s := sent[c.Request.ID]; s.State != mobileid.ChallengeUnbound || s.Sends != 2 || !s.CanResendAt.Equal(n.CanResendAt) {
		t.Errorf("%+v", s)
	}
}

func TestCancelStopsWhateverCame(t *testing.T) {
	cancel := func(e *env, c mobileid.NewChallenge) mobileid.ChallengeState {
		e.t.Helper()
		state, err := e.CancelChallenge(e.ctx(), c.Request.Client, c.Request.ID)
		must(e.t, err)
		return state
	}
	t.Run("before it is issued", func(t *testing.T) {
		e := newEnv(t)
		p, b := e.bind(10*cost), e.bridge()
		c := e.challenge(p, "c")
		if state := cancel(e, c); state != mobileid.ChallengeCancelled {
			t.Fatalf("%s", state)
		}
		if v, err := e.Challenge(e.ctx(), c.Request.Client, c.Request.ID); err != nil || v.State != mobileid.ChallengeCancelled {
			t.Errorf("%+v %v", v, err)
		}
		if items := e.issue(c); len(items) != 0 {
			t.Errorf("published %+v", items)
		}
		if n := query[int](e, `select count(*) from messages`); n != 0 {
			t.Errorf("%d Messages", n)
		}
		if got := query[string](e, `select purpose from challenges where id = $1 and person = $2`, c.Request.ID[:], p.binding.Person[:]); got != c.Request.Purpose {
			t.Errorf("what is known of it now: %q", got)
		}
		_ = b
		if state := cancel(e, c); state != mobileid.ChallengeCancelled {
			t.Errorf("again: %s", state)
		}
	})
	t.Run("before it is sent", func(t *testing.T) {
		e := newEnv(t)
		p := e.bind(10 * cost)
		c := e.challenge(p, "c")
		e.issue(c)
		cancel(e, c)
		e.wantChallenge(c.Request.ID, mobileid.ChallengeCancelled, mobileid.ReasonClient)
		e.wantMessage(c.Message.ID, mobileid.MessageCancelled, "challenge_cancelled")
		if _, err := e.confirmCode(c, 1); mobileid.CodeOf(err) != "challenge_cancelled" {
			t.Errorf("%v", err)
		}
	})
	t.Run("after it was confirmed", func(t *testing.T) {
		e := newEnv(t)
		p := e.bind(0)
		c := e.challenge(p, "c")
		e.issue(c)
		_, err := e.confirmCode(c, 1)
		must(t, err)
		if state := cancel(e, c); state != mobileid.ChallengeConfirmed {
			t.Errorf("%s", state)
		}
	})
	t.Run("of another client", func(t *testing.T) {
		e := newEnv(t)
		p := e.bind(0)
		c := e.challenge(p, "c")
		e.issue(c)
		if _, err := e.CancelChallenge(e.ctx(), "somebody", c.Request.ID); mobileid.KindOf(err) != mobileid.KindNotFound {
			t.Errorf("%v", err)
		}
		e.wantChallenge(c.Request.ID, mobileid.ChallengePending, "")
	})
}

// Whichever of the two comes first, no code is left alive.
func TestCancelRacesIssue(t *testing.T) {
	e := newEnv(t)
	for i := range 40 {
		p := e.bind(0)
		c := e.challenge(p, "c")
		done := make(chan error)
		go func() {
			_, err := e.CancelChallenge(e.ctx(), c.Request.Client, c.Request.ID)
			done <- err
		}()
		_, err := e.IssueChallenges(e.ctx(), []mobileid.NewChallenge{c})
		if err != nil { // the tombstone came in between: the runner gives the record again
			_, err = e.IssueChallenges(e.ctx(), []mobileid.NewChallenge{c})
		}
		must(t, err)
		must(t, <-done)
		if state := e.challengeState(c.Request.ID); state != mobileid.ChallengeCancelled {
			t.Fatalf("round %d: %s", i, state)
		}
		if live := query[int](e, `select count(*) from live_challenges`); live != 0 {
			t.Fatalf("round %d: %d live", i, live)
		}
	}
}
