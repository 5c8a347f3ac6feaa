package consumers

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// The headers of CloudEvents 1.0 in Kafka's binary mode (Kafka protocol
// binding 1.0.2, section 3.2) and of W3C trace context.
const (
	headerID          = "ce_id"
	headerType        = "ce_type"
	headerSource      = "ce_source"
	headerSubject     = "ce_subject"
	headerTime        = "ce_time"
	headerSpec        = "ce_specversion"
	headerContentType = "content-type"
	headerTraceParent = "traceparent"

	specVersion = "1.0"
	contentType = "application/json"
	// maxAttribute bounds an attribute of somebody else's record, in bytes.
	maxAttribute = 512
)

// source is the ce_source of what the consumers role writes: answers, lanes and
// states. A URI-reference (CloudEvents 1.0, 3.1.1), as the edge's, whose
// requests keep theirs also when the ingress publishes them.
const source = "/mobileid/consumers"

// encode makes the Kafka record of an event.
func encode(topic string, e mobileid.Event) (kafka.Message, error) {
	if e.ID == "" || e.Type == "" {
		return kafka.Message{}, errors.New("an event needs an id and a type")
	}
	if !json.Valid(e.Value) {
		return kafka.Message{}, errors.New("the value of an event is JSON")
	}
	m := kafka.Message{Topic: topic, Value: e.Value}
	if e.Key != "" {
		m.Key = []byte(e.Key)
	}
	put := func(name, value string) {
		if value != "" {
			m.Headers = append(m.Headers, kafka.Header{Key: name, Value: []byte(value)})
		}
	}
	put(headerSpec, specVersion)
	put(headerID, e.ID)
	put(headerType, e.Type)
	put(headerSource, e.Source)
	put(headerSubject, e.Subject)
	if !e.Time.IsZero() {
		put(headerTime, e.Time.UTC().Format(time.RFC3339Nano))
	}
	put(headerTraceParent, e.TraceParent)
	put(headerContentType, contentType)
	return m, nil
}

// decode reads the event of a Kafka record. ce_id and ce_type are required,
// and a JSON value; ce_specversion may be missing (people type headers into
// kcat) but not be another one. The event holds whatever could be read even
// when there is an error, so that a refusal can name its ce_id. The error is
// of KindInvalid and repeats nothing of the record.
func decode(m kafka.Message) (mobileid.Event, error) {
	e := mobileid.Event{Key: string(m.Key), Value: m.Value, Time: m.Time}
	var bad error
	fail := func(header, code, message string) {
		if bad == nil {
			bad = mobileid.Invalid(header, code, message)
		}
	}
	seen := map[string]bool{}
	for _, h := range m.Headers {
		var into *string
		switch h.Key {
		case headerID:
			into = &e.ID
		case headerType:
			into = &e.Type
		case headerSource:
			into = &e.Source
		case headerSubject:
			into = &e.Subject
		case headerTraceParent:
			into = &e.TraceParent
		case headerTime:
			at, err := time.Parse(time.RFC3339Nano, string(h.Value))
			if err != nil {
				fail(headerTime, "envelope_time", "ce_time is not a timestamp of RFC 3339")
				continue
			}
			e.Time = at
			continue
		case headerSpec:
			if string(h.Value) != specVersion {
				fail(headerSpec, "envelope_version", "ce_specversion is not 1.0")
			}
			continue
		default:
			continue
		}
		if seen[h.Key] {
			fail(h.Key, "envelope_repeated", "the header stands twice")
			continue
		}
		seen[h.Key] = true
		if len(h.Value) > maxAttribute || !utf8.Valid(h.Value) {
			fail(h.Key, "envelope_attribute", fmt.Sprintf("the header is not UTF-8 of at most %d bytes", maxAttribute))
			continue
		}
		*into = string(h.Value)
	}
	// It goes on to other topics and the log: a trace, or nothing.
	e.TraceParent = mobileid.TraceParent(e.TraceParent)
	switch {
	case e.ID == "":
		fail(headerID, "envelope_id", "ce_id is missing")
	case e.Type == "":
		fail(headerType, "envelope_type", "ce_type is missing")
	case !json.Valid(m.Value):
		fail("", "envelope_value", "the value is not JSON")
	}
	return e, bad
}
