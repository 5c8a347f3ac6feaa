package gateway

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
)

func (e *edge) read(client string, id mobileid.ID, query string) challengeBody {
	e.t.Helper()
	w := e.do(call{method: "GET", path: challengePath(id) + query, token: e.token(client)})
	if w.Code != 200 {
		e.t.Errorf("%d %s", w.Code, w.Body)
	}
	return decode[challengeBody](e.t, w)
}

func TestAcceptedUntilTheDeadlineAndGraceThenExpired(t *testing.T) {
	e := newEdge(t, nil)
	id := decode[acceptedBody](t, e.do(ask(e))).ID
	e.clock.add(45 * time.Second)
	if got := e.read("oneid", id, ""); got.State != mobileid.ChallengeAccepted || got.Version != 0 || got.Terminal {
		t.Errorf("%+v", got)
	}
	e.clock.add(time.Millisecond)
	if got := e.read("oneid", id, ""); got.State != mobileid.ChallengeExpired || !got.Terminal {
		t.Errorf("%+v", got)
	}
}

func TestMadeUpIDIsNotLookedUp(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	id[20] ^= 1
	w := e.do(call{method: "GET", path: challengePath(id), token: e.token("oneid")})
	if w.Code != 404 || e.registry.reads != 0 {
		t.Errorf("%d after %d reads", w.Code, e.registry.reads)
	}
}

func TestFullDisclosureSeesMessageNumberAndTries(t *testing.T) {
	e := newEdge(t, nil)
	got := e.read("oneid", e.stored("oneid", mobileid.ChallengePending), "")
	if got.Message == nil || got.Message.State != mobileid.MessageSent || got.Number == "" || got.TriesLeft == nil || *got.TriesLeft != 3 {
		t.Errorf("%+v", got)
	}
}

func TestBlindDisclosureSeesTheSameForBoundAndUnbound(t *testing.T) {
	e := newEdge(t, nil)
	bound := e.stored("shop", mobileid.ChallengePending)
	for _, state := range []mobileid.ChallengeState{"unbound", "no_funds", "fenced", "undeliverable", "failed", "superseded", "lost"} {
		other := e.stored("shop", state)
		for _, at := range []time.Duration{0, time.Minute} {
			e.clock.add(at)
			a, b := e.read("shop", bound, ""), e.read("shop", other, "")
			if a.State != "pending" || a.State != b.State || a.Version != b.Version || a.Terminal != b.Terminal ||
				a.Message != nil || b.Message != nil || a.Number+b.Number+a.Reason+b.Reason != "" || *a.TriesLeft != *b.TriesLeft {
				t.Errorf("bound %+v, %s %+v", a, state, b)
			}
			e.clock.add(-at)
		}
	}
	e.clock.add(3 * time.Minute)
	if got := e.read("shop", e.idOf("unbound"), ""); got.State != mobileid.ChallengeExpired || got.Version != endedVersion {
		t.Errorf("%+v", got)
	}
}

func (e *edge) idOf(state mobileid.ChallengeState) mobileid.ID {
	for id, v := range e.registry.views {
		if v.State == state {
			return id
		}
	}
	e.t.Fatal("no such challenge")
	return mobileid.ID{}
}

func TestBlindDisclosureOfAMessageIsQueuedThenUnconfirmed(t *testing.T) {
	g := &Gateway{accepter: &Accepter{limit: deadlines{notification: time.Hour}}, now: time.Now}
	key, _ := mobileid.NewIDKey(make([]byte, 16))
	for age, want := range map[time.Duration]mobileid.MessageState{0: "queued", time.Hour: "unconfirmed"} {
		id := key.Make(mobileid.KindMessage, "shop", "k", time.Now().Add(-age))
		got := g.blindMessage(messageBody{ID: id, State: mobileid.MessageDelivered, Version: 5, Parts: 2, Reason: "x"})
		if got.State != want || got.Parts != 0 || got.Reason != "" || got.Version > 2 {
			t.Errorf("%s: %+v", age, got)
		}
	}
}

// setState changes what a read gives, and tells the waiters, as a status event
// would.
func (e *edge) setState(id mobileid.ID, state mobileid.ChallengeState, version int64) {
	e.registry.mu.Lock()
	v := e.registry.views[id]
	v.State, v.Version = state, version
	e.registry.views[id] = v
	e.registry.mu.Unlock()
	// By the Message of the challenge, as most events come.
	e.waiters.Notify(mobileid.Event{Subject: mobileid.ID{1}.String(), Key: id.String()})
}

// polling begins a long poll inside a synctest bubble, and returns when it waits.
func (e *edge) polling(client string, id mobileid.ID, query string) <-chan challengeBody {
	e.t.Helper()
	done := make(chan challengeBody)
	go func() { done <- e.read(client, id, query) }()
	synctest.Wait()
	return done
}

// waiting is how many ids long polls wait for.
func (e *edge) waiting() int {
	e.waiters.mu.Lock()
	defer e.waiters.mu.Unlock()
	return len(e.waiters.byID)
}

func TestLongPollIsAnsweredByTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		id := e.stored("oneid", mobileid.ChallengePending)
		start := time.Now()
		done := e.polling("oneid", id, "?timeoutMs=30000&after=1")
		time.Sleep(7 * time.Second) // the bubble's clock
		e.setState(id, mobileid.ChallengeConfirmed, 2)
		got := <-done
		if got.State != mobileid.ChallengeConfirmed || time.Since(start) != 7*time.Second {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
		if e.registry.reads != 2 {
			t.Errorf("%d reads, want one at the start and one at the end", e.registry.reads)
		}
		if e.waiting() != 0 || len(e.g.polls.n) != 0 {
			t.Error("the waiter stayed")
		}
	})
}

func TestLongPollEndsAtItsTimeWithThePresentState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		id := e.stored("oneid", mobileid.ChallengePending)
		start := time.Now()
		got := e.read("oneid", id, "?timeoutMs=1500")
		if got.Version != 1 || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
	})
}

func TestLongPollDoesNotWaitForWhatIsThereOrFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		start := time.Now()
		e.read("oneid", e.stored("oneid", mobileid.ChallengePending), "?timeoutMs=30000&after=0")
		e.read("oneid", e.stored("oneid", mobileid.ChallengeExpired), "?timeoutMs=30000&after=1")
		if time.Since(start) != 0 {
			t.Errorf("waited %s", time.Since(start))
		}
	})
}

// What a blind client may not see must not wake it either.
func TestHiddenChangeDoesNotEndABlindLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		id := e.stored("shop", mobileid.ChallengePending)
		start := time.Now()
		done := e.polling("shop", id, "?timeoutMs=5000&after=1")
		e.setState(id, mobileid.ChallengePending, 7)
		synctest.Wait()
		e.setState(id, mobileid.ChallengeNoFunds, 8)
		if got := <-done; got.State != mobileid.ChallengePending || time.Since(start) != 5*time.Second {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
	})
}

func TestDrainAnswersEveryLongPollAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		id := e.stored("oneid", mobileid.ChallengePending)
		start := time.Now()
		done := e.polling("oneid", id, "?timeoutMs=30000")
		e.g.Drain()
		e.g.Drain()
		if got := <-done; got.Version != 1 || time.Since(start) != 0 {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
	})
}

func TestLongPollsOfAClientAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now, func(c *Config, _ *Deps) { c.MaxPolls = 1 })
		id := e.stored("oneid", mobileid.ChallengePending)
		done := e.polling("oneid", id, "?timeoutMs=1000")
		w := e.do(call{method: "GET", path: challengePath(id) + "?timeoutMs=1000", token: e.token("oneid")})
		if w.Code != 429 || decode[problem](t, w).Code != "waiters_exceeded" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		<-done
	})
}

func TestLongPollEndsWhenItsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		id := e.stored("oneid", mobileid.ChallengePending)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan *httptest.ResponseRecorder)
		go func() {
			done <- e.do(call{ctx: ctx, method: "GET", path: challengePath(id) + "?timeoutMs=30000", token: e.token("oneid")})
		}()
		synctest.Wait()
		start := time.Now()
		cancel()
		<-done
		if time.Since(start) != 0 || e.waiting() != 0 {
			t.Errorf("stayed %s, %d waiters", time.Since(start), e.waiting())
		}
	})
}

func TestPagesAreSelfContained(t *testing.T) {
	e := newEdge(t, nil)
	docs := e.do(call{method: "GET", path: "/docs"}).Body.String()
	for _, want := range []string{"/v1/challenges/{id}/verify", "Idempotency-Key", "pinfl", "tries_left", "one of uz-Latn, ru, en", `&#34;purpose&#34;: &#34;sign_in&#34;`} {
		if !strings.Contains(docs, want) {
			t.Errorf("%q is not on the docs page", want)
		}
	}
	for _, outside := range []string{"<script", "http://", "https://", "<link", "<img"} {
		if strings.Contains(docs, outside) {
			t.Errorf("the docs page has %q", outside)
		}
	}
}
