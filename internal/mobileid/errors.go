package mobileid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Kind is the family of an error. The HTTP edge maps it to a status, the
// consumers to "again later" or "park"; nobody else interprets it.
type Kind string

// The closed list of kinds.
const (
	KindInvalid      Kind = "invalid"         // the request is wrong; repeating it will not help
	KindUnauthorized Kind = "unauthorized"    // who asks is not known
	KindForbidden    Kind = "forbidden"       // who asks may not
	KindNotFound     Kind = "not_found"       // no such thing for this asker
	KindConflict     Kind = "conflict"        // contradicts what is stored
	KindMismatch     Kind = "mismatch"        // same Idempotency-Key, another body
	KindTooLarge     Kind = "too_large"       // body over the limit
	KindLimited      Kind = "rate_limited"    // come again after RetryAfter
	KindUnavailable  Kind = "unavailable"     // surely not done; try again
	KindUnknown      Kind = "unknown_outcome" // perhaps done; repeat with the same key
	KindInternal     Kind = "internal"        // our fault
)

// Status is the HTTP status of an error of this kind, the same at the HTTP edge
// and on out.<client>; 500 for a kind outside the list.
func (k Kind) Status() int {
	switch k {
	case KindInvalid:
		return 400
	case KindUnauthorized:
		return 401
	case KindForbidden:
		return 403
	case KindNotFound:
		return 404
	case KindConflict:
		return 409
	case KindTooLarge:
		return 413
	case KindMismatch:
		return 422
	case KindLimited:
		return 429
	case KindUnavailable, KindUnknown:
		return 503
	case KindInternal:
	}
	return 500
}

// Retryable reports whether the same request may succeed later without a
// change.
func (k Kind) Retryable() bool {
	return k == KindUnavailable || k == KindUnknown || k == KindInternal || k == KindLimited
}

// Error is the one error type that crosses rooms. Message is safe to show to
// the asker and holds no personal data. The wrapped cause is for our log only,
// and there only when it is known to quote neither input nor a row: see Safe.
type Error struct {
	Kind       Kind
	Code       string // stable, snake_case, for example "pinfl_check_digit"
	Field      string // JSON field at fault, "" if none
	Message    string
	RetryAfter time.Duration // 0 = not said
	Err        error         `json:"-"` // never encoded: a cause may quote a row
}

// Error returns the code and the public message, without the cause.
func (e *Error) Error() string {
	if e.Field != "" {
		return e.Code + " (" + e.Field + "): " + e.Message
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// LogValue prints kind, code, the field if there is one, and a safe cause.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", string(e.Kind)), slog.String("code", e.Code)}
	if e.Field != "" {
		attrs = append(attrs, slog.String("field", e.Field))
	}
	if cause := safeCause(e.Err); cause != "" {
		attrs = append(attrs, slog.String("cause", cause))
	}
	return slog.GroupValue(attrs...)
}

// Safe marks a cause as free of personal data, so that the log may print it.
// Whoever calls it has made sure: registry, after it reduced an error of
// Postgres to its SQLSTATE; consumers and otp, whose clients quote addresses
// and codes of the server and no record, key or value.
func Safe(cause error) error {
	if cause == nil {
		return nil
	}
	return safeError{cause}
}

type safeError struct{ error }

func (e safeError) Unwrap() error { return e.error }

// Ours returns err as the log may print it: an error of ours as it is, in
// whatever it is wrapped, and any other as KindInternal, told by its type
// alone, because its text may quote what it was about.
func Ours(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: KindInternal, Code: string(KindInternal), Message: "internal error", Err: err}
}

// safeCause returns what of a cause may be logged: what was marked by Safe,
// what the network said (it knows addresses only), the ends of contexts, and
// of any other its type.
func safeCause(cause error) string {
	var marked safeError
	var network *net.OpError
	switch {
	case errors.As(cause, &marked):
		return marked.Error()
	case errors.As(cause, &network):
		return network.Error()
	case errors.Is(cause, context.DeadlineExceeded):
		return context.DeadlineExceeded.Error()
	case errors.Is(cause, context.Canceled):
		return context.Canceled.Error()
	case cause != nil:
		return fmt.Sprintf("%T", cause)
	}
	return ""
}

// Invalid makes a KindInvalid error about one field.
func Invalid(field, code, message string) *Error {
	return &Error{Kind: KindInvalid, Code: code, Field: field, Message: message}
}

// Unavailable makes a KindUnavailable error: surely not done, try again after
// the given time.
func Unavailable(code string, after time.Duration, cause error) *Error {
	return &Error{Kind: KindUnavailable, Code: code, Message: "a part of the system is away; nothing was done", RetryAfter: after, Err: cause}
}

// KindOf returns the kind of err: "" for nil, internal for an error that is
// not ours.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// CodeOf returns the stable code of err: "" for nil, "internal" for an error
// that is not ours.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return string(KindInternal)
}
