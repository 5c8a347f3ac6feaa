package world

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

const (
	client = "tax committee" // the space shows that Basic is form-encoded
	secret = "s3cret:+%"
)

func start(t *testing.T) (*World, *clock) {
	t.Helper()
	c := &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	w, err := Start(Config{
		Clients: map[string]string{client: secret, "other": "x"}, Issuer: "https://issuer.test", Now: c.now,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, c
}

func do(t *testing.T, method, url, contentType, body string, edit func(*http.Request)) (res *http.Response, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if edit != nil {
		edit(req)
	}
	res, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	read, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(read)
}

const form = "application/x-www-form-urlencoded"

func basic(r *http.Request) { r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret)) }

func token(t *testing.T, w *World, scope string) string {
	t.Helper()
	res, text := do(t, "POST", w.TokenURL(), form, "grant_type=client_credentials&scope="+url.QueryEscape(scope), basic)
	var got struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s (%v)", res.Status, text, err)
	}
	if got.Type != "Bearer" || got.Expires != 900 || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("answer %+v, Cache-Control %q", got, res.Header.Get("Cache-Control"))
	}
	return got.Token
}

type claims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// verify checks a token as a stranger would: by the published keys.
func verify(t *testing.T, w *World, raw string) (claims, bool) {
	t.Helper()
	_, text := do(t, "GET", w.jwksURL(), "", "", nil)
	if strings.Contains(text, `"d"`) {
		t.Fatal("the private key is published")
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		t.Fatal(err)
	}
	tok, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	found := keys.Key(tok.Headers[0].KeyID)
	if len(found) != 1 {
		return claims{}, false
	}
	var c claims
	if err := tok.Claims(found[0], &c); err != nil {
		t.Fatal(err)
	}
	return c, true
}

func TestTokenCarriesWhatWasAskedAndVerifiesByThePublishedKeys(t *testing.T) {
	w, clock := start(t)
	c, ok := verify(t, w, token(t, w, "notifications"))
	if !ok {
		t.Fatal("the key is not published")
	}
	err := c.ValidateWithLeeway(jwt.Expected{
		Issuer: "https://issuer.test", Subject: client, AnyAudience: jwt.Audience{"mobileid"}, Time: clock.now(),
	}, 0)
	if err != nil {
		t.Error(err)
	}
	if c.ClientID != client || c.Scope != "notifications" || c.ID == "" || c.Expiry == nil || c.IssuedAt == nil {
		t.Errorf("claims %+v", c)
	}
	if c, _ := verify(t, w, token(t, w, "")); c.Scope != "challenges notifications charges:read charges:write balance:write statements:read verifications step_up:write" {
		t.Errorf("no scope asked: %q", c.Scope)
	}
}

func TestSecretInTheBodyIsTakenToo(t *testing.T) {
	w, _ := start(t)
	body := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret}}
	res, text := do(t, "POST", w.TokenURL(), form, body.Encode(), nil)
	if res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", res.Status, text)
	}
}

func TestRefusalsFollowTheStandard(t *testing.T) {
	w, _ := start(t)
	good := "grant_type=client_credentials"
	tests := []struct {
		name, contentType, body string
		edit                    func(*http.Request)
		status                  int
		code                    string
	}{
		{"nobody", form, good, nil, 401, "invalid_client"},
		{"unknown client", form, good, func(r *http.Request) { r.SetBasicAuth("who", "x") }, 401, "invalid_client"},
		{"wrong secret", form, good, func(r *http.Request) { r.SetBasicAuth("other", "y") }, 401, "invalid_client"},
		{"empty secret", form, good, func(r *http.Request) { r.SetBasicAuth("who", "") }, 401, "invalid_client"},
		{"two ways at once", form, good + "&client_secret=x", basic, 400, "invalid_request"},
		{"not a form", "application/json", `{}`, basic, 400, "invalid_request"},
		{"other grant", form, "grant_type=password", basic, 400, "unsupported_grant_type"},
		{"unknown scope", form, good + "&scope=everything", basic, 400, "invalid_scope"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, text := do(t, "POST", w.TokenURL(), tt.contentType, tt.body, tt.edit)
			if res.StatusCode != tt.status || !strings.Contains(text, `"error":"`+tt.code+`"`) {
				t.Errorf("%d %s", res.StatusCode, text)
			}
			if (res.Header.Get("WWW-Authenticate") != "") != (tt.status == http.StatusUnauthorized) {
				t.Errorf("WWW-Authenticate %q", res.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestRotatedKeyStaysPublishedWhileItsTokensLive(t *testing.T) {
	w, clock := start(t)
	old := token(t, w, "")
	if res, text := do(t, "POST", w.URL()+"/control/rotate-key", "", "", nil); res.StatusCode != http.StatusOK {
		t.Fatal(text)
	}
	fresh := token(t, w, "")
	clock.advance(defaultTokenLife - time.Second)
	for name, raw := range map[string]string{"old": old, "fresh": fresh} {
		if _, ok := verify(t, w, raw); !ok {
			t.Errorf("the key of the %s token is not published", name)
		}
	}
	clock.advance(time.Second)
	if _, ok := verify(t, w, old); ok {
		t.Error("the old key outlives its tokens")
	}
	if _, ok := verify(t, w, fresh); !ok {
		t.Error("the current key is gone")
	}
}

func TestOutageEndsByItselfAndSparesTheControl(t *testing.T) {
	w, clock := start(t)
	order := func(body string, want int) {
		t.Helper()
		if res, text := do(t, "POST", w.URL()+"/control/outage", "application/json", body, nil); res.StatusCode != want {
			t.Errorf("%s: %d %s", body, res.StatusCode, text)
		}
	}
	keys := func(want int) {
		t.Helper()
		if res, _ := do(t, "GET", w.jwksURL(), "", "", nil); res.StatusCode != want {
			t.Errorf("keys: %d, want %d", res.StatusCode, want)
		}
	}
	for _, wrong := range []string{`{}`, `{"seconds":-1}`, `{"seconds":86401}`, `{"minutes":1}`, `x`} {
		order(wrong, http.StatusBadRequest)
	}
	order(`{"seconds":30}`, http.StatusOK)
	keys(http.StatusServiceUnavailable)
	_, text := do(t, "GET", w.URL()+"/control/state", "", "", nil)
	if !strings.Contains(text, `"outage_seconds":30`) || strings.Contains(text, secret) {
		t.Errorf("state %s", text)
	}
	clock.advance(30 * time.Second)
	keys(http.StatusOK)
	order(`{"seconds":30}`, http.StatusOK)
	order(`{"seconds":0}`, http.StatusOK)
	keys(http.StatusOK)
}

func TestMetadataNamesTheEndpoints(t *testing.T) {
	w, _ := start(t)
	_, text := do(t, "GET", w.URL()+metadataPath, "", "", nil)
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if got["issuer"] != "https://issuer.test" || got["token_endpoint"] != w.TokenURL() || got["jwks_uri"] != w.jwksURL() {
		t.Errorf("metadata %v", got)
	}
}
