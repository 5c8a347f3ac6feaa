package texts

import (
	"strconv"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// slotType is what may fill a slot.
type slotType string

// The closed list of slot types.
const (
	slotCode     slotType = "code"     // 4 digits to slot.Digits
	slotMinutes  slotType = "minutes"  // 1 to slot.Max
	slotEnum     slotType = "enum"     // a key of slot.Words
	slotDateTime slotType = "datetime" // RFC 3339, shown in Asia/Tashkent
	slotMoney    slotType = "money"    // soum, for example 120.50; only in warnings
)

const (
	minDigits  = 4
	shownTime  = "02.01.2006 15:04"
	firstYear  = 2000 // of a datetime; with lastYear it keeps the shown width fixed
	lastYear   = 2999
	longestRFC = len("2006-01-02T15:04:05.999999999+00:00")
)

// slot is a place in a text.
type slot struct {
	Type   slotType
	Digits int                                   // slotCode: the most digits
	Max    int                                   // slotMinutes: the most minutes
	Words  map[string]map[mobileid.Locale]string // slotEnum: value, locale, what is shown
}

// show checks value and returns what the reader sees; ok = false when the type
// does not allow it. want says, without the value, what would be allowed.
func (s slot) show(value string, locale mobileid.Locale) (shown, want string, ok bool) {
	switch s.Type {
	case slotCode:
		ok = len(value) >= minDigits && len(value) <= s.Digits && onlyDigits(value)
		return value, strconv.Itoa(minDigits) + " to " + strconv.Itoa(s.Digits) + " digits", ok
	case slotMinutes:
		// The length bounds what Atoi is given; the spelling must be the one
		// that we would print, so that the width is known.
		n, err := strconv.Atoi(value)
		ok = err == nil && n >= 1 && n <= s.Max && strconv.Itoa(n) == value
		return value, "a whole number from 1 to " + strconv.Itoa(s.Max), ok
	case slotEnum:
		words, known := s.Words[value]
		return words[locale], "one of the values that the catalogue lists", known
	case slotDateTime:
		want = "a date and time of RFC 3339, for example 2026-11-22T12:05:00Z"
		if len(value) > longestRFC {
			return "", want, false
		}
		at, err := time.Parse(time.RFC3339, value)
		at = at.In(mobileid.Tashkent)
		ok = err == nil && at.Year() >= firstYear && at.Year() <= lastYear
		return at.Format(shownTime), want, ok
	case slotMoney:
		amount, err := mobileid.ParseMoney(value)
		return strings.TrimSuffix(amount.String(), ".00"), "soum with at most two decimals, for example 120.50", err == nil
	}
	return "", "nothing", false
}

// longest returns fillings, as shown, among which is the one that costs most:
// of an enum all words, since alphabet and length both count.
func (s slot) longest(locale mobileid.Locale) []string {
	switch s.Type {
	case slotCode:
		return []string{strings.Repeat("0", s.Digits)}
	case slotMinutes:
		return []string{strconv.Itoa(s.Max)}
	case slotEnum:
		var all []string
		for _, words := range s.Words {
			all = append(all, words[locale])
		}
		return all
	case slotDateTime:
		return []string{shownTime}
	case slotMoney: // of a text that is not sent
	}
	return nil
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
