package otp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"mobileid/otp/internal/call"
)

// RedisOptions returns the one way in which this system talks to Redis: short
// timeouts, one retry, deadlines of the context honoured on the socket. Several
// addresses mean Redis Cluster; for a cluster of one address set IsClusterMode.
func RedisOptions(addrs []string, password string) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                 addrs,
		Password:              password,
		DialTimeout:           500 * time.Millisecond,
		ReadTimeout:           500 * time.Millisecond,
		WriteTimeout:          500 * time.Millisecond,
		PoolTimeout:           500 * time.Millisecond,
		ContextTimeoutEnabled: true,
		// The library would dial five times before it lets go.
		DialerRetries:   1,
		MaxRetries:      1,
		MinRetryBackoff: 8 * time.Millisecond,
		MaxRetryBackoff: 32 * time.Millisecond,
		DisableIdentity: true,
		// A handshake of hosted services that ours does not have.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// CheckServer refuses a Redis that may evict: it would drop live codes, limits
// and idempotency keys under memory pressure. Where the setting cannot be read
// (a hosted service hides it) nothing is said. The error is KindUnavailable
// "redis_away" when the server does not answer.
func CheckServer(ctx context.Context, rdb redis.UniversalClient) error {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return checkNode(ctx, node)
		})
	}
	return checkNode(ctx, rdb)
}

func checkNode(ctx context.Context, rdb redis.UniversalClient) error {
	if err := rdb.Ping(ctx).Err(); err != nil {
		return call.Away(err)
	}
	const setting, want = "maxmemory-policy", "noeviction"
	got, err := rdb.ConfigGet(ctx, setting).Result()
	if err != nil {
		var refusal redis.Error
		if errors.As(err, &refusal) && !strings.HasPrefix(refusal.Error(), "LOADING") {
			return nil
		}
		return call.Away(err)
	}
	if policy, known := got[setting]; known && policy != want {
		return fmt.Errorf("redis: %s is %s and must be %s: codes and idempotency keys would be dropped", setting, policy, want)
	}
	return nil
}
