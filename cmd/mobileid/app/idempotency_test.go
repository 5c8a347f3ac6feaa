package app_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// together makes the same call n times at once.
func (l *looker) together(n int, call func(i int) apptest.Answer) []apptest.Answer {
	l.t.Helper()
	out := make([]apptest.Answer, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			out[i] = call(i)
		})
	}
	close(start)
	wg.Wait()
	return out
}

// post is a POST whose connection must not fail, for goroutines.
func (l *looker) post(path, key, body string) apptest.Answer {
	a, err := l.Try(http.MethodPost, path, key, body)
	if err != nil {
		l.t.Error(err)
	}
	return a
}

// insist is post that repeats with the same key while the answer is 503, as a
// client does: a burst on a busy machine may outlast the time an engine has.
func (l *looker) insist(path, key, body string) apptest.Answer {
	a := l.post(path, key, body)
	for limit := time.Now().Add(20 * time.Second); a.Status == http.StatusServiceUnavailable && time.Now().Before(limit); {
		a = l.post(path, key, body)
	}
	return a
}

func TestOneKeyIsOneEffect(t *testing.T) {
	s := look(t, apptest.Options{})
	p, q := s.Bind(1, 1000_00), s.Bind(2, 1000_00)
	const copies = 16
	body := apptest.ChallengeBody(p.PINFL, "sign_in")
	got := s.together(copies, func(int) apptest.Answer { return s.post("/v1/challenges", "same", body) })
	id, fresh := got[0].JSON("id"), 0
	for _, a := range got {
		if a.Status != http.StatusAccepted || a.JSON("id") != id || a.JSON("expires_at") != got[0].JSON("expires_at") {
			t.Errorf("%d %s, want 202 and %s", a.Status, a.Body, id)
		}
		if a.Header.Get("Idempotent-Replay") == "" {
			fresh++
		}
	}
	// Who claims the key in one millisecond makes the same id, so more than one
	// may say so.
	if fresh == 0 {
		t.Error("no answer says that it is the first")
	}
	code := s.Code(p.Number, 1)

	// Spaces and order are not another request; another person, or the same
	// key on another route, is.
	same := s.Call(http.MethodPost, "/v1/challenges", "same", `{ "locale":"en", "purpose":"sign_in", "pinfl":"`+p.PINFL+`" }`)
	if same.Status != http.StatusAccepted || same.JSON("id") != id {
		t.Errorf("in another order: %d %s", same.Status, same.Body)
	}
	for what, a := range map[string]apptest.Answer{
		"another person": s.Call(http.MethodPost, "/v1/challenges", "same", apptest.ChallengeBody(q.PINFL, "sign_in")),
		"another route":  s.Call(http.MethodPost, "/v1/notifications", "same", apptest.NoticeBody(p.PINFL)),
	} {
		if a.Status != http.StatusUnprocessableEntity || a.JSON("code") != "idempotency_key_reused" {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
	}

	// The same verify at the same moment: one Confirmation, one answer (P6).
	done := s.together(copies, func(int) apptest.Answer { return s.post("/v1/challenges/"+id+"/verify", "v", `{"code":"`+code+`"}`) })
	for _, a := range done {
		if a.Status != http.StatusOK || a.JSON("confirmed_at") != done[0].JSON("confirmed_at") {
			t.Errorf("verify: %d %s", a.Status, a.Body)
		}
	}
	if a := s.Verify(id, "other", code); a.Status != http.StatusConflict || a.JSON("code") != "code_used" {
		t.Errorf("the code under another key: %d %s", a.Status, a.Body)
	}
	if n := s.number(`select count(*) from confirmations`); n != 1 {
		t.Errorf("%d confirmations", n)
	}

	// Redis forgets everything: what is confirmed stays so, and no code works again.
	s.flushRedis()
	if a := s.Verify(id, "v", code); a.Status != http.StatusOK || a.JSON("confirmed_at") != done[0].JSON("confirmed_at") {
		t.Errorf("the same verify after the flush: %d %s", a.Status, a.Body)
	}
	if a := s.Verify(id, "other", code); a.Status != http.StatusConflict {
		t.Errorf("the code after the flush: %d %s", a.Status, a.Body)
	}
	if n := s.SMSC.Count(); n != 1 {
		t.Errorf("%d SMS, want 1", n)
	}
	s.Until("it is charged once", func() bool { return s.charge(id) == "posted" })
	s.balanced()
}

func TestAKeyIsOneEffectThoughRedisForgotIt(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	first := s.Call(http.MethodPost, "/v1/challenges", "k", apptest.ChallengeBody(p.PINFL, "sign_in"))
	code := s.Code(p.Number, 1)
	notice := s.Call(http.MethodPost, "/v1/notifications", "n", apptest.NoticeBody(p.PINFL))
	s.Await(notice.JSON("id"), "delivered")
	s.flushRedis()

	again := s.Call(http.MethodPost, "/v1/challenges", "k", apptest.ChallengeBody(p.PINFL, "sign_in"))
	if again.Status != http.StatusAccepted || again.JSON("id") == first.JSON("id") {
		t.Fatalf("%d %s: Redis did not forget", again.Status, again.Body)
	}
	if a := s.Await(again.JSON("id"), "conflict"); a.JSON("reason") != "second_id" {
		t.Errorf("%s", a.Body)
	}
	// The other body under the key, which nobody at the edge remembers either.
	s.flushRedis()
	other := s.Call(http.MethodPost, "/v1/challenges", "k", apptest.ChallengeBody(p.PINFL, "verify"))
	if a := s.Await(other.JSON("id"), "conflict"); a.JSON("reason") != "key_reused" {
		t.Errorf("%s", a.Body)
	}
	again = s.Call(http.MethodPost, "/v1/notifications", "n", apptest.NoticeBody(p.PINFL))
	if a := s.Await(again.JSON("id"), "cancelled"); a.JSON("reason") != "second_id" {
		t.Errorf("%s", a.Body)
	}

	// The live code went with Redis: the challenge says so and never confirms.
	s.Await(first.JSON("id"), "lost")
	if a := s.Verify(first.JSON("id"), "v", code); a.Status != http.StatusConflict || a.JSON("code") != "challenge_lost" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if n := s.SMSC.Count(); n != 2 {
		t.Errorf("%d SMS, want 2: a code and a notice", n)
	}
	s.balanced()
}

// TestACodeWorksOnceForWhoeverIsFirst is promise P6 with verifies that differ.
func TestACodeWorksOnceForWhoeverIsFirst(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	id := s.Ask(p, "sign_in")
	code := s.Code(p.Number, 1)
	const copies = 24
	keys := make([]string, copies)
	for i := range keys {
		keys[i] = s.NewKey()
	}
	right := 0
	for _, a := range s.together(copies, func(i int) apptest.Answer {
		return s.post("/v1/challenges/"+id+"/verify", keys[i], `{"code":"`+code+`"}`)
	}) {
		switch {
		case a.Status == http.StatusOK:
			right++
		case a.Status != http.StatusConflict || a.JSON("code") != "code_used" && a.JSON("code") != "challenge_exhausted":
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	if n := s.number(`select count(*) from confirmations`); right != 1 || n != 1 {
		t.Errorf("%d answers say confirmed, %d confirmations; want 1", right, n)
	}
	if got := s.challengeState(id); got != "confirmed" {
		t.Errorf("the challenge is %s", got)
	}
}

// TestAnAcceptedRequestStandsInKafka is promise P2: nothing else runs than the
// edge, so nobody else can have written the record.
func TestAnAcceptedRequestStandsInKafka(t *testing.T) {
	s := look(t, apptest.Options{Roles: []string{"gateway"}})
	for range 5 {
		a := s.Call(http.MethodPost, "/v1/challenges", s.NewKey(), apptest.ChallengeBody(apptest.PINFL(1), "sign_in"))
		if a.Status != http.StatusAccepted {
			t.Fatal(a.Status, string(a.Body))
		}
		found := 0
		for _, r := range s.records(mobileid.TopicOTPRequests) {
			var got mobileid.ChallengeRequested
			if err := json.Unmarshal([]byte(r.value), &got); err != nil {
				t.Fatal(err)
			}
			if r.headers["ce_id"] == a.JSON("id") && got.ID.String() == a.JSON("id") && got.Client == sandbox.Client {
				found++
			}
		}
		if found != 1 {
			t.Fatalf("%d records of %s", found, a.JSON("id"))
		}
		if got := s.Call(http.MethodGet, "/v1/challenges/"+a.JSON("id"), "", "").JSON("state"); got != "accepted" {
			t.Errorf("state %q, want accepted", got)
		}
	}
}
