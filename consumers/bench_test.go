package consumers

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// BenchmarkHop is one record at a time from Publish to the handler: what the
// writer's batch delay and the reader's long poll cost together.
func BenchmarkHop(b *testing.B) {
	_, kc := startKafka(b, kfake.SeedTopics(1, topic))
	p := newTestPublisher(b, kc, PublisherConfig{})
	arrived := make(chan struct{}, 1)
	startGroup(b, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		for range recs {
			arrived <- struct{}{}
		}
		return nil
	})})
	mustPublish(b, p, topic, event(0))
	<-arrived
	for b.Loop() {
		mustPublish(b, p, topic, event(1))
		<-arrived
	}
}

// BenchmarkThroughput is what one member reads of a filled topic.
func BenchmarkThroughput(b *testing.B) {
	_, kc := startKafka(b, kfake.SeedTopics(4, topic))
	p := newTestPublisher(b, kc, PublisherConfig{MaxPending: 1 << 20})
	const n = 20_000
	for i := 0; i < n; i += 1000 {
		mustPublish(b, p, topic, events(i, i+1000)...)
	}
	i := 0
	for b.Loop() {
		i++
		s := newSeen()
		m := startGroup(b, GroupConfig{Kafka: kc, Group: string(rune('a' + i)), Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
			s.add(recs...)
			return nil
		})})
		s.waitDistinct(b, n)
		m.stop(b)
	}
	b.ReportMetric(float64(i*n)/b.Elapsed().Seconds(), "records/s")
}
