package consumers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// PublishLane puts ids of Messages on their lanes. Its errors are Publish's;
// after one, any part may have been written, and a second time is harmless. An
// item whose lane is missing or forbidden (a binding may name an operator that
// this installation does not serve) is logged and counted and is no error: it
// must not hold up the others, and the sweeper comes back to it.
func (p *Publisher) PublishLane(ctx context.Context, items []mobileid.LaneItem) error {
	messages, err := encodeAll(items, func(i mobileid.LaneItem) (string, mobileid.Event, error) {
		e, err := NewEvent(mobileid.TypeMessageQueued, i.ID.String(), mobileid.LaneRecord{ID: i.ID})
		e.Key, e.Time = i.Person.String(), p.cfg.Now()
		return mobileid.TopicSMS(i.Operator, i.Lane), e, err
	})
	if err != nil {
		return err
	}
	for _, err := range p.writeReachable(ctx, messages) {
		return err
	}
	return nil
}

// PublishStatuses tells states on message.status and, as far as the client may
// learn them (see told), on out.<client>. All of message.status is written
// before anything else; its errors are Publish's. The clients in left are those
// whose out.<client> fails for now: theirs must be given again, and the others
// do not wait for it. An out.<client> that is missing or forbidden is logged
// and counted, and that client does without.
func (p *Publisher) PublishStatuses(ctx context.Context, changes []mobileid.StatusChanged) (left map[string]bool, err error) {
	statuses, err := encodeAll(changes, statusEvent)
	if err != nil {
		return nil, err
	}
	var copies []kafka.Message
	for i, s := range changes {
		if c, ok := p.cfg.Clients[s.Client]; ok && c.Kafka && told(c, s) {
			out := statuses[i] // the same record, on another topic
			out.Topic = mobileid.TopicOut(c.ID)
			copies = append(copies, out)
		}
	}
	if err := p.write(ctx, statuses); err != nil {
		return nil, err
	}
	failed := p.writeReachable(ctx, copies)
	left = map[string]bool{}
	for _, s := range changes {
		if failed[mobileid.TopicOut(s.Client)] != nil {
			left[s.Client] = true
		}
	}
	return left, nil
}

// statusEvent makes one event a version of a subject: a reader that sees it
// twice knows.
func statusEvent(s mobileid.StatusChanged) (string, mobileid.Event, error) {
	e, err := NewEvent(mobileid.TypeStatusChanged, s.ID.String()+"/"+strconv.FormatInt(s.Version, 10), s)
	e.Key, e.Subject, e.Time = requestOf(s).String(), s.ID.String(), s.At
	return mobileid.TopicMessageStatus, e, err
}

// writeReachable writes each topic's records, in their order, by a write of its
// own, and leaves out the topics that are not there for us. It returns the
// errors of the others by topic.
func (p *Publisher) writeReachable(ctx context.Context, messages []kafka.Message) map[string]error {
	byTopic := map[string][]kafka.Message{}
	for _, m := range messages {
		byTopic[m.Topic] = append(byTopic[m.Topic], m)
	}
	topics := slices.Sorted(maps.Keys(byTopic))
	errs := make([]error, len(topics))
	_ = each(len(topics), func(i int) error {
		errs[i] = p.write(ctx, byTopic[topics[i]])
		return nil
	})
	failed := map[string]error{}
	for i, topic := range topics {
		switch {
		case unreachable(errs[i]):
			p.metrics.skipped.WithLabelValues(topic).Add(float64(len(byTopic[topic])))
			p.cfg.Log.Error("records not published: the topic is missing or forbidden; see `mobileid topics`",
				"topic", topic, "records", len(byTopic[topic]))
		case errs[i] != nil:
			failed[topic] = errs[i]
		}
	}
	return failed
}

// unreachable reports whether a write failed because its topic is missing or
// this principal may not write it, which no waiting changes.
func unreachable(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.TopicAuthorizationFailed)
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

// encodeAll makes the records of events of several topics.
func encodeAll[T any](items []T, event func(T) (string, mobileid.Event, error)) ([]kafka.Message, error) {
	messages := make([]kafka.Message, 0, len(items))
	for _, item := range items {
		topic, e, err := event(item)
		if err == nil {
			m, encodeErr := encode(topic, e)
			messages, err = append(messages, m), encodeErr
		}
		if err != nil {
			return nil, &mobileid.Error{Kind: mobileid.KindInternal, Code: "event_encode", Message: "the event cannot be written", Err: err}
		}
	}
	return messages, nil
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
