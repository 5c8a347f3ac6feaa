package consumers

import (
	"context"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// ReadRecord reads one record back from where it stands, for a person who
// wants to see its bytes. It joins no group and moves no offset.
func ReadRecord(ctx context.Context, kc KafkaConfig, ref mobileid.RecordRef) (kafka.Message, error) {
	f := newFetcher(kc, maxDeadValue)
	defer f.close()
	got, err := f.fetch(ctx, ref.Topic, ref.Partition, ref.Offset)
	if err != nil {
		return kafka.Message{}, fmt.Errorf("record %s/%d/%d: %w", ref.Topic, ref.Partition, ref.Offset, err)
	}
	i := slices.IndexFunc(got.messages, func(m kafka.Message) bool { return m.Offset == ref.Offset })
	if i < 0 {
		return kafka.Message{}, fmt.Errorf("record %s/%d/%d: there is none", ref.Topic, ref.Partition, ref.Offset)
	}
	return got.messages[i], nil
}
