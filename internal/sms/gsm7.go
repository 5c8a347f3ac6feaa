package sms

import "fmt"

// escape precedes a letter of the extension table; the pair costs two septets.
const escape = 0x1b

// basicTable is the GSM 03.38 default alphabet (3GPP TS 23.038, 6.2.1) in the
// order of its codes. Code 0x1b is the escape, which is no letter: U+FFFD
// stands in its place.
const basicTable = "@£$¥èéùìòÇ\nØø\rÅå" +
	"Δ_ΦΓΛΩΠΨΣΘΞ\uFFFDÆæßÉ" +
	" !\"#¤%&'()*+,-./" +
	"0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNO" +
	"PQRSTUVWXYZÄÖÑÜ§" +
	"¿abcdefghijklmno" +
	"pqrstuvwxyzäöñüà"

// extension is the extension table (3GPP TS 23.038, 6.2.1.1).
var extension = map[rune]byte{
	'\f': 0x0a, '^': 0x14, '{': 0x28, '}': 0x29, '\\': 0x2f,
	'[': 0x3c, '~': 0x3d, ']': 0x3e, '|': 0x40, '€': 0x65,
}

var (
	basicRunes    = []rune(basicTable)
	basicCodes    = invertBasic()
	extensionRune = invertExtension()
)

func invertBasic() map[rune]byte {
	codes := make(map[rune]byte, len(basicRunes))
	for code, r := range basicRunes {
		if code != escape {
			codes[r] = byte(code)
		}
	}
	return codes
}

func invertExtension() map[byte]rune {
	runes := make(map[byte]rune, len(extension))
	for r, code := range extension {
		runes[code] = r
	}
	return runes
}

// gsm7Letters returns the septets of each letter, one or two, or ok = false at
// the first letter that the alphabet lacks.
func gsm7Letters(text string) (letters [][]byte, ok bool) {
	letters = make([][]byte, 0, len(text))
	for _, r := range text {
		if code, basic := basicCodes[r]; basic {
			letters = append(letters, []byte{code})
			continue
		}
		code, extended := extension[r]
		if !extended {
			return nil, false
		}
		letters = append(letters, []byte{escape, code})
	}
	return letters, true
}

func decodeGSM7(payload []byte) (string, error) {
	out := make([]rune, 0, len(payload))
	for i := 0; i < len(payload); i++ {
		code := payload[i]
		if code > 0x7f {
			return "", fmt.Errorf("GSM 7-bit: octet %d is above 0x7f", i)
		}
		if code != escape {
			out = append(out, basicRunes[code])
			continue
		}
		i++
		if i == len(payload) {
			return "", fmt.Errorf("GSM 7-bit: an escape without its letter at the end")
		}
		r, ok := extensionRune[payload[i]]
		if !ok {
			return "", fmt.Errorf("GSM 7-bit: unknown extension code at octet %d", i)
		}
		out = append(out, r)
	}
	return string(out), nil
}
