package gateway

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mobileid/internal/mobileid"
)

func (e *edge) status(token string) int {
	e.t.Helper()
	return e.do(call{method: "GET", path: "/v1/challenges/x", token: token}).Code // 404 = let in
}

func TestRotatedKeyIsFetchedWhenATokenNamesIt(t *testing.T) {
	e := newEdge(t, nil)
	old := e.token("oneid")
	if s := e.status(old); s != 404 {
		t.Fatalf("%d", s)
	}
	e.issuer.rotate(t, "k2", true)
	e.clock.add(2 * time.Second)
	if s := e.status(e.token("oneid")); s != 404 {
		t.Errorf("new key: %d", s)
	}
	if s := e.status(old); s != 404 {
		t.Errorf("old key, still published: %d", s)
	}
	e.issuer.rotate(t, "k3", false)
	e.clock.add(10 * time.Minute)
	if s := e.status(old); s != 401 {
		t.Errorf("withdrawn key: %d", s)
	}
	if n := e.issuer.count(); n != 3 {
		t.Errorf("%d fetches, want 3", n)
	}
}

func TestUnknownKeysMakeFewFetches(t *testing.T) {
	e := newEdge(t, nil)
	e.status(e.token("oneid"))
	known := e.issuer.count()
	other := newIssuer(t)
	for i := range 50 {
		other.rotate(t, fmt.Sprint("made-up-", i), false)
		at := e.clock.now()
		bad := other.sign(t, map[string]any{"iss": issuerURL, "aud": audience, "client_id": "oneid", "exp": at.Add(time.Hour).Unix()})
		if s := e.status(bad); s != 401 {
			t.Fatalf("%d", s)
		}
		e.clock.add(100 * time.Millisecond) // five seconds in all
	}
	if n := e.issuer.count() - known; n > 6 {
		t.Errorf("%d fetches in five seconds", n)
	}
}

func TestLastGoodKeysStayWhileTheIssuerIsAway(t *testing.T) {
	e := newEdge(t, nil)
	e.status(e.token("oneid"))
	e.issuer.setAway(true)
	for range 20 {
		e.clock.add(time.Minute)
		if s := e.status(e.token("oneid")); s != 404 {
			t.Fatalf("known key, issuer away: %d", s)
		}
	}
	// A key that could not be asked about is no reason to refuse for good.
	e.issuer.rotate(t, "k2", true)
	w := e.do(call{method: "GET", path: "/v1/challenges/x", token: e.token("oneid")})
	if p := decode[problem](t, w); w.Code != 503 || p.Code != "issuer_away" || w.Header().Get("Retry-After") == "" {
		t.Errorf("unknown key, issuer away: %d %+v", w.Code, p)
	}
	e.issuer.setAway(false)
	e.clock.add(2 * time.Second)
	if s := e.status(e.token("oneid")); s != 404 {
		t.Errorf("issuer back: %d", s)
	}
}

func TestNoKeysYetIsUnavailable(t *testing.T) {
	e := newEdge(t, nil)
	e.issuer.setAway(true)
	if s := e.status(e.token("oneid")); s != 503 {
		t.Errorf("%d", s)
	}
}

func TestManyRequestsAtOnceFetchTheKeysOnce(t *testing.T) {
	e := newEdge(t, nil)
	token := e.token("oneid")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if s := e.status(token); s != 404 {
				t.Errorf("%d", s)
			}
		})
	}
	wg.Wait()
	if n := e.issuer.count(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestLeewayCoversClocksThatDiffer(t *testing.T) {
	e := newEdge(t, nil)
	for skew, want := range map[time.Duration]int{29 * time.Second: 404, 40 * time.Second: 401} {
		at := e.clock.now()
		late := e.tokenWith("oneid", func(m map[string]any) { m["exp"] = at.Add(-skew).Unix() })
		early := e.tokenWith("oneid", func(m map[string]any) { m["nbf"] = at.Add(skew).Unix() })
		if a, b := e.status(late), e.status(early); a != want || b != want {
			t.Errorf("%s: exp %d, nbf %d, want %d", skew, a, b, want)
		}
	}
}

// A user of the issuer who is named like a client is not that client.
func TestTheSubjectDoesNotStandInForTheClientID(t *testing.T) {
	e := newEdge(t, nil)
	if s := e.status(e.tokenWith("oneid", func(m map[string]any) { delete(m, "client_id") })); s != 401 {
		t.Errorf("%d", s)
	}
}

// A token signed with the public key as a shared secret must not pass.
func TestSymmetricAlgorithmsAreNotAccepted(t *testing.T) {
	for _, alg := range tokenAlgorithms {
		if alg == jose.HS256 || alg == jose.HS384 || alg == jose.HS512 || alg == "none" {
			t.Errorf("%s is accepted", alg)
		}
	}
}

func TestNarrowedScopesDoNotTouchTheConfiguredClient(t *testing.T) {
	e := newEdge(t, nil)
	a := e.g.auth
	got, err := a.authenticate(t.Context(), "Bearer "+e.tokenWith("oneid", func(m map[string]any) { m["scope"] = "notifications other" }))
	if err != nil || len(got.Scopes) != 1 || got.Scopes[0] != mobileid.ScopeNotifications {
		t.Fatalf("%v %v", got.Scopes, err)
	}
	if len(a.clients["oneid"].Scopes) != 2 {
		t.Error("the configuration was changed")
	}
}
