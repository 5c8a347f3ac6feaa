package limits

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
	"mobileid/otp/internal/call"
)

// claimLife is how long an Idempotency-Key is remembered here. The registry
// remembers it after that, and when Redis forgets.
const claimLife = 24 * time.Hour

// claim: ARGV value, time to live in ms. Returns what is stored, the caller's
// own value if it came first.
var claimScript = redis.NewScript(`
local stored = redis.call('GET', KEYS[1])
if stored then return stored end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`)

// Claim ties (client, Idempotency-Key) to an id and a body hash, once: whoever
// comes first decides, and everybody gets what is stored. The key is new when
// the id that comes back is the one that was given; another hash means another
// body under the same key. Errors: KindUnavailable "redis_away" within a
// second (a second call with the same arguments is harmless), KindInternal
// "claim_unreadable".
func (l *Limits) Claim(
	ctx context.Context, client string, part mobileid.KeyPart, id mobileid.ID, bodyHash string,
) (storedID mobileid.ID, storedHash string, err error) {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	stored, err := claimScript.Run(ctx, l.rdb, []string{claimKey(client, part)},
		id.String()+" "+bodyHash, claimLife.Milliseconds()).Text()
	if err != nil {
		return mobileid.ID{}, "", call.Away(err)
	}
	return readClaim(stored)
}

// Find is a look at a claim without making one: with it a repeated request is
// known before it is paid for. Errors are those of Claim.
func (l *Limits) Find(
	ctx context.Context, client string, part mobileid.KeyPart,
) (storedID mobileid.ID, storedHash string, found bool, err error) {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	stored, err := l.rdb.Get(ctx, claimKey(client, part)).Result()
	if errors.Is(err, redis.Nil) {
		return mobileid.ID{}, "", false, nil
	}
	if err != nil {
		return mobileid.ID{}, "", false, call.Away(err)
	}
	storedID, storedHash, err = readClaim(stored)
	return storedID, storedHash, err == nil, err
}

func claimKey(client string, part mobileid.KeyPart) string {
	return "idem:{" + client + ":" + hex.EncodeToString(part[:]) + "}"
}

func readClaim(stored string) (mobileid.ID, string, error) {
	printed, hash, ok := strings.Cut(stored, " ")
	id, err := mobileid.ParseID(printed)
	if !ok || err != nil {
		return mobileid.ID{}, "", internal("claim_unreadable", "the stored claim is not one of ours")
	}
	return id, hash, nil
}
