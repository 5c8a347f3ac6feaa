package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"mobileid/internal/mobileid"
)

const (
	maxStreams   = 32               // a browser tab each
	heartbeat    = 15 * time.Second // a comment, so that a dead peer is noticed
	countsEvery  = time.Second
	writeTimeout = 5 * time.Second // a reader slower than this is cut off; it connects again
)

type smsJSON struct {
	At         time.Time `json:"at"`
	Kind       PDUKind   `json:"kind"`
	To         string    `json:"to"` // masked
	From       string    `json:"from,omitempty"`
	Text       string    `json:"text,omitempty"`
	OperatorID string    `json:"operator_id,omitempty"`
	Status     uint32    `json:"status"`
}

func smsOf(e HandsetEvent) smsJSON {
	return smsJSON{
		At: e.At.UTC(), Kind: e.Kind, To: maskedTo(e.To), From: e.From, Text: e.Text,
		OperatorID: e.OperatorID, Status: e.Status,
	}
}

// maskedTo prints a destination as Person.Masked does, which is how the page
// knows whose handset it is.
func maskedTo(digits string) string {
	m, err := mobileid.ParseMSISDN(digits)
	if err != nil {
		return ""
	}
	return m.Masked()
}

type countsJSON struct {
	Accepted  int64    `json:"accepted"`
	Delivered int64    `json:"delivered"`
	Confirmed int64    `json:"confirmed"`
	Charged   string   `json:"charged"` // soum
	Lost      int64    `json:"lost"`
	Doubled   int64    `json:"doubled"`
	Broken    Breakage `json:"broken"`
}

// events streams PDUs as "handset", totals as "counts" and the persons' money as
// "accounts" until the browser goes, falls behind, or the program stops. Memory is bounded: the buffer is
// the subscription's channel, and a write that blocks longer than writeTimeout
// ends the stream.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.seat <- struct{}{}:
		defer func() { <-s.seat }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many open pages", http.StatusServiceUnavailable)
		return
	}
	feed, cancel := s.deps.Handsets.Subscribe()
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	st := stream{w: w, rc: http.NewResponseController(w)}
	if st.comment("retry: 1000") != nil {
		return
	}
	beat, tick := time.NewTicker(heartbeat), time.NewTicker(countsEvery)
	defer beat.Stop()
	defer tick.Stop()
	var last Counts
	var money string
	first := true
	for {
		var err error
		// Counts and accounts go out at once on the first turn, then with the ticker.
		if first {
			if last, err = s.sendCounts(r.Context(), &st, last, true); err == nil {
				money, err = s.sendAccounts(r.Context(), &st, money)
			}
			first = false
		} else {
			select {
			case <-r.Context().Done():
				return
			case <-s.cfg.Done:
				return
			case e, open := <-feed:
				if !open {
					return
				}
				err = st.event("handset", smsOf(e))
			case <-tick.C:
				if last, err = s.sendCounts(r.Context(), &st, last, false); err == nil {
					money, err = s.sendAccounts(r.Context(), &st, money)
				}
			case <-beat.C:
				err = st.comment(": still here")
			}
		}
		if err != nil {
			return
		}
	}
}

// sendCounts writes the totals when they changed. A failed read is not the
// stream's end: the totals simply stay as they are.
func (s *server) sendCounts(ctx context.Context, st *stream, last Counts, force bool) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, countsEvery)
	defer cancel()
	c, err := s.deps.Registry.Counts(ctx)
	if s.deps.Controls != nil {
		c.Broken = s.deps.Controls.Broken(ctx)
	}
	if err != nil || (c == last && !force) {
		return last, nil
	}
	return c, st.event("counts", countsJSON{
		Accepted: c.Accepted, Delivered: c.Delivered, Confirmed: c.Confirmed, Charged: c.Charged.String(),
		Lost: c.Lost, Doubled: c.Doubled, Broken: c.Broken,
	})
}

// stream writes server-sent events (WHATWG HTML, 9.2).
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (st *stream) event(name string, v any) error {
	body, err := json.Marshal(v) // one line: JSON escapes line ends
	if err != nil {
		return fmt.Errorf("event %s: %w", name, err)
	}
	return st.write(fmt.Sprintf("event: %s\ndata: %s\n\n", name, body))
}

func (st *stream) comment(line string) error { return st.write(line + "\n\n") }

func (st *stream) write(text string) error {
	// Overrides the server's own write timeout, which would cut every stream.
	// A writer without deadlines (httptest.ResponseRecorder) is fine too.
	_ = st.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := st.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("write to the browser: %w", err)
	}
	if err := st.rc.Flush(); err != nil {
		return fmt.Errorf("flush to the browser: %w", err)
	}
	return nil
}
