package consumers

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"mobileid/internal/mobileid"
)

// payloads are the Go types behind the event types that are ours to write.
func payloads() map[string]any {
	return map[string]any{
		mobileid.TypeChallengeRequested:    mobileid.ChallengeRequested{},
		mobileid.TypeResendRequested:       mobileid.ResendRequested{},
		mobileid.TypeNotificationRequested: mobileid.NotificationRequested{},
		mobileid.TypeMessageQueued:         mobileid.LaneRecord{},
		mobileid.TypeStatusChanged:         mobileid.StatusChanged{},
		mobileid.TypeInboundReceived:       mobileid.InboundReceived{},
		mobileid.TypeBalanceChanged:        mobileid.BalanceChanged{},
		mobileid.TypeBindingChanged:        mobileid.BindingChanged{},
		mobileid.TypeRequestAccepted:       mobileid.RequestAccepted{},
		mobileid.TypeRequestRefused:        mobileid.RequestRefused{},
	}
}

func allTypes() []string {
	return append(slices.Sorted(maps.Keys(payloads())), mobileid.TypeChallengeCommand, mobileid.TypeNotificationCommand, mobileid.TypeBalanceCommand)
}

type schemaDoc struct {
	Title      string                     `json:"title"`
	Type       string                     `json:"type"`
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
	Additional *bool                      `json:"additionalProperties"`
}

func readSchema(t *testing.T, eventType string) schemaDoc {
	t.Helper()
	text, err := fs.ReadFile(schemas(), eventType+".json")
	if err != nil {
		t.Fatal(err)
	}
	var doc schemaDoc
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryTypeHasOneSchemaAndEverySchemaAType(t *testing.T) {
	files, err := fs.Glob(schemas(), "*.json")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range files {
		have = append(have, strings.TrimSuffix(f, ".json"))
	}
	want := allTypes()
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Fatalf("schemas %v\ntypes   %v", have, want)
	}
	if _, err := compileSchemas(); err != nil {
		t.Fatal(err)
	}
}

func TestSchemasDescribeThePayloadsFieldByField(t *testing.T) {
	for eventType, payload := range payloads() {
		doc := readSchema(t, eventType)
		if doc.Title != eventType || doc.Type != "object" {
			t.Errorf("%s: title %q, type %q", eventType, doc.Title, doc.Type)
		}
		if doc.Additional != nil && !*doc.Additional {
			t.Errorf("%s: forbids fields that it does not know, so it cannot grow", eventType)
		}
		want := map[string]bool{} // field: may be missing
		st := reflect.TypeOf(payload)
		for field := range st.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			want[name] = strings.Contains(options, "omit")
			if _, ok := doc.Properties[name]; !ok {
				t.Errorf("%s: the schema does not know %s", eventType, name)
			}
		}
		for name := range doc.Properties {
			if _, ok := want[name]; !ok {
				t.Errorf("%s: the payload has no %s", eventType, name)
			}
		}
		for _, name := range doc.Required {
			if want[name] {
				t.Errorf("%s: %s is required and may be missing", eventType, name)
			}
		}
	}
}

// What version 1 promised on its first day. A field may join the payload; none
// of these may leave, and none may join the required ones.
func TestSchemasOnlyGrow(t *testing.T) {
	first := map[string]struct{ fields, required []string }{
		mobileid.TypeChallengeRequested: {
			[]string{"id", "client", "person", "purpose", "locale", "context_hash", "client_ref", "body_hash", "deadline"},
			[]string{"id", "client", "person", "purpose", "body_hash", "deadline"},
		},
		mobileid.TypeResendRequested: {
			[]string{"id", "challenge", "client", "person", "deadline"},
			[]string{"id", "challenge", "client", "person", "deadline"},
		},
		mobileid.TypeNotificationRequested: {
			[]string{"id", "client", "person", "text_id", "slots", "locale", "client_ref", "body_hash", "deadline"},
			[]string{"id", "client", "person", "text_id", "body_hash", "deadline"},
		},
		mobileid.TypeMessageQueued: {[]string{"id"}, []string{"id"}},
		mobileid.TypeStatusChanged: {
			[]string{"id", "challenge", "client", "state", "reason", "version", "terminal", "at"},
			[]string{"id", "client", "state", "version", "terminal", "at"},
		},
		mobileid.TypeInboundReceived: {
			[]string{"id", "version", "operator", "number", "part", "received_at", "sealed"},
			[]string{"id", "version", "operator", "received_at", "sealed"},
		},
		mobileid.TypeBalanceChanged: {
			[]string{"source", "seq", "operator", "number", "kind", "amount", "at"},
			[]string{"source", "seq", "operator", "number", "kind", "amount", "at"},
		},
		mobileid.TypeBindingChanged: {
			[]string{"binding", "version", "person", "number", "operator", "change", "why", "at"},
			[]string{"binding", "version", "person", "number", "operator", "change", "at"},
		},
		mobileid.TypeRequestAccepted: {[]string{"request_key", "id"}, []string{"request_key", "id"}},
		mobileid.TypeRequestRefused: {
			[]string{"request_key", "status", "code", "field", "detail", "retryable", "retry_after_seconds"},
			[]string{"request_key", "status", "code", "detail", "retryable"},
		},
	}
	for eventType, promise := range first {
		doc := readSchema(t, eventType)
		for _, f := range promise.fields {
			if _, ok := doc.Properties[f]; !ok {
				t.Errorf("%s: %s has gone", eventType, f)
			}
		}
		for _, f := range doc.Required {
			if !slices.Contains(promise.required, f) {
				t.Errorf("%s: %s is newly required: old writers would be refused", eventType, f)
			}
		}
	}
}

func testIDKey(t testing.TB) mobileid.IDKey {
	t.Helper()
	k, err := mobileid.NewIDKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRealPayloadsFitTheirSchemas(t *testing.T) {
	key := testIDKey(t)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	ch := key.Make(mobileid.KindChallenge, "oneid", "k", now)
	ms := key.Make(mobileid.KindMessage, "oneid", "k", now)
	person := mobileid.Pseudonym{1}.String()
	hash := key.BodyHash("oneid", nil)
	for eventType, v := range map[string]any{
		mobileid.TypeChallengeRequested:    mobileid.ChallengeRequested{ID: ch, Client: "oneid", Person: person, Purpose: "sign_in", BodyHash: hash, Deadline: now},
		mobileid.TypeResendRequested:       mobileid.ResendRequested{ID: key.Make(mobileid.KindResend, "oneid", "k", now), Challenge: ch, Client: "oneid", Person: person, Deadline: now},
		mobileid.TypeNotificationRequested: mobileid.NotificationRequested{ID: ms, Client: "oneid", Person: person, TextID: "notice.data_access", Slots: map[string]string{"at": "x"}, BodyHash: hash, Deadline: now},
		mobileid.TypeMessageQueued:         mobileid.LaneRecord{ID: ms},
		mobileid.TypeStatusChanged:         mobileid.StatusChanged{ID: ms, Challenge: ch, Client: "oneid", State: "delivered", Version: 3, Terminal: true, At: now},
		mobileid.TypeInboundReceived: mobileid.InboundReceived{
			ID: mobileid.InboundID{1}.String(), Version: 1, Operator: "beeline", Number: person,
			Part: mobileid.InboundPart{Reference: 65535, Total: 2, Number: 1}, Fingerprint: mobileid.Fingerprint{1}.String(), ReceivedAt: now, Sealed: []byte{1, 2},
		},
		mobileid.TypeBalanceChanged: mobileid.BalanceChanged{
			Source: mobileid.SourceOfOperator("beeline"), Seq: "2026-11-23:17", Operator: "beeline", Number: person,
			Kind: mobileid.BalanceTold, Amount: mobileid.MaxBalance, At: now,
		},
		mobileid.TypeBindingChanged: mobileid.BindingChanged{
			Binding: 17, Version: 2, Person: person, Number: person, Operator: "beeline",
			Change: mobileid.BindingSuspended, Why: mobileid.SuspendedForBalance, At: now,
		},
		mobileid.TypeRequestAccepted: mobileid.RequestAccepted{RequestKey: "k", ID: key.Make(mobileid.KindBalance, "oneid", "k", now)},
		mobileid.TypeRequestRefused:  mobileid.RequestRefused{RequestKey: "k", Status: 422, Code: "mismatch", Detail: "d"},
	} {
		e, err := NewEvent(eventType, "1", v)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSchema(eventType, e.Value); err != nil {
			t.Errorf("%s: %v\n%s", eventType, err, e.Value)
		}
		// A field that this version does not know is no reason to refuse.
		grown := append([]byte(`{"of_tomorrow":1,`), e.Value[1:]...)
		if err := checkSchema(eventType, grown); err != nil {
			t.Errorf("%s refuses a field of tomorrow: %v", eventType, err)
		}
		if err := checkSchema(eventType, []byte(`{}`)); mobileid.CodeOf(err) != "event_schema" {
			t.Errorf("%s accepts an empty object: %v", eventType, err)
		}
	}
}

func TestSchemaErrorsNameThePlaceAndQuoteNothing(t *testing.T) {
	err := checkSchema(mobileid.TypeStatusChanged,
		[]byte(`{"id":"ch_31212975110023","client":"c","state":"x","version":1,"terminal":true,"at":"2026-11-23T09:00:00Z"}`))
	if err == nil || !strings.Contains(err.Error(), "/id") || strings.Contains(err.Error(), "3121297") {
		t.Fatalf("have %v", err)
	}
	if err := checkSchema("mobileid.unheard.v1", []byte(`{}`)); mobileid.CodeOf(err) != "event_type" {
		t.Fatalf("a type without a schema: %v", err)
	}
}

func TestAsyncAPIMatchesTheVocabulary(t *testing.T) {
	var doc struct {
		AsyncAPI string `yaml:"asyncapi"`
		Channels map[string]struct {
			Address  string                    `yaml:"address"`
			Messages map[string]map[string]any `yaml:"messages"`
			Bindings struct {
				Kafka struct {
					Topic struct {
						Cleanup   []string `yaml:"cleanup.policy"`
						Retention int64    `yaml:"retention.ms"`
					} `yaml:"topicConfiguration"`
				} `yaml:"kafka"`
			} `yaml:"bindings"`
			Description string `yaml:"description"`
		} `yaml:"channels"`
		Operations map[string]struct {
			Channel map[string]string `yaml:"channel"`
		} `yaml:"operations"`
		Components struct {
			Messages map[string]struct {
				Name    string `yaml:"name"`
				Payload struct {
					Schema map[string]string `yaml:"schema"`
				} `yaml:"payload"`
			} `yaml:"messages"`
		} `yaml:"components"`
	}
	text, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.AsyncAPI != "3.0.0" {
		t.Errorf("version %q", doc.AsyncAPI)
	}
	table := map[string]mobileid.Topic{}
	for _, row := range mobileid.Topics() {
		table[strings.NewReplacer("<", "{", ">", "}").Replace(row.Name)] = row
	}
	for name, c := range doc.Channels {
		row, ok := table[c.Address]
		if !ok {
			t.Errorf("channel %s: no topic %s", name, c.Address)
			continue
		}
		delete(table, c.Address)
		if got := c.Bindings.Kafka.Topic.Retention; got != row.Retention.Milliseconds() {
			t.Errorf("channel %s: retention %d, the table says %d", name, got, row.Retention.Milliseconds())
		}
		if !strings.Contains(c.Description, "Record key: "+row.Keyed+".") {
			t.Errorf("channel %s does not say that its key is %q", name, row.Keyed)
		}
		for m := range c.Messages {
			if _, ok := doc.Components.Messages[m]; !ok {
				t.Errorf("channel %s: message %s is not described", name, m)
			}
		}
	}
	for missing := range table {
		t.Errorf("topic %s has no channel", missing)
	}
	for name, op := range doc.Operations {
		if _, ok := doc.Channels[strings.TrimPrefix(op.Channel["$ref"], "#/channels/")]; !ok {
			t.Errorf("operation %s: no channel %q", name, op.Channel["$ref"])
		}
	}
	var described []string
	for _, m := range doc.Components.Messages {
		if m.Name == "sealed" {
			continue
		}
		described = append(described, m.Name)
		if want := "./schemas/" + m.Name + ".json"; m.Payload.Schema["$ref"] != want {
			t.Errorf("message %s points to %q", m.Name, m.Payload.Schema["$ref"])
		}
	}
	want := allTypes()
	slices.Sort(want)
	slices.Sort(described)
	if !slices.Equal(described, want) {
		t.Errorf("messages %v\ntypes    %v", described, want)
	}
}
