package consumers

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// Tail reads every partition of a topic from its end, without a group, and
// calls fn for each event, one at a time and in the order of each partition.
// It goes on over broker restarts, and reads partitions that are added later
// from their start. Records that are no events are stepped over. It returns
// nil when ctx ends, after the last fn. Its loops are told to watch.
//
// What was written before Tail knows the end of a partition is not seen. Once it
// knows that of every partition there is, it calls begun: whoever waits for
// events looks at the stored state then.
func Tail(ctx context.Context, kc KafkaConfig, topic string, watch mobileid.Watch, begun func(), fn func(mobileid.Event)) error {
	return tail(ctx, kc, topic, slog.New(slog.DiscardHandler), watch, begun, fn)
}

// tail is Tail that logs.
func tail(ctx context.Context, kc KafkaConfig, topic string, log *slog.Logger, watch mobileid.Watch, begun func(), fn func(mobileid.Event)) error {
	f := newKafkaFetcher(kc)
	defer f.close()
	t := tailer{fetcher: f, topic: topic, log: log, watch: watch, fn: fn, reading: map[int]bool{}}
	defer t.readers.Wait()
	loop := watch.Loop("tail " + topic)
	defer loop.Rest()
	from := kafka.LastOffset
	tick := time.NewTicker(topologyEvery / 4)
	defer tick.Stop()
	for {
		loop.Step()
		partitions, err := partitionsOf(ctx, f.current(), topic)
		if err != nil && ctx.Err() == nil {
			log.Warn("tail: partitions unknown, again soon", "topic", topic, "err", explain(err))
		}
		if len(partitions) > 0 && t.start(ctx, partitions, from, loop) {
			if from == kafka.LastOffset {
				begun()
			}
			from = kafka.FirstOffset // whatever appears from now on is new
		}
		loop.Rest()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type tailer struct {
	fetcher fetcher
	topic   string
	log     *slog.Logger
	watch   mobileid.Watch
	fn      func(mobileid.Event)

	one     sync.Mutex // fn is called one at a time
	reading map[int]bool
	readers sync.WaitGroup
}

// start reads partitions that are not read yet. It reports whether all of them
// are; the place of a new one is found out first, so that what is written
// afterwards is surely seen.
func (t *tailer) start(ctx context.Context, partitions []int, from int64, loop *mobileid.Loop) bool {
	for _, p := range partitions {
		if t.reading[p] {
			continue
		}
		loop.Step()
		first, end, err := t.fetcher.bounds(ctx, t.topic, p)
		if err != nil {
			return false
		}
		at := first
		if from == kafka.LastOffset {
			at = end
		}
		t.reading[p] = true
		arrived := make(chan kafka.Message, 256)
		r := &partitionReader{
			topic: t.topic, partition: p, fetcher: t.fetcher, out: arrived, log: t.log, now: time.Now,
			loop:   t.watch.Loop(fmt.Sprintf("tail fetches %s/%d", t.topic, p)),
			onLost: func(int64) {}, onRewound: func() {}, // both are logged; a tail owes nobody completeness
		}
		t.readers.Go(func() {
			defer close(arrived)
			r.run(ctx, at)
		})
		t.readers.Go(func() { t.drain(arrived, t.watch.Loop(fmt.Sprintf("tail handles %s/%d", t.topic, p))) })
	}
	return true
}

func (t *tailer) drain(arrived <-chan kafka.Message, loop *mobileid.Loop) {
	for m := range arrived {
		loop.Step()
		if rec := NewRecord(m); rec.Err == nil {
			t.one.Lock()
			t.fn(rec.Event)
			t.one.Unlock()
		}
		loop.Rest()
	}
}
