package page

import (
	"context"
	"net/http"

	"mobileid/internal/mobileid"
)

// messages answers the SMS that a challenge or a Message put on a handset, for
// whoever has no browser: GET /demo/messages?id=ch_...
func (s *server) messages(w http.ResponseWriter, r *http.Request) {
	id, err := mobileid.ParseID(r.URL.Query().Get("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	found, err := s.handsetOf(ctx, id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"messages": found})
}

func (s *server) handsetOf(ctx context.Context, id mobileid.ID) ([]smsJSON, error) {
	found := []smsJSON{}
	raw, err := s.deps.Registry.Rows(ctx, id)
	if err != nil {
		return found, err
	}
	f, err := readRows(raw)
	if err != nil {
		return found, err
	}
	ids := f.operatorIDs()
	if len(ids) == 0 {
		return found, nil
	}
	wire, err := s.deps.Handsets.Exchange(ctx, ids)
	for _, e := range wire {
		if e.onHandset() {
			found = append(found, smsOf(e))
		}
	}
	return found, err
}
