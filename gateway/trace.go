package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
)

// trace is a W3C trace context (level 1): the trace that the caller is in, or
// a new one, and a span of ours.
type trace struct{ traceID, spanID, flags string }

// The header's later versions keep these four parts first.
var traceParentForm = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)

// newTrace continues the caller's trace if the header is right, and begins one
// if it is missing or wrong, as the standard asks.
func newTrace(header string) trace {
	m := traceParentForm.FindStringSubmatch(header)
	if m == nil || m[1] == "ff" || m[1] == "00" && m[5] != "" ||
		strings.Trim(m[2], "0") == "" || strings.Trim(m[3], "0") == "" {
		return trace{traceID: randomHex(16), spanID: randomHex(8), flags: "00"}
	}
	return trace{traceID: m[2], spanID: randomHex(8), flags: m[4]}
}

func (t trace) id() string { return t.traceID }

func (t trace) parent() string { return "00-" + t.traceID + "-" + t.spanID + "-" + t.flags }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
