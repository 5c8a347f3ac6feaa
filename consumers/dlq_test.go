package consumers

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

func sealPair(t testing.TB) (*mobileid.Sealer, *mobileid.Opener) {
	t.Helper()
	public, private, err := mobileid.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := mobileid.NewSealer(public, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := mobileid.NewOpener(private)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

func TestAParkedRecordIsSealedListedShownAndReplayed(t *testing.T) {
	dead := mobileid.TopicDLQ(topic)
	_, kc := startKafka(t, kfake.SeedTopics(3, topic), kfake.SeedTopics(1, dead))
	p := newTestPublisher(t, kc, PublisherConfig{})
	sealer, opener := sealPair(t)
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	q := NewDLQ(p, sealer, func() time.Time { return at })

	const canary = "31212975110023"
	m, err := encode(topic, mobileid.Event{ID: canary, Type: "t.v1", Subject: canary, Key: canary, Value: []byte(`"` + canary + `"`)})
	if err != nil {
		t.Fatal(err)
	}
	m.Value = append(m.Value, "}broken"...)
	if err := p.write(t.Context(), append(headless(m), m)); err != nil {
		t.Fatal(err)
	}
	var rec *Record
	for _, m := range logOf(t, kc, topic) {
		if len(m.Key) > 0 {
			rec = NewRecord(m)
		}
	}
	if err := q.Park(t.Context(), rec, mobileid.CodeOf(rec.Err)); err != nil {
		t.Fatal(err)
	}

	raw := logOf(t, kc, dead)
	if len(raw) != 1 {
		t.Fatalf("%d dead letters", len(raw))
	}
	shown := append(bytes.Clone(raw[0].Value), raw[0].Key...)
	for _, h := range raw[0].Headers {
		shown = append(shown, h.Key+string(h.Value)...)
	}
	if bytes.Contains(shown, []byte(canary)) {
		t.Fatal("the dead letter shows personal data")
	}

	list, err := ListDLQ(t.Context(), kc, dead)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	got := list[0]
	if got.From != rec.Ref || got.Reason != "envelope_value" || !got.Parked.Equal(at) || got.KeyID != sealer.KeyID().String() {
		t.Fatalf("listed %+v", got)
	}
	opened, err := ShowDLQ(t.Context(), kc, got.At, opener)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(opened.Value, m.Value) || string(opened.Key) != canary || opened.Headers["ce_id"] != canary {
		t.Fatal("what is shown is not what was parked")
	}
	_, stranger := sealPair(t)
	if _, err := ShowDLQ(t.Context(), kc, got.At, stranger); !errors.Is(err, mobileid.ErrSealed) {
		t.Fatalf("another key: %v", err)
	}

	if _, err := ReplayDLQ(t.Context(), kc, p, got.At, opener); err != nil {
		t.Fatal(err)
	}
	var again int
	for _, m := range logOf(t, kc, topic) {
		r := NewRecord(m)
		if !bytes.Equal(m.Value, rec.Raw.Value) || m.Offset == rec.Ref.Offset && m.Partition == rec.Ref.Partition {
			continue
		}
		again++
		if m.Partition != rec.Ref.Partition || r.Event.ID != canary {
			t.Fatalf("replayed to partition %d as %q", m.Partition, r.Event.ID)
		}
	}
	if again != 1 {
		t.Fatalf("replayed %d times", again)
	}
}

func TestReplayWritesOnlyToTheTopicOfItsDeadLetters(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic, "other.dlq"))
	p := newTestPublisher(t, kc, PublisherConfig{})
	sealer, opener := sealPair(t)
	mustPublish(t, p, topic, event(1))
	q := NewDLQ(p, sealer, nil)
	rec := NewRecord(logOf(t, kc, topic)[0])
	rec.Ref.Topic = "other"
	if err := q.Park(t.Context(), rec, "r"); err != nil {
		t.Fatal(err)
	}
	list, err := ListDLQ(t.Context(), kc, "other.dlq")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	// Whoever can write dead letters must not steer a replay elsewhere: the
	// place is bound to the sealed bytes.
	forged := list[0]
	forged.From.Topic = topic
	if _, err := openParked(forged, opener); !errors.Is(err, mobileid.ErrSealed) {
		t.Fatalf("a changed origin opened: %v", err)
	}
	if _, err := ShowDLQ(t.Context(), kc, mobileid.RecordRef{Topic: "other.dlq", Offset: 0}, opener); err != nil {
		t.Fatal(err)
	}
	if _, err := ListDLQ(t.Context(), kc, "nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Fatalf("a topic that is not there: %v", err)
	}
}

// The broker stamps a replay anew; its age decides all the same, also when it
// was parked and replayed more than once.
func TestAReplayIsAsOldAsItsFirstRecord(t *testing.T) {
	for eventType, age := range map[string]time.Duration{
		mobileid.TypeChallengeCommand:    maxChallengeAge + time.Minute,
		mobileid.TypeNotificationCommand: maxNotificationAge + time.Minute,
	} {
		t.Run(eventType, func(t *testing.T) {
			in := mobileid.TopicIn("oneid")
			_, kc := startKafka(t, kfake.SeedTopics(1, in, mobileid.TopicDLQ(in)))
			p := newTestPublisher(t, kc, PublisherConfig{})
			sealer, opener := sealPair(t)
			first := command("oneid", 0, `{}`, "ce_id", "k", "ce_type", eventType)
			first.Time = time.Now().Add(-age).Truncate(time.Millisecond)
			if err := p.write(t.Context(), []kafka.Message{first}); err != nil {
				t.Fatal(err)
			}
			for round := range 2 {
				log := logOf(t, kc, in)
				if err := NewDLQ(p, sealer, nil).Park(t.Context(), NewRecord(log[round]), "client_unknown"); err != nil {
					t.Fatal(err)
				}
				at := mobileid.RecordRef{Topic: mobileid.TopicDLQ(in), Offset: int64(round)}
				if _, err := ReplayDLQ(t.Context(), kc, p, at, opener); err != nil {
					t.Fatal(err)
				}
				again := logOf(t, kc, in)[round+1]
				if !again.Time.After(first.Time) || !firstWritten(again).Equal(first.Time) {
					t.Fatalf("replay %d is of %v, first written %v, want %v", round+1, again.Time, firstWritten(again), first.Time)
				}
				e := &edge{key: testIDKey(t)}
				h := NewIngress(IngressDeps{Accepter: e, Out: e, Clients: map[string]mobileid.Client{"oneid": {ID: "oneid", Kafka: true}}})
				if err := h.Handle(t.Context(), []*Record{ingressRecord(again)}); err != nil {
					t.Fatal(err)
				}
				told := e.told[mobileid.TopicOut("oneid")+" k"]
				if r, err := DecodeValue[mobileid.RequestRefused](told, mobileid.TypeRequestRefused); err != nil || r.Code != "too_late" || len(e.asked) > 0 {
					t.Fatalf("replay %d: told %+v %v, asked %v", round+1, r, err, e.asked)
				}
			}
		})
	}
}

// A client can write the header of a replay: it makes his record older at
// most.
func TestNobodyWritesARecordYounger(t *testing.T) {
	for header, want := range map[string]time.Time{
		"":                                       noon,
		"yesterday":                              noon,
		noon.Add(time.Hour).Format(time.RFC3339): noon,
		noon.Add(-1).Format(time.RFC3339Nano):    noon.Add(-1),
	} {
		m := kafka.Message{Time: noon, Headers: headers(dlqWritten, header)}
		if got := firstWritten(m); !got.Equal(want) {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// A record that its dead-letter topic refuses as too large is parked in part:
// otherwise its partition would stand still for ever.
func TestARecordTooLargeToParkIsParkedCut(t *testing.T) {
	dead := mobileid.TopicDLQ(topic)
	_, kc := startKafka(t, kfake.SeedTopics(1, topic, dead))
	p := newTestPublisher(t, kc, PublisherConfig{})
	sealer, opener := sealPair(t)
	value := bytes.Repeat([]byte("not json "), 100_000)
	rec := NewRecord(kafka.Message{Topic: topic, Key: []byte("k"), Value: value, Headers: []kafka.Header{{Key: "ce_id", Value: []byte("i")}}})
	if err := NewDLQ(p, sealer, nil).Park(t.Context(), rec, "envelope_value"); err != nil {
		t.Fatal(err)
	}
	list, err := ListDLQ(t.Context(), kc, dead)
	if err != nil || len(list) != 1 || list[0].Cut != "too_large" || list[0].Length != 900_000 {
		t.Fatal(list, err)
	}
	opened, err := ShowDLQ(t.Context(), kc, list[0].At, opener)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(value)
	if len(opened.Value) == 0 || !bytes.HasPrefix(value, opened.Value) || !bytes.Equal(opened.SHA256, sum[:]) {
		t.Errorf("kept %d bytes, sum %x", len(opened.Value), opened.SHA256)
	}
	if _, err := ReplayDLQ(t.Context(), kc, p, list[0].At, opener); err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("a part was written back as the record: %v", err)
	}
}
