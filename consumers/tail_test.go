package consumers

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

// A tail sees what is written after it began, nothing older, on every
// partition, partitions that are added later included.
func TestTailSeesWhatIsNew(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(2, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 20)...)
	s, ready, done := newSeen(), make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- tail(ctx, kc, topic, testLog(t), nil, func() { close(ready) }, func(e mobileid.Event) { s.add(&Record{Event: e}) })
	}()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the tail does not get ready")
	}
	mustPublish(t, p, topic, events(20, 60)...)
	s.waitDistinct(t, 40)
	if s.times("0") != 0 {
		t.Fatal("the tail shows what was there before")
	}

	client := clientOf(t, kc)
	res, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 8}},
	})
	if err != nil || res.Errors[topic] != nil {
		t.Fatal(err, res.Errors[topic])
	}
	// Until the writer knows of them too, records go to the old ones.
	seenNew := func() bool {
		for _, m := range logOf(t, kc, topic) {
			if m.Partition >= 2 {
				return true
			}
		}
		return false
	}
	n := 60
	for end := time.Now().Add(patience); !seenNew() && time.Now().Before(end); n += 20 {
		mustPublish(t, p, topic, events(n, n+20)...)
	}
	s.waitDistinct(t, n-20)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func clientOf(t testing.TB, kc KafkaConfig) *kafka.Client {
	t.Helper()
	c, release := kc.client()
	t.Cleanup(release)
	return c
}
