package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"mobileid/internal/mobileid"
)

const (
	retryFirst   = 100 * time.Millisecond
	retryLongest = 2 * time.Second
)

// deliverer brings one topic's batches through the handler: again after a
// pause, halved, or parked, until every record is done or ctx ends.
type deliverer struct {
	group   string
	topic   string
	handler Handler
	dlq     DLQ
	timeout time.Duration // of one call of the handler
	log     *slog.Logger
	metrics groupMetrics
	commit  func() // tells the committer that something may be due
	loop    *mobileid.Loop
}

// deliver returns nil when every record is done and the context's cause when
// it ended before that.
func (d *deliverer) deliver(ctx context.Context, recs []*Record) error {
	defer d.loop.Rest()
	good := recs[:0:0]
	for _, r := range recs {
		if r.Err == nil {
			good = append(good, r)
			continue
		}
		if err := d.undecodable(ctx, r); err != nil {
			return err
		}
	}
	err := d.settle(ctx, good)
	d.commit()
	return err
}

// settle repeats one batch until it is done.
func (d *deliverer) settle(ctx context.Context, recs []*Record) error {
	wait := retryFirst
	blocked := d.metrics.blocked.WithLabelValues(d.group, d.topic)
	waiting := 0 // partitions that the gauge has from us
	free := func() {
		blocked.Sub(float64(waiting))
		waiting = 0
	}
	defer free()
	for {
		recs = undone(recs)
		if len(recs) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		late, err := d.call(ctx, recs)
		if err == nil {
			for _, r := range recs {
				r.Done()
			}
			d.metrics.records.WithLabelValues(d.group, d.topic, "done").Add(float64(len(recs)))
			return nil
		}
		left := undone(recs)
		d.metrics.records.WithLabelValues(d.group, d.topic, "done").Add(float64(len(recs) - len(left)))
		if len(left) == 0 {
			return nil
		}
		d.commit()
		// A batch that did not get done in time would not the next time either:
		// half of it may.
		if !mobileid.KindOf(err).Retryable() || late && len(left) > 1 {
			free()
			return d.split(ctx, left, err)
		}
		if len(left) < len(recs) {
			wait = retryFirst // it comes on
		}
		free()
		waiting = partitionsIn(left)
		blocked.Add(float64(waiting))
		if err := d.again(ctx, left[0], len(left), err, &wait); err != nil {
			return err
		}
		recs = left
	}
}

// again waits before the next try, longer each time, and says so.
func (d *deliverer) again(ctx context.Context, first *Record, n int, err error, wait *time.Duration) error {
	kind := mobileid.KindOf(err)
	d.metrics.retries.WithLabelValues(d.group, d.topic, string(kind)).Inc()
	pauseFor := *wait/2 + rand.N(*wait/2)
	var e *mobileid.Error
	if errors.As(err, &e) && e.RetryAfter > pauseFor {
		pauseFor = min(e.RetryAfter, retryLongest)
	}
	d.log.Warn("batch comes again", "group", d.group, "topic", d.topic, "partition", first.Ref.Partition,
		"offset", first.Ref.Offset, "records", n, "after", pauseFor.String(), "err", mobileid.Ours(err))
	*wait = min(2**wait, retryLongest)
	if !pause(ctx, pauseFor, 0) {
		return context.Cause(ctx)
	}
	return nil
}

// split halves a batch that was refused; a record that stands alone is parked.
func (d *deliverer) split(ctx context.Context, recs []*Record, err error) error {
	if len(recs) == 1 {
		return d.park(ctx, recs[0], mobileid.CodeOf(err))
	}
	middle := len(recs) / 2
	if err := d.settle(ctx, recs[:middle]); err != nil {
		return err
	}
	return d.settle(ctx, recs[middle:])
}

// undecodable tells the handler, if it wants to know, and parks the record.
func (d *deliverer) undecodable(ctx context.Context, r *Record) error {
	if h, ok := d.handler.(undecodableHandler); ok {
		for wait := retryFirst; ; {
			d.loop.Step()
			err := h.HandleUndecodable(ctx, r)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := d.again(ctx, r, 1, err, &wait); err != nil {
				return err
			}
		}
	}
	return d.park(ctx, r, mobileid.CodeOf(r.Err))
}

// park stores a record in the dead-letter topic, however long that takes: it
// is done only when it stands there.
func (d *deliverer) park(ctx context.Context, r *Record, reason string) error {
	for wait := retryFirst; ; {
		d.loop.Step()
		err := d.dlq.Park(ctx, r, reason)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := d.again(ctx, r, 1, err, &wait); err != nil {
			return err
		}
	}
	d.log.Error("record parked in the dead-letter topic", "group", d.group, "topic", r.Ref.Topic,
		"partition", r.Ref.Partition, "offset", r.Ref.Offset, "reason", reason)
	d.metrics.records.WithLabelValues(d.group, d.topic, "parked").Inc()
	r.Done()
	return nil
}

// call runs the handler once, bounded in time, and tells whether it was cut off
// by that bound. A panic refuses the batch, so that halving finds the record
// that causes it: crashing would meet it again.
func (d *deliverer) call(ctx context.Context, recs []*Record) (late bool, err error) {
	d.loop.Step()
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errHandlerDeadline)
	defer cancel()
	started := time.Now()
	defer func() {
		d.metrics.seconds.WithLabelValues(d.group, d.topic).Observe(time.Since(started).Seconds())
		d.metrics.batch.WithLabelValues(d.group, d.topic).Observe(float64(len(recs)))
		if p := recover(); p != nil {
			// The value may quote the record; its type and the stack do not.
			stack := debug.Stack()
			if w, ok := p.(*workerPanic); ok {
				p, stack = w.value, w.stack
			}
			d.log.Error("handler panicked", "group", d.group, "topic", d.topic, "type", fmt.Sprintf("%T", p), "stack", string(stack))
			err = mobileid.Invalid("", "handler_panic", "the handler panicked")
		}
	}()
	err = d.handler.Handle(ctx, recs)
	late = err != nil && errors.Is(context.Cause(ctx), errHandlerDeadline)
	if err != nil && ctx.Err() != nil && mobileid.KindOf(err) == mobileid.KindInternal {
		// A handler that was cut off did not refuse anything.
		return late, mobileid.Unavailable("cut_off", 0, errors.Join(context.Cause(ctx), err))
	}
	return late, err
}

// partitionsIn counts the partitions of records.
func partitionsIn(recs []*Record) int {
	of := map[int]bool{}
	for _, r := range recs {
		of[r.Ref.Partition] = true
	}
	return len(of)
}

func undone(recs []*Record) []*Record {
	var left []*Record
	for _, r := range recs {
		if !r.isDone() {
			left = append(left, r)
		}
	}
	return left
}
