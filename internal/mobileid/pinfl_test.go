package mobileid

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// pinflVectors are said to stand in the official texts; digits 1-7 are what
// they stand for.
var pinflVectors = []struct {
	digits string
	born   time.Time
}{
	{"31210632040244", time.Date(1963, 10, 12, 0, 0, 0, 0, time.UTC)},
	{"31210932040247", time.Date(1993, 10, 12, 0, 0, 0, 0, time.UTC)},
	{"40201902050010", time.Date(1990, 1, 2, 0, 0, 0, 0, time.UTC)},
}

// withCheckDigit completes 13 digits.
func withCheckDigit(thirteen string) string {
	sum := 0
	for i := range 13 {
		sum += int(thirteen[i]-'0') * pinflWeights[i%3]
	}
	return thirteen + string(rune('0'+sum%10))
}

func TestParsePINFLTakesTheOfficialExamples(t *testing.T) {
	for _, v := range pinflVectors {
		p, err := ParsePINFL(v.digits)
		if err != nil || p.Reveal() != v.digits {
			t.Errorf("%s: %v", v.digits, err)
			continue
		}
		if born, err := birthDate(v.digits); err != nil || !born.Equal(v.born) {
			t.Errorf("%s: born %s, %v", v.digits, born, err)
		}
	}
}

func TestParsePINFLSaysWhatIsWrong(t *testing.T) {
	cases := []struct{ name, digits, code string }{
		{"widely copied example 1", "30101990123458", "pinfl_check_digit"},
		{"widely copied example 2", "32109876543210", "pinfl_check_digit"},
		{"one digit mistyped", "31210632040245", "pinfl_check_digit"},
		{"nothing", "", "pinfl_length"},
		{"13 digits", "3121063204024", "pinfl_length"},
		{"15 digits", "312106320402440", "pinfl_length"},
		{"a space", "3121063204024 ", "pinfl_digits"},
		{"a letter", "3121063204O244", "pinfl_digits"},
		{"Arabic digits", "٣١٢١٠٦٣", "pinfl_digits"}, // 14 bytes
		{"century 0", withCheckDigit("0121063204024"), "pinfl_century"},
		{"century 7", withCheckDigit("7121063204024"), "pinfl_century"},
		{"31 February", withCheckDigit("3310290204024"), "pinfl_date"},
		{"29 February of no leap year", withCheckDigit("4290201205001"), "pinfl_date"},
		{"29 February 1900, no leap year", withCheckDigit("3290200204024"), "pinfl_date"},
		{"month 13", withCheckDigit("3011390204024"), "pinfl_date"},
		{"month 0", withCheckDigit("3010090204024"), "pinfl_date"},
		{"day 0", withCheckDigit("3000190204024"), "pinfl_date"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePINFL(c.digits)
			var e *Error
			if !errors.As(err, &e) || e.Kind != KindInvalid || e.Field != "pinfl" || e.Code != c.code {
				t.Fatalf("err = %v, want %s", err, c.code)
			}
			if !p.IsZero() {
				t.Error("a refused PINFL is not zero")
			}
			if c.digits != "" && strings.Contains(err.Error(), c.digits) {
				t.Errorf("the error repeats the digits: %v", err)
			}
		})
	}
}

func TestParsePINFLKnowsLeapYearsOfEveryCentury(t *testing.T) {
	for _, thirteen := range []string{"5290200204024", "2290296204024", "6290204204024"} { // 2000, 1896, 2004
		if _, err := ParsePINFL(withCheckDigit(thirteen)); err != nil {
			t.Errorf("%s: %v", thirteen, err)
		}
	}
}

func FuzzParsePINFL(f *testing.F) {
	for _, v := range pinflVectors {
		f.Add(v.digits)
	}
	f.Add("30101990123458")
	f.Add("3121063204024\x00")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePINFL(s)
		if err != nil {
			if !p.IsZero() || KindOf(err) != KindInvalid || (len(s) > 4 && strings.Contains(err.Error(), s)) {
				t.Fatalf("refused as %v", err)
			}
			return
		}
		if p.Reveal() != s || len(s) != 14 || withCheckDigit(s[:13]) != s {
			t.Fatalf("took what it should not")
		}
	})
}
