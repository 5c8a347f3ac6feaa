package smpp

import (
	"context"
	"sync/atomic"
	"time"

	"mobileid/internal/mobileid"
)

// lease is the right to own Messages. It ends on the registry's clock; here it
// is counted on our monotonic clock from before the statement that began or
// renewed it was sent, less a margin, so it ends here first.
type lease struct {
	id    int64
	until atomic.Pointer[time.Time] // no write after it
	over  atomic.Bool               // the registry said that it has ended
}

// end returns until when may be written.
func (l *lease) end() time.Time { return *l.until.Load() }

func (l *lease) writable(now time.Time) bool { return !l.over.Load() && now.Before(l.end()) }

func (b *Bridge) extend(l *lease, asked time.Time) {
	until := asked.Add(b.cfg.Lease - b.cfg.LeaseMargin)
	l.until.Store(&until)
}

// keepLease opens a lease, renews it, opens another when it is lost, and closes
// it when ctx ends.
func (b *Bridge) keepLease(ctx context.Context) {
	loop := b.progress.lease
	defer loop.Rest()
	var l *lease
	for ctx.Err() == nil {
		if l == nil {
			loop.Step()
			l = b.openLease(ctx)
			if l == nil && !sleep(ctx, jitter(b.cfg.Lease/10)) {
				break
			}
			continue
		}
		loop.Rest()
		select {
		case <-ctx.Done():
			continue
		case <-time.After(b.cfg.Lease / 3):
		case <-b.leaseOver:
		}
		if l.over.Load() || !b.renewLease(ctx, l) {
			b.loseLease(l)
			l = nil
		}
	}
	if l == nil {
		return
	}
	loop.Step()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StoreTimeout)
	defer cancel()
	if err := b.store.CloseBridge(end, l.id); err != nil {
		b.log.Warn("lease not closed; it will run out", "lease", l.id, "err", err)
	}
}

func (b *Bridge) openLease(ctx context.Context) *lease {
	asked := b.now()
	call, cancel := context.WithTimeout(ctx, b.cfg.StoreTimeout)
	defer cancel()
	id, err := b.store.OpenBridge(call, b.cfg.Profile.ID, b.cfg.Name, b.cfg.Lease)
	if err != nil {
		if ctx.Err() == nil {
			b.log.Warn("no lease", "err", err)
		}
		return nil
	}
	l := &lease{id: id}
	b.extend(l, asked)
	b.mu.Lock()
	b.lease = l
	b.mu.Unlock()
	b.log.Info("lease opened", "lease", id)
	signal(b.kick)
	return l
}

// renewLease returns false when the lease is lost: the registry says so, or
// the time in which it may be used ran out while the registry was away.
func (b *Bridge) renewLease(ctx context.Context, l *lease) bool {
	for {
		b.progress.lease.Step()
		asked := b.now()
		call, cancel := context.WithTimeout(ctx, b.cfg.StoreTimeout)
		err := b.store.RenewBridge(call, l.id, b.cfg.Lease)
		cancel()
		if err == nil {
			b.extend(l, asked)
			signal(b.kick)
			return true
		}
		if ctx.Err() != nil {
			return true // ending; the lease is closed by the caller
		}
		b.log.Warn("lease not renewed", "lease", l.id, "err", err)
		if k := mobileid.KindOf(err); k == mobileid.KindConflict || k == mobileid.KindNotFound || !l.writable(b.now()) {
			return false
		}
		sleep(ctx, jitter(b.cfg.Lease/30))
	}
}

// loseLease gives back what was not written under the lease. What is in the
// window keeps its number: its answers are settled under the old lease.
func (b *Bridge) loseLease(l *lease) {
	l.over.Store(true)
	b.mu.Lock()
	if b.lease == l {
		b.lease = nil
	}
	b.mu.Unlock()
	b.metrics.leasesLost.Inc()
	b.log.Error("lease lost", "lease", l.id)
	b.giveBack(mobileid.ReasonLeaseLost, l)
}
