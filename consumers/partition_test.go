package consumers

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
)

// hanging is a fetcher whose first fetch never answers, as after the broker
// restarts of kafka-go's issue 387. It stands in for a network, not for our
// own code.
type hanging struct {
	mu      sync.Mutex
	end     int64
	rebuilt int
	down    bool // bounds fail too
}

func (h *hanging) fetch(ctx context.Context, topic string, partition int, offset int64) (fetched, error) {
	h.mu.Lock()
	healthy, end := h.rebuilt > 0, h.end
	h.mu.Unlock()
	if !healthy || offset >= end {
		<-ctx.Done()
		return fetched{}, ctx.Err()
	}
	return fetched{
		messages: []kafka.Message{{Topic: topic, Partition: partition, Offset: offset}}, next: offset + 1, end: end,
	}, nil
}

func (h *hanging) bounds(context.Context, string, int) (int64, int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return 0, 0, errors.New("away")
	}
	return 0, h.end, nil
}

func (h *hanging) rebuild() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rebuilt++
}

func (*hanging) close() {}

func (h *hanging) rebuilds() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rebuilt
}

func watched(t *testing.T, h *hanging) (arrived <-chan kafka.Message, stalls *atomic.Int32, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stalls = &atomic.Int32{}
	out := make(chan kafka.Message, 2)
	r := &partitionReader{
		topic: topic, fetcher: h, out: out, log: testLog(t), now: time.Now,
		onLost: func(int64) {}, onRewound: func() {},
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx, 0) })
	wg.Go(func() { r.watch(ctx, 10*time.Second, func() { stalls.Add(1) }) })
	return out, stalls, func() { cancel(); wg.Wait() }
}

func TestAStalledReaderIsRebuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{end: 1}
		arrived, stalls, stop := watched(t, h)
		defer stop()
		started := time.Now()
		m := <-arrived
		if m.Offset != 0 || stalls.Load() != 1 || h.rebuilds() != 1 {
			t.Fatalf("offset %d, %d stalls, rebuilt %d times", m.Offset, stalls.Load(), h.rebuilds())
		}
		if d := time.Since(started); d < 10*time.Second || d > 15*time.Second {
			t.Fatalf("noticed after %v", d)
		}
	})
}

func TestSilenceWithoutLagIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{}
		_, stalls, stop := watched(t, h)
		defer stop()
		time.Sleep(5 * time.Minute) // the bubble's clock
		if stalls.Load() != 0 || h.rebuilds() != 0 {
			t.Fatalf("%d stalls, rebuilt %d times", stalls.Load(), h.rebuilds())
		}
	})
}

func TestASlowHandlerIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{end: 100, rebuilt: 1}
		arrived, stalls, stop := watched(t, h)
		defer stop()
		time.Sleep(5 * time.Minute) // of the bubble; nobody takes what arrived
		if stalls.Load() != 0 {
			t.Fatalf("%d stalls", stalls.Load())
		}
		if m := <-arrived; m.Offset != 0 {
			t.Fatalf("offset %d", m.Offset)
		}
	})
}

func TestAClusterThatIsAwayGetsNewConnectionsButIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{end: 1, down: true}
		_, stalls, stop := watched(t, h)
		defer stop()
		time.Sleep(time.Minute) // the bubble's clock
		if stalls.Load() != 0 || h.rebuilds() == 0 {
			t.Fatalf("%d stalls, rebuilt %d times", stalls.Load(), h.rebuilds())
		}
	})
}
