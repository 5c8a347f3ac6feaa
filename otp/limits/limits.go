// Package limits keeps what the edge shares about its clients in Redis: how
// fast each may ask, and which Idempotency-Key was given which id.
//
// Its promise: one answer for all gateways at once, each decided by one script
// on one key (Redis Cluster works unchanged), and a plain error within a second
// when Redis is away, so that the edge can refuse instead of guessing. Keys and
// values hold client ids, request ids and keyed hashes, nothing of a person.
package limits

import (
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
)

// Limits spends quotas and claims keys. It is safe for concurrent use.
type Limits struct {
	rdb redis.UniversalClient
	now func() time.Time
}

// New wraps a client made with otp.RedisOptions; now is the clock of the
// quotas, nil means time.Now.
func New(rdb redis.UniversalClient, now func() time.Time) *Limits {
	if now == nil {
		now = time.Now
	}
	return &Limits{rdb: rdb, now: now}
}

func internal(code, message string) error {
	return &mobileid.Error{Kind: mobileid.KindInternal, Code: code, Message: message, Err: errors.New(message)}
}
