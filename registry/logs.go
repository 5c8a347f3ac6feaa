package registry

import (
	"log/slog"

	"mobileid/internal/mobileid"
)

// levelOf is how loud an error is: what will be tried again by itself is a
// warning.
func levelOf(err error) slog.Level {
	if kind := mobileid.KindOf(err); kind == mobileid.KindUnavailable || kind == mobileid.KindUnknown {
		return slog.LevelWarn
	}
	return slog.LevelError
}
