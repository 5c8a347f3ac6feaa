package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"mobileid/internal/mobileid"
)

// maxNameEcho bounds how much of an unknown field's name is told back: a name
// comes from outside, and somebody may have put a value in its place.
const maxNameEcho = 40

// field reads the raw JSON value of one member.
type field func(raw json.RawMessage) error

// decodeObject reads exactly one JSON object whose members are all known, each
// at most once and spelled exactly (encoding/json would fold the case, take
// the last of two duplicates, and ignore what follows). Every error is of
// KindInvalid and names the member.
func decodeObject(body []byte, known map[string]field) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return mobileid.Invalid("", "body_empty", "the body is one JSON object")
	}
	if !utf8.Valid(body) {
		return mobileid.Invalid("", "json_syntax", "the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := walkObject(dec, "", func(name string, raw json.RawMessage) error {
		read, ok := known[name]
		if !ok {
			return mobileid.Invalid(echoName(name), "unknown_field", "no such field; names are case-sensitive")
		}
		return read(raw)
	}); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return mobileid.Invalid("", "json_trailing", "something follows the JSON object")
	}
	return nil
}

// walkObject calls fn for each member of the object that dec stands before.
// prefix goes before a member's name in errors.
func walkObject(dec *json.Decoder, prefix string, fn func(name string, raw json.RawMessage) error) error {
	tok, err := dec.Token()
	if err != nil {
		return syntax(prefix)
	}
	if tok != json.Delim('{') {
		return mobileid.Invalid(prefix, "wrong_type", "must be a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return syntax(prefix)
		}
		name, ok := tok.(string)
		if !ok {
			return syntax(prefix)
		}
		if seen[name] {
			return mobileid.Invalid(join(prefix, name), "duplicate_field", "the field stands twice")
		}
		seen[name] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return syntax(join(prefix, name))
		}
		if err := fn(name, raw); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return syntax(prefix)
	}
	return nil
}

func syntax(where string) error {
	return mobileid.Invalid(where, "json_syntax", "the body is not well-formed JSON")
}

func join(prefix, name string) string {
	if prefix == "" {
		return echoName(name)
	}
	return prefix + "." + echoName(name)
}

// echoName returns a member's name if it looks like one. Anything else (digits
// only, spaces, very long) may be data in the wrong place and is not repeated.
func echoName(name string) string {
	letters := false
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
			letters = true
		case r >= '0' && r <= '9', r == '-':
		default:
			return "?"
		}
	}
	if !letters || len(name) > maxNameEcho || digitRun(name) > 5 {
		return "?"
	}
	return name
}

func digitRun(s string) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	return longest
}

// text reads a JSON string of at most maxValue bytes into dst.
func text(name string, dst *string) field {
	return func(raw json.RawMessage) error {
		s, err := readString(name, raw, maxValue)
		if err != nil {
			return err
		}
		*dst = s
		return nil
	}
}

func readString(name string, raw json.RawMessage, limit int) (string, error) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", mobileid.Invalid(name, "wrong_type", "must be a JSON string")
	}
	if len(s) > limit {
		return "", mobileid.Invalid(name, "too_long", "at most "+strconv.Itoa(limit)+" bytes")
	}
	return s, nil
}

// tiyin reads a whole number from 0 to mobileid.MaxBalance. A fraction, an exponent
// or a text is refused: money is not rounded.
func tiyin(name string, dst **int64) field {
	return func(raw json.RawMessage) error {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n < 0 || n > int64(mobileid.MaxBalance) || raw[0] == '-' {
			return mobileid.Invalid(name, "amount_format", "whole tiyin, from 0 to "+strconv.FormatInt(int64(mobileid.MaxBalance), 10))
		}
		*dst = &n
		return nil
	}
}

// objects reads a list of at most maxItems values, each left as it is.
func objects(name string, maxItems int, dst *[]json.RawMessage) field {
	return func(raw json.RawMessage) error {
		if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, dst) != nil {
			return mobileid.Invalid(name, "wrong_type", "must be a JSON array")
		}
		if len(*dst) > maxItems {
			return mobileid.Invalid(name, "too_many", "at most "+strconv.Itoa(maxItems)+" of them")
		}
		return nil
	}
}

// stringMap reads an object of strings, at most maxItems members.
func stringMap(name string, maxItems, limit int, dst *map[string]string) field {
	return func(raw json.RawMessage) error {
		m := map[string]string{}
		err := walkObject(json.NewDecoder(bytes.NewReader(raw)), name, func(member string, raw json.RawMessage) error {
			s, err := readString(join(name, member), raw, limit)
			if err != nil {
				return err
			}
			m[member] = s
			if len(m) > maxItems {
				return mobileid.Invalid(name, "too_many", "at most "+strconv.Itoa(maxItems)+" members")
			}
			return nil
		})
		*dst = m
		return err
	}
}
