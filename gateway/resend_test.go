package gateway

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func TestAResendIsPublishedOncePaidAndAnsweredAlike(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	e.clock.add(time.Minute)
	again := call{method: "POST", path: challengePath(id) + "/resend", key: "r", token: e.token("oneid")}
	first := decode[resendBody](t, e.do(again))
	if first.ID != id || first.ResendID.Kind() != mobileid.KindResend || !first.CanResendAt.Equal(first.AcceptedAt.Add(time.Minute)) {
		t.Fatalf("%+v", first)
	}
	// By now it was made, so a new wish would be too early: the old one is not.
	live := e.registry.live[id]
	live.Sends, live.CanResendAt = 2, e.g.now().Add(time.Minute)
	e.registry.live[id] = live
	w := e.do(again)
	if got := decode[resendBody](t, w); w.Code != 202 || got != first || w.Header().Get("Idempotent-Replay") != "true" {
		t.Errorf("%d %+v", w.Code, got)
	}
	again.key = "other"
	if w := e.do(again); w.Code != 429 {
		t.Errorf("a new wish: %d", w.Code)
	}
	for _, p := range e.kafka.list {
		if p.event.Type != mobileid.TypeResendRequested || p.event.Key != live.Person.String() || p.event.Subject != first.ResendID.String() {
			t.Errorf("%+v", p)
		}
	}
}

// A blind client gets the same words for a person who has no code.
func TestBlindClientCannotTellUnboundByResendingOrCancelling(t *testing.T) {
	for _, state := range []mobileid.ChallengeState{mobileid.ChallengePending, mobileid.ChallengeUnbound, mobileid.ChallengeNoFunds, mobileid.ChallengeFenced} {
		e := newEdge(t, nil)
		id := e.stored("shop", state)
		resend := call{method: "POST", path: challengePath(id) + "/resend", key: "r", token: e.token("shop")}
		if w := e.do(resend); w.Code != 429 || decode[problem](t, w).Code != "resend_too_early" {
			t.Errorf("%s: too early: %d", state, w.Code)
		}
		e.clock.add(time.Minute)
		if w := e.do(resend); w.Code != 202 {
			t.Errorf("%s: %d", state, w.Code)
		}
		w := e.do(call{method: "POST", path: challengePath(id) + "/cancel", token: e.token("shop")})
		if got := decode[challengeBody](t, w); w.Code != 200 || got.State != mobileid.ChallengeCancelled || !got.Terminal || got.Reason != "" {
			t.Errorf("%s: %d %+v", state, w.Code, got)
		}
		if status, p, _ := e.verify("shop", id, "v", "123456"); status != 409 || p.Code != "challenge_cancelled" {
			t.Errorf("%s: verify: %d %s", state, status, p.Code)
		}
		if w := e.do(call{method: "POST", path: resend.path, key: "s", token: resend.token}); w.Code != 409 || decode[problem](t, w).Code != "challenge_cancelled" {
			t.Errorf("%s: resend: %d", state, w.Code)
		}
	}
}

func TestACancelMayComeBeforeTheChallengeIsStored(t *testing.T) {
	e := newEdge(t, nil)
	id := decode[acceptedBody](t, e.do(ask(e))).ID
	cancel := call{method: "POST", path: challengePath(id) + "/cancel", token: e.token("oneid")}
	if w := e.do(cancel); w.Code != 200 || decode[challengeBody](t, w).State != mobileid.ChallengeCancelled {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	late := decode[acceptedBody](t, e.do(with(ask, func(_ *edge, c *call) { c.key = "late" })(e))).ID
	e.clock.add(time.Minute)
	cancel.path = challengePath(late) + "/cancel"
	if w := e.do(cancel); w.Code != 409 || decode[problem](t, w).Code != "challenge_expired" {
		t.Errorf("of what will never be stored: %d", w.Code)
	}
}
