package gateway

import (
	"crypto/rand"
	"encoding/hex"

	"mobileid/internal/mobileid"
)

// trace is the trace that the caller is in, or a new one, and a span of ours.
type trace struct{ mobileid.TraceContext }

// newTrace continues the caller's trace if the header is right, and begins one
// if it is missing or wrong, as the standard asks.
func newTrace(header string) trace {
	t, ok := mobileid.ParseTraceParent(header)
	if !ok {
		t.TraceID, t.Flags = randomHex(16), "00"
	}
	t.SpanID = randomHex(8)
	return trace{t}
}

func (t trace) id() string { return t.TraceID }

func (t trace) parent() string { return t.String() }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
