package texts

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mobileid/internal/mobileid"
)

// piece is a run of words, or a slot if slot is not empty.
type piece struct {
	words string
	slot  string
}

// parseBody splits "{code} is your code" into pieces.
func parseBody(body string) ([]piece, error) {
	var pieces []piece
	for rest := body; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			return append(pieces, piece{words: rest}), nil
		}
		if rest[open] == '}' {
			return nil, fmt.Errorf("a closing brace without an opening one")
		}
		if open > 0 {
			pieces = append(pieces, piece{words: rest[:open]})
		}
		name, after, closed := strings.Cut(rest[open+1:], "}")
		if !closed {
			return nil, fmt.Errorf("an opening brace without a closing one")
		}
		if !slotName(name) {
			return nil, fmt.Errorf("{%s} does not name a slot (a-z and _)", name)
		}
		pieces = append(pieces, piece{slot: name})
		rest = after
	}
	return pieces, nil
}

func slotName(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

func slotsOf(pieces []piece) []string {
	var names []string
	for _, p := range pieces {
		if p.slot != "" && !slices.Contains(names, p.slot) {
			names = append(names, p.slot)
		}
	}
	return names
}

// fill puts the shown values in.
func fill(pieces []piece, shown map[string]string) string {
	var b strings.Builder
	for _, p := range pieces {
		if p.slot == "" {
			b.WriteString(p.words)
		} else {
			b.WriteString(shown[p.slot])
		}
	}
	return b.String()
}

// longestFillings returns every combination of the slots' costliest fillings.
// The catalogue is our own data, with one enum a text, so they are few.
func longestFillings(pieces []piece, slots map[string]slot, locale mobileid.Locale) []string {
	choices := []map[string]string{{}}
	for _, name := range slotsOf(pieces) {
		var next []map[string]string
		for _, chosen := range choices {
			for _, words := range slots[name].longest(locale) {
				more := make(map[string]string, len(chosen)+1)
				maps.Copy(more, chosen)
				more[name] = words
				next = append(next, more)
			}
		}
		choices = next
	}
	out := make([]string, 0, len(choices))
	for _, chosen := range choices {
		out = append(out, fill(pieces, chosen))
	}
	return out
}
