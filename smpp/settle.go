package smpp

import (
	"context"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// settleEvery is from one small batch of outcomes to the next. It is short
// because what a dead bridge had not stored is in doubt, and not shorter
// because a statement for each outcome costs as much as admission.
const settleEvery = 20 * time.Millisecond

// smallBatch is where waiting for company ends: a larger batch is cheap a
// Message, and an operator may have only as many receipts unanswered as it
// likes, ten or so.
const smallBatch = 8

// noBridge has no Message: an outcome that is stored under it moves none, and
// the answers that it brings are kept as facts.
const noBridge = 0

// settled is an outcome to be stored under the lease it belongs to.
type settled struct {
	job     *job // nil for a late answer: nothing is held for it
	bridge  int64
	outcome mobileid.Outcome
}

// maxBehind is how many outcomes may wait to be stored before nothing more is
// admitted: what is admitted ahead of a registry that is busy settling is carried
// no sooner, receipts would come before the answers they belong to, which costs
// twice, and more would be in doubt after a crash.
const maxBehind = 2 * maxBatch

// settling holds outcomes to be stored.
type settling struct {
	wake chan struct{}

	mu    sync.Mutex
	queue []settled
}

func newSettling() *settling { return &settling{wake: make(chan struct{}, 1)} }

func (q *settling) put(s settled) {
	q.mu.Lock()
	q.queue = append(q.queue, s)
	q.mu.Unlock()
	signal(q.wake)
}

// len counts what waits for the next statement.
func (q *settling) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue)
}

// next removes up to n outcomes of one lease, in order, one of a Message: of two
// in one statement the registry knows no order.
func (q *settling) next(n int) []settled {
	q.mu.Lock()
	defer q.mu.Unlock()
	end, seen := 0, make(map[mobileid.ID]bool, min(n, len(q.queue)))
	for end < len(q.queue) && end < n {
		s := &q.queue[end]
		if s.bridge != q.queue[0].bridge || seen[s.outcome.ID] {
			break
		}
		seen[s.outcome.ID] = true
		end++
	}
	out := append([]settled(nil), q.queue[:end]...)
	clear(q.queue[:end])
	q.queue = q.queue[end:]
	return out
}

// back returns what could not be stored.
func (q *settling) back(batch []settled) {
	q.mu.Lock()
	q.queue = append(batch, q.queue...)
	q.mu.Unlock()
}

// rest returns the Messages whose outcomes are not stored.
func (q *settling) rest() map[mobileid.ID]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make(map[mobileid.ID]bool, len(q.queue))
	for _, s := range q.queue {
		out[s.outcome.ID] = true
	}
	return out
}

// settle queues the outcome of a job.
func (b *Bridge) settle(j *job) {
	b.metrics.outcomes.WithLabelValues(string(j.outcome.State)).Inc()
	b.settling.put(settled{job: j, bridge: j.lease.id, outcome: j.outcome})
}

// settleLoop stores outcomes in batches, the first one after a silence at
// once, one statement in flight.
func (b *Bridge) settleLoop(ctx context.Context) {
	for {
		b.progress.settle.Rest()
		select {
		case <-b.settling.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			batch := b.settling.next(maxBatch)
			if len(batch) == 0 {
				break
			}
			began := b.now()
			left := b.storeOutcomes(ctx, batch)
			b.letGo(batch[:len(batch)-len(left)])
			if len(left) > 0 {
				b.settling.back(left)
				return
			}
			if len(batch) < smallBatch {
				sleep(ctx, settleEvery-b.now().Sub(began))
			}
		}
	}
}

// letGo forgets the jobs of a stored batch, and admits again what has to be.
// What is not stored is ours until our lease ends.
func (b *Bridge) letGo(batch []settled) {
	b.mu.Lock()
	carries := !b.draining && b.carries()
	for _, s := range batch {
		if s.job != nil && b.held[s.outcome.ID] == s.job {
			delete(b.held, s.outcome.ID)
		}
		if s.job != nil && !carries {
			delete(b.coming, s.outcome.ID)
		}
	}
	b.mu.Unlock()
	for _, s := range batch {
		b.charging.forget(s.outcome.ID, s.outcome.State)
		if s.job != nil && s.job.again && carries {
			b.intake.again(s.outcome.ID, s.job.admission.Lane)
		}
	}
	signal(b.kick)
	signal(b.quiet)
}

// storeOutcomes stores a batch of one lease, trying again until the registry
// is back; it returns what is left when ctx ends before. A batch that it
// refuses for good is halved until the bad outcome stands alone; that one is
// counted and its row is left to the sweeper.
func (b *Bridge) storeOutcomes(ctx context.Context, batch []settled) (left []settled) {
	outcomes := make([]mobileid.Outcome, len(batch))
	for i, s := range batch {
		outcomes[i] = s.outcome
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		b.progress.settle.Step()
		began := b.now()
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StoreTimeout)
		err := b.store.Settle(call, batch[0].bridge, b.cfg.account(), outcomes)
		cancel()
		b.metrics.settleSeconds.Observe(b.now().Sub(began).Seconds())
		if err == nil {
			return nil
		}
		switch k := mobileid.KindOf(err); {
		case k == mobileid.KindUnavailable || k == mobileid.KindUnknown:
			b.log.Warn("outcomes not stored", "outcomes", len(batch), "err", err)
			if !sleep(ctx, jitter(pause)) {
				return batch
			}
		case len(batch) > 1:
			half := len(batch) / 2
			if left := b.storeOutcomes(ctx, batch[:half]); len(left) > 0 {
				return batch[half-len(left):]
			}
			return b.storeOutcomes(ctx, batch[half:])
		default:
			b.metrics.unsettled.Inc()
			b.log.Error("outcome refused by the registry", "id", batch[0].outcome.ID,
				"state", batch[0].outcome.State, "err", err)
			return nil
		}
	}
}
