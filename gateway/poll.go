package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"mobileid/internal/mobileid"
)

// maxPoll is the longest a GET may wait.
const maxPoll = 30 * time.Second

// shown is a state as it is answered.
type shown struct {
	version  int64
	terminal bool
	body     any
}

// wait is how a GET asks to be answered later.
type wait struct {
	timeout time.Duration // 0 = at once
	after   int64         // wait for a version above it; -1 = above the present one
}

func parseWait(r *http.Request) (wait, error) {
	q := r.URL.Query()
	out := wait{after: -1}
	if s := q.Get("timeoutMs"); s != "" {
		ms, err := strconv.ParseUint(s, 10, 32)
		if err != nil || ms > uint64(maxPoll.Milliseconds()) {
			return out, mobileid.Invalid("timeoutMs", "timeout_format", "a whole number from 0 to 30000")
		}
		out.timeout = time.Duration(ms) * time.Millisecond
	}
	if s := q.Get("after"); s != "" {
		after, err := strconv.ParseInt(s, 10, 63)
		if err != nil || after < 0 {
			return out, mobileid.Invalid("after", "after_format", "the version of an earlier answer")
		}
		out.after = after
	}
	return out, nil
}

// get answers for the ids of a kind with the state that read gives.
func (g *Gateway) get(kind mobileid.IDKind,
	read func(ctx context.Context, client mobileid.Client, id mobileid.ID) (shown, error),
) apiHandler {
	return func(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
		id, err := g.pathID(r, client, kind)
		if err != nil {
			return err
		}
		return g.poll(w, r, client, id, func(ctx context.Context) (shown, error) { return read(ctx, client, id) })
	}
}

// poll answers a GET with the state that read gives: at once if it is newer
// than the asker's or final, else when it has changed or the time is over.
// It costs one read at the start and one at the end; a change that shows
// nothing to this client costs one more and the wait goes on.
func (g *Gateway) poll(w http.ResponseWriter, r *http.Request, client mobileid.Client, id mobileid.ID,
	read func(ctx context.Context) (shown, error),
) error {
	how, err := parseWait(r)
	if err != nil {
		return err
	}
	var changed <-chan struct{}
	if how.timeout > 0 {
		leave, ok := g.polls.enter(client.ID)
		if !ok {
			return &mobileid.Error{
				Kind: mobileid.KindLimited, Code: "waiters_exceeded", RetryAfter: time.Second,
				Message: "too many open long polls of this client",
			}
		}
		defer leave()
		g.metrics.polls.Inc()
		defer g.metrics.polls.Dec()
		var cancel func()
		// Before the read: a change in between must wake us.
		changed, cancel = g.deps.Waiters.Wait(id)
		defer cancel()
	}
	now, err := read(r.Context())
	if err != nil {
		return err
	}
	if how.after < 0 {
		how.after = now.version
	}
	if how.timeout > 0 && now.version <= how.after && !now.terminal {
		if now, err = g.await(r.Context(), how, changed, read); err != nil {
			return err
		}
	}
	return answerState(w, r, now)
}

func (g *Gateway) await(ctx context.Context, how wait, changed <-chan struct{},
	read func(ctx context.Context) (shown, error),
) (shown, error) {
	timer := time.NewTimer(how.timeout)
	defer timer.Stop()
	for {
		last := false
		select {
		case <-changed:
		case <-timer.C:
			last = true
		case <-g.drain:
			last = true
		case <-ctx.Done():
			last = true // nobody will read it; the read below fails on the same ctx
		}
		now, err := read(ctx)
		if err != nil || last || now.version > how.after || now.terminal {
			return now, err
		}
	}
}

// answerState sends a state, or 304 to who has it already (RFC 9110, 13.1.2).
func answerState(w http.ResponseWriter, r *http.Request, s shown) error {
	etag := `"` + strconv.FormatInt(s.version, 10) + `"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeJSON(w, http.StatusOK, s.body)
}
