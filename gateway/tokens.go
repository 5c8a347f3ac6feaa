package gateway

import (
	"crypto/sha256"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// maxTokens bounds the remembered tokens: a few for each client.
const maxTokens = 4096

// tokenHash stands for a raw token, signature included, so that another
// signature is another entry and no token can be read out of memory.
type tokenHash = [sha256.Size]byte

// verifiedToken is what a signature was found good for. It is shared by
// requests and not written to.
type verifiedToken struct {
	claims tokenClaims
	key    *jose.JSONWebKey // of the keySet
}

// tokenCache remembers tokens that were accepted, to spare the next request the
// check of the signature and nothing else: who asks must still compare the key
// with the issuer's present one, the claims with the clock, and the client with
// the configuration. A refusal is never remembered.
type tokenCache struct {
	mu sync.Mutex
	m  map[tokenHash]*verifiedToken
}

func newTokenCache() *tokenCache { return &tokenCache{m: map[tokenHash]*verifiedToken{}} }

func (c *tokenCache) get(hash tokenHash) (*verifiedToken, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.m[hash]
	return t, ok
}

// put makes room by forgetting any other token, which is then verified again.
func (c *tokenCache) put(hash tokenHash, t *verifiedToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.m[hash]; !known && len(c.m) >= maxTokens {
		for other := range c.m {
			delete(c.m, other)
			break
		}
	}
	c.m[hash] = t
}

func (c *tokenCache) drop(hash tokenHash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, hash)
}
