package limits

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
	"mobileid/otp/internal/call"
)

// The quota is GCRA: one number a client, the theoretical arrival time (TAT) of
// its next request at an even pace, in Unix microseconds. A double holds them
// exactly.
//
// ARGV now, interval (both µs), burst. The answer is how long to wait, 0 = go.
var spendScript = redis.NewScript(`
local now, interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local room = interval * burst
local tat = tonumber(redis.call('GET', KEYS[1]) or '0')
if tat < now then tat = now end
-- Further ahead than a full burst: left by a gateway whose clock is ahead, or
-- by a slower quota of yesterday. It must not shut the client out.
if tat > now + room then tat = now + room end
local wait = tat + interval - room - now
if wait > 0 then return wait end
tat = tat + interval
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1000)
return 0`)

// Spend takes one request from the client's quota: Burst at once, then Rate in
// a Per, evenly. retryAfter > 0 means refused, and tells when one is free
// again. Errors: KindUnavailable "redis_away" within a second, KindInternal
// "quota_invalid" for a client without a quota (nobody is unlimited by
// mistake).
func (l *Limits) Spend(ctx context.Context, client mobileid.Client) (retryAfter time.Duration, err error) {
	interval, ok := interval(client.Quota)
	if !ok {
		return 0, internal("quota_invalid", "the client has no valid quota")
	}
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	wait, err := spendScript.Run(ctx, l.rdb, []string{"limit:{" + client.ID + "}"},
		l.now().UnixMicro(), interval, max(client.Quota.Burst, 1)).Int64()
	if err != nil {
		return 0, call.Away(err)
	}
	return time.Duration(wait) * time.Microsecond, nil
}

// interval is the pace in whole microseconds, rounded up: a quota is a bound.
func interval(q mobileid.Quota) (microseconds int64, ok bool) {
	if q.Rate < 1 || q.Per < time.Microsecond {
		return 0, false
	}
	rate := int64(q.Rate)
	return (q.Per.Microseconds() + rate - 1) / rate, true
}
