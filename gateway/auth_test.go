package gateway

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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
	for i := range 50 {
		bad := e.madeUp(fmt.Sprint("made-up-", i))
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

// madeUp is a token of nobody, signed with a key that the issuer never had.
func (e *edge) madeUp(kid string) string {
	e.t.Helper()
	nobody := newIssuer(e.t)
	nobody.rotate(e.t, kid, false)
	return nobody.sign(e.t, map[string]any{
		"iss": issuerURL, "aud": audience, "client_id": "oneid", "exp": e.g.now().Add(time.Hour).Unix(),
	})
}

// Only a good answer of the issuer shows that a key is not there. Until then a
// token that names one is answered "later", which costs one fetch a pause and
// nothing to those whose keys are known.
func TestAnUnknownKeyIsRefusedOnlyAfterAGoodAnswer(t *testing.T) {
	e := newEdge(t, nil)
	known, kid := e.token("oneid"), 0
	// Made-up keys through a whole pause, and good tokens between them.
	pause := func(what string, want, fetches int) {
		t.Helper()
		before := e.issuer.count()
		for range 10 {
			kid++
			if s := e.status(e.madeUp(fmt.Sprint("made-up-", kid))); s != want {
				t.Errorf("%s: unknown key %d, want %d", what, s, want)
			}
			if s := e.status(known); s != 404 {
				t.Errorf("%s: known key %d", what, s)
			}
			e.clock.add(jwksMinPause / 10)
		}
		if n := e.issuer.count() - before; n != fetches {
			t.Errorf("%s: %d fetches, want %d", what, n, fetches)
		}
	}
	pause("nothing asked yet", 401, 1)
	e.issuer.setAway(true)
	pause("the issuer has gone", 503, 1)
	pause("it stays away", 503, 1)
	e.clock.add(2 * jwksMaxAge)
	pause("the known keys are old", 503, 1)
	e.issuer.setAway(false)
	pause("the issuer is back", 401, 1)
	pause("it has answered", 401, 1)
}

// A fetch that hangs holds up those whose keys are unknown, nobody else.
func TestAFetchThatHangsDoesNotHoldUpKnownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, time.Now)
		known := e.token("oneid")
		if s := e.status(known); s != 404 {
			t.Fatalf("%d", s)
		}
		made := []string{e.madeUp("a"), e.madeUp("b"), e.madeUp("c")}
		time.Sleep(jwksMaxAge) // the bubble's clock; the known key is old from now on
		e.issuer.setHangs(true)
		start := time.Now()
		answers := make(chan int, len(made))
		for _, token := range made {
			go func() { answers <- e.status(token) }()
		}
		synctest.Wait()
		if s := e.status(known); s != 404 || time.Since(start) != 0 {
			t.Errorf("known key: %d after %s", s, time.Since(start))
		}
		for range made {
			if s := <-answers; s != 503 {
				t.Errorf("unknown key: %d", s)
			}
		}
		if took := time.Since(start); took != jwksFetchLimit || e.issuer.count() != 2 {
			t.Errorf("%s and %d fetches, want one of %s", took, e.issuer.count()-1, jwksFetchLimit)
		}
	})
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

// remembered is how many tokens the edge spares the check of the signature.
func (e *edge) remembered() int {
	e.g.auth.tokens.mu.Lock()
	defer e.g.auth.tokens.mu.Unlock()
	return len(e.g.auth.tokens.m)
}

func TestARememberedTokenExpires(t *testing.T) {
	e := newEdge(t, nil)
	at := e.clock.now()
	token := e.tokenWith("oneid", func(m map[string]any) { m["exp"] = at.Add(time.Minute).Unix() })
	if s := e.status(token); s != 404 || e.remembered() != 1 {
		t.Fatalf("%d, %d remembered", s, e.remembered())
	}
	e.clock.add(-time.Minute) // nbf is looked at again too
	if s := e.status(token); s != 401 {
		t.Errorf("before nbf: %d", s)
	}
	e.clock.add(2 * time.Minute)
	if s := e.status(token); s != 404 || e.remembered() != 1 {
		t.Errorf("within the leeway: %d, %d remembered", s, e.remembered())
	}
	e.clock.add(31 * time.Second)
	w := e.do(call{method: "GET", path: "/v1/challenges/x", token: token})
	if p := decode[problem](t, w); w.Code != 401 || p.Code != "token_expired" || e.remembered() != 0 {
		t.Errorf("%d %s, %d remembered", w.Code, p.Code, e.remembered())
	}
}

func TestARememberedTokenFallsWithItsKey(t *testing.T) {
	for name, kid := range map[string]string{"withdrawn": "k2", "replaced under its id": "k1"} {
		e := newEdge(t, nil)
		token := e.token("oneid")
		if s := e.status(token); s != 404 || e.remembered() != 1 {
			t.Fatalf("%s: %d, %d remembered", name, s, e.remembered())
		}
		e.issuer.rotate(t, kid, false)
		e.clock.add(jwksMaxAge)
		if s := e.status(token); s != 401 || e.remembered() != 0 {
			t.Errorf("%s: %d, %d remembered", name, s, e.remembered())
		}
	}
}

// The configuration is read at each request, so that one that may change does
// not have to think of remembered tokens.
func TestARememberedTokenGivesNoMoreThanTheConfiguration(t *testing.T) {
	e := newEdge(t, nil)
	token := e.token("oneid")
	e.status(token)
	client := e.g.auth.clients["oneid"]
	client.Scopes = []mobileid.Scope{mobileid.ScopeNotifications}
	e.g.auth.clients["oneid"] = client
	if s := e.status(token); s != 403 {
		t.Errorf("without the scope: %d", s)
	}
	delete(e.g.auth.clients, "oneid")
	if s := e.status(token); s != 401 || e.remembered() != 0 {
		t.Errorf("without the client: %d, %d remembered", s, e.remembered())
	}
}

// What stands before the signature is remembered; any other signature under it
// is not the issuer's.
func TestARememberedTokenLendsNothingToItsForgeries(t *testing.T) {
	e := newEdge(t, nil)
	good := e.token("oneid")
	if s := e.status(good); s != 404 {
		t.Fatalf("%d", s)
	}
	parts := strings.Split(good, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sign := func(header, payload string, signature []byte) string {
		return header + "." + payload + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	forgeries := map[string]string{"no signature": sign(parts[0], parts[1], nil)}
	for i := range signature {
		other := bytes.Clone(signature)
		other[i] ^= 1
		forgeries[fmt.Sprint("byte ", i)] = sign(parts[0], parts[1], other)
	}
	// The public key as a shared secret, in the forms it is handed out in.
	jwk, _ := json.Marshal(e.issuer.public[0])
	der, _ := x509.MarshalPKIXPublicKey(e.issuer.key.Public())
	for name, secret := range map[string][]byte{
		"JWK": jwk, "DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	} {
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(header + "." + parts[1]))
		forgeries["HS256 with the "+name] = sign(header, parts[1], mac.Sum(nil))
	}
	for _, alg := range []string{"none", "ES384", "PS256"} {
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","kid":"k1","typ":"at+jwt"}`))
		forgeries[alg] = sign(header, parts[1], signature)
		forgeries[alg+" without signature"] = sign(header, parts[1], nil)
	}
	for name, token := range forgeries {
		if s := e.status(token); s != 401 {
			t.Errorf("%s: %d", name, s)
		}
	}
	if s := e.status(good); s != 404 || e.remembered() != 1 {
		t.Errorf("afterwards: %d, %d remembered", s, e.remembered())
	}
}

func TestRefusedTokensAreNotRemembered(t *testing.T) {
	e := newEdge(t, nil)
	for claim, value := range map[string]any{
		"exp": 1, "nbf": e.clock.now().Add(time.Hour).Unix(), "aud": "other", "iss": "other", "client_id": "nobody",
	} {
		if s := e.status(e.tokenWith("oneid", func(m map[string]any) { m[claim] = value })); s != 401 || e.remembered() != 0 {
			t.Errorf("%s: %d, %d remembered", claim, s, e.remembered())
		}
	}
}

func TestRememberedTokensAreBounded(t *testing.T) {
	c := newTokenCache()
	last := tokenHash{}
	for i := range maxTokens + 100 {
		binary.BigEndian.PutUint32(last[:], uint32(i))
		c.put(last, &verifiedToken{})
	}
	if _, ok := c.get(last); len(c.m) != maxTokens || !ok {
		t.Errorf("%d remembered, the last among them: %v", len(c.m), ok)
	}
	c.put(last, &verifiedToken{})
	if len(c.m) != maxTokens {
		t.Errorf("one that is known has driven out another: %d", len(c.m))
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
	if len(a.clients["oneid"].Scopes) != len(mobileid.Scopes()) {
		t.Error("the configuration was changed")
	}
}
