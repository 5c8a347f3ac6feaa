package consumers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	fetchapi "github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	fetchWait  = 500 * time.Millisecond // the broker answers at once when there is something
	fetchBytes = 1 << 20
	// fetchSlack is what a fetch may take beyond fetchWait before its
	// connection is given up as dead.
	fetchSlack = 3 * time.Second
)

// fetched is what one request found.
type fetched struct {
	messages []kafka.Message
	next     int64 // offset to ask for next
	end      int64 // high watermark
}

// fetcher reads a partition. It exists for the watchdog's test, which needs a
// reader that hangs; everything else runs on Kafka.
type fetcher interface {
	fetch(ctx context.Context, topic string, partition int, offset int64) (fetched, error)
	bounds(ctx context.Context, topic string, partition int) (first, end int64, err error)
	rebuild() // drop every connection and make new ones
	close()
}

// kafkaFetcher asks the broker directly. kafka.Reader is not used because it
// steps over records that retention removed without telling, and can wait ten
// seconds in Close.
type kafkaFetcher struct {
	cfg   KafkaConfig
	value int // longest value that is handed out, in bytes

	mu      sync.Mutex
	client  *kafka.Client
	release func()
}

func newKafkaFetcher(cfg KafkaConfig) *kafkaFetcher { return newFetcher(cfg, maxValue) }

func newFetcher(cfg KafkaConfig, value int) *kafkaFetcher {
	f := &kafkaFetcher{cfg: cfg, value: value}
	f.client, f.release = cfg.client()
	return f
}

func (f *kafkaFetcher) current() *kafka.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.client
}

func (f *kafkaFetcher) rebuild() {
	f.mu.Lock()
	old := f.release
	f.client, f.release = f.cfg.client()
	f.mu.Unlock()
	old()
}

func (f *kafkaFetcher) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release()
}

// fetch returns the records from offset on, after at most fetchWait when there
// are none. kafka.OffsetOutOfRange is returned as it is.
func (f *kafkaFetcher) fetch(ctx context.Context, topic string, partition int, offset int64) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait+fetchSlack)
	defer cancel()
	res, err := f.current().Transport.RoundTrip(ctx, f.current().Addr, &fetchapi.Request{
		ReplicaID: -1, MaxWaitTime: int32(fetchWait.Milliseconds()), MinBytes: 1, MaxBytes: fetchBytes,
		SessionID: -1, SessionEpoch: -1,
		Topics: []fetchapi.RequestTopic{{Topic: topic, Partitions: []fetchapi.RequestPartition{{
			Partition: int32(partition), CurrentLeaderEpoch: -1, FetchOffset: offset,
			LogStartOffset: -1, PartitionMaxBytes: fetchBytes,
		}}}},
	})
	if err != nil {
		return fetched{}, fmt.Errorf("fetch: %w", err)
	}
	answer, ok := res.(*fetchResponse)
	if !ok || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return fetched{}, errors.New("fetch: the broker answered something else")
	}
	p := answer.Topics[0].Partitions[0]
	if code := kafka.Error(cmp.Or(answer.ErrorCode, p.ErrorCode)); code != 0 {
		return fetched{}, fmt.Errorf("fetch: %w", code)
	}
	out := fetched{next: offset, end: p.HighWatermark}
	err = out.decodeSet(p.RecordSet, kafka.Message{Topic: topic, Partition: partition}, offset, f.value)
	return out, err
}

// bounds returns the first offset of the log and the one after its last record.
func (f *kafkaFetcher) bounds(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchSlack)
	defer cancel()
	res, err := f.current().ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)}},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("list offsets: %w", err)
	}
	for _, p := range res.Topics[topic] {
		if p.Partition != partition {
			continue
		}
		if p.Error != nil {
			return 0, 0, fmt.Errorf("list offsets: %w", p.Error)
		}
		return p.FirstOffset, p.LastOffset, nil
	}
	return 0, 0, fmt.Errorf("list offsets: %w", kafka.UnknownTopicOrPartition)
}
