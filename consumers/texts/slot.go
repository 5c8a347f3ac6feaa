package texts

import (
	"strconv"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// SlotType is what may fill a slot.
type SlotType string

// The closed list of slot types.
const (
	SlotCode     SlotType = "code"     // 4 digits to Slot.Digits
	SlotMinutes  SlotType = "minutes"  // 1 to Slot.Max
	SlotEnum     SlotType = "enum"     // a key of Slot.Words
	SlotDateTime SlotType = "datetime" // RFC 3339, shown in Asia/Tashkent
)

const (
	minDigits  = 4
	shownTime  = "02.01.2006 15:04"
	firstYear  = 2000 // of a datetime; with lastYear it keeps the shown width fixed
	lastYear   = 2999
	longestRFC = len("2006-01-02T15:04:05.999999999+00:00")
)

// Slot is a place in a text.
type Slot struct {
	Type   SlotType
	Digits int                                   // SlotCode: the most digits
	Max    int                                   // SlotMinutes: the most minutes
	Words  map[string]map[mobileid.Locale]string // SlotEnum: value, locale, what is shown
}

// show checks value and returns what the reader sees; ok = false when the type
// does not allow it. want says, without the value, what would be allowed.
func (s Slot) show(value string, locale mobileid.Locale) (shown, want string, ok bool) {
	switch s.Type {
	case SlotCode:
		ok = len(value) >= minDigits && len(value) <= s.Digits && onlyDigits(value)
		return value, strconv.Itoa(minDigits) + " to " + strconv.Itoa(s.Digits) + " digits", ok
	case SlotMinutes:
		// The length bounds what Atoi is given; the spelling must be the one
		// that we would print, so that the width is known.
		n, err := strconv.Atoi(value)
		ok = err == nil && n >= 1 && n <= s.Max && strconv.Itoa(n) == value
		return value, "a whole number from 1 to " + strconv.Itoa(s.Max), ok
	case SlotEnum:
		words, known := s.Words[value]
		return words[locale], "one of the values that the catalogue lists", known
	case SlotDateTime:
		want = "a date and time of RFC 3339, for example 2026-11-22T12:05:00Z"
		if len(value) > longestRFC {
			return "", want, false
		}
		at, err := time.Parse(time.RFC3339, value)
		at = at.In(mobileid.Tashkent)
		ok = err == nil && at.Year() >= firstYear && at.Year() <= lastYear
		return at.Format(shownTime), want, ok
	}
	return "", "nothing", false
}

// longest returns fillings, as shown, among which is the one that costs most:
// of an enum all words, since alphabet and length both count.
func (s Slot) longest(locale mobileid.Locale) []string {
	switch s.Type {
	case SlotCode:
		return []string{strings.Repeat("0", s.Digits)}
	case SlotMinutes:
		return []string{strconv.Itoa(s.Max)}
	case SlotEnum:
		var all []string
		for _, words := range s.Words {
			all = append(all, words[locale])
		}
		return all
	case SlotDateTime:
		return []string{shownTime}
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
