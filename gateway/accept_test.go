package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
)

func TestAcceptedChallengeIsPublishedUnderThePseudonymWithItsDeadline(t *testing.T) {
	e := newEdge(t, nil)
	parent := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	in := ask(e)
	in.header = map[string]string{"traceparent": parent, "x-correlator": "corr-1"}
	w := e.do(in)
	got := decode[acceptedBody](t, w)
	now := e.clock.now()
	if w.Code != 202 || got.State != "accepted" || !got.AcceptedAt.Equal(now) ||
		!got.ExpiresAt.Equal(now.Add(30*time.Second+3*time.Minute)) || !got.CanResendAt.Equal(now.Add(time.Minute)) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w.Header().Get("Location") != "/v1/challenges/"+got.ID.String() || w.Header().Get("x-correlator") != "corr-1" {
		t.Errorf("headers %v", w.Header())
	}
	list := e.kafka.all()
	if len(list) != 1 || list[0].topic != mobileid.TopicOTPRequests {
		t.Fatalf("published %v", list)
	}
	ev := list[0].event
	var req mobileid.ChallengeRequested
	if err := json.Unmarshal(ev.Value, &req); err != nil {
		t.Fatal(err)
	}
	pinfl, _ := mobileid.ParsePINFL(goodPINFL)
	person := e.g.accepter.deps.Pseudonyms.Person(pinfl).String()
	if ev.Key != person || req.Person != person || ev.ID != got.ID.String() || ev.Type != mobileid.TypeChallengeRequested {
		t.Errorf("event %+v", ev)
	}
	if !req.Deadline.Equal(now.Add(30*time.Second)) || req.ContextHash != contextHash || req.Client != "oneid" || req.BodyHash == "" {
		t.Errorf("request %+v", req)
	}
	if !strings.HasPrefix(ev.TraceParent, parent[:36]) || ev.TraceParent == parent {
		t.Errorf("traceparent %q: the caller's trace, a span of ours", ev.TraceParent)
	}
	if strings.Contains(string(ev.Value)+ev.Key, goodPINFL) {
		t.Error("the PINFL left the edge")
	}
}

func TestSameKeyAtTheSameMomentGivesOneID(t *testing.T) {
	e := newEdge(t, time.Now)
	token := e.token("oneid")
	ids := make(chan string, 32)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range cap(ids) {
		wg.Go(func() {
			<-start
			w := e.do(call{method: "POST", path: "/v1/challenges", body: challengeOf(goodPINFL), key: "same", token: token})
			if w.Code != 202 {
				t.Errorf("%d %s", w.Code, w.Body)
				return
			}
			ids <- decode[acceptedBody](t, w).ID.String()
		})
	}
	close(start)
	wg.Wait()
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("two ids: %s %s", first, id)
		}
	}
	for _, p := range e.kafka.all() {
		if p.event.ID != first {
			t.Errorf("published another id %s", p.event.ID)
		}
	}
}

func TestRepetitionGivesTheSameAnswerAndIsNotPaidTwice(t *testing.T) {
	e := newEdge(t, nil)
	first := decode[acceptedBody](t, e.do(ask(e)))
	e.clock.add(10 * time.Second)
	// Spaces and the order of members do not make another request.
	again := call{
		method: "POST", path: "/v1/challenges", key: "k", token: e.token("oneid"),
		body: `{ "context_hash":"` + strings.ToUpper(contextHash) + `", "purpose":"login", "pinfl":"` + goodPINFL + `"}`,
	}
	w := e.do(again)
	if second := decode[acceptedBody](t, w); w.Code != 202 || second != first {
		t.Errorf("%d: have %+v, want %+v", w.Code, second, first)
	}
	if w.Header().Get("Idempotent-Replay") != "true" {
		t.Error("not marked as a replay")
	}
	if e.quotas.spent != 1 {
		t.Errorf("quota spent %d times", e.quotas.spent)
	}
	list := e.kafka.all()
	if len(list) != 2 || string(list[0].event.Value) != string(list[1].event.Value) {
		t.Errorf("published %d records, want the same twice", len(list))
	}
}

func TestRefusedQuotaDoesNotGiveTheKeyAFreeRide(t *testing.T) {
	e := newEdge(t, nil)
	e.quotas.after = time.Second
	for range 2 {
		if w := e.do(ask(e)); w.Code != 429 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	e.quotas.after = 0
	if w := e.do(ask(e)); w.Code != 202 || e.quotas.spent != 1 || w.Header().Get("Idempotent-Replay") != "" {
		t.Errorf("%d, spent %d, headers %v", w.Code, e.quotas.spent, w.Header())
	}
}

func TestAfterAn503TheSameKeyPublishesTheSameID(t *testing.T) {
	e := newEdge(t, nil)
	e.kafka.err = errors.New("written, perhaps")
	if w := e.do(ask(e)); w.Code != 503 {
		t.Fatalf("%d", w.Code)
	}
	e.kafka.err = nil
	e.clock.add(5 * time.Second)
	w := e.do(ask(e))
	got := decode[acceptedBody](t, w)
	if w.Code != 202 || !got.AcceptedAt.Equal(e.clock.now().Add(-5*time.Second)) || e.quotas.spent != 1 {
		t.Errorf("%d %s spent %d", w.Code, w.Body, e.quotas.spent)
	}
	if list := e.kafka.all(); len(list) != 1 || list[0].event.ID != got.ID.String() {
		t.Errorf("published %v", list)
	}
}

func TestHangingKafkaIsOutcomeUnknownWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		e.kafka.hang = true
		in := ask(e)
		start := time.Now()
		w := e.do(in)
		if p := decode[problem](t, w); p.Code != "outcome_unknown" || !p.Retryable || time.Since(start) > time.Second {
			t.Errorf("%s after %s", p.Code, time.Since(start))
		}
	})
}

func TestClientThatHangsUpDoesNotCutTheWrite(t *testing.T) {
	e := newEdge(t, nil)
	client := testClients[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.g.accepter.AcceptChallenge(ctx, client, "k", []byte(challengeOf(goodPINFL))); err != nil {
		t.Fatal(err)
	}
	if len(e.kafka.all()) != 1 {
		t.Error("not published")
	}
}

// lateKeys finds nothing yet: another copy of the request is about to claim.
type lateKeys struct{ *fakeKeys }

func (lateKeys) Find(context.Context, string, mobileid.KeyPart) (mobileid.ID, string, bool, error) {
	return mobileid.ID{}, "", false, nil
}

func TestCopiesAtTheSameMomentHaveOneID(t *testing.T) {
	e := newEdge(t, nil)
	deps := e.g.accepter.deps
	deps.Keys, deps.Reg = lateKeys{e.keys}, nil
	a, err := NewAccepter(e.g.accepter.cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	var ids [2]mobileid.Accepted
	for i := range ids {
		if ids[i], err = a.AcceptChallenge(t.Context(), testClients[0], "k", []byte(challengeOf(goodPINFL))); err != nil {
			t.Fatal(err)
		}
		e.clock.add(time.Second)
	}
	if ids[0].ID != ids[1].ID || !ids[1].Replayed || ids[0].Replayed {
		t.Errorf("%+v", ids)
	}
}

func TestNotificationIsPublishedWithItsSlots(t *testing.T) {
	e := newEdge(t, nil)
	w := e.do(call{
		method: "POST", path: "/v1/notifications", key: "n", token: e.token("oneid"),
		body: `{"pinfl":"` + goodPINFL + `","text_id":"service.ready","slots":{"reference":"A-17"},"locale":"ru"}`,
	})
	got := decode[acceptedBody](t, w)
	if w.Code != 202 || got.ID.Kind() != mobileid.KindMessage || w.Header().Get("Location") != "/v1/messages/"+got.ID.String() {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var req mobileid.NotificationRequested
	p := e.kafka.all()[0]
	if err := json.Unmarshal(p.event.Value, &req); err != nil || p.topic != mobileid.TopicNotificationRequests {
		t.Fatalf("%s %v", p.topic, err)
	}
	if req.Slots["reference"] != "A-17" || req.Locale != mobileid.LocaleRu || !req.Deadline.Equal(e.clock.now().Add(24*time.Hour)) {
		t.Errorf("%+v", req)
	}
}

func TestNewAccepterNamesEveryMissingPort(t *testing.T) {
	_, err := NewAccepter(AcceptConfig{}, AcceptDeps{})
	for _, name := range []string{"Publisher", "Quotas", "Keys", "Texts"} {
		if !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("%s is not in %v", name, err)
		}
	}
	_, err = New(Config{Clients: []mobileid.Client{{ID: "a"}, {ID: "a"}}}, Deps{})
	for _, name := range []string{"Accepter", "Registry", "Codes", "Waiters", "issuer", "audience", "jwks_url", "clients[1]"} {
		if !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("%s is not in %v", name, err)
		}
	}
}
