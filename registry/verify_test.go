package registry_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func (e *env) confirmCode(c mobileid.NewChallenge, key byte) (mobileid.Confirmation, error) {
	return e.Confirm(e.ctx(), client, c.Request.ID, mobileid.KeyPart{key}, "c0ffee")
}

// blocked waits until a session of this database waits for a lock.
func (e *env) blocked() {
	e.t.Helper()
	e.blockedBy(1, nil, "")
}

// blockedBy waits until n sessions of this database wait for a lock, and fails
// if done says something first.
func (e *env) blockedBy(n int, done <-chan error, otherwise string) {
	e.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if query[int](e, `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) >= n {
			return
		}
		select {
		case <-done:
			e.t.Fatal(otherwise)
		default:
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("fewer than %d sessions wait for a lock", n)
		}
	}
}

func TestARevocationWaitsForAConfirmationThatIsBeingWritten(t *testing.T) {
	e := newEnv(t)
	c := e.challenge(e.bind(0), "k")
	e.issue(c)
	// The insert is held open by a lock that its transaction needs at its end:
	// the live row, taken here as a stranger would.
	hold, err := e.pool.Begin(e.ctx())
	must(t, err)
	t.Cleanup(func() { _ = hold.Rollback(e.ctx()) }) // a failed test must not wait for itself
	_, err = hold.Exec(e.ctx(), `select from live_challenges where challenge_id = $1 for update`, c.Request.ID[:])
	must(t, err)
	confirmed := make(chan error, 1)
	go func() { _, err := e.confirmCode(c, 1); confirmed <- err }()
	e.blocked()

	revoked := make(chan error, 1)
	go func() { revoked <- e.Revoke(e.ctx(), c.Binding.ID) }()
	e.blockedBy(2, revoked, "the revocation did not wait for the confirmation")
	if have := query[string](e, `select state from bindings where id = $1`, c.Binding.ID); have != "active" {
		t.Fatalf("binding is %s while a confirmation is being written", have)
	}
	must(t, hold.Rollback(e.ctx()))
	must(t, <-confirmed)
	must(t, <-revoked)
	e.wantChallenge(c.Request.ID, mobileid.ChallengeConfirmed, "")
	if have := query[string](e, `select state from bindings where id = $1`, c.Binding.ID); have != "revoked" {
		t.Fatalf("binding is %s", have)
	}
}

func TestAConfirmationWaitsForARevocationAndThenIsNone(t *testing.T) {
	e := newEnv(t)
	c := e.challenge(e.bind(0), "k")
	e.issue(c)
	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback(e.ctx()) })
	_, err = tx.Exec(e.ctx(), `update bindings set state = 'revoked', version = version + 1 where id = $1`, c.Binding.ID)
	must(t, err)
	confirmed := make(chan error, 1)
	go func() { _, err := e.confirmCode(c, 1); confirmed <- err }()
	e.blocked()
	must(t, tx.Commit(e.ctx()))
	if err := <-confirmed; mobileid.CodeOf(err) != "challenge_fenced" || mobileid.KindOf(err) != mobileid.KindConflict {
		t.Fatalf("err = %v", err)
	}
	if have := query[int](e, `select count(*) from confirmations`); have != 0 {
		t.Fatal("confirmed after the revocation")
	}
	e.wantChallenge(c.Request.ID, mobileid.ChallengeFenced, "binding_changed")
	e.wantMessage(c.Message.ID, mobileid.MessageCancelled, "challenge_fenced")
}

func TestAConfirmationWaitsForAnotherEndAndThenIsNone(t *testing.T) {
	e := newEnv(t)
	c := e.challenge(e.bind(0), "k")
	e.issue(c)
	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback(e.ctx()) })
	_, err = tx.Exec(e.ctx(), `update challenges set state = 'exhausted', ended_at = now() where id = $1`, c.Request.ID[:])
	must(t, err)
	confirmed := make(chan error, 1)
	go func() { _, err := e.confirmCode(c, 1); confirmed <- err }()
	e.blocked()
	must(t, tx.Commit(e.ctx()))
	if err := <-confirmed; mobileid.CodeOf(err) != "challenge_exhausted" {
		t.Fatalf("err = %v", err)
	}
	if have := query[int](e, `select count(*) from confirmations`); have != 0 {
		t.Fatal("confirmed after the end")
	}
}

func TestParallelVerifiesMakeOneConfirmation(t *testing.T) {
	e := newEnv(t)
	c := e.challenge(e.bind(0), "k")
	e.issue(c)
	var fresh, replayed, used atomic.Int64
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			conf, err := e.confirmCode(c, byte(i%2))
			switch {
			case err == nil && conf.Replayed:
				replayed.Add(1)
			case err == nil:
				fresh.Add(1)
			case mobileid.CodeOf(err) == "code_used":
				used.Add(1)
			default:
				t.Error(err, cause(err))
			}
		})
	}
	wg.Wait()
	if fresh.Load() != 1 || replayed.Load() != 11 || used.Load() != 12 {
		t.Fatalf("fresh %d, replayed %d, used %d; want 1, 11, 12", fresh.Load(), replayed.Load(), used.Load())
	}
	if have := query[int](e, `select count(*) from outbox where state = 'confirmed'`); have != 1 {
		t.Fatalf("announced %d times", have)
	}
}

func TestTheSameVerifyReturnsTheSameConfirmation(t *testing.T) {
	e := newEnv(t)
	c := e.challenge(e.bind(0), "k")
	e.issue(c)
	first, err := e.confirmCode(c, 1)
	must(t, err)
	e.clk.advance(time.Hour)
	must(t, e.Revoke(e.ctx(), c.Binding.ID))
	again, err := e.confirmCode(c, 1)
	must(t, err)
	if !again.Replayed || !again.ConfirmedAt.Equal(first.ConfirmedAt) || again.ContextHash != first.ContextHash || again.Purpose != first.Purpose {
		t.Fatalf("%+v after %+v", again, first)
	}
}

func TestWhatConfirmRefuses(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	fresh := func() mobileid.NewChallenge {
		e.clk.advance(time.Second)
		c := e.challenge(p, e.clk.now().String())
		e.issue(c)
		return c
	}
	cases := []struct {
		name string
		ask  func() error
		kind mobileid.Kind
		code string
	}{
		{"an id without a row", func() error {
			_, err := e.Confirm(e.ctx(), client, e.key.Make(mobileid.KindChallenge, client, "?", now0), mobileid.KeyPart{}, "")
			return err
		}, mobileid.KindNotFound, "not_found"},
		{"another client's challenge", func() error {
			_, err := e.Confirm(e.ctx(), "other", fresh().Request.ID, mobileid.KeyPart{}, "c0ffee")
			return err
		}, mobileid.KindNotFound, "not_found"},
		{"another context", func() error {
			_, err := e.Confirm(e.ctx(), client, fresh().Request.ID, mobileid.KeyPart{}, "decaf")
			return err
		}, mobileid.KindInvalid, "context_mismatch"},
		{"a code past its time", func() error {
			c := fresh()
			e.clk.advance(codeLife)
			_, err := e.confirmCode(c, 1)
			return err
		}, mobileid.KindConflict, "challenge_expired"},
		{"an exhausted challenge", func() error {
			c := fresh()
			must(t, e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeExhausted, "tries"))
			_, err := e.confirmCode(c, 1)
			return err
		}, mobileid.KindConflict, "challenge_exhausted"},
		{"a code used by another verify", func() error {
			c := fresh()
			_, err := e.confirmCode(c, 1)
			must(t, err)
			_, err = e.confirmCode(c, 2)
			return err
		}, mobileid.KindConflict, "code_used"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.ask(); mobileid.KindOf(err) != tc.kind || mobileid.CodeOf(err) != tc.code {
				t.Errorf("err = %v, want %s %s", err, tc.kind, tc.code)
			}
		})
	}
}

func TestAnEndedChallengeStaysAsItEnded(t *testing.T) {
	e := newEnv(t)
	c := e.challenge(e.bind(0), "k")
	e.issue(c)
	must(t, e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeExhausted, "tries"))
	must(t, e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeLost, "again"))
	e.wantChallenge(c.Request.ID, mobileid.ChallengeExhausted, "tries")
	e.wantMessage(c.Message.ID, mobileid.MessageCancelled, "challenge_exhausted")
	for _, state := range []mobileid.ChallengeState{mobileid.ChallengeConfirmed, mobileid.ChallengePending, "odd"} {
		if err := e.EndChallenge(e.ctx(), c.Request.ID, state, ""); mobileid.KindOf(err) != mobileid.KindInvalid {
			t.Errorf("ending as %s: %v", state, err)
		}
	}
}

func TestWrongTriesAreCountedPerChallengeAndPerDay(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	c := e.challenge(p, "k")
	e.issue(c)
	e.clk.ns.Store(time.Date(2026, 11, 23, 18, 59, 0, 0, time.UTC).UnixNano()) // 23:59 in Tashkent
	for want := 1; want <= 2; want++ {
		used, err := e.CountWrongTry(e.ctx(), c.Request.ID, false)
		must(t, err)
		if used != want {
			t.Fatalf("used %d, want %d", used, want)
		}
	}
	e.clk.advance(2 * time.Minute)
	_, err := e.CountWrongTry(e.ctx(), c.Request.ID, false)
	must(t, err)
	for day, want := range map[string]int{"2026-11-23": 2, "2026-11-24": 1} {
		if have := query[int](e, `select tries from wrong_tries where day = $1::text::date`, day); have != want {
			t.Errorf("%s: %d tries, want %d", day, have, want)
		}
	}
	v, err := e.Challenge(e.ctx(), client, c.Request.ID)
	must(t, err)
	if v.TriesLeft != 0 || v.Masked != p.binding.MSISDN.Masked() {
		t.Fatalf("%+v", v)
	}
	if _, err := e.CountWrongTry(e.ctx(), mobileid.ID{1}, false); mobileid.KindOf(err) != mobileid.KindNotFound {
		t.Fatalf("err = %v", err)
	}
}
