package consumers

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

const (
	fetchBackoffFirst   = 50 * time.Millisecond
	fetchBackoffLongest = time.Second
)

// partitionReader keeps the records of one partition coming, across broker
// restarts, into a bounded channel. It never gives a record twice and never
// steps over one without counting it.
type partitionReader struct {
	topic     string
	partition int
	fetcher   fetcher
	out       chan<- kafka.Message
	log       *slog.Logger
	loop      *mobileid.Loop

	onLost    func(n int64) // records that retention took
	onRewound func()        // the log ends before the offset: read from its start

	offset  atomic.Int64            // next to fetch
	fetchAt atomic.Int64            // Unix ns of the last answer; 0 = none yet
	full    atomic.Bool             // waits for room in out, not for the broker
	abort   atomic.Pointer[abortFn] // ends the fetch under way
	now     func() time.Time
}

type abortFn struct{ cancel context.CancelCauseFunc }

var errStalled = errors.New("nothing was fetched although there is lag")

// run reads until ctx ends. start may be kafka.FirstOffset or
// kafka.LastOffset.
func (r *partitionReader) run(ctx context.Context, start int64) {
	r.fetchAt.Store(r.now().UnixNano())
	r.offset.Store(start)
	wait := fetchBackoffFirst
	for ctx.Err() == nil {
		got, err := r.once(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			r.log.Warn("fetch failed", "topic", r.topic, "partition", r.partition, "offset", r.offset.Load(), "err", explain(err))
			if !pause(ctx, wait/2+rand.N(wait/2), 0) {
				return
			}
			wait = min(2*wait, fetchBackoffLongest)
			continue
		}
		wait = fetchBackoffFirst
		for _, m := range got.messages {
			if !r.push(ctx, m) {
				return
			}
		}
		r.offset.Store(got.next)
	}
}

// once makes one request from where the reader stands.
func (r *partitionReader) once(ctx context.Context) (fetched, error) {
	r.loop.Step()
	defer r.loop.Rest()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.abort.Store(&abortFn{cancel})
	offset := r.offset.Load()
	if offset < 0 {
		first, end, err := r.fetcher.bounds(ctx, r.topic, r.partition)
		if err != nil {
			return fetched{}, err
		}
		at := first
		if offset == kafka.LastOffset {
			at = end
		}
		r.offset.Store(at)
		offset = at
	}
	got, err := r.fetcher.fetch(ctx, r.topic, r.partition, offset)
	switch {
	case errors.Is(err, kafka.OffsetOutOfRange):
		at, err := r.relocate(ctx, offset)
		return fetched{next: at}, err
	case err != nil:
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		return fetched{}, err
	}
	if got.next > offset || got.end <= got.next {
		r.fetchAt.Store(r.now().UnixNano()) // came on, or is at the end
	}
	return got, nil
}

// relocate finds out why an offset is outside the log and returns where to
// read on.
func (r *partitionReader) relocate(ctx context.Context, offset int64) (int64, error) {
	first, end, err := r.fetcher.bounds(ctx, r.topic, r.partition)
	switch {
	case err != nil:
		return 0, err
	case offset < first:
		r.log.Error("records were lost: retention removed them before they were read",
			"topic", r.topic, "partition", r.partition, "offset", offset, "log_start", first, "lost", first-offset)
		r.onLost(first - offset)
		return first, nil
	case offset > end:
		// The topic was made anew, or an unclean leader cut the log. What
		// stands there now was perhaps never read; duplicates are harmless.
		r.log.Error("the committed offset is beyond the end of the log: reading from its start",
			"topic", r.topic, "partition", r.partition, "offset", offset, "log_start", first, "log_end", end)
		r.onRewound()
		return first, nil
	}
	return 0, kafka.OffsetOutOfRange // it became readable in between
}

func (r *partitionReader) push(ctx context.Context, m kafka.Message) bool {
	select {
	case r.out <- m:
		return true
	default:
	}
	r.full.Store(true)
	defer func() {
		r.fetchAt.Store(r.now().UnixNano()) // the time of waiting for room is no stall
		r.full.Store(false)
	}()
	select {
	case r.out <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch is the watchdog: when no answer came for the given time although the
// log goes on, it counts, drops the connections and ends the fetch under way,
// so that the reader starts over. It returns when ctx ends.
func (r *partitionReader) watch(ctx context.Context, after time.Duration, onStall func()) {
	tick := time.NewTicker(max(after/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		silent := r.now().Sub(time.Unix(0, r.fetchAt.Load()))
		if r.full.Load() || silent < after {
			continue
		}
		_, end, err := r.fetcher.bounds(ctx, r.topic, r.partition)
		offset := r.offset.Load()
		switch {
		case err == nil && offset >= 0 && end <= offset:
			continue // nothing to read
		case err != nil:
			// The cluster is away, or our picture of it is wrong; new
			// connections are right for both. The reader's retries are logged.
		default:
			r.log.Error("reader stalled: rebuilding it", "topic", r.topic, "partition", r.partition,
				"offset", offset, "log_end", end, "silent", silent.String())
			onStall()
		}
		r.fetcher.rebuild()
		r.fetchAt.Store(r.now().UnixNano())
		if a := r.abort.Load(); a != nil {
			a.cancel(errStalled)
		}
	}
}
