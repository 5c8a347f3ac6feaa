package consumers

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// A panic in one of a batch's workers parks the record that causes it.
func TestAPanicBesideTheHandlerParksItsRecordOnly(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 40)...)
	s, dead := newSeen(), &memory{}
	parked := make(chan map[string]string, 1)
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, DLQ: tellingDLQ{dead, parked}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		return each(len(recs), func(i int) error {
			if recs[i].Event.ID == "17" {
				panic("the value quotes a person")
			}
			s.add(recs[i])
			recs[i].Done()
			return nil
		})
	})})
	s.waitDistinct(t, 39)
	if have := <-parked; len(have) != 1 || have["17"] != "handler_panic" {
		t.Fatalf("parked %v", have)
	}
}

// tellingDLQ says what is parked once it is.
type tellingDLQ struct {
	*memory
	parked chan map[string]string
}

func (d tellingDLQ) Park(ctx context.Context, r *Record, reason string) error {
	err := d.memory.Park(ctx, r, reason)
	d.parked <- d.has()
	return err
}
