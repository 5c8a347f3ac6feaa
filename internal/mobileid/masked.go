package mobileid

import (
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// The masks say what was hidden, not whose it was: a PINFL shows sex and birth
// date in its first seven digits, so no digit of it is safe to print.
const (
	maskPINFL = "PINFL(hidden)"
	maskCode  = "Code(hidden)"
	maskText  = "Text(hidden)"
)

// writeMask prints mask for every verb, including %#v, %x and %d, which would
// otherwise walk the unexported fields.
func writeMask(f fmt.State, mask string) {
	_, _ = io.WriteString(f, mask)
}

// hidden keeps a personal string out of reach of reflection. Where fmt may not
// call our Format it walks the value itself: inside an unexported field of
// somebody's struct, and for %w of what is no error. There it finds an address
// and not the string. Equal strings still compare equal. The zero value is "".
type hidden struct{ at unique.Handle[string] }

func hide(s string) hidden {
	if s == "" {
		return hidden{}
	}
	return hidden{unique.Make(s)}
}

func (h hidden) reveal() string {
	if h == (hidden{}) {
		return ""
	}
	return h.at.Value()
}

// Code is a one-time code in clear. It lives in memory only, between its
// making and the sealing of the text that carries it, or between the request
// that repeats it and its comparison.
type Code struct{ digits hidden }

// NewCode wraps the characters of a code so that they cannot be printed.
func NewCode(digits string) Code { return Code{hide(digits)} }

// Reveal returns the code's characters.
func (c Code) Reveal() string { return c.digits.reveal() }

// IsZero reports whether the code is empty.
func (c Code) IsZero() bool { return c == Code{} }

// String returns the mask.
func (Code) String() string { return maskCode }

// Format prints the mask for every verb.
func (Code) Format(f fmt.State, _ rune) { writeMask(f, maskCode) }

// LogValue gives slog the mask.
func (Code) LogValue() slog.Value { return slog.StringValue(maskCode) }

// MarshalText gives encoders the mask.
func (Code) MarshalText() ([]byte, error) { return []byte(maskCode), nil }

// Text is the words of a Message in clear, the code included.
type Text struct{ words hidden }

// NewText wraps the words of a Message so that they cannot be printed.
func NewText(words string) Text { return Text{hide(words)} }

// Reveal returns the words.
func (t Text) Reveal() string { return t.words.reveal() }

// String returns the mask.
func (Text) String() string { return maskText }

// Format prints the mask for every verb.
func (Text) Format(f fmt.State, _ rune) { writeMask(f, maskText) }

// LogValue gives slog the mask.
func (Text) LogValue() slog.Value { return slog.StringValue(maskText) }

// MarshalText gives encoders the mask.
func (Text) MarshalText() ([]byte, error) { return []byte(maskText), nil }
