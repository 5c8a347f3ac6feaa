package mobileid

import (
	"fmt"
	"log/slog"
	"time"
)

// PINFL is a person's 14-digit identification number (JShShIR; Cabinet
// resolution No 177 of 12 April 2022). The zero value is "none".
type PINFL struct{ digits hidden }

// pinflWeights repeat over digits 1-13; the sum modulo 10 is digit 14.
var pinflWeights = [3]int{7, 3, 1}

// ParsePINFL reads exactly 14 ASCII digits and checks them as a sieve: the
// sex-and-century digit, the calendar date in digits 2-7 and the 7-3-1 check
// digit. Passing proves nothing about the person; the registry decides. The
// error is of KindInvalid and never repeats the digits.
func ParsePINFL(s string) (PINFL, error) {
	if len(s) != 14 {
		return PINFL{}, Invalid("pinfl", "pinfl_length", "a PINFL has 14 digits")
	}
	for i := range 14 {
		if s[i] < '0' || s[i] > '9' {
			return PINFL{}, Invalid("pinfl", "pinfl_digits", "a PINFL has digits only")
		}
	}
	if _, err := birthDate(s); err != nil {
		return PINFL{}, err
	}
	if PINFLCheckDigit(s[:13]) != s[13] {
		return PINFL{}, Invalid("pinfl", "pinfl_check_digit", "the check digit of the PINFL is wrong: look for a mistyped digit")
	}
	return PINFL{hide(s)}, nil
}

// PINFLCheckDigit returns the ASCII digit that follows the first thirteen,
// which must be ASCII digits.
func PINFLCheckDigit(thirteen string) byte {
	sum := 0
	for i := range len(thirteen) {
		sum += int(thirteen[i]-'0') * pinflWeights[i%3]
	}
	return '0' + byte(sum%10)
}

// birthDate reads digit 1 (odd male, even female; pairs 1-2, 3-4, 5-6 are the
// centuries 18xx, 19xx, 20xx) and digits 2-7 (DDMMYY).
func birthDate(s string) (time.Time, error) {
	first := int(s[0] - '0')
	if first < 1 || first > 6 {
		return time.Time{}, Invalid("pinfl", "pinfl_century", "the first digit of a PINFL is 1 to 6")
	}
	year := 1800 + 100*((first-1)/2) + two(s[5:7])
	month, day := two(s[3:5]), two(s[1:3])
	born := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	// time.Date normalises 31 February to March; a changed field means that
	// the date does not exist.
	if born.Year() != year || int(born.Month()) != month || born.Day() != day {
		return time.Time{}, Invalid("pinfl", "pinfl_date", "digits 2 to 7 of a PINFL are a birth date, DDMMYY")
	}
	return born, nil
}

func two(s string) int { return int(s[0]-'0')*10 + int(s[1]-'0') }

// Reveal returns the 14 digits.
func (p PINFL) Reveal() string { return p.digits.reveal() }

// IsZero reports whether there is no PINFL.
func (p PINFL) IsZero() bool { return p == PINFL{} }

// String returns the mask.
func (PINFL) String() string { return maskPINFL }

// Format prints the mask for every verb.
func (PINFL) Format(f fmt.State, _ rune) { writeMask(f, maskPINFL) }

// LogValue gives slog the mask.
func (PINFL) LogValue() slog.Value { return slog.StringValue(maskPINFL) }

// MarshalText gives encoders the mask.
func (PINFL) MarshalText() ([]byte, error) { return []byte(maskPINFL), nil }
