// Package call is how otp and otp/limits call Redis: each call ends within a
// bound, and an error of it is told in one way.
package call

import (
	"context"
	"errors"
	"time"

	"mobileid/internal/mobileid"
)

// limit bounds every call, retries included: the edge answers 503 within a
// second when Redis hangs.
const limit = 800 * time.Millisecond

// Bound is ctx with the limit of every call.
func Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, limit)
}

// Away says that Redis did not answer as it should: KindUnavailable
// "redis_away". An error of ours stays as it is. Commands carry no personal
// data, so neither does the cause.
func Away(cause error) error {
	if _, ok := errors.AsType[*mobileid.Error](cause); ok {
		return cause
	}
	return mobileid.Unavailable("redis_away", time.Second, mobileid.Safe(cause))
}
