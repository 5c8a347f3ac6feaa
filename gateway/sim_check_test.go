package gateway

import (
	"reflect"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// What is known of a SIM is known of the bound only.
func TestABlindClientCannotTellASwappedSIM(t *testing.T) {
	for _, reason := range []string{mobileid.ReasonSIMSwapped, mobileid.ReasonSIMUnknown} {
		e := newEdge(t, nil)
		unbound, swapped := e.stored("shop", mobileid.ChallengeUnbound), e.storedFor("shop", reason)
		for _, at := range []time.Duration{0, time.Minute, 3 * time.Minute} {
			e.clock.add(at)
			a, b := e.read("shop", unbound, ""), e.read("shop", swapped, "")
			want := mobileid.ChallengePending
			if at == 3*time.Minute {
				want = mobileid.ChallengeExpired
			}
			b.ID = a.ID
			if b.State != want || !reflect.DeepEqual(a, b) {
				t.Errorf("%s after %s: %+v, unbound %+v", reason, at, b, a)
			}
			e.clock.add(-at)
		}
		for range 5 {
			s1, p1, _ := e.verify("shop", unbound, "v", "000000")
			s2, p2, _ := e.verify("shop", swapped, "v", "000000")
			p1.TraceID, p2.TraceID, p1.Instance, p2.Instance = "", "", "", ""
			if s1 != s2 || !reflect.DeepEqual(p1, p2) {
				t.Errorf("%s: %d %+v, unbound %d %+v", reason, s2, p2, s1, p1)
			}
		}
		e.clock.add(time.Minute)
		resend := call{method: "POST", path: challengePath(swapped) + "/resend", key: "r", token: e.token("shop")}
		if w := e.do(resend); w.Code != 202 {
			t.Errorf("%s: resend: %d", reason, w.Code)
		}
	}
}

func TestWhoMayKnowSeesWhyACodeIsNotEnough(t *testing.T) {
	for _, reason := range []string{mobileid.ReasonSIMSwapped, mobileid.ReasonSIMUnknown, mobileid.ReasonWrongCodes} {
		e := newEdge(t, nil)
		id := e.storedFor("oneid", reason)
		if got := e.read("oneid", id, ""); got.State != mobileid.ChallengeStepUp || got.Reason != reason || !got.Terminal || got.RetryAt.IsZero() {
			t.Errorf("%s: %+v", reason, got)
		}
		if status, p, _ := e.verify("oneid", id, "v", "123456"); status != 409 || p.Code != "challenge_step_up" {
			t.Errorf("%s: verify: %d %s", reason, status, p.Code)
		}
	}
}

// Wrong codes are counted of anybody, bound or not: a blind client is told.
func TestABlindClientIsToldThatWrongCodesWantAnotherProof(t *testing.T) {
	e := newEdge(t, nil)
	id := e.storedFor("shop", mobileid.ReasonWrongCodes)
	if got := e.read("shop", id, ""); got.State != mobileid.ChallengeStepUp || !got.Terminal || got.RetryAt.IsZero() || got.Reason != "" {
		t.Errorf("%+v", got)
	}
	if status, p, _ := e.verify("shop", id, "v", "123456"); status != 409 || p.Code != "challenge_step_up" {
		t.Errorf("verify: %d %s", status, p.Code)
	}
}
