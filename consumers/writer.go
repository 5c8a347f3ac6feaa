package consumers

import (
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	batchMessages = 500
	batchBytes    = 1 << 20 // the broker's default limit of a batch
	// deadLetterBytes is max.message.bytes of the dead-letter topics: sealing
	// and base64 make a record larger than the topic it came from admitted.
	deadLetterBytes = 2 << 20
	// produceTimeout is how long one produce request may hold its partition's
	// queue. It is longer than a Publish waits: an answer that comes later
	// than the caller still frees the queue.
	produceTimeout = 2 * time.Second
)

// newWriter is the one place that makes a kafka.Writer (a test reads the whole
// tree for others): its zero values lose records (RequireNone), wait a second
// (BatchTimeout) and retry for ten seconds without hearing a cancellation
// (MaxAttempts). Here a record is acknowledged by every in-sync replica, waits
// batch at most for company, and is tried once: retries belong to Publish,
// which knows what is still worth it.
func newWriter(c KafkaConfig, batch time.Duration, completed func([]kafka.Message, error)) (*kafka.Writer, *kafka.Transport) {
	transport := c.transport(publishDialTimeout)
	return &kafka.Writer{
		Addr:                   c.addr(),
		Balancer:               countingHash{&kafka.Hash{}},
		MaxAttempts:            1,
		BatchSize:              batchMessages,
		BatchBytes:             batchBytes,
		BatchTimeout:           batch,
		ReadTimeout:            produceTimeout,
		WriteTimeout:           produceTimeout,
		RequiredAcks:           kafka.RequireAll,
		AllowAutoTopicCreation: false,
		Completion:             completed,
		Transport:              transport,
	}, transport
}

// countingHash is the Hash balancer (FNV-1a of the record key, which is a
// pseudonym). It also counts the records of a call that got their partition:
// the Writer enqueues a call's records only after all have one, so a call that
// failed before has surely written nothing.
type countingHash struct{ *kafka.Hash }

// Balance returns the record's partition.
func (b countingHash) Balance(m kafka.Message, partitions ...int) int {
	if c, ok := m.WriterData.(*writeCall); ok {
		c.placed++ // WriteMessages calls the balancer in its caller's goroutine
	}
	return b.Hash.Balance(m, partitions...)
}

// writeCall accompanies the records of one WriteMessages call.
type writeCall struct{ placed int }
