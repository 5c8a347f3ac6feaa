package gateway

import (
	"fmt"
	"runtime"
	"strings"
)

// panicSite names the functions that led to a panic, innermost first, without
// their arguments.
func panicSite() string {
	pcs := make([]uintptr, 24)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			fmt.Fprintf(&b, "%s:%d ", f.Function, f.Line)
		}
		if !more {
			return strings.TrimSpace(b.String())
		}
	}
}
