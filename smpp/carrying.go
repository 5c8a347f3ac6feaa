package smpp

import (
	"context"
	"time"
)

// WhileCarrying calls f each time that a link carries, with a context that ends
// when none has for Config.GiveBack: whoever brings work to the bridge leaves it
// to other bridges then, and a short reconnect costs nobody a rebalance. It returns
// the error of f, or nil when ctx has ended and f has returned.
func (b *Bridge) WhileCarrying(ctx context.Context, f func(context.Context) error) error {
	for b.await(ctx, b.untilCarries) {
		carrying, end := context.WithCancel(ctx)
		watch := begin(carrying, func(ctx context.Context) {
			if b.await(ctx, b.untilGivenUp) {
				b.log.Warn("no link carries: the lanes are left to other bridges")
			}
			end()
		})
		err := f(carrying)
		watch.end()
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// untilCarries and untilGivenUp return 0 when that is so, else in what time it
// may be; never means that a link has to change first. The caller holds mu.
func (b *Bridge) untilCarries() time.Duration {
	if b.carries() {
		return 0
	}
	return never
}

func (b *Bridge) untilGivenUp() time.Duration {
	if b.carries() {
		return never
	}
	return max(0, b.cfg.GiveBack-b.now().Sub(b.down))
}

const never = time.Duration(1<<63 - 1)

// await waits until left returns 0; false when ctx ended first.
func (b *Bridge) await(ctx context.Context, left func() time.Duration) bool {
	for ctx.Err() == nil {
		b.mu.Lock()
		wait, changed := left(), b.changed
		b.mu.Unlock()
		if wait == 0 {
			return true
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(wait):
		}
	}
	return false
}

// linkChanged tells those who wait that a link has changed. The caller holds mu.
func (b *Bridge) linkChanged() {
	close(b.changed)
	b.changed = make(chan struct{})
}
