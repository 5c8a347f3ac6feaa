package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// floor measures two bare hops, chained: a record is produced to the first
// topic, read, produced to the second and read there. The writer is the one
// that the lanes use, the record is a lane's, the topics have a lane's
// partitions; the readers are kafka-go's, one a partition, without a group.
type floor struct {
	topics    [2]string
	publisher *consumers.Publisher
	readers   []*kafka.Reader
	ids       mobileid.IDKey
	next      int

	owners sync.WaitGroup
	stop   context.CancelFunc
	mu     sync.Mutex
	begun  map[string]time.Time
	took   sample
	failed error
}

func newFloor(b *testing.B, brokers []string, partitions int) *floor {
	b.Helper()
	kc := consumers.KafkaConfig{Brokers: brokers, ClientID: "bench-floor"}
	f := &floor{topics: [2]string{"bench.floor.1", "bench.floor.2"}, begun: map[string]time.Time{}}
	var specs []consumers.TopicSpec
	for _, t := range f.topics {
		specs = append(specs, consumers.TopicSpec{Name: t, Partitions: partitions, Replication: 1, MinISR: 1, Retention: time.Hour})
	}
	_, err := consumers.EnsureTopics(b.Context(), kc, specs, nil)
	must(b, err)
	f.ids, err = mobileid.NewIDKey([]byte("the floor needs no secret, but 32 bytes"))
	must(b, err)
	f.publisher = consumers.NewPublisher(kc, consumers.PublisherConfig{})
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	f.stop = stop
	for hop, topic := range f.topics {
		for p := range partitions {
			r := kafka.NewReader(kafka.ReaderConfig{
				Brokers: brokers, Topic: topic, Partition: p, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
			})
			f.readers = append(f.readers, r)
			f.owners.Go(func() { f.read(ctx, r, hop) })
		}
	}
	b.Cleanup(f.close)
	return f
}

func (f *floor) close() {
	f.stop()
	f.owners.Wait()
	for _, r := range f.readers {
		_ = r.Close()
	}
	_ = f.publisher.Close()
}

func (f *floor) read(ctx context.Context, r *kafka.Reader, hop int) {
	for {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			f.fail(err, ctx.Err() == nil)
			return
		}
		now := time.Now()
		if hop == 0 {
			f.owners.Go(func() { f.produce(ctx, 1, string(m.Key)) })
			continue
		}
		f.mu.Lock()
		if at, ok := f.begun[string(m.Key)]; ok {
			f.took = append(f.took, now.Sub(at))
			delete(f.begun, string(m.Key))
		}
		f.mu.Unlock()
	}
}

func (f *floor) produce(ctx context.Context, hop int, key string) {
	id := f.ids.Make(mobileid.KindMessage, "bench", key, time.Now())
	e, err := consumers.NewEvent(mobileid.TypeMessageQueued, id.String(), mobileid.LaneRecord{ID: id})
	e.Key, e.Time = key, time.Now()
	if err == nil {
		err = f.publisher.Publish(ctx, f.topics[hop], e)
	}
	f.fail(err, err != nil && ctx.Err() == nil)
}

func (f *floor) fail(err error, unexpected bool) {
	if unexpected {
		f.mu.Lock()
		f.failed = errors.Join(f.failed, err)
		f.mu.Unlock()
	}
}

// run sends at a rate until ctx ends or n are sent, waits for the last ones
// and returns the latencies.
func (f *floor) run(ctx context.Context, rate, n int) (sample, error) {
	begin := time.Now()
	for i := 0; i < n && ctx.Err() == nil; i++ {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		f.next++
		key := fmt.Sprintf("%026d", f.next) // as long as a pseudonym
		f.mu.Lock()
		f.begun[key] = time.Now()
		f.mu.Unlock()
		f.owners.Go(func() { f.produce(context.WithoutCancel(ctx), 0, key) })
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		f.mu.Lock()
		left := len(f.begun)
		f.mu.Unlock()
		if left == 0 {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.begun) > 0 {
		f.failed = errors.Join(f.failed, fmt.Errorf("%d records of the floor did not come", len(f.begun)))
	}
	took := f.took
	f.took, f.begun = nil, map[string]time.Time{}
	return took, f.failed
}
