package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mobileid/internal/mobileid"
)

const (
	jwksMaxBytes   = 256 << 10
	jwksFetchLimit = 2 * time.Second
	jwksMaxAge     = 5 * time.Minute
	// jwksMinPause bounds what made-up key ids can make us ask of the issuer.
	jwksMinPause = time.Second
	// jwksOldPause is the pause while the wanted key is at hand, only old: the
	// request that asks waits for the answer, so it must be a rare one.
	jwksOldPause = 15 * time.Second
)

// keySet is the issuer's public keys (RFC 7517), fetched when they are needed:
// the first time, when they are old, and when a token names a key that is not
// among them. While the issuer is away the last good keys stay in force.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	fetching chan struct{} // holds one token: one fetch at a time

	mu      sync.RWMutex
	keys    map[string]*jose.JSONWebKey // replaced as a whole, never written to
	fetched time.Time                   // last success
	tried   time.Time                   // last attempt
}

func newKeySet(url string, client *http.Client, now func() time.Time, log *slog.Logger) *keySet {
	return &keySet{url: url, client: client, now: now, log: log, fetching: make(chan struct{}, 1)}
}

// key returns the key with that id; each fetch makes new pointers, so one that
// comes back again is the same key of the same set. The error is
// KindUnauthorized when the issuer says that there is none, KindUnavailable
// when it could not be asked.
func (s *keySet) key(ctx context.Context, kid string) (*jose.JSONWebKey, error) {
	key, found, fresh := s.look(kid)
	if found && fresh {
		return key, nil
	}
	asked := s.refresh(ctx, kid, found)
	if key, ok, _ := s.look(kid); ok {
		return key, nil // perhaps old, but the last good
	}
	if !asked {
		return nil, mobileid.Unavailable("issuer_away", time.Second, nil)
	}
	return nil, unauthorized("token_invalid", "the token is signed with an unknown key")
}

func (s *keySet) look(kid string) (key *jose.JSONWebKey, found, fresh bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key, found = s.keys[kid]
	return key, found, s.now().Sub(s.fetched) < jwksMaxAge
}

// refresh asks the issuer unless it was asked a moment ago, and reports whether
// the last answer was good. old = the wanted key is at hand, only not fresh:
// then nobody waits for somebody else's fetch.
func (s *keySet) refresh(ctx context.Context, kid string, old bool) bool {
	select {
	case s.fetching <- struct{}{}:
	default:
		if old {
			return true
		}
		select {
		case s.fetching <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	defer func() { <-s.fetching }()

	// Whoever waited for the token may find the work done.
	if _, found, fresh := s.look(kid); found && fresh {
		return true
	}
	s.mu.RLock()
	tried, fetched := s.tried, s.fetched
	s.mu.RUnlock()
	pause := jwksMinPause
	if old {
		pause = jwksOldPause
	}
	if !tried.IsZero() && s.now().Sub(tried) < pause {
		return fetched.Equal(tried)
	}
	keys, err := s.fetch(ctx)
	at := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = at
	if err != nil {
		s.log.Warn("token issuer's keys not fetched; the last good ones stay", "keys", len(s.keys), "err", err)
		return false
	}
	s.keys, s.fetched = keys, at
	return true
}

func (s *keySet) fetch(ctx context.Context) (map[string]*jose.JSONWebKey, error) {
	// The fetch serves everybody who waits, not only the asker who may hang up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jwksFetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, fmt.Errorf("JWKS request: %w", err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("JWKS: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("JWKS: status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, jwksMaxBytes))
	if err != nil {
		return nil, fmt.Errorf("JWKS: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("JWKS: %w", err)
	}
	keys := map[string]*jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		// A key of a kind that we do not know must not cost us the others.
		if json.Unmarshal(raw, &k) != nil || !k.Valid() || !k.IsPublic() || k.Use == "enc" {
			continue
		}
		keys[k.KeyID] = &k
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("JWKS: no usable key among %d", len(set.Keys))
	}
	return keys, nil
}
