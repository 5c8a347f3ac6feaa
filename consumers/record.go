package consumers

import (
	"context"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// Record is one record handed to a Handler.
type Record struct {
	Ref   mobileid.RecordRef
	Event mobileid.Event // what could be read of the envelope
	Err   error          // why the envelope could not be read; nil if it could
	Raw   kafka.Message

	tracker *tracker
}

// NewRecord decodes a message outside of a group, for tools and tests. Done on
// it has no effect.
func NewRecord(m kafka.Message) *Record {
	r := &Record{Raw: m, Ref: mobileid.RecordRef{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}}
	r.Event, r.Err = decode(m)
	if u, ok := m.WriterData.(unreadable); ok {
		r.Err = u.err()
	}
	return r
}

// Done says that the record needs nothing more, whatever becomes of the ones
// around it. Its offset is committed when all before it are done too. It may
// be called from any goroutine, also twice.
func (r *Record) Done() {
	if r.tracker != nil {
		r.tracker.finish(r.Raw.Offset)
	}
}

func (r *Record) isDone() bool { return r.tracker != nil && r.tracker.isDone(r.Raw.Offset) }

// Handler handles records of one topic, those of a partition in their order.
//
// Returning nil completes all of them. With an error those that were not Done
// come again: after a pause for KindUnavailable, KindUnknown, KindLimited and
// KindInternal, for ever and visibly; for any other kind the batch is halved
// until the bad record stands alone, which is parked in the dead-letter topic.
//
// Handle must return within GroupConfig.HandlerTimeout of its context's end.
// That end has a cause: another member of the group takes the partition over,
// the process stops, or the call took too long.
type Handler interface {
	Handle(ctx context.Context, recs []*Record) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, recs []*Record) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, recs []*Record) error { return f(ctx, recs) }

// undecodableHandler is what a Handler implements when it wants to hear of a
// record whose envelope could not be read before it is parked. Other handlers
// never see such records. An error delays the parking.
type undecodableHandler interface {
	HandleUndecodable(ctx context.Context, rec *Record) error
}

// DLQ takes the records that no handler will ever accept.
type DLQ interface {
	// Park stores the record durably. reason is a code of a closed list, never
	// text that quotes the record.
	Park(ctx context.Context, rec *Record, reason string) error
}
