package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

// patience bounds every wait of these tests; none of them needs a fraction.
const patience = 20 * time.Second

func startKafka(t testing.TB, opts ...kfake.Opt) (*kfake.Cluster, KafkaConfig) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, KafkaConfig{Brokers: c.ListenAddrs(), ClientID: "test"}
}

func newTestPublisher(t testing.TB, kc KafkaConfig, cfg PublisherConfig) *Publisher {
	t.Helper()
	cfg.Log = testLog(t)
	p := NewPublisher(kc, cfg)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func testLog(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func event(id int) mobileid.Event {
	return mobileid.Event{ID: fmt.Sprint(id), Type: "test.v1", Key: fmt.Sprintf("key-%d", id%97), Value: fmt.Appendf(nil, `{"n":%d}`, id)}
}

func events(from, to int) []mobileid.Event {
	var out []mobileid.Event
	for i := from; i < to; i++ {
		out = append(out, event(i))
	}
	return out
}

func mustPublish(t testing.TB, p *Publisher, topic string, list ...mobileid.Event) {
	t.Helper()
	if err := p.Publish(t.Context(), topic, list...); err != nil {
		t.Fatalf("publish: %v (%v)", err, errors.Unwrap(err))
	}
}

// memory is a DLQ that remembers.
type memory struct {
	mu     sync.Mutex
	parked map[string]string // event id or offset: reason
	fail   error
}

func (m *memory) Park(_ context.Context, r *Record, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.parked == nil {
		m.parked = map[string]string{}
	}
	id := r.Event.ID
	if id == "" {
		id = fmt.Sprint("offset ", r.Ref.Offset)
	}
	m.parked[id] = reason
	return nil
}

func (m *memory) has() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	maps.Copy(out, m.parked)
	return out
}

// member runs a Group until stop.
type member struct {
	cancel context.CancelFunc
	done   chan error
}

func startGroup(t testing.TB, cfg GroupConfig) *member {
	t.Helper()
	if cfg.DLQ == nil {
		cfg.DLQ = &memory{}
	}
	if cfg.Log == nil {
		cfg.Log = testLog(t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{cancel: cancel, done: make(chan error, 1)}
	go func() { m.done <- NewGroup(cfg).Run(ctx) }()
	t.Cleanup(func() { m.stop(t) })
	return m
}

func (m *member) stop(t testing.TB) {
	t.Helper()
	m.cancel()
	select {
	case err := <-m.done:
		m.done <- err
		if err != nil {
			t.Errorf("group: %v", err)
		}
	case <-time.After(patience):
		t.Error("the group does not stop")
	}
}

// seen collects what handlers met and wakes whoever waits.
type seen struct {
	mu    sync.Mutex
	count map[string]int
	wake  chan struct{}
}

func newSeen() *seen { return &seen{count: map[string]int{}, wake: make(chan struct{})} }

func (s *seen) add(recs ...*Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recs {
		s.count[r.Event.ID]++
	}
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *seen) times(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[id]
}

func (s *seen) waitFor(t testing.TB, what string, ok func(count map[string]int) bool) {
	t.Helper()
	end := time.After(patience)
	for {
		s.mu.Lock()
		fine, wake, n := ok(s.count), s.wake, len(s.count)
		s.mu.Unlock()
		if fine {
			return
		}
		select {
		case <-wake:
		case <-end:
			t.Fatalf("waited too long for %s; have %d", what, n)
		}
	}
}

func (s *seen) waitDistinct(t testing.TB, n int) {
	t.Helper()
	s.waitFor(t, fmt.Sprintf("%d records", n), func(c map[string]int) bool { return len(c) >= n })
}

// metric returns the value of one counter or gauge of a registry.
func metric(t testing.TB, reg *prometheus.Registry, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if want, ok := labels[l.GetName()]; ok && want != l.GetValue() {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}
