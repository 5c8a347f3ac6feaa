package registry

import (
	"log/slog"

	"mobileid/internal/mobileid"
)

// levelOf is how loud an error is: what will be tried again by itself is a
// warning.
func levelOf(err error) slog.Level {
	switch mobileid.KindOf(err) {
	case mobileid.KindUnavailable, mobileid.KindUnknown:
		return slog.LevelWarn
	}
	return slog.LevelError
}
