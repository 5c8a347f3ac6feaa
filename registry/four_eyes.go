package registry

import (
	"fmt"
	"strings"
	"unicode"

	"mobileid/internal/mobileid"
)

// maxSaid bounds a name and a reason, in bytes.
const maxSaid = 500

// saidBy checks who takes a step and why, and returns both without spaces around.
func saidBy(by, why string) (name, reason string, err error) {
	name, reason = strings.TrimSpace(by), strings.TrimSpace(why)
	switch {
	case !oneLine(name) || !strings.ContainsFunc(name, unicode.IsLetter):
		return "", "", mobileid.Invalid("by", "name_format", fmt.Sprintf("by: want the name of a person, one line of at most %d bytes", maxSaid))
	case sameName(name, byRule):
		return "", "", mobileid.Invalid("by", "name_format", "by: that is what rules are called: want the name of a person")
	case reason == "" || !oneLine(reason):
		return "", "", mobileid.Invalid("why", "why_format", fmt.Sprintf("why: want one line of at most %d bytes", maxSaid))
	}
	return name, reason, nil
}

func oneLine(s string) bool {
	return len(s) <= maxSaid && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}

// sameName reports whether two names are of one person, however they are written:
// case, spaces and what cannot be seen make no other of him.
func sameName(a, b string) bool { return plainName(a) == plainName(b) }

func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsGraphic(r) {
			return -1
		}
		// The least of the letters that differ only by case.
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
