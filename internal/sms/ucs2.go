package sms

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// ucs2Letters returns the big-endian octets of each letter: two, or four for a
// surrogate pair.
func ucs2Letters(text string) [][]byte {
	letters := make([][]byte, 0, len(text))
	for _, r := range text {
		var octets []byte
		for _, unit := range utf16.AppendRune(nil, r) {
			octets = binary.BigEndian.AppendUint16(octets, unit)
		}
		letters = append(letters, octets)
	}
	return letters
}

func decodeUCS2(payload []byte) (string, error) {
	if len(payload)%2 != 0 {
		return "", fmt.Errorf("UCS-2: %d octets, want an even number", len(payload))
	}
	units := make([]uint16, 0, len(payload)/2)
	for i := 0; i < len(payload); i += 2 {
		units = append(units, binary.BigEndian.Uint16(payload[i:]))
	}
	out := make([]rune, 0, len(units))
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if utf16.IsSurrogate(r) {
			if i+1 == len(units) {
				return "", fmt.Errorf("UCS-2: half of a surrogate pair at unit %d", i)
			}
			// DecodeRune gives U+FFFD for two halves that do not pair; no
			// pair stands for U+FFFD itself.
			pair := utf16.DecodeRune(r, rune(units[i+1]))
			if pair == '\uFFFD' {
				return "", fmt.Errorf("UCS-2: half of a surrogate pair at unit %d", i)
			}
			r = pair
			i++
		}
		out = append(out, r)
	}
	return string(out), nil
}
