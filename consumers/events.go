package consumers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// PublishLane puts ids of Messages on their lanes. Its errors are Publish's;
// after one, any part may have been written, and a second time is harmless.
func (p *Publisher) PublishLane(ctx context.Context, items []mobileid.LaneItem) error {
	return publishAll(ctx, p, items, func(i mobileid.LaneItem) (string, mobileid.Event, error) {
		e, err := NewEvent(mobileid.TypeMessageQueued, i.ID.String(), mobileid.LaneRecord{ID: i.ID})
		e.Key, e.Time = i.Person.String(), p.cfg.Now()
		return mobileid.TopicSMS(i.Operator, i.Lane), e, err
	})
}

// PublishStatuses tells states on message.status and, as far as the client may
// learn them (see told), on out.<client>. Its errors are Publish's.
func (p *Publisher) PublishStatuses(ctx context.Context, changes []mobileid.StatusChanged) error {
	return publishAll(ctx, p, withCopies(changes, p.cfg.Clients), func(s statusCopy) (string, mobileid.Event, error) {
		// One event a version of a subject: a reader that sees it twice knows.
		e, err := NewEvent(mobileid.TypeStatusChanged, fmt.Sprintf("%s/%d", s.ID, s.Version), s.StatusChanged)
		e.Key, e.Subject, e.Time = requestOf(s.StatusChanged).String(), s.ID.String(), s.At
		return s.topic, e, err
	})
}

type statusCopy struct {
	mobileid.StatusChanged
	topic string
}

func withCopies(changes []mobileid.StatusChanged, clients map[string]mobileid.Client) []statusCopy {
	out := make([]statusCopy, 0, 2*len(changes))
	for _, s := range changes {
		out = append(out, statusCopy{s, mobileid.TopicMessageStatus})
		if c, ok := clients[s.Client]; ok && c.Kafka && told(c, s) {
			out = append(out, statusCopy{s, mobileid.TopicOut(c.ID)})
		}
	}
	return out
}

// told decides whether a client may hear of a change on out.<client>. A client
// with full disclosure hears all. A blind one hears only what says nothing
// about the person: that a code was right, which it knows from its own verify,
// and that its own request contradicted an earlier one. Every other state, and
// even its absence or its time, would tell bound from unbound; those it reads
// over HTTP, where the edge makes the difference vanish.
func told(c mobileid.Client, s mobileid.StatusChanged) bool {
	if c.Disclosure == mobileid.DisclosureFull {
		return true
	}
	state := mobileid.ChallengeState(s.State)
	return state == mobileid.ChallengeConfirmed || state == mobileid.ChallengeConflict
}

// requestOf is the id that the client was given: the challenge of a Message
// that carries a code, else the subject itself.
func requestOf(s mobileid.StatusChanged) mobileid.ID {
	if !s.Challenge.IsZero() {
		return s.Challenge
	}
	return s.ID
}

// publishAll writes events of several topics in one call.
func publishAll[T any](ctx context.Context, p *Publisher, items []T, event func(T) (string, mobileid.Event, error)) error {
	messages := make([]kafka.Message, 0, len(items))
	for _, item := range items {
		topic, e, err := event(item)
		if err == nil {
			m, encodeErr := encode(topic, e)
			messages, err = append(messages, m), encodeErr
		}
		if err != nil {
			return &mobileid.Error{Kind: mobileid.KindInternal, Code: "event_encode", Message: "the event cannot be written", Err: err}
		}
	}
	return p.write(ctx, messages)
}

// NewEvent makes an event of ours with a JSON value. Key, Subject, Time and
// TraceParent are left to the caller.
func NewEvent(eventType, id string, value any) (mobileid.Event, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return mobileid.Event{}, fmt.Errorf("event %s: %w", eventType, err)
	}
	return mobileid.Event{ID: id, Type: eventType, Source: Source, Value: bytes.TrimRight(buf.Bytes(), "\n")}, nil
}

// DecodeValue reads the value of an event of the given type, checked against
// the type's schema. Unknown fields are ignored: schemas only grow. The error
// is of KindInvalid and quotes no value.
func DecodeValue[T any](e mobileid.Event, eventType string) (T, error) {
	var v T
	if e.Type != eventType {
		return v, mobileid.Invalid(headerType, "event_type", "the event is of another type than this topic carries")
	}
	if err := CheckSchema(eventType, e.Value); err != nil {
		return v, err
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, mobileid.Invalid("", "event_value", "the value does not fit its type")
	}
	return v, nil
}
