package consumers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// ParkedRecord is a record of a dead-letter topic, still sealed.
type ParkedRecord struct {
	At     mobileid.RecordRef // in the dead-letter topic
	From   mobileid.RecordRef // where the original stood
	Reason string
	Parked time.Time
	KeyID  string // of the private key that opens it
	Cut    string // why the original is not whole; empty: it is
	Length int64  // of the original's value in bytes, when it is not whole; 0: unknown
	sealed []byte
}

// OpenedRecord is the original of a parked record. It may hold personal data:
// it goes to the terminal of whoever holds the private key and nowhere else.
type OpenedRecord struct {
	ParkedRecord
	Key     []byte
	Value   []byte
	Headers map[string]string
	Time    time.Time
	SHA256  []byte // of the whole value, when Value is only its beginning

	raw original
}

// ListDLQ returns what stands in a dead-letter topic now, oldest first in each
// partition. It needs no key.
func ListDLQ(ctx context.Context, kc KafkaConfig, dlqTopic string) ([]ParkedRecord, error) {
	f := newFetcher(kc, maxDeadValue)
	defer f.close()
	partitions, err := partitionsOf(ctx, f.current(), dlqTopic)
	if err != nil {
		return nil, err
	}
	var all []ParkedRecord
	for _, p := range partitions {
		first, end, err := f.bounds(ctx, dlqTopic, p)
		if err != nil {
			return nil, fmt.Errorf("dead letters of %s: %w", dlqTopic, err)
		}
		for offset := first; offset < end; {
			got, err := f.fetch(ctx, dlqTopic, p, offset)
			if err != nil {
				return nil, fmt.Errorf("dead letters of %s: %w", dlqTopic, err)
			}
			for _, m := range got.messages {
				all = append(all, readParked(m))
			}
			if got.next <= offset {
				break // the log ended earlier than it said
			}
			offset = got.next
		}
	}
	return all, nil
}

func readParked(m kafka.Message) ParkedRecord {
	r := ParkedRecord{
		At:     mobileid.RecordRef{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset},
		sealed: m.Value,
	}
	for _, h := range m.Headers {
		v := string(h.Value)
		switch h.Key {
		case dlqCut:
			r.Cut = v
		case dlqBytes:
			r.Length, _ = strconv.ParseInt(v, 10, 64)
		case dlqReason:
			r.Reason = v
		case dlqTopic:
			r.From.Topic = v
		case dlqPartition:
			r.From.Partition, _ = strconv.Atoi(v) // 0 when somebody else wrote it; opening fails then
		case dlqOffset:
			r.From.Offset, _ = strconv.ParseInt(v, 10, 64)
		case dlqTime:
			r.Parked, _ = time.Parse(time.RFC3339, v)
		}
	}
	if id, err := mobileid.SealedBy(m.Value); err == nil {
		r.KeyID = id.String()
	}
	return r
}

// ShowDLQ opens the parked record at a place of a dead-letter topic.
func ShowDLQ(ctx context.Context, kc KafkaConfig, at mobileid.RecordRef, opener Opener) (OpenedRecord, error) {
	m, err := ReadRecord(ctx, kc, at)
	if err != nil {
		return OpenedRecord{}, fmt.Errorf("dead letter: %w", err)
	}
	return openParked(readParked(m), opener)
}

func openParked(p ParkedRecord, opener Opener) (OpenedRecord, error) {
	plain, err := opener.Open(dlqAAD(p.From), p.sealed)
	if err != nil {
		return OpenedRecord{}, fmt.Errorf("dead letter %s/%d/%d (key %s): %w", p.At.Topic, p.At.Partition, p.At.Offset, p.KeyID, err)
	}
	var o original
	if err := json.Unmarshal(plain, &o); err != nil {
		return OpenedRecord{}, errors.New("dead letter: opened, but it is not a record")
	}
	r := OpenedRecord{
		ParkedRecord: p, Key: o.Key, Value: o.Value, Headers: map[string]string{}, Time: o.Time, SHA256: o.SHA256, raw: o,
	}
	for _, h := range o.Headers {
		r.Headers[h.Key] = string(h.Value)
	}
	return r, nil
}

// ReplayDLQ writes the original of a parked record back to its topic, with its
// key, so that it meets its partition, and returns what was written. It is as
// old as it was: see firstWritten. The parked record stays where it is; a
// second replay is a duplicate that the handlers know by its id.
func ReplayDLQ(ctx context.Context, kc KafkaConfig, p *Publisher, at mobileid.RecordRef, opener Opener) (OpenedRecord, error) {
	r, err := ShowDLQ(ctx, kc, at, opener)
	if err != nil {
		return OpenedRecord{}, err
	}
	if want, ok := mobileid.TopicOfDLQ(at.Topic); !ok || want != r.From.Topic {
		return OpenedRecord{}, fmt.Errorf("dead letter %s: it names %s as its topic, which does not belong here", at.Topic, r.From.Topic)
	}
	if r.Cut != "" {
		return OpenedRecord{}, fmt.Errorf("dead letter %s/%d/%d is not whole (%s): it cannot be written back", at.Topic, at.Partition, at.Offset, r.Cut)
	}
	was := kafka.Message{Time: r.Time}
	for _, h := range r.raw.Headers {
		was.Headers = append(was.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	m := kafka.Message{Topic: r.From.Topic, Key: r.Key, Value: r.Value}
	for _, h := range was.Headers {
		if h.Key != dlqReplay && h.Key != dlqWritten {
			m.Headers = append(m.Headers, h)
		}
	}
	m.Headers = append(m.Headers,
		kafka.Header{Key: dlqReplay, Value: fmt.Appendf(nil, "%d/%d", at.Partition, at.Offset)},
		kafka.Header{Key: dlqWritten, Value: firstWritten(was).UTC().AppendFormat(nil, time.RFC3339Nano)})
	if err := p.write(ctx, []kafka.Message{m}); err != nil {
		return OpenedRecord{}, err
	}
	return r, nil
}

// partitionsOf lists the partitions of a topic.
func partitionsOf(ctx context.Context, client *kafka.Client, topic string) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", topic, err)
	}
	for _, t := range res.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return nil, fmt.Errorf("partitions of %s: %w", topic, t.Error)
		}
		var ids []int
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
		slices.Sort(ids)
		return ids, nil
	}
	return nil, fmt.Errorf("partitions of %s: %w", topic, kafka.UnknownTopicOrPartition)
}
