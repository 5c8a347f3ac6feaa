package consumers

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

// edge stands in for the gateway's accepting and for out.<client>.
type edge struct {
	mu     sync.Mutex
	key    mobileid.IDKey
	err    error
	asked  []string // what:client:key:body
	told   map[string]mobileid.Event
	outErr error
}

func (e *edge) accept(what string, kind mobileid.IDKind, c mobileid.Client, key string, body []byte) (mobileid.Accepted, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, what+":"+c.ID+":"+key+":"+string(body))
	return mobileid.Accepted{ID: e.key.Make(kind, c.ID, key, noon)}, e.err
}

func (e *edge) AcceptChallenge(_ context.Context, c mobileid.Client, key string, body []byte) (mobileid.Accepted, error) {
	return e.accept("challenge", mobileid.KindChallenge, c, key, body)
}

func (e *edge) AcceptNotification(_ context.Context, c mobileid.Client, key string, body []byte) (mobileid.Accepted, error) {
	return e.accept("notification", mobileid.KindMessage, c, key, body)
}

func (e *edge) AcceptBalance(_ context.Context, c mobileid.Client, key string, body []byte) (mobileid.Accepted, error) {
	return e.accept("balance", mobileid.KindBalance, c, key, body)
}

func (e *edge) Publish(_ context.Context, topic string, list ...mobileid.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.outErr != nil {
		return e.outErr
	}
	if e.told == nil {
		e.told = map[string]mobileid.Event{}
	}
	for _, v := range list {
		e.told[topic+" "+v.ID] = v
	}
	return nil
}

func newIngress(t testing.TB) (*edge, Handler) {
	t.Helper()
	e := &edge{key: testIDKey(t)}
	return e, NewIngress(IngressDeps{
		Accepter: e, Out: e, Now: func() time.Time { return noon }, Log: testLog(t),
		Clients: map[string]mobileid.Client{"oneid": {ID: "oneid", Kafka: true}, "tax": {ID: "tax", Kafka: true}},
	})
}

// command is a record as an outside producer writes it: no specversion, a key
// of its own liking.
func command(client string, age time.Duration, value string, kv ...string) kafka.Message {
	return kafka.Message{Topic: mobileid.TopicIn(client), Key: []byte("whatever"), Value: []byte(value), Headers: headers(kv...), Time: noon.Add(-age)}
}

func ingressRecord(m kafka.Message) *Record {
	r := NewRecord(m)
	r.tracker = newTracker(0)
	r.tracker.add(0)
	return r
}

func TestIngressAsksTheEdgeAndTellsTheAnswer(t *testing.T) {
	e, h := newIngress(t)
	for _, source := range []string{"", "oneid", "/clients/oneid"} {
		kv := []string{"ce_id", "k" + source, "ce_type", mobileid.TypeChallengeCommand}
		if source != "" {
			kv = append(kv, "ce_source", source)
		}
		rec := ingressRecord(command("oneid", 0, `{"a":1}`, kv...))
		if err := h.Handle(t.Context(), []*Record{rec}); err != nil || !rec.isDone() {
			t.Fatalf("source %q: %v", source, err)
		}
		told := e.told[mobileid.TopicOut("oneid")+" k"+source]
		a, err := DecodeValue[mobileid.RequestAccepted](told, mobileid.TypeRequestAccepted)
		if err != nil || a.RequestKey != "k"+source || a.ID != e.key.Make(mobileid.KindChallenge, "oneid", "k"+source, noon) {
			t.Fatalf("source %q: told %+v %v", source, a, err)
		}
	}
	rec := ingressRecord(command("tax", maxNotificationAge, `{}`, "ce_id", "n", "ce_type", mobileid.TypeNotificationCommand))
	if err := h.Handle(t.Context(), []*Record{rec}); err != nil {
		t.Fatal(err)
	}
	if got := e.asked[len(e.asked)-1]; got != "notification:tax:n:{}" {
		t.Fatalf("asked %s", got)
	}
	// What an operator tells is never too late: it says of what time it is.
	rec = ingressRecord(command("tax", 20*maxNotificationAge, `{"events":[]}`, "ce_id", "b", "ce_type", mobileid.TypeBalanceCommand))
	if err := h.Handle(t.Context(), []*Record{rec}); err != nil {
		t.Fatal(err)
	}
	if got := e.asked[len(e.asked)-1]; got != `balance:tax:b:{"events":[]}` {
		t.Fatalf("asked %s", got)
	}
}

func TestIngressRefusesAndSaysWhy(t *testing.T) {
	limited := &mobileid.Error{Kind: mobileid.KindLimited, Code: "rate_limited", Message: "m", RetryAfter: 1500 * time.Millisecond}
	tests := []struct {
		name  string
		rec   kafka.Message
		err   error // of the edge
		want  mobileid.RequestRefused
		asked bool
	}{
		{
			"another client's source", command("oneid", 0, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeCommand, "ce_source", "tax"), nil,
			mobileid.RequestRefused{Status: 403, Code: "wrong_client", Field: "ce_source"},
			false,
		},
		{
			"another client's path", command("oneid", 0, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeCommand, "ce_source", "/clients/tax"), nil,
			mobileid.RequestRefused{Status: 403, Code: "wrong_client", Field: "ce_source"},
			false,
		},
		{
			"an unknown type", command("oneid", 0, `{}`, "ce_id", "k", "ce_type", "x.v1"), nil,
			mobileid.RequestRefused{Status: 400, Code: "type_unknown", Field: "ce_type"},
			false,
		},
		{
			"an inner type", command("oneid", 0, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeRequested), nil,
			mobileid.RequestRefused{Status: 400, Code: "type_unknown", Field: "ce_type"},
			false,
		},
		{
			"too old", command("oneid", maxChallengeAge+time.Second, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeCommand), nil,
			mobileid.RequestRefused{Status: 409, Code: "too_late"},
			false,
		},
		{
			"a notice that its ce_id outlived", command("oneid", maxNotificationAge+time.Second, `{}`, "ce_id", "k", "ce_type", mobileid.TypeNotificationCommand), nil,
			mobileid.RequestRefused{Status: 409, Code: "too_late"},
			false,
		},
		{
			"refused by the edge", command("oneid", 0, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeCommand), mobileid.Invalid("pinfl", "pinfl_check_digit", "m"),
			mobileid.RequestRefused{Status: 400, Code: "pinfl_check_digit", Field: "pinfl"},
			true,
		},
		{
			"another body", command("oneid", 0, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeCommand), &mobileid.Error{Kind: mobileid.KindMismatch, Code: "key_reused"},
			mobileid.RequestRefused{Status: 422, Code: "key_reused"},
			true,
		},
		{
			"too fast", command("oneid", 0, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeCommand), limited,
			mobileid.RequestRefused{Status: 429, Code: "rate_limited", Retryable: true, RetryAfter: 2},
			true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, h := newIngress(t)
			e.err = tt.err
			rec := ingressRecord(tt.rec)
			if err := h.Handle(t.Context(), []*Record{rec}); err != nil || !rec.isDone() {
				t.Fatalf("%v, done %v", err, rec.isDone())
			}
			if len(e.told) != 1 || (len(e.asked) > 0) != tt.asked {
				t.Fatalf("told %d, asked %v", len(e.told), e.asked)
			}
			var got mobileid.RequestRefused
			told := e.told[mobileid.TopicOut("oneid")+" k"]
			if told.Type != mobileid.TypeRequestRefused || checkSchema(told.Type, told.Value) != nil {
				t.Fatalf("told %s %s", told.Type, told.Value)
			}
			if err := json.Unmarshal(told.Value, &got); err != nil {
				t.Fatal(err)
			}
			got.Detail, tt.want.RequestKey = "", "k"
			if got != tt.want {
				t.Fatalf("told %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestIngressWaitsWhileTheEdgeOrTheAnswerIsAway(t *testing.T) {
	for _, kind := range []mobileid.Kind{mobileid.KindUnavailable, mobileid.KindUnknown, mobileid.KindInternal} {
		e, h := newIngress(t)
		away := &mobileid.Error{Kind: kind, Code: "away"}
		rec := ingressRecord(command("oneid", 0, `{}`, "ce_id", "k", "ce_type", mobileid.TypeChallengeCommand))
		e.err = away
		if err := h.Handle(t.Context(), []*Record{rec}); mobileid.KindOf(err) != kind || rec.isDone() || len(e.told) != 0 {
			t.Fatalf("%s: %v, done %v, told %v", kind, err, rec.isDone(), e.told)
		}
		e.err, e.outErr = nil, away
		if err := h.Handle(t.Context(), []*Record{rec}); mobileid.KindOf(err) != kind || rec.isDone() {
			t.Fatalf("%s: %v, done %v with no answer told", kind, err, rec.isDone())
		}
	}
}

// Over a real broker: garbage is parked, told if it can be, and the partition
// goes on.
func TestIngressParksAndTellsWhatItCannotRead(t *testing.T) {
	in, out := mobileid.TopicIn("oneid"), mobileid.TopicOut("oneid")
	_, kc := startKafka(t, kfake.SeedTopics(1, in, out, mobileid.TopicDLQ(in)))
	p := newTestPublisher(t, kc, PublisherConfig{})
	sealer, _ := sealPair(t)
	e := &edge{key: testIDKey(t)}
	h := NewIngress(IngressDeps{Accepter: e, Out: p, Clients: map[string]mobileid.Client{"oneid": {ID: "oneid", Kafka: true}}, Log: testLog(t)})
	raw := func(value string, kv ...string) kafka.Message {
		return kafka.Message{Topic: in, Value: []byte(value), Headers: headers(kv...)}
	}
	if err := p.write(t.Context(), []kafka.Message{
		raw("garbage"),
		raw("garbage", "ce_id", "bad", "ce_type", mobileid.TypeChallengeCommand),
		raw(`{}`, "ce_id", "good", "ce_type", mobileid.TypeChallengeCommand),
	}); err != nil {
		t.Fatal(err)
	}
	s := newSeen()
	startGroup(t, GroupConfig{Kafka: kc, Group: "ingress", Topics: []string{in}, DLQ: NewDLQ(p, sealer, nil), Handler: &counted{h, s}})
	s.waitDistinct(t, 1)
	told := map[string]string{}
	for _, m := range logOf(t, kc, out) {
		ev, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		told[ev.ID] = ev.Type
	}
	if len(told) != 2 || told["bad"] != mobileid.TypeRequestRefused || told["good"] != mobileid.TypeRequestAccepted {
		t.Fatalf("told %v", told)
	}
	list, err := ListDLQ(t.Context(), kc, mobileid.TopicDLQ(in))
	if err != nil || len(list) != 2 {
		t.Fatalf("parked %v %v", list, err)
	}
}

// counted tells when its handler has finished records.
type counted struct {
	Handler
	s *seen
}

func (c *counted) Handle(ctx context.Context, recs []*Record) error {
	err := c.Handler.Handle(ctx, recs)
	if err == nil {
		c.s.add(recs...)
	}
	return err
}

func (c *counted) HandleUndecodable(ctx context.Context, rec *Record) error {
	h, ok := c.Handler.(undecodableHandler)
	if !ok {
		return nil
	}
	return h.HandleUndecodable(ctx, rec)
}
