package gateway

import (
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
)

func TestAConfirmationIsEvidenceThatAnybodyCanCheck(t *testing.T) {
	e := newEdge(t, nil)
	id := e.stored("oneid", mobileid.ChallengePending)
	status, _, first := e.verify("oneid", id, "v", "123456")
	if status != 200 {
		t.Fatal(status)
	}
	first.Receipt = e.receipt
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(e.do(call{method: "GET", path: "/.well-known/jwks.json"}).Body.Bytes(), &keys); err != nil {
		t.Fatal(err)
	}
	read := e.do(call{method: "GET", path: "/v1/confirmations/" + id.String(), token: e.token("oneid")})
	again := decode[confirmedBody](t, read)
	_, _, repeated := e.verify("oneid", id, "v", "123456")
	repeated.Receipt = e.receipt
	person, err := e.idKey.ParsePersonID("oneid", first.PersonID)
	if err != nil || person != e.registry.live[id].Person {
		t.Errorf("person_id %s: %v", first.PersonID, err)
	}
	for name, got := range map[string]confirmedBody{"verified": first, "read": again, "repeated": repeated} {
		c, key, err := receipt.Verify(got.Receipt, keys)
		if err != nil || key != "test" {
			t.Fatalf("%s: %v", name, err)
		}
		if c.Issuer != "https://mobileid.example.uz" || c.Audience != "oneid" || c.ID != id.String() || c.Subject != first.PersonID ||
			c.Purpose != "login" || c.ContextHash != contextHash || !c.AuthTime.Time().Equal(first.ConfirmedAt) ||
			c.Presence != "session" || c.Class != "urn:mobileid:acr:sms-in-session" || c.Enrolled != "app" || c.SIMCheck != "not_asked" {
			t.Errorf("%s: %+v", name, c)
		}
		if got.Receipt = first.Receipt; got != first {
			t.Errorf("%s: %+v, want %+v", name, got, first)
		}
	}
}

func TestOnlyWhatIsConfirmedHasEvidence(t *testing.T) {
	e := newEdge(t, nil)
	pending := e.stored("oneid", mobileid.ChallengePending)
	w := e.do(call{method: "GET", path: "/v1/confirmations/" + pending.String(), token: e.token("oneid")})
	if p := decode[problem](t, w); w.Code != 404 || p.Code != "not_confirmed" {
		t.Errorf("%d %s", w.Code, p.Code)
	}
}
