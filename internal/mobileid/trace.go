package mobileid

import (
	"context"
	"regexp"
)

type traceParentKey struct{}

var traceParentForm = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// WithTraceParent puts a W3C traceparent into ctx, so that what is published
// on behalf of a request carries the request's trace. Text of any other form
// is ignored: outsiders send it, and it goes on to other topics.
func WithTraceParent(ctx context.Context, traceParent string) context.Context {
	if TraceParent(traceParent) == "" {
		return ctx
	}
	return context.WithValue(ctx, traceParentKey{}, traceParent)
}

// TraceParent returns text that has the form of a W3C traceparent, and ""
// instead of any other.
func TraceParent(text string) string {
	if !traceParentForm.MatchString(text) {
		return ""
	}
	return text
}

// TraceParentOf returns what WithTraceParent put there; "" if nothing.
func TraceParentOf(ctx context.Context) string {
	s, _ := ctx.Value(traceParentKey{}).(string)
	return s
}
