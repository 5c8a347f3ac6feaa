package consumers

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// One group of the ingress reads the topics of all clients.
func TestATopicThatIsGoneHidesNoOtherLag(t *testing.T) {
	const gone, fails, stays = "in.gone", "in.fails", "in.stays"
	c, kc := startKafka(t, kfake.SeedTopics(2, gone, fails, stays))
	p := newTestPublisher(t, kc, PublisherConfig{})
	for _, topic := range []string{gone, fails, stays} {
		mustPublish(t, p, topic, events(0, 3)...)
	}
	reg := prometheus.NewRegistry()
	x := NewLagExporter(kc, []GroupTopics{{Group: "g", Topics: []string{gone, fails, stays}}}, testLog(t), reg, nil)
	look := func() {
		client, release := kc.client() // a new one has no metadata of before
		defer release()
		x.look(t.Context(), client)
	}
	lagOf := func(topic string) float64 {
		return metric(t, reg, "mobileid_consumer_lag_records", map[string]string{"topic": topic})
	}
	look()
	for _, topic := range []string{gone, fails, stays} {
		if n := lagOf(topic); n != 3 {
			t.Fatalf("lag of %s is %v, want 3", topic, n)
		}
	}

	client, release := kc.client()
	defer release()
	res, err := client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{gone}})
	if err != nil || res.Errors[gone] != nil {
		t.Fatal(err, res)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: fails, Err: kerr.NotLeaderForPartition, Count: -1})
	mustPublish(t, p, fails, events(3, 5)...)
	mustPublish(t, p, stays, events(3, 5)...)
	look()
	for topic, want := range map[string]float64{gone: 0, fails: 3, stays: 5} {
		if n := lagOf(topic); n != want {
			t.Errorf("lag of %s is %v, want %v", topic, n, want)
		}
	}
}
