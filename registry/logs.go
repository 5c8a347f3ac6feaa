package registry

import (
	"errors"
	"log/slog"

	"mobileid/internal/mobileid"
)

// errAttr is how an error of this package is logged: cleaned, so without a
// value of a row, and with its cause.
func errAttr(err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	var e *mobileid.Error
	if errors.As(err, &e) && e.Err != nil {
		return slog.Group("error", slog.String("kind", string(e.Kind)), slog.String("code", e.Code), slog.String("cause", e.Err.Error()))
	}
	return slog.String("error", err.Error())
}

// levelOf is how loud an error is: what will be tried again by itself is a
// warning.
func levelOf(err error) slog.Level {
	switch mobileid.KindOf(err) {
	case mobileid.KindUnavailable, mobileid.KindUnknown:
		return slog.LevelWarn
	}
	return slog.LevelError
}
