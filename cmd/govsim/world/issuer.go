package world

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"mobileid/internal/mobileid"
)

const (
	tokenPath    = "/oauth2/token" //nolint:gosec // a path, not a credential
	keysPath     = "/.well-known/jwks.json"
	metadataPath = "/.well-known/oauth-authorization-server"
)

// issuer is the OAuth 2.0 authorization server of the state (RFC 6749): client
// credentials in, a JWT access token (RFC 9068) signed with ES256 out.
type issuer struct {
	name      string // "iss"
	url       string
	audience  string
	tokenLife time.Duration
	now       func() time.Time
	secrets   map[string][sha256.Size]byte // by client_id; hashes, so that comparing leaks no length

	mu      sync.Mutex
	current signingKey
	retired []retiredKey // published until the last token signed with it ends
	issued  int
}

type signingKey struct {
	private *ecdsa.PrivateKey
	public  jose.JSONWebKey
}

type retiredKey struct {
	public jose.JSONWebKey
	until  time.Time
}

func newIssuer(cfg Config, url string) (*issuer, error) {
	i := &issuer{
		name: cfg.Issuer, url: url, audience: cfg.Audience, tokenLife: cfg.TokenLife, now: cfg.Now,
		secrets: make(map[string][sha256.Size]byte, len(cfg.Clients)),
	}
	for id, secret := range cfg.Clients {
		if id == "" || secret == "" {
			return nil, fmt.Errorf("client %q: id and secret must not be empty", id)
		}
		i.secrets[id] = sha256.Sum256([]byte(secret))
	}
	var err error
	i.current, err = newSigningKey()
	return i, err
}

func newSigningKey() (signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signingKey{}, fmt.Errorf("signing key: %w", err)
	}
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return signingKey{}, fmt.Errorf("signing key: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return signingKey{private, public}, nil
}

func (i *issuer) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+tokenPath, i.postToken)
	mux.HandleFunc("GET "+keysPath, i.getKeys)
	mux.HandleFunc("GET "+metadataPath, i.getMetadata)
}

// rotate signs with a new key from now on. The old one stays published as long
// as a token signed with it can be good.
func (i *issuer) rotate() error {
	fresh, err := newSigningKey()
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.retired = append(i.published(), retiredKey{i.current.public, i.now().Add(i.tokenLife)})
	i.current = fresh
	return nil
}

// published returns the retired keys still needed. The caller holds the lock.
func (i *issuer) published() []retiredKey {
	now := i.now()
	i.retired = slices.DeleteFunc(i.retired, func(k retiredKey) bool { return !now.Before(k.until) })
	return i.retired
}

func (i *issuer) keySet() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.current.public}}
	for _, k := range i.published() {
		set.Keys = append(set.Keys, k.public)
	}
	return set
}

func (i *issuer) state() state {
	set := i.keySet()
	s := state{Issuer: i.name, SigningKey: set.Keys[0].KeyID, Clients: slices.Sorted(maps.Keys(i.secrets))}
	for _, k := range set.Keys {
		s.PublishedKeys = append(s.PublishedKeys, k.KeyID)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	s.TokensIssued = i.issued
	return s
}

func (i *issuer) getKeys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, i.keySet())
}

// getMetadata answers RFC 8414.
func (i *issuer) getMetadata(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer":                                i.name,
		"token_endpoint":                        i.url + tokenPath,
		"jwks_uri":                              i.url + keysPath,
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"scopes_supported":                      mobileid.Scopes(),
	})
}

// refusal is an error answer of the token endpoint (RFC 6749 section 5.2).
type refusal struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func badRequest(code, description string) *refusal {
	return &refusal{http.StatusBadRequest, code, description}
}

func (i *issuer) postToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	token, scope, refused := i.grant(r)
	if refused != nil {
		if refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="govsim"`)
		}
		answer(w, refused.status, refused)
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": token,
		"token_type":   "Bearer",
		"expires_in":   int(i.tokenLife / time.Second),
		"scope":        scope,
	})
}

func (i *issuer) grant(r *http.Request) (token, scope string, refused *refusal) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return "", "", badRequest("invalid_request", "send the parameters as application/x-www-form-urlencoded")
	}
	err = r.ParseForm()
	if err != nil {
		return "", "", badRequest("invalid_request", "the body is not a form")
	}
	client, refused := i.authenticate(r)
	if refused != nil {
		return "", "", refused
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		return "", "", badRequest("unsupported_grant_type", "only client_credentials is served")
	}
	scope, refused = grantedScope(r.PostForm.Get("scope"))
	if refused != nil {
		return "", "", refused
	}
	token, err = i.sign(client, scope)
	if err != nil {
		return "", "", &refusal{http.StatusInternalServerError, "server_error", "the token could not be signed"}
	}
	return token, scope, nil
}

// authenticate takes the client's id and secret from Basic or from the body,
// not from both (RFC 6749 section 2.3.1).
func (i *issuer) authenticate(r *http.Request) (string, *refusal) {
	id, secret, basic := r.BasicAuth()
	if basic {
		if r.PostForm.Has("client_secret") {
			return "", badRequest("invalid_request", "use one way of client authentication, not two")
		}
		// Both halves are form-encoded before they are joined.
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil {
			return "", badRequest("invalid_request", "the Basic credentials are not form-encoded")
		}
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	want, known := i.secrets[id]
	got := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || !known {
		return "", &refusal{http.StatusUnauthorized, "invalid_client", "unknown client or wrong secret"}
	}
	return id, nil
}

// grantedScope grants what is asked, and everything when nothing is: what the
// client may really do is decided where the token is used.
func grantedScope(asked string) (string, *refusal) {
	all := mobileid.Scopes()
	scopes := strings.Fields(asked)
	for _, s := range scopes {
		if !slices.Contains(all, mobileid.Scope(s)) {
			return "", badRequest("invalid_scope", "no such scope; scopes_supported of "+metadataPath+" lists them")
		}
	}
	if len(scopes) == 0 {
		for _, s := range all {
			scopes = append(scopes, string(s))
		}
	}
	return strings.Join(scopes, " "), nil
}

func (i *issuer) sign(client, scope string) (string, error) {
	i.mu.Lock()
	key := i.current
	i.issued++
	i.mu.Unlock()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.public.KeyID}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return "", err
	}
	now := i.now()
	claims := struct {
		jwt.Claims
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}{
		jwt.Claims{
			Issuer: i.name, Subject: client, Audience: jwt.Audience{i.audience}, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(i.tokenLife)),
		},
		client, scope,
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}
