package consumers

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// pingTimeout bounds Ping: a probe that asks for longer is of no use.
const pingTimeout = 800 * time.Millisecond

// Ping reports whether some broker answers and knows the topic.
func Ping(ctx context.Context, kc KafkaConfig, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	client, release := kc.client()
	defer release()
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	for _, t := range res.Topics {
		if t.Error != nil {
			return fmt.Errorf("kafka: %s: %w (run mobileid topics)", t.Name, t.Error)
		}
	}
	return nil
}
