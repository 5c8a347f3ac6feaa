package gateway

import (
	"fmt"
	"slices"
	"testing"

	"mobileid/internal/mobileid"
)

func TestAPersonIDTakesThePlaceOfThePINFL(t *testing.T) {
	e := newEdge(t, nil)
	id := decode[lookupBody](t, e.do(lookup(e))).PersonID
	person, err := e.idKey.ParsePersonID("oneid", id)
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range []string{challengeOf(goodPINFL), fmt.Sprintf(`{"person_id":%q,"purpose":"login","context_hash":%q}`, id, contextHash)} {
		w := e.do(call{method: "POST", path: "/v1/challenges", body: body, key: fmt.Sprint(i), token: e.token("oneid")})
		if w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	for _, p := range e.kafka.list {
		if p.event.Key != person.String() {
			t.Errorf("key %s, want %s", p.event.Key, person)
		}
	}
	w := e.do(call{method: "POST", path: "/v1/notifications", body: fmt.Sprintf(`{"person_id":%q,"text_id":"service.ready"}`, id), key: "n", token: e.token("oneid")})
	if w.Code != 202 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhatIsAskedOfAPersonIsAskedOnceAndByPseudonyms(t *testing.T) {
	e := newEdge(t, nil)
	got := decode[verificationBody](t, e.do(asking(e)))
	if got.Bound != mobileid.AnswerYes || got.Number != mobileid.AnswerNo || got.SMS != mobileid.AnswerYes {
		t.Errorf("%+v", got)
	}
	without := e.do(call{method: "POST", path: "/v1/verifications", body: `{"pinfl":"` + goodPINFL + `"}`, token: e.token("oneid")})
	if got := decode[verificationBody](t, without); got.Number != "" {
		t.Errorf("%+v", got)
	}
	if len(e.registry.questions) != 2 || e.registry.questions[0].Number == nil || e.registry.questions[1].Number != nil || e.registry.questions[0].Client != "oneid" {
		t.Errorf("%+v", e.registry.questions)
	}
	if n := len(e.kafka.list); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestAStepUpIsOfThePersonAndNamesWhoSawHim(t *testing.T) {
	e := newEdge(t, nil)
	if w := e.do(stepUp(e)); w.Code != 204 {
		t.Fatal(w.Code, w.Body)
	}
	person := e.registry.stepUps[0][:26]
	if want := []string{person + " oneid face_id"}; !slices.Equal(e.registry.stepUps, want) {
		t.Errorf("%q", e.registry.stepUps)
	}
}
