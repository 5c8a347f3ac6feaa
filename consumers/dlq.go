package consumers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// The headers of a dead-letter record. None holds personal data: what the
// record itself said is in the sealed value, its headers and key included.
const (
	dlqReason    = "dlq_reason"
	dlqTopic     = "dlq_topic"
	dlqPartition = "dlq_partition"
	dlqOffset    = "dlq_offset"
	dlqTime      = "dlq_time"
	dlqCut       = "dlq_cut"   // present when the original is not whole: why
	dlqBytes     = "dlq_bytes" // of the original's value, when it is not whole
	// On a record written back: where it stood in the dead-letter topic, and
	// when the first of its line was written.
	dlqReplay  = "dlq_replayed_from"
	dlqWritten = "dlq_first_written"
)

// Sealer seals bytes to a public key; *mobileid.Sealer is one.
type Sealer interface {
	Seal(aad, plain []byte) ([]byte, error)
	KeyID() mobileid.SealKeyID
}

// Opener opens sealed bytes; *mobileid.Opener is one.
type Opener interface {
	Open(aad, sealed []byte) ([]byte, error)
}

// SealedDLQ parks records in <topic>.dlq, sealed to a key whose private half
// only `mobileid dlq` is given.
type SealedDLQ struct {
	publisher *Publisher
	sealer    Sealer
	now       func() time.Time
}

// NewDLQ makes a SealedDLQ; nil now means time.Now.
func NewDLQ(p *Publisher, sealer Sealer, now func() time.Time) *SealedDLQ {
	if now == nil {
		now = time.Now
	}
	return &SealedDLQ{publisher: p, sealer: sealer, now: now}
}

// original is what a dead-letter record opens to.
type original struct {
	Key     []byte           `json:"key,omitempty"`
	Value   []byte           `json:"value,omitempty"`
	Headers []originalHeader `json:"headers,omitempty"`
	Time    time.Time        `json:"time"`
	// SHA256 is of the whole value when Value is only its beginning. It is
	// sealed: of a short value it would be as good as the value.
	SHA256 []byte `json:"sha256,omitempty"`
}

// keptParts are how much of a value is parked, in bytes, while the dead-letter
// topic refuses the record as too large; then key and headers go as well. The
// last try is about 1 kB and is the record's place and reason.
var keptParts = []int{64 << 10, 0}

type originalHeader struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// firstWritten is when a record was written first: its own time, or before a
// replay, which the broker stamps anew. Whoever writes a topic can write the
// header too, so it makes a record older and never younger.
func firstWritten(m kafka.Message) time.Time {
	at := m.Time
	for _, h := range m.Headers {
		if h.Key != dlqWritten {
			continue
		}
		if before, err := time.Parse(time.RFC3339Nano, string(h.Value)); err == nil && before.Before(at) {
			at = before
		}
	}
	return at
}

// dlqAAD binds the sealed bytes to the place they came from.
func dlqAAD(ref mobileid.RecordRef) []byte {
	return fmt.Appendf(nil, "dlq %s %d %d", ref.Topic, ref.Partition, ref.Offset)
}

// Park seals the record and writes it with acks=all. A record that is too
// large for the dead-letter topic is parked cut, with its length and its
// SHA-256, because a record that cannot be parked would stop its partition.
// Its errors are Publish's.
func (q *SealedDLQ) Park(ctx context.Context, rec *Record, reason string) error {
	o := original{Key: rec.Raw.Key, Value: rec.Raw.Value, Time: rec.Raw.Time}
	for _, h := range rec.Raw.Headers {
		o.Headers = append(o.Headers, originalHeader{h.Key, h.Value})
	}
	if u, ok := rec.Raw.WriterData.(unreadable); ok { // there is no value to cut
		return q.write(ctx, rec, reason, o, cutNote{why: u.code, bytes: u.bytes})
	}
	err := q.write(ctx, rec, reason, o, cutNote{})
	sum := sha256.Sum256(rec.Raw.Value)
	for _, keep := range keptParts {
		if mobileid.KindOf(err) != mobileid.KindTooLarge {
			break
		}
		o.Key, o.Headers, o.SHA256 = nil, nil, sum[:]
		o.Value = rec.Raw.Value[:min(keep, len(rec.Raw.Value))]
		err = q.write(ctx, rec, reason, o, cutNote{why: "too_large", bytes: int64(len(rec.Raw.Value))})
	}
	return err
}

// cutNote says why a parked record is not whole, and how long its value was.
type cutNote struct {
	why   string // empty: it is whole
	bytes int64
}

func (q *SealedDLQ) write(ctx context.Context, rec *Record, reason string, o original, cut cutNote) error {
	plain, err := json.Marshal(o)
	if err != nil {
		return &mobileid.Error{Kind: mobileid.KindInternal, Code: "dlq_encode", Message: "the record cannot be parked", Err: err}
	}
	sealed, err := q.sealer.Seal(dlqAAD(rec.Ref), plain)
	if err != nil {
		return &mobileid.Error{Kind: mobileid.KindInternal, Code: "dlq_seal", Message: "the record cannot be parked", Err: err}
	}
	header := func(k, v string) kafka.Header { return kafka.Header{Key: k, Value: []byte(v)} }
	m := kafka.Message{
		Topic: mobileid.TopicDLQ(rec.Ref.Topic),
		Value: sealed,
		Headers: []kafka.Header{
			header(dlqReason, reason),
			header(dlqTopic, rec.Ref.Topic),
			header(dlqPartition, strconv.Itoa(rec.Ref.Partition)),
			header(dlqOffset, strconv.FormatInt(rec.Ref.Offset, 10)),
			header(dlqTime, q.now().UTC().Format(time.RFC3339)),
		},
	}
	if cut.why != "" {
		m.Headers = append(m.Headers, header(dlqCut, cut.why), header(dlqBytes, strconv.FormatInt(cut.bytes, 10)))
	}
	return q.publisher.write(ctx, []kafka.Message{m})
}
