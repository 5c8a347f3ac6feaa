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

// PublishLane puts ids of Messages on their lanes. Those in left are not known
// to stand there, because their lane or one partition of it fails for now: they
// must be given again, which is harmless, and the others do not wait for them.
// An item whose lane is missing or forbidden (a binding may name an operator
// that this installation does not serve) is logged and counted, and is not
// left: no second try in a moment would help it.
//
// An error concerns all items: ctx ended with some of them left, or an event
// cannot be encoded (KindInternal).
func (p *Publisher) PublishLane(ctx context.Context, items []mobileid.LaneItem) (left map[mobileid.ID]bool, err error) {
	messages, err := encodeAll(items, func(i mobileid.LaneItem) (string, mobileid.Event, error) {
		e, err := NewEvent(mobileid.TypeMessageQueued, i.ID.String(), mobileid.LaneRecord{ID: i.ID})
		e.Key, e.Time = i.Person.String(), p.cfg.Now()
		return mobileid.TopicSMS(i.Operator, i.Lane), e, err
	})
	if err != nil {
		return nil, err
	}
	failed := p.writeReachable(ctx, messages)
	if len(failed) > 0 && ctx.Err() != nil {
		return nil, &mobileid.Error{
			Kind: mobileid.KindUnknown, Code: "lane_cut_off",
			Message: "the ids are perhaps not on their lanes", Err: context.Cause(ctx),
		}
	}
	left = map[mobileid.ID]bool{}
	for _, m := range failed {
		left[idOf(m)] = true
	}
	return left, nil
}

// idOf is the id that a record of a lane carries.
func idOf(m kafka.Message) mobileid.ID {
	e, _ := decode(m) // encoded a moment ago
	id, _ := mobileid.ParseID(e.ID)
	return id
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
	failed := map[string]bool{}
	for _, m := range p.writeReachable(ctx, copies) {
		failed[m.Topic] = true
	}
	left = map[string]bool{}
	for _, s := range changes {
		if failed[mobileid.TopicOut(s.Client)] {
			left[s.Client] = true
		}
	}
	return left, nil
}

// PublishInbound tells of messages that subscribers sent, on sms.inbound. The
// errors are Publish's.
func (p *Publisher) PublishInbound(ctx context.Context, messages []mobileid.InboundMessage) error {
	records, err := encodeAll(messages, func(m mobileid.InboundMessage) (string, mobileid.Event, error) {
		v := mobileid.InboundReceived{
			ID: m.ID.String(), Version: 1, Operator: m.Operator, Part: m.Part, Fingerprint: m.Fingerprint.String(), ReceivedAt: m.At, Sealed: m.Sealed,
		}
		if m.Number != (mobileid.Pseudonym{}) {
			v.Number = m.Number.String()
		}
		e, err := NewEvent(mobileid.TypeInboundReceived, v.ID+"/1", v)
		e.Key, e.Subject, e.Time = v.Number, v.ID, m.At
		return mobileid.TopicSMSInbound, e, err
	})
	if err != nil {
		return err
	}
	return p.write(ctx, records)
}

// PublishBindingEvents tells what happened to bindings, on registry.events. The
// errors are Publish's.
func (p *Publisher) PublishBindingEvents(ctx context.Context, events []mobileid.BindingEvent) error {
	records, err := encodeAll(events, func(b mobileid.BindingEvent) (string, mobileid.Event, error) {
		v := mobileid.BindingChanged{
			Binding: b.Binding, Version: b.Version, Person: b.Person.String(), Number: b.Number.String(),
			Operator: b.Operator, Change: b.Change, Why: b.Why, At: b.At,
		}
		subject := strconv.FormatInt(b.Binding, 10)
		e, err := NewEvent(mobileid.TypeBindingChanged, subject+"/"+strconv.FormatInt(b.Version, 10), v)
		e.Key, e.Subject, e.Time = v.Person, subject, b.At
		return mobileid.TopicRegistryEvents, e, err
	})
	if err != nil {
		return err
	}
	return p.write(ctx, records)
}

// statusEvent makes one event a version of a subject: a reader that sees it
// twice knows.
func statusEvent(s mobileid.StatusChanged) (string, mobileid.Event, error) {
	e, err := NewEvent(mobileid.TypeStatusChanged, s.ID.String()+"/"+strconv.FormatInt(s.Version, 10), s)
	e.Key, e.Subject, e.Time = requestOf(s).String(), s.ID.String(), s.At
	return mobileid.TopicMessageStatus, e, err
}

// writeReachable writes each topic's records, in their order, by a write of its
// own, and leaves out the topics that are not there for us. It returns what is
// not known to be written to the others.
func (p *Publisher) writeReachable(ctx context.Context, messages []kafka.Message) []kafka.Message {
	byTopic := map[string][]kafka.Message{}
	for _, m := range messages {
		byTopic[m.Topic] = append(byTopic[m.Topic], m)
	}
	topics := slices.Sorted(maps.Keys(byTopic))
	left, errs := make([][]kafka.Message, len(topics)), make([]error, len(topics))
	_ = each(len(topics), func(i int) error {
		left[i], errs[i] = p.writeSome(ctx, byTopic[topics[i]])
		return nil
	})
	for i, topic := range topics {
		if unreachable(errs[i]) {
			p.metrics.skipped.WithLabelValues(topic).Add(float64(len(left[i])))
			p.cfg.Log.Error("records not published: the topic is missing or forbidden; see `mobileid topics`",
				"topic", topic, "records", len(left[i]))
			left[i] = nil
		}
	}
	return slices.Concat(left...)
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
	return mobileid.Event{ID: id, Type: eventType, Source: source, Value: bytes.TrimRight(buf.Bytes(), "\n")}, nil
}

// DecodeLane reads the id of a record of a lane, which is the hot path of a
// bridge: the form that PublishLane writes needs neither a JSON reader nor the
// schema. Any other goes the way of DecodeValue.
func DecodeLane(e mobileid.Event) (mobileid.ID, error) {
	if text, ok := bytes.CutPrefix(e.Value, []byte(`{"id":"`)); ok && e.Type == mobileid.TypeMessageQueued {
		if text, ok = bytes.CutSuffix(text, []byte(`"}`)); ok {
			var id mobileid.ID
			if err := id.UnmarshalText(text); err == nil && id.Kind() == mobileid.KindMessage {
				return id, nil
			}
		}
	}
	lane, err := DecodeValue[mobileid.LaneRecord](e, mobileid.TypeMessageQueued)
	return lane.ID, err
}

// DecodeValue reads the value of an event of the given type, checked against
// the type's schema. Unknown fields are ignored: schemas only grow. The error
// is of KindInvalid and quotes no value.
func DecodeValue[T any](e mobileid.Event, eventType string) (T, error) {
	var v T
	if e.Type != eventType {
		return v, mobileid.Invalid(headerType, "event_type", "the event is of another type than this topic carries")
	}
	if err := checkSchema(eventType, e.Value); err != nil {
		return v, err
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, mobileid.Invalid("", "event_value", "the value does not fit its type")
	}
	return v, nil
}
