package consumers

import (
	"bytes"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

func headers(kv ...string) []kafka.Header {
	var h []kafka.Header
	for i := 0; i < len(kv); i += 2 {
		h = append(h, kafka.Header{Key: kv[i], Value: []byte(kv[i+1])})
	}
	return h
}

func TestEnvelopeRoundTrip(t *testing.T) {
	want := mobileid.Event{
		ID: "k1", Type: mobileid.TypeMessageQueued, Source: source, Subject: "s",
		Time: time.Date(2026, 11, 23, 9, 0, 0, 5_000_000, time.UTC), TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Key: "person", Value: []byte(`{"id":"x"}`),
	}
	m, err := encode("topic", want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Value, want.Value) {
		t.Fatalf("value %s", got.Value)
	}
	got.Value, want.Value = nil, nil
	if got.ID != want.ID || got.Type != want.Type || got.Source != want.Source || got.Subject != want.Subject ||
		!got.Time.Equal(want.Time) || got.TraceParent != want.TraceParent || got.Key != want.Key {
		t.Fatalf("have %+v\nwant %+v", got, want)
	}
}

// CloudEvents 1.0, 3.1.1 wants a URI-reference; a bare word is one too, but
// names a place beside whoever reads it.
func TestTheSourceOfOurEventsIsAPathThatAsyncAPINames(t *testing.T) {
	e, err := NewEvent(mobileid.TypeMessageQueued, "i", mobileid.LaneRecord{})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(e.Source)
	if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/mobileid/") || u.String() != e.Source {
		t.Errorf("ce_source %q: %v", e.Source, err)
	}
	text, err := os.ReadFile("asyncapi.yaml")
	if err != nil || !strings.Contains(string(text), e.Source+".") {
		t.Errorf("asyncapi.yaml does not name %q: %v", e.Source, err)
	}
}

func TestEncodeRefusesWhatNobodyCouldRead(t *testing.T) {
	for name, e := range map[string]mobileid.Event{
		"no id":     {Type: "t", Value: []byte("{}")},
		"no type":   {ID: "i", Value: []byte("{}")},
		"not JSON":  {ID: "i", Type: "t", Value: []byte("{")},
		"no value":  {ID: "i", Type: "t"},
		"two JSONs": {ID: "i", Type: "t", Value: []byte("{} {}")},
	} {
		if _, err := encode("topic", e); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// A header of an outsider goes on to topics that may hold no personal data.
func TestDecodeKeepsATraceParentOrNothing(t *testing.T) {
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for in, want := range map[string]string{trace: trace, "31210632040244": "", trace + "-31210632040244": ""} {
		e, err := decode(kafka.Message{Headers: headers("ce_id", "1", "ce_type", "t", "traceparent", in), Value: []byte(`{}`)})
		if err != nil || e.TraceParent != want {
			t.Errorf("%s: have %q, %v", in, e.TraceParent, err)
		}
	}
}

func TestDecodeRefusesByReason(t *testing.T) {
	ok := headers("ce_id", "1", "ce_type", "t")
	tests := []struct {
		name    string
		headers []kafka.Header
		value   string
		code    string // "" = decodes
	}{
		{"the least", ok, `{}`, ""},
		{"with version", append(ok[:2:2], headers("ce_specversion", "1.0")...), `{}`, ""},
		{"unknown headers", append(ok[:2:2], headers("x-own", "\xff")...), `[1]`, ""},
		{"no headers", nil, `{}`, "envelope_id"},
		{"no id", headers("ce_type", "t"), `{}`, "envelope_id"},
		{"no type", headers("ce_id", "1"), `{}`, "envelope_type"},
		{"other version", append(ok[:2:2], headers("ce_specversion", "0.3")...), `{}`, "envelope_version"},
		{"bad time", append(ok[:2:2], headers("ce_time", "yesterday")...), `{}`, "envelope_time"},
		{"id twice", append(ok[:2:2], headers("ce_id", "2")...), `{}`, "envelope_repeated"},
		{"id too long", headers("ce_id", strings.Repeat("x", maxAttribute+1), "ce_type", "t"), `{}`, "envelope_attribute"},
		{"id not UTF-8", headers("ce_id", "\xff", "ce_type", "t"), `{}`, "envelope_attribute"},
		{"empty value", ok, ``, "envelope_value"},
		{"half a value", ok, `{"a":`, "envelope_value"},
		{"bytes", ok, "\x00\x01", "envelope_value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(kafka.Message{Headers: tt.headers, Value: []byte(tt.value)})
			if tt.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if mobileid.CodeOf(err) != tt.code || mobileid.KindOf(err) != mobileid.KindInvalid {
				t.Fatalf("have %v, want %s", err, tt.code)
			}
		})
	}
}

func TestDecodeKeepsTheIDOfABadRecord(t *testing.T) {
	e, err := decode(kafka.Message{Headers: headers("ce_id", "k", "ce_type", "t"), Value: []byte("nonsense")})
	if err == nil || e.ID != "k" {
		t.Fatalf("id %q, error %v", e.ID, err)
	}
}

// Whatever stands in a record, decoding does not panic, its error quotes
// nothing of it, and what decodes encodes to the same event again.
func FuzzDecode(f *testing.F) {
	f.Add("ce_id", []byte("1"), "ce_type", []byte("t"), "ce_time", []byte("2026-11-23T09:00:00Z"), []byte(`{}`))
	f.Add("ce_id", []byte("1"), "ce_id", []byte("2"), "ce_specversion", []byte("9"), []byte(`{`))
	f.Fuzz(func(t *testing.T, k1 string, v1 []byte, k2 string, v2 []byte, k3 string, v3 []byte, value []byte) {
		m := kafka.Message{Value: value, Headers: []kafka.Header{{Key: k1, Value: v1}, {Key: k2, Value: v2}, {Key: k3, Value: v3}}}
		e, err := decode(m)
		if err != nil {
			if len(value) > 40 && strings.Contains(err.Error(), string(value)) {
				t.Fatal("the error quotes the value")
			}
			return
		}
		again, err := encode("t", e)
		if err != nil {
			t.Fatalf("decoded and not encodable: %v", err)
		}
		e2, err := decode(again)
		if err != nil {
			t.Fatalf("encoded and not decodable: %v", err)
		}
		if e2.ID != e.ID || e2.Type != e.Type || e2.Source != e.Source || e2.Subject != e.Subject || !e2.Time.Equal(e.Time) {
			t.Fatalf("have %+v, want %+v", e2, e)
		}
	})
}
