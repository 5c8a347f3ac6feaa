package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"mobileid/internal/mobileid"
)

// problem is the body of an error (RFC 9457).
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Instance  string `json:"instance,omitempty"` // id of the challenge or Message
	Code      string `json:"code"`
	Retryable bool   `json:"retryable"`
	TraceID   string `json:"traceId"`
	Field     string `json:"field,omitempty"`
	TriesLeft *int   `json:"tries_left,omitempty"`
}

// wrongCodeError is the refusal that says more than an Error can.
type wrongCodeError struct {
	refusal   *mobileid.Error
	triesLeft int
}

// Error is the refusal's text.
func (w *wrongCodeError) Error() string { return w.refusal.Error() }

// Unwrap lets errors.As find the refusal.
func (w *wrongCodeError) Unwrap() error { return w.refusal }

// defaultRetry is what Retry-After says when nobody said.
const defaultRetry = time.Second

// problemOf turns an error into what may be shown. Nothing of an error that is
// not ours is shown.
func (g *Gateway) problemOf(err error) (problem, time.Duration) {
	var e *mobileid.Error
	if !errors.As(err, &e) {
		e = &mobileid.Error{Kind: mobileid.KindInternal}
	}
	generic, ok := kindType[e.Kind]
	if !ok {
		generic = kindType[mobileid.KindInternal]
	}
	if generic.Code == kindType[mobileid.KindInternal].Code {
		// Not even our own words: an internal message is for our log.
		e = &mobileid.Error{Kind: mobileid.KindInternal, Code: generic.Code, Message: generic.Meaning}
	}
	row, ok := problemTable[e.Code]
	if !ok {
		row = generic
	}
	p := problem{
		Type: g.cfg.PublicURL + "/problems/" + row.Code, Title: row.Title, Status: row.Status,
		Detail: e.Message, Code: e.Code, Retryable: row.Retryable, Field: e.Field,
	}
	if p.Code == "" {
		p.Code = row.Code
	}
	if w, ok := errors.AsType[*wrongCodeError](err); ok {
		p.TriesLeft = &w.triesLeft
	}
	after := e.RetryAfter
	if after <= 0 && (p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests) {
		after = defaultRetry
	}
	return p, after
}

// refuse answers with the problem that err is, and remembers its code for the
// access log.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, after := g.problemOf(err)
	rec := recordOf(r)
	rec.code, p.TraceID = p.Code, rec.trace.id()
	if !rec.id.IsZero() {
		p.Instance = rec.id.String()
	}
	h := w.Header()
	if after > 0 {
		seconds := int(math.Ceil(after.Seconds()))
		h.Set("Retry-After", strconv.Itoa(seconds))
		if p.Status == http.StatusTooManyRequests {
			h.Set("RateLimit", fmt.Sprintf(`"client";r=0;t=%d`, seconds))
			ratePolicy(h, rec.client)
		}
	}
	switch {
	case p.Code == "token_missing":
		h.Set("WWW-Authenticate", `Bearer realm="mobileid"`)
	case p.Status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="mobileid", error="invalid_token", error_description="`+p.Title+`"`)
	case p.Code == "scope_missing":
		h.Set("WWW-Authenticate", `Bearer realm="mobileid", error="insufficient_scope"`)
	}
	if p.Status >= http.StatusInternalServerError {
		// The kinds above are the asker's business, not ours.
		level := g.log.Warn
		if p.Status == http.StatusInternalServerError {
			level = g.log.Error
		}
		level("request failed", "code", p.Code, "trace_id", p.TraceID, "err", mobileid.Ours(err))
	}
	g.metrics.problems.WithLabelValues(codeLabel(p.Code), strconv.Itoa(p.Status)).Inc()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// codeLabel bounds the label: a code without a row of its own counts as "other".
func codeLabel(code string) string {
	if _, ok := problemTable[code]; ok {
		return code
	}
	return "other"
}

// ratePolicy tells the client's quota (draft-ietf-httpapi-ratelimit-headers).
func ratePolicy(h http.Header, c mobileid.Client) {
	if c.Quota.Rate > 0 && c.Quota.Per > 0 {
		window := max(1, int(c.Quota.Per.Seconds()))
		h.Set("RateLimit-Policy", `"client";q=`+strconv.Itoa(c.Quota.Rate)+`;w=`+strconv.Itoa(window))
	}
}
