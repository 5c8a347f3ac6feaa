package mobileid

import "context"

type traceParentKey struct{}

// WithTraceParent puts a W3C traceparent into ctx, so that what is published
// on behalf of a request carries the request's trace. Empty text is ignored.
func WithTraceParent(ctx context.Context, traceParent string) context.Context {
	if traceParent == "" {
		return ctx
	}
	return context.WithValue(ctx, traceParentKey{}, traceParent)
}

// TraceParentOf returns what WithTraceParent put there; "" if nothing.
func TraceParentOf(ctx context.Context) string {
	s, _ := ctx.Value(traceParentKey{}).(string)
	return s
}
