package smsc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Help describes the control API; GET / answers it.
const Help = `smscsim control API (JSON)

  GET  /healthz             200 and counters
  GET  /messages            submit_sm received, oldest first; ?to=998901234567 ?after=2026-01-02T15:04:05Z ?limit=100 (the newest)
  GET  /events              the same and receipts, live, as server-sent events
  GET  /faults              faults in force
  POST /faults              add one: {"kind":"status","count":3,"status":88}
  POST /receipts            not a fault: {"message_id":"...","state":"DELIVRD"} sends a further receipt now
  POST /reset               forget faults, messages and waiting receipts

Faults ("count" times, 0 or absent = until reset; "to" = only this number,
not for binds, enquire_link, unbind and cut):
  refuse_bind   "status" (14)       binds are refused
  ignore_bind                       binds are not answered
  delay         "delay_ns"          submit_sm_resp comes later
  no_answer                         submit_sm is taken, no answer
  status        "status"            submit_sm is refused, for example 88 = throttled
  drop          "count" (1)         the connection is cut behind the count-th submit_sm (with "to": to that number)
  receipt       "state"             DELIVRD EXPIRED DELETED UNDELIV ACCEPTD UNKNOWN REJECTD ENROUTE
  receipt_first                     the receipt is sent before the answer
  no_receipt                        no receipt
  ignore_link                       enquire_link is not answered
  unbind, cut                       once, now: unbind sent, connections cut
`

// controlHandler serves the control API.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, Help)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]int{"bound": s.Bound(), "submits": s.Count()})
	})
	mux.HandleFunc("GET /messages", s.getMessages)
	mux.HandleFunc("GET /events", s.getEvents)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Faults()) })
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
				source:  sub.Source, text: quote(sub.Text),
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
