package sms

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// writeUCS2 writes any text: a letter beyond the basic plane is a surrogate
// pair, as handsets read it.
func writeUCS2(text string) ([]byte, bool) {
	octets := make([]byte, 0, 2*utf8.RuneCountInString(text))
	for _, r := range text {
		if high, low := utf16.EncodeRune(r); high != '\uFFFD' {
			octets = binary.BigEndian.AppendUint16(octets, uint16(high))
			octets = binary.BigEndian.AppendUint16(octets, uint16(low))
			continue
		}
		octets = binary.BigEndian.AppendUint16(octets, uint16(r))
	}
	return octets, true
}

func firstUCS2(octets []byte) (length, room int) {
	if utf16.IsSurrogate(rune(binary.BigEndian.Uint16(octets))) {
		return 4, 4
	}
	return 2, 2
}
