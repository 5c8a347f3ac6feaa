package mobileid

import (
	"fmt"
	"log/slog"
	"strings"
)

// MSISDN is a subscriber number of Uzbekistan: country code 998 and nine
// digits. The zero value is "none".
type MSISDN struct{ national hidden }

// ParseMSISDN reads a number the way people write it: spaces, '-', '(', ')'
// and '.' are dropped, then "+998", "998", "00998" or nothing may stand before
// exactly nine digits. Letters, extensions and digits of other alphabets are
// refused. Whether the code belongs to a known operator is not looked at: see
// NumberPlan. The error is of KindInvalid and never repeats the number.
func ParseMSISDN(s string) (MSISDN, error) {
	var kept [longestNumber]byte
	digits, ok := nationalOf(s, &kept)
	if !ok {
		return MSISDN{}, errMSISDN()
	}
	return MSISDN{hide(string(digits))}, nil
}

// longestNumber is as long as what people write for a number may be.
const longestNumber = 32

// nationalOf reads the digits behind the country code into kept. Every receipt
// names a number: what is read may lie on the stack.
func nationalOf(s string, kept *[longestNumber]byte) (digits []byte, ok bool) {
	if len(s) > len(kept) {
		return nil, false
	}
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '+' && n == 0:
			kept[n] = c
			n++
		case c == ' ' || c == '-' || c == '(' || c == ')' || c == '.':
		default:
			return nil, false
		}
	}
	digits = kept[:n]
	if n != nationalDigits {
		for _, prefix := range [...]string{"+998", "00998", "998"} {
			if len(digits) >= len(prefix) && string(digits[:len(prefix)]) == prefix {
				digits = digits[len(prefix):]
				break
			}
		}
	}
	return digits, len(digits) == nationalDigits && digits[0] != '+'
}

// nationalDigits are those behind the country code.
const nationalDigits = 9

func errMSISDN() error {
	return Invalid("msisdn", "msisdn_format", "a number is +998 and nine digits, for example +998901234567")
}

// Reveal returns the number in E.164 with the plus sign.
func (m MSISDN) Reveal() string {
	if m.IsZero() {
		return ""
	}
	return "+998" + m.national.reveal()
}

// RevealDigits returns the number in E.164 without the plus sign, as
// destination_addr wants it (SMPP 3.4, 5.2.9).
func (m MSISDN) RevealDigits() string { return strings.TrimPrefix(m.Reveal(), "+") }

// Code returns the two digits that name the network, for example "90".
func (m MSISDN) Code() string {
	if m.IsZero() {
		return ""
	}
	return m.national.reveal()[:2]
}

// IsZero reports whether there is no number.
func (m MSISDN) IsZero() bool { return m == MSISDN{} }

// Masked shows the code and the last two digits: enough for a person to know
// his own number by, too little to call.
func (m MSISDN) Masked() string {
	if m.IsZero() {
		return "MSISDN(none)"
	}
	national := m.national.reveal()
	return "+998 " + national[:2] + " *** ** " + national[7:]
}

// String returns the mask.
func (m MSISDN) String() string { return m.Masked() }

// Format prints the mask for every verb.
func (m MSISDN) Format(f fmt.State, _ rune) { writeMask(f, m.Masked()) }

// LogValue gives slog the mask.
func (m MSISDN) LogValue() slog.Value { return slog.StringValue(m.Masked()) }

// MarshalText gives encoders the mask.
func (m MSISDN) MarshalText() ([]byte, error) { return []byte(m.Masked()), nil }
