package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// record is what the edge knows of one request, for the log and the problems.
// It is written by the request's own goroutine only.
type record struct {
	trace  trace
	client mobileid.Client
	id     mobileid.ID // of this client's challenge or Message
	code   string      // of the problem, "" = none
}

type recordKey struct{}

func recordOf(r *http.Request) *record {
	if rec, ok := r.Context().Value(recordKey{}).(*record); ok {
		return rec
	}
	return &record{trace: newTrace("")}
}

// correlatorForm is CAMARA's, whose x-correlator is echoed on every answer.
var correlatorForm = regexp.MustCompile(`^[a-zA-Z0-9\-_:;./<>{}]{1,256}$`)

// Handler returns the whole edge.
func (g *Gateway) Handler() http.Handler { return http.HandlerFunc(g.serve) }

func (g *Gateway) serve(rw http.ResponseWriter, r *http.Request) {
	start := g.now()
	rec := &record{trace: newTrace(r.Header.Get("traceparent"))}
	parent := rec.trace.parent()
	ctx := mobileid.WithTraceParent(context.WithValue(r.Context(), recordKey{}, rec), parent)
	r = r.WithContext(ctx)
	w := &statusWriter{ResponseWriter: rw}
	route := "unmatched"
	defer func() {
		// http.ErrAbortHandler means that the connection is to be cut.
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so too
				panic(v)
			}
			g.panicked(w, r, rec)
		}
		g.account(r, w, rec, route, g.now().Sub(start))
	}()

	w.Header().Set("traceresponse", parent)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if correlator := r.Header.Get("x-correlator"); correlator != "" {
		if !correlatorForm.MatchString(correlator) {
			g.refuse(w, r, mobileid.Invalid("x-correlator", "x_correlator_format", "at most 256 of a-z A-Z 0-9 - _ : ; . / < > { }"))
			return
		}
		w.Header().Set("x-correlator", correlator)
	}
	_, pattern := g.mux.Handler(r)
	switch {
	case pattern != "":
		route = pattern
		g.mux.ServeHTTP(w, r)
	case g.deps.Root != nil && !ours(r.URL.Path):
		route = "root"
		g.deps.Root.ServeHTTP(w, r)
	default:
		g.unmatched(w, r)
	}
}

// ours reports whether a path is of the API, so that a mistyped one gets a
// problem and not a page of whatever is mounted at the root.
func ours(path string) bool {
	for _, p := range []string{"/v1", "/problems", "/livez", "/readyz", "/metrics", "/docs", "/openapi.yaml", "/.well-known"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// unmatched asks the mux what it would have said, and says it as a problem.
func (g *Gateway) unmatched(w http.ResponseWriter, r *http.Request) {
	h, _ := g.mux.Handler(r)
	probe := &discard{header: http.Header{}}
	h.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		g.refuse(w, r, mobileid.Invalid("", "method_not_allowed", "this path has other methods: see the header Allow"))
		return
	}
	g.refuse(w, r, notFound("no such path"))
}

func notFound(message string) error {
	return &mobileid.Error{Kind: mobileid.KindNotFound, Code: "not_found", Message: message}
}

// discard keeps the status and headers of an answer that nobody is to see.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap gives http.ResponseController the connection (deadlines, flushing).
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// panicked answers 500 if nothing is answered yet. The panic's value is not
// logged: it may be made of what came in.
func (g *Gateway) panicked(w *statusWriter, r *http.Request, rec *record) {
	g.log.Error("panic in a handler", "trace_id", rec.trace.id(), "at", panicSite())
	if w.status == 0 {
		g.refuse(w, r, errors.New("panic"))
	}
}

// account writes the access log line and the metrics. The path is not among
// them, only the pattern: somebody may have put a PINFL where an id belongs.
func (g *Gateway) account(r *http.Request, w *statusWriter, rec *record, route string, took time.Duration) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	g.metrics.observe(route, w.status, took)
	attrs := []slog.Attr{
		slog.String("route", route), slog.Int("status", w.status),
		slog.Float64("ms", float64(took.Microseconds())/1000), slog.Int64("bytes", w.bytes),
		slog.String("trace_id", rec.trace.id()),
	}
	if rec.client.ID != "" {
		attrs = append(attrs, slog.String("client", rec.client.ID))
	}
	if !rec.id.IsZero() {
		attrs = append(attrs, slog.String("id", rec.id.String()))
	}
	if rec.code != "" {
		attrs = append(attrs, slog.String("code", rec.code))
	}
	level := slog.LevelInfo
	if probePath(route) {
		level = slog.LevelDebug
	}
	g.log.LogAttrs(r.Context(), level, "http", attrs...)
}

// probePath reports whether a route is asked every few seconds by machines.
func probePath(route string) bool {
	return route == "GET /livez" || route == "GET /readyz" || route == "GET /metrics"
}

// apiHandler answers one authenticated request; an error becomes a problem.
type apiHandler func(w http.ResponseWriter, r *http.Request, client mobileid.Client) error

// authed lets a handler run for a client that has one of the scopes.
func (g *Gateway) authed(scopes []mobileid.Scope, h apiHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, err := g.auth.authenticate(r.Context(), r.Header.Get("Authorization"))
		if err == nil {
			recordOf(r).client = client
			err = needScope(client, scopes...)
		}
		if err == nil {
			err = h(w, r, client)
		}
		if err != nil {
			g.refuse(w, r, err)
		}
	})
}

// readBody reads the JSON body of a POST.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		media, _, err := mime.ParseMediaType(ct)
		if err != nil || media != "application/json" {
			return nil, mobileid.Invalid("Content-Type", "content_type", "send application/json")
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge()
	case err != nil:
		return nil, mobileid.Invalid("", "body_unread", "the body did not arrive")
	}
	return body, nil
}

func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) > 1 {
		return "", mobileid.Invalid("Idempotency-Key", "idempotency_key_format", "the header stands more than once")
	}
	key := r.Header.Get("Idempotency-Key")
	return key, checkKey(key)
}

// pathID returns the id in the path if we made it for this client: a made-up
// one and another client's are not looked up.
func (g *Gateway) pathID(r *http.Request, client mobileid.Client, kind mobileid.IDKind) (mobileid.ID, error) {
	id, err := mobileid.ParseID(r.PathValue("id"))
	if err != nil || id.Kind() != kind || !g.accepter.deps.IDKey.Check(client.ID, id) {
		return mobileid.ID{}, notFound("no such id for this client")
	}
	recordOf(r).id = id
	return id, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has left is nobody's error
	return nil
}

func isNotFound(err error) bool { return err != nil && mobileid.KindOf(err) == mobileid.KindNotFound }
