package gateway

import (
	"fmt"
	"testing"

	"mobileid/internal/mobileid"
)

// Decree item 1-b and clause 3: lending is excluded, whatever the code is for.
func TestLendingGetsNoCodesForAnyPurpose(t *testing.T) {
	e := newEdge(t, nil)
	asking := func(client, purpose, service string) (int, string) {
		body := fmt.Sprintf(`{"pinfl":%q,"purpose":%q}`, goodPINFL, purpose)
		if service != "" {
			body = fmt.Sprintf(`{"pinfl":%q,"purpose":%q,"service":%q}`, goodPINFL, purpose, service)
		}
		w := e.do(call{method: "POST", path: "/v1/challenges", body: body, key: client + purpose + service, token: e.token(client)})
		if w.Code == 202 {
			return w.Code, ""
		}
		return w.Code, decode[problem](t, w).Code
	}
	for _, purpose := range []string{"login", "sign"} {
		for _, c := range []struct {
			client, service, code string
			status                int
		}{
			{"bank", "cards", "", 202},
			{"bank", "loans", "lending_excluded", 403},
			{"bank", "", "field_missing", 400},
			{"bank", "houses", "service_unknown", 400},
			{"lender", "", "lending_excluded", 403},
			{"lender", "loans", "lending_excluded", 403},
			{"oneid", "", "", 202},
			{"oneid", "loans", "service_unknown", 400},
		} {
			if status, code := asking(c.client, purpose, c.service); status != c.status || code != c.code {
				t.Errorf("%s for %s, service %q: %d %s, want %d %s", c.client, purpose, c.service, status, code, c.status, c.code)
			}
		}
	}
	// Over Kafka it is the same.
	client := mobileid.Client{ID: "lender", Scopes: mobileid.Scopes(), Purposes: []string{"login"}, Services: []mobileid.Service{{ID: "loans", Class: mobileid.ServiceLending}}}
	_, err := e.g.accepter.AcceptChallenge(t.Context(), client, "k", []byte(fmt.Sprintf(`{"pinfl":%q,"purpose":"login"}`, goodPINFL)))
	if mobileid.CodeOf(err) != "lending_excluded" {
		t.Errorf("%v", err)
	}
}

// Even a client whose configuration slipped through the check gets none.
func TestNoClientMayAskForCodesOfAnEnrollment(t *testing.T) {
	e := newEdge(t, nil)
	client := mobileid.Client{ID: "oneid", Scopes: mobileid.Scopes(), Purposes: []string{"enroll"}}
	_, err := e.g.accepter.AcceptChallenge(t.Context(), client, "k", []byte(fmt.Sprintf(`{"pinfl":%q,"purpose":"enroll"}`, goodPINFL)))
	if mobileid.CodeOf(err) != "purpose_forbidden" {
		t.Errorf("%v", err)
	}
}
