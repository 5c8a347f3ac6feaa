package consumers

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"mobileid/internal/mobileid"
)

// How old a command may be, by the broker's time of the record (in topics have
// LogAppendTime) and over replays by that of the first one.
const (
	// maxChallengeAge: after an outage nobody waits for those codes any more,
	// and texting them would cost and alarm people.
	maxChallengeAge = 2 * time.Minute
	// maxNotificationAge is as long as a ce_id is one request (otp/limits). The
	// registry remembers it twice as long; after that a group that is set back,
	// or a replay, would text a notice again.
	maxNotificationAge = 24 * time.Hour
)

// IngressDeps are the ports of the handler of in.<client>. Now and Log may be
// missing.
type IngressDeps struct {
	Accepter Accepter
	Clients  map[string]mobileid.Client // by id
	Out      EventPublisher             // of out.<client>
	Now      func() time.Time
	Log      *slog.Logger
}

type ingress struct{ IngressDeps }

// NewIngress handles the topics in.<client> that outside systems write. Who
// asks follows from the topic's name alone, which the broker's ACL keeps to
// one principal. ce_id is the Idempotency-Key and ce_type says what is asked;
// both are required. ce_source may be missing, the client's id, or
// /clients/<id>: anything else, another client's name above all, is refused
// with wrong_client. Key and partitioner do not matter; records of one
// partition are accepted side by side.
//
// Each record is answered on out.<client>, by request.accepted or
// request.refused, the latter with the fields of the HTTP problem. While the
// answer is "unavailable" or "unknown" the record waits here and is tried
// again: Kafka is the queue, the producer need not repeat. Records that came
// again may be answered again, the same; of two answers that differ (a crash,
// then too_late) an acceptance is the one that holds.
func NewIngress(d IngressDeps) Handler {
	d.Now = clock(d.Now)
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &ingress{d}
}

// Handle answers each record; the ones that must wait decide the error.
func (h *ingress) Handle(ctx context.Context, recs []*Record) error {
	return each(len(recs), func(i int) error {
		if err := h.one(ctx, recs[i]); err != nil {
			return err
		}
		recs[i].Done()
		return nil
	})
}

// HandleUndecodable refuses a record that the runner is about to park. Without
// a ce_id there is nobody to tell which record is meant.
func (h *ingress) HandleUndecodable(ctx context.Context, rec *Record) error {
	client, ok := h.client(rec)
	if !ok || rec.Event.ID == "" {
		return nil
	}
	cause := rec.Err
	// A value that is no JSON is parked, and refused in the words of the HTTP
	// edge: its checks stop at such a body before anything is spent.
	if mobileid.CodeOf(cause) == "envelope_value" {
		_, err := h.accept(ctx, client, rec)
		switch mobileid.KindOf(err) {
		case mobileid.KindInvalid, mobileid.KindForbidden, mobileid.KindTooLarge:
			cause = err
		default: // keeps the words of the envelope
		}
	}
	return h.refuse(ctx, client, rec, cause)
}

func (h *ingress) client(rec *Record) (mobileid.Client, bool) {
	id, ok := mobileid.ClientOfTopicIn(rec.Ref.Topic)
	if !ok {
		return mobileid.Client{}, false
	}
	c, ok := h.Clients[id]
	return c, ok
}

func (h *ingress) one(ctx context.Context, rec *Record) error {
	client, ok := h.client(rec)
	if !ok {
		return mobileid.Invalid("", "client_unknown", "the topic belongs to no client of the configuration")
	}
	accepted, err := h.accept(ctx, client, rec)
	switch kind := mobileid.KindOf(err); {
	case err == nil:
		return h.tell(ctx, client, rec, mobileid.TypeRequestAccepted,
			mobileid.RequestAccepted{RequestKey: rec.Event.ID, ID: accepted.ID})
	case kind == mobileid.KindUnavailable, kind == mobileid.KindUnknown, kind == mobileid.KindInternal:
		return err
	}
	return h.refuse(ctx, client, rec, err)
}

func (h *ingress) accept(ctx context.Context, client mobileid.Client, rec *Record) (mobileid.Accepted, error) {
	e := rec.Event
	ctx = mobileid.WithTraceParent(ctx, e.TraceParent)
	if e.Source != "" && e.Source != client.ID && e.Source != "/clients/"+client.ID {
		h.Log.Warn("record refused: its ce_source names somebody else", "client", client.ID, "topic", rec.Ref.Topic,
			"partition", rec.Ref.Partition, "offset", rec.Ref.Offset)
		return mobileid.Accepted{}, &mobileid.Error{
			Kind: mobileid.KindForbidden, Code: "wrong_client", Field: headerSource,
			Message: "ce_source is not the client that this topic belongs to",
		}
	}
	accept, oldest := h.Accepter.AcceptChallenge, maxChallengeAge
	switch e.Type {
	case mobileid.TypeChallengeCommand:
	case mobileid.TypeNotificationCommand:
		accept, oldest = h.Accepter.AcceptNotification, maxNotificationAge
	case mobileid.TypeBalanceCommand:
		// Never too late: what is older than what is known changes nothing.
		accept, oldest = h.Accepter.AcceptBalance, math.MaxInt64
	default:
		return mobileid.Accepted{}, mobileid.Invalid(headerType, "type_unknown", "this ce_type is not a command")
	}
	if at := firstWritten(rec.Raw); !at.IsZero() && h.Now().Sub(at) > oldest {
		return mobileid.Accepted{}, &mobileid.Error{
			Kind: mobileid.KindConflict, Code: "too_late",
			Message: "the record waited too long to be of use; ask again with a new ce_id",
		}
	}
	return accept(ctx, client, e.ID, e.Value)
}

func (h *ingress) refuse(ctx context.Context, client mobileid.Client, rec *Record, cause error) error {
	r := mobileid.RequestRefused{
		RequestKey: rec.Event.ID,
		Status:     mobileid.KindOf(cause).Status(),
		Code:       mobileid.CodeOf(cause),
		Detail:     "the request cannot be accepted",
		Retryable:  mobileid.KindOf(cause).Retryable(),
	}
	if e, ok := errors.AsType[*mobileid.Error](cause); ok {
		r.Field, r.Detail = e.Field, e.Message
		r.RetryAfter = int((e.RetryAfter + time.Second - 1) / time.Second)
	}
	return h.tell(ctx, client, rec, mobileid.TypeRequestRefused, r)
}

// tell answers on out.<client>. The answer's id repeats with the record, so a
// reader knows it when it comes twice.
func (h *ingress) tell(ctx context.Context, client mobileid.Client, rec *Record, eventType string, answer any) error {
	e, err := NewEvent(eventType, rec.Event.ID, answer)
	if err != nil {
		return &mobileid.Error{Kind: mobileid.KindInternal, Code: "event_encode", Message: "the answer cannot be written", Err: err}
	}
	e.Time, e.TraceParent = h.Now(), rec.Event.TraceParent
	if a, ok := answer.(mobileid.RequestAccepted); ok {
		e.Key, e.Subject = a.ID.String(), a.ID.String()
	}
	return h.Out.Publish(ctx, mobileid.TopicOut(client.ID), e)
}
