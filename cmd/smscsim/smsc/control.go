package smsc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// controlHandler serves the control API.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, Help())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		submits, refused := s.journal.counts()
		reply(w, http.StatusOK, map[string]int{"bound": s.Bound(), "submits": submits, "refused": refused})
	})
	mux.HandleFunc("GET /messages", s.getMessages)
	mux.HandleFunc("GET /events", s.getEvents)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"in_force": s.Faults(), "kinds": Kinds()})
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, r *http.Request) {
		kind := FaultKind(r.URL.Query().Get("kind"))
		if kindOf(kind).Kind == "" {
			fail(w, fmt.Errorf("kind: want one of %s", kindNames()))
			return
		}
		s.Lift(kind)
		reply(w, http.StatusOK, s.Faults())
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		if !read(w, r, &f) {
			return
		}
		if err := s.SetFault(f); err != nil {
			fail(w, err)
			return
		}
		reply(w, http.StatusOK, s.Faults())
	})
	mux.HandleFunc("POST /receipts", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			MessageID string `json:"message_id"`
			State     string `json:"state"`
		}
		if !read(w, r, &ask) {
			return
		}
		if err := s.SendReceipt(ask.MessageID, ask.State); err != nil {
			fail(w, err)
			return
		}
		reply(w, http.StatusOK, map[string]bool{"sent": true})
	})
	mux.HandleFunc("POST /inbound", func(w http.ResponseWriter, r *http.Request) {
		var in Inbound
		if !read(w, r, &in) {
			return
		}
		if err := s.SendInbound(in); err != nil {
			fail(w, err)
			return
		}
		reply(w, http.StatusOK, map[string]bool{"sent": true})
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		reply(w, http.StatusOK, map[string]bool{"reset": true})
	})
	return mux
}

// SendReceipt sends a further receipt for a Message in the log, now.
func (s *Server) SendReceipt(messageID, state string) error {
	f := Fault{Kind: FaultReceipt, State: state}
	if err := f.check(); err != nil {
		return err
	}
	for _, m := range s.journal.all() {
		if m.messageID == messageID && messageID != "" {
			sub := m.submit()
			s.deliver(&delivery{
				receipt: Receipt{Account: m.account, MessageID: messageID, Dest: sub.Dest, State: state},
				said:    idText(m.number, m.receiptForm), source: sub.Source, quoted: quote(sub.Text),
			})
			return nil
		}
	}
	return errors.New("message_id: not in the log")
}

func (s *Server) getMessages(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var after time.Time
	if v := q.Get("after"); v != "" {
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			fail(w, errors.New("after: want RFC 3339, for example 2026-01-02T15:04:05Z"))
			return
		}
		after = t
	}
	limit := 0
	if v := q.Get("limit"); v != "" {
		if _, err := fmt.Sscanf(v, "%d", &limit); err != nil || limit < 1 {
			fail(w, errors.New("limit: want a number from 1"))
			return
		}
	}
	out := []Submit{}
	for _, m := range s.Received() {
		if (q.Get("to") == "" || q.Get("to") == m.Dest) && m.At.After(after) {
			out = append(out, m)
		}
	}
	if limit > 0 && len(out) > limit {
		out = out[len(out)-limit:]
	}
	reply(w, http.StatusOK, out)
}

func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	events, cancel := s.Subscribe()
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	_, _ = io.WriteString(w, ": listening\n\n")
	_ = flush.Flush()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			data, err := json.Marshal(e)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.Kind, data); err != nil {
				return
			}
			if err := flush.Flush(); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		fail(w, fmt.Errorf("body: %w", err))
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, err error) {
	reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}
