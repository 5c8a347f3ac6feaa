package page

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"mobileid/internal/mobileid"
)

// traceJSON is what is known about one challenge or Message so far.
type traceJSON struct {
	ID         mobileid.ID     `json:"id"`
	Message    mobileid.ID     `json:"message,omitzero"`
	AcceptedAt time.Time       `json:"accepted_at"`
	State      string          `json:"state"` // of the challenge, or of the Message when it is a notification
	Ended      bool            `json:"ended"` // nothing more will come, the receipt included
	Hops       []hopJSON       `json:"hops"`  // reached ones, by time
	SMS        []smsJSON       `json:"sms"`   // what the handset got
	Explain    []mobileid.Step `json:"explain"`
}

func (s *server) trace(w http.ResponseWriter, r *http.Request) {
	id, err := mobileid.ParseID(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	t, err := s.traceOf(ctx, id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, t)
}

// traceOf merges what the rooms know. The rows are the skeleton, because they
// have the times; Kafka and the operator add their bytes. A part that cannot
// be read is left out rather than failing the rest.
func (s *server) traceOf(ctx context.Context, id mobileid.ID) (traceJSON, error) {
	raw, err := s.deps.Registry.Rows(ctx, id)
	if err != nil && mobileid.KindOf(err) != mobileid.KindNotFound {
		return traceJSON{}, fmt.Errorf("rows: %w", err)
	}
	f, err := readRows(raw)
	if err != nil {
		return traceJSON{}, err
	}
	steps, err := s.deps.Registry.Explain(ctx, id)
	if err != nil && mobileid.KindOf(err) != mobileid.KindNotFound {
		s.cfg.Log.Debug("no explanation for the trace", "code", mobileid.CodeOf(err))
	}
	var wire []HandsetEvent
	if ids := f.operatorIDs(); len(ids) > 0 {
		if wire, err = s.deps.Handsets.Exchange(ctx, ids); err != nil {
			s.cfg.Log.Debug("no PDUs for the trace", "code", mobileid.CodeOf(err))
		}
	}
	b := builder{facts: f, id: id, start: id.Time(), wire: wire, read: func(ref mobileid.RecordRef) (Record, error) {
		return s.record(ctx, ref)
	}}
	t := b.build()
	t.Explain = slices.Clip(steps)
	if t.Explain == nil {
		t.Explain = []mobileid.Step{}
	}
	return t, nil
}

// record reads through a small memory: a record never changes, and a page asks
// for the same one several times a second.
func (s *server) record(ctx context.Context, ref mobileid.RecordRef) (Record, error) {
	s.mu.Lock()
	rec, ok := s.seen[ref]
	s.mu.Unlock()
	if ok {
		return rec, nil
	}
	rec, err := s.deps.Records.Record(ctx, ref)
	if err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= maxSeen {
		clear(s.seen)
	}
	s.seen[ref] = rec
	return rec, nil
}
