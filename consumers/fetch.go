package consumers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
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
	cfg KafkaConfig

	mu      sync.Mutex
	client  *kafka.Client
	release func()
}

func newKafkaFetcher(cfg KafkaConfig) *kafkaFetcher {
	f := &kafkaFetcher{cfg: cfg}
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
	res, err := f.current().Fetch(ctx, &kafka.FetchRequest{
		Topic: topic, Partition: partition, Offset: offset,
		MinBytes: 1, MaxBytes: fetchBytes, MaxWait: fetchWait,
	})
	if err != nil {
		return fetched{}, fmt.Errorf("fetch: %w", err)
	}
	if res.Error != nil {
		return fetched{}, fmt.Errorf("fetch: %w", res.Error)
	}
	out := fetched{next: offset, end: res.HighWatermark}
	for _, batch := range batches(res.Records) {
		// The records of a control batch are markers of somebody's
		// transaction: stepped over, not handed out.
		_, control := batch.(*protocol.ControlBatch)
		if err := out.read(batch, control, topic, partition, offset); err != nil {
			return fetched{}, err
		}
	}
	return out, nil
}

// batches takes a stream apart, because RecordStream.ReadRecord hides control
// batches and a log that ends with one would be fetched for ever.
func batches(r kafka.RecordReader) []protocol.RecordReader {
	if s, ok := r.(*protocol.RecordStream); ok {
		return s.Records
	}
	return []protocol.RecordReader{r}
}

func (out *fetched) read(batch protocol.RecordReader, control bool, topic string, partition int, from int64) error {
	for {
		r, err := batch.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("fetch: read a record: %w", err)
		}
		key, kerr := readAll(r.Key)
		value, verr := readAll(r.Value)
		if err := errors.Join(kerr, verr); err != nil {
			return fmt.Errorf("fetch: read a record: %w", err)
		}
		if r.Offset < from {
			continue // a batch is sent whole even when asked for from its middle
		}
		out.next = r.Offset + 1
		if control {
			continue
		}
		out.messages = append(out.messages, kafka.Message{
			Topic: topic, Partition: partition, Offset: r.Offset, HighWaterMark: out.end,
			Key: key, Value: value, Headers: append([]kafka.Header(nil), r.Headers...), Time: r.Time,
		})
	}
}

func readAll(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	value, err := protocol.ReadAll(b)
	return value, errors.Join(err, b.Close())
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
