package consumers

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

// produce writes records as one batch of partition 0, compressed.
func produce(t testing.TB, kc KafkaConfig, topic string, c kafka.Compression, list ...kafka.Message) {
	t.Helper()
	var records []kafka.Record
	for _, m := range list {
		records = append(records, kafka.Record{
			Key: protocol.NewBytes(m.Key), Value: protocol.NewBytes(m.Value), Headers: m.Headers, Time: m.Time,
		})
	}
	client := clientOf(t, kc)
	res, err := client.Produce(t.Context(), &kafka.ProduceRequest{
		Topic: topic, Partition: 0, RequiredAcks: kafka.RequireAll, Compression: c, Records: kafka.NewRecordReader(records...),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		t.Fatal(err)
	}
}

func encoded(t testing.TB, topic string, e mobileid.Event) kafka.Message {
	t.Helper()
	m, err := encode(topic, e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEveryCompressionIsRead(t *testing.T) {
	for _, c := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		t.Run(c.String(), func(t *testing.T) {
			_, kc := startKafka(t, kfake.SeedTopics(1, topic))
			var list []kafka.Message
			for _, e := range events(0, 50) {
				list = append(list, encoded(t, topic, e))
			}
			produce(t, kc, topic, c, list[:20]...)
			produce(t, kc, topic, c, list[20:]...)
			f := newKafkaFetcher(kc)
			defer f.close()
			got, err := f.fetch(t.Context(), topic, 0, 7) // from the middle of a batch
			if err != nil {
				t.Fatal(err)
			}
			if len(got.messages) != 43 || got.next != 50 || got.end != 50 {
				t.Fatalf("%d records, next %d, end %d", len(got.messages), got.next, got.end)
			}
			for i, m := range got.messages {
				r := NewRecord(m)
				if r.Err != nil || r.Event.ID != fmt.Sprint(7+i) || m.Offset != int64(7+i) || string(m.Value) != string(list[7+i].Value) {
					t.Fatalf("record %d: %+v %v", i, r.Event, r.Err)
				}
			}
		})
	}
}

// A few kilobytes that decompress to 64 MB must not cost the memory of what
// they claim, and must not stop the records around them.
func TestADecompressionBombIsParkedAndThePartitionGoesOn(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	const huge = 64 << 20
	bomb := encoded(t, topic, event(2))
	bomb.Value = []byte(strings.Repeat(" ", huge))
	heads := encoded(t, topic, event(3))
	heads.Headers = append(heads.Headers, kafka.Header{Key: "x", Value: make([]byte, huge/8)})
	keyed := encoded(t, topic, event(4))
	keyed.Key = make([]byte, huge/8)
	produce(t, kc, topic, kafka.Zstd, encoded(t, topic, event(1)), bomb, heads, keyed, encoded(t, topic, event(5)))
	produce(t, kc, topic, 0, encoded(t, topic, event(6)))
	bomb.Value, heads.Headers, keyed.Key = nil, nil, nil

	f := newKafkaFetcher(kc)
	defer f.close()
	if _, _, err := f.bounds(t.Context(), topic, 0); err != nil { // connects
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := f.fetch(t.Context(), topic, 0, 0)
	runtime.ReadMemStats(&after)
	if err != nil || len(got.messages) != 6 {
		t.Fatalf("%d records, %v", len(got.messages), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > huge/2 {
		t.Errorf("the fetch allocated %d MB", used>>20)
	}
	if u, ok := got.messages[1].WriterData.(unreadable); !ok || u.bytes != huge || got.messages[1].Value != nil {
		t.Errorf("the bomb: %+v, %d bytes", got.messages[1].WriterData, len(got.messages[1].Value))
	}

	s, dead := newSeen(), &memory{}
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, DLQ: dead, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 3)
	parked := dead.has()
	if len(parked) != 3 || parked["2"] != codeOversize || parked["3"] != codeOversize || parked["4"] != codeOversize {
		t.Errorf("parked %v", parked)
	}
	for _, id := range []string{"1", "5", "6"} {
		if s.times(id) != 1 {
			t.Errorf("record %s was handled %d times", id, s.times(id))
		}
	}
}

// More records than one fetch decodes come with the next one.
func TestALargeBatchIsReadInParts(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	var list []kafka.Message
	value := []byte(`"` + strings.Repeat("a", 100<<10) + `"`)
	for i := range 100 {
		list = append(list, encoded(t, topic, mobileid.Event{ID: fmt.Sprint(i), Type: "t.v1", Value: value}))
	}
	produce(t, kc, topic, kafka.Zstd, list...)
	f := newKafkaFetcher(kc)
	defer f.close()
	got, err := f.fetch(t.Context(), topic, 0, 0)
	if err != nil || len(got.messages) == 0 || len(got.messages) > 60 || got.next != int64(len(got.messages)) {
		t.Fatalf("%d records, next %d, %v", len(got.messages), got.next, err)
	}
	if all := logOf(t, kc, topic); len(all) != 100 || all[99].Offset != 99 {
		t.Fatalf("%d records in all", len(all))
	}
}

// LogAppendTime: the broker stamps the batch; what the producer says is its
// own clock, and the age of a command must not follow it.
func TestTheTimeOfAStampedRecordIsTheBrokers(t *testing.T) {
	h := batchHeader{base: 5, last: 5, attributes: attrAppendTime, firstTime: 1_000, maxTime: 9_000, records: 1}
	// length 7: attributes, time delta 3, offset delta 0, no key, no value, no headers.
	body := []byte{12, 0, 6, 0, 1, 1, 0}
	var out fetched
	size := 0
	if _, err := out.decodeBatch(h, body, kafka.Message{}, 0, maxValue, &size); err != nil {
		t.Fatal(err)
	}
	if have := out.messages[0].Time; !have.Equal(time.UnixMilli(9_000)) {
		t.Errorf("stamped %v", have)
	}
	h.attributes, out = 0, fetched{}
	if _, err := out.decodeBatch(h, body, kafka.Message{}, 0, maxValue, &size); err != nil {
		t.Fatal(err)
	}
	if have := out.messages[0].Time; !have.Equal(time.UnixMilli(1_003)) {
		t.Errorf("not stamped: %v", have)
	}
}

func FuzzABatchOfAnyBytesIsDecodedOrRefused(f *testing.F) {
	f.Add([]byte{12, 0, 6, 0, 1, 1, 0}, int16(0), int32(1))
	f.Add([]byte{40, 181, 47, 253}, int16(4), int32(9))
	f.Fuzz(func(t *testing.T, body []byte, attributes int16, n int32) {
		var out fetched
		size := 0
		h := batchHeader{last: 100, attributes: attributes, records: n}
		_, _ = out.decodeBatch(h, body, kafka.Message{}, 0, maxValue, &size)
		if len(out.messages) > 101 {
			t.Fatalf("%d records of 101 offsets", len(out.messages))
		}
	})
}
