package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"mobileid/internal/mobileid"
)

// AuthConfig says whose tokens are believed.
type AuthConfig struct {
	Issuer   string        // "iss", exactly
	Audience string        // must be in "aud"
	JWKSURL  string        // the issuer's keys
	Leeway   time.Duration // for clocks that differ, on exp and nbf; 0 = 30 s
}

const maxToken = 8 << 10 // bytes

// tokenAlgorithms are the asymmetric ones: a shared-secret algorithm would let
// whoever knows a public key sign with it.
var tokenAlgorithms = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.EdDSA, jose.PS256, jose.RS256,
}

// authenticator turns a bearer token (RFC 6750, RFC 7519) into a client.
type authenticator struct {
	cfg     AuthConfig
	keys    *keySet
	tokens  *tokenCache
	clients map[string]mobileid.Client
	now     func() time.Time
}

func newAuthenticator(cfg AuthConfig, clients []mobileid.Client, client *http.Client, now func() time.Time,
	log *slog.Logger,
) *authenticator {
	if cfg.Leeway <= 0 {
		cfg.Leeway = 30 * time.Second
	}
	a := &authenticator{
		cfg: cfg, now: now, clients: map[string]mobileid.Client{},
		keys: newKeySet(cfg.JWKSURL, client, now, log), tokens: newTokenCache(),
	}
	for _, c := range clients {
		a.clients[c.ID] = c
	}
	return a
}

type tokenClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// authenticate returns the client, its scopes narrowed to those of the token.
func (a *authenticator) authenticate(ctx context.Context, header string) (mobileid.Client, error) {
	scheme, raw, _ := strings.Cut(header, " ")
	raw = strings.TrimSpace(raw)
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return mobileid.Client{}, unauthorized("token_missing", "send Authorization: Bearer and an access token")
	}
	if len(raw) > maxToken {
		return mobileid.Client{}, unauthorized("token_invalid", "the token is too long")
	}
	hash := sha256.Sum256([]byte(raw))
	token, err := a.verified(ctx, raw, hash)
	var client mobileid.Client
	if err == nil {
		client, err = a.accept(token.claims)
	}
	if err != nil {
		a.tokens.drop(hash)
		return mobileid.Client{}, err
	}
	a.tokens.put(hash, token)
	return client, nil
}

// verified returns what a key of the issuer has signed. A token that was
// accepted before is not parsed and verified again while that key stands.
func (a *authenticator) verified(ctx context.Context, raw string, hash tokenHash) (*verifiedToken, error) {
	if token, ok := a.tokens.get(hash); ok {
		key, err := a.keys.key(ctx, token.key.KeyID)
		if err != nil {
			return nil, err
		}
		if key == token.key {
			return token, nil
		}
	}
	tok, err := jwt.ParseSigned(raw, tokenAlgorithms)
	if err != nil || len(tok.Headers) != 1 {
		return nil, unauthorized("token_invalid", "the token is not a JWT signed with an accepted algorithm")
	}
	head := tok.Headers[0]
	key, err := a.keys.key(ctx, head.KeyID)
	if err != nil {
		return nil, err
	}
	token := &verifiedToken{key: key}
	if key.Algorithm != "" && key.Algorithm != head.Algorithm || tok.Claims(key.Key, &token.claims) != nil {
		return nil, unauthorized("token_invalid", "the signature of the token is wrong")
	}
	return token, nil
}

// accept decides for each request anew what the signed claims are good for now.
func (a *authenticator) accept(claims tokenClaims) (mobileid.Client, error) {
	if claims.Expiry == nil {
		return mobileid.Client{}, unauthorized("token_invalid", "the token has no exp")
	}
	err := claims.ValidateWithLeeway(jwt.Expected{
		Issuer: a.cfg.Issuer, AnyAudience: jwt.Audience{a.cfg.Audience}, Time: a.now(),
	}, a.cfg.Leeway)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return mobileid.Client{}, unauthorized("token_expired", "the token has expired: ask the issuer for a new one")
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return mobileid.Client{}, unauthorized("token_invalid", "the token is of another issuer")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return mobileid.Client{}, unauthorized("token_invalid", "the token is for another audience")
	case err != nil:
		return mobileid.Client{}, unauthorized("token_invalid", "the token is not valid yet")
	}
	return a.client(claims)
}

func (a *authenticator) client(claims tokenClaims) (mobileid.Client, error) {
	// sub does not stand in for client_id (RFC 9068): an issuer's users may be
	// named like a client.
	client, ok := a.clients[claims.ClientID]
	if !ok {
		return mobileid.Client{}, unauthorized("client_unknown", "the token is good, but its client has no account here")
	}
	granted := strings.Fields(claims.Scope)
	// A new slice: the configured client is shared by all requests.
	var scopes []mobileid.Scope
	for _, s := range client.Scopes {
		if slices.Contains(granted, string(s)) {
			scopes = append(scopes, s)
		}
	}
	client.Scopes = scopes
	return client, nil
}

func unauthorized(code, message string) *mobileid.Error {
	return &mobileid.Error{Kind: mobileid.KindUnauthorized, Code: code, Message: message}
}
