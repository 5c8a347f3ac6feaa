package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func (e *edge) verify(client string, id mobileid.ID, key, code string) (int, problem, confirmedBody) {
	e.t.Helper()
	w := e.do(call{method: "POST", path: verifyPath(id), body: verifyBody(code), key: key, token: e.token(client)})
	if w.Code == 200 {
		done := decode[confirmedBody](e.t, w)
		e.receipt, done.Receipt = done.Receipt, "" // each time signed anew
		return 200, problem{}, done
	}
	return w.Code, decode[problem](e.t, w), confirmedBody{}
}

func TestSameVerifyGivesTheSameConfirmationEvenWithoutRedis(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	status, _, first := e.verify("oneid", id, "v1", "123456")
	if status != 200 || first.State != mobileid.ChallengeConfirmed || first.Purpose != "login" {
		t.Fatalf("%d %+v", status, first)
	}
	e.codes.err = mobileid.Unavailable("redis_away", time.Second, nil)
	if status, _, again := e.verify("oneid", id, "v1", "123456"); status != 200 || again != first {
		t.Errorf("%d %+v, want %+v", status, again, first)
	}
	if status, p, _ := e.verify("oneid", id, "v2", "123456"); status != 409 || p.Code != "code_used" {
		t.Errorf("%d %s", status, p.Code)
	}
	if e.codes.calls != 1 {
		t.Errorf("the code was compared %d times", e.codes.calls)
	}
}

func TestWrongCodesAreCountedAndTheLastOneEndsTheChallenge(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	for want := 2; want >= 0; want-- {
		status, p, _ := e.verify("oneid", id, "v", "000000")
		if status != 400 || p.Code != "code_wrong" || p.TriesLeft == nil || *p.TriesLeft != want {
			t.Fatalf("%d %+v, want %d left", status, p, want)
		}
	}
	if e.registry.ended[id] != mobileid.ChallengeExhausted {
		t.Errorf("ended %q", e.registry.ended[id])
	}
	if status, p, _ := e.verify("oneid", id, "v", "123456"); status != 409 || p.Code != "challenge_exhausted" {
		t.Errorf("%d %s", status, p.Code)
	}
}

func TestTriesLeftIsTheLowerOfTheTwoCounters(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	e.registry.wrong[id] = 1 // Redis forgot one
	if _, p, _ := e.verify("oneid", id, "v", "000000"); p.TriesLeft == nil || *p.TriesLeft != 1 {
		t.Errorf("%+v", p)
	}
}

func TestLostAndExhaustedCodesEndTheChallenge(t *testing.T) {
	for result, state := range map[mobileid.CodeResult]mobileid.ChallengeState{
		mobileid.CodeLost: mobileid.ChallengeLost, mobileid.CodeExhausted: mobileid.ChallengeExhausted,
	} {
		e := newEdge(t, nil)
		id := e.stored("oneid", mobileid.ChallengePending)
		e.codes.result = result
		e.verify("oneid", id, "v", "123456")
		if e.registry.ended[id] != state {
			t.Errorf("%s: ended %q", result, e.registry.ended[id])
		}
	}
}

func TestNoTryIsCountedBeforeEverythingButTheCodeIsRight(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	for _, body := range []string{`{"code":"123456"}`, verifyBody("1234567"), verifyBody("12"), `{"code":123456}`} {
		e.do(call{method: "POST", path: verifyPath(id), body: body, key: "v", token: e.token("oneid")})
	}
	e.clock.add(3 * time.Minute)
	e.verify("oneid", id, "v", "123456")
	if e.codes.calls != 0 || len(e.registry.wrong) != 0 {
		t.Errorf("compared %d times, counted %v", e.codes.calls, e.registry.wrong)
	}
}

func TestVerifyOfAnAcceptedChallengeWaitsAndOfAForgottenOneIsExpired(t *testing.T) {
	e := newEdge(t, nil)
	id := decode[acceptedBody](t, e.do(ask(e))).ID
	if status, p, _ := e.verify("oneid", id, "v", "123456"); status != 409 || p.Code != "challenge_not_ready" || !p.Retryable {
		t.Errorf("%d %+v", status, p)
	}
	e.clock.add(time.Minute)
	if status, p, _ := e.verify("oneid", id, "v", "123456"); status != 409 || p.Code != "challenge_expired" {
		t.Errorf("%d %+v", status, p)
	}
}

// One key for a whole session is a mistake that integrators make: it must not
// confirm what a stranger typed.
func TestAKeyThatHasConfirmedDoesNotConfirmAnotherCode(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	if status, p, _ := e.verify("oneid", id, "session", "123456"); status != 200 {
		t.Fatal(status, p)
	}
	if status, p, _ := e.verify("oneid", id, "session", "999999"); status != 409 || p.Code != "code_used" {
		t.Errorf("%d %s", status, p.Code)
	}
}

// A blind client gets the same words for a person who is not bound.
func TestBlindClientCannotTellUnboundByVerifying(t *testing.T) {
	e := newEdge(t, nil)
	bound := e.stored("shop", mobileid.ChallengePending)
	unbound := e.stored("shop", mobileid.ChallengeUnbound)
	for range 4 {
		s1, p1, _ := e.verify("shop", bound, "v", "000000")
		s2, p2, _ := e.verify("shop", unbound, "v", "000000")
		p1.TraceID, p2.TraceID, p1.Instance, p2.Instance = "", "", "", ""
		if s1 != s2 || p1.Code != p2.Code || (p1.TriesLeft == nil) != (p2.TriesLeft == nil) ||
			p1.TriesLeft != nil && *p1.TriesLeft != *p2.TriesLeft {
			t.Errorf("bound %d %+v, unbound %d %+v", s1, p1, s2, p2)
		}
	}
	for name, body := range map[string]string{
		"no context": `{"code":"000000"}`, "a context": `{"code":"000000","context_hash":"` + strings.Repeat("ab", 32) + `"}`,
		"a short code": `{"code":"0000"}`, "a long code": `{"code":"00000000"}`,
	} {
		seen := map[string]mobileid.ChallengeState{}
		for _, state := range mobileid.ChallengeStates() {
			if state != mobileid.ChallengePending && !hidden(state, "") {
				continue
			}
			id := e.stored("shop", state)
			w := e.do(call{
				method: "POST", path: verifyPath(id), token: e.token("shop"), key: "f", body: body,
			})
			p := decode[problem](t, w)
			seen[fmt.Sprint(w.Code, p.Code, p.Field)] = state
		}
		if len(seen) != 1 {
			t.Errorf("%s tells the states apart: %v", name, seen)
		}
	}
	e.registry.confirm = &mobileid.Error{Kind: mobileid.KindConflict, Code: "challenge_fenced"}
	e.codes.left = 3
	if status, p, _ := e.verify("shop", e.stored("shop", mobileid.ChallengePending), "v", "123456"); status != 409 || p.Code != "challenge_expired" {
		t.Errorf("%d %s", status, p.Code)
	}
}
