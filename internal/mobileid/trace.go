package mobileid

import (
	"context"
	"regexp"
	"strings"
)

type traceParentKey struct{}

// TraceContext is what a W3C traceparent says (Trace Context level 1), in lower
// hexadecimal.
type TraceContext struct{ TraceID, SpanID, Flags string }

// Later versions of the standard keep these four parts first.
var traceParentForm = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)

// ParseTraceParent reads a traceparent. ok = false for text of another form,
// the version ff, and a trace or span of zeros, which the standard refuses.
func ParseTraceParent(text string) (t TraceContext, ok bool) {
	m := traceParentForm.FindStringSubmatch(text)
	if m == nil || m[1] == "ff" || m[1] == "00" && m[5] != "" ||
		strings.Trim(m[2], "0") == "" || strings.Trim(m[3], "0") == "" {
		return TraceContext{}, false
	}
	return TraceContext{TraceID: m[2], SpanID: m[3], Flags: m[4]}, true
}

// String is the traceparent of version 00.
func (t TraceContext) String() string { return "00-" + t.TraceID + "-" + t.SpanID + "-" + t.Flags }

// WithTraceParent puts a W3C traceparent into ctx, so that what is published
// on behalf of a request carries the request's trace. Text of any other form
// is ignored: outsiders send it, and it goes on to other topics.
func WithTraceParent(ctx context.Context, traceParent string) context.Context {
	if traceParent = TraceParent(traceParent); traceParent == "" {
		return ctx
	}
	return context.WithValue(ctx, traceParentKey{}, traceParent)
}

// TraceParent returns the traceparent in text as version 00, without what a
// later version adds, and "" when there is none.
func TraceParent(text string) string {
	t, ok := ParseTraceParent(text)
	if !ok {
		return ""
	}
	return t.String()
}

// TraceParentOf returns what WithTraceParent put there; "" if nothing.
func TraceParentOf(ctx context.Context) string {
	s, _ := ctx.Value(traceParentKey{}).(string)
	return s
}
