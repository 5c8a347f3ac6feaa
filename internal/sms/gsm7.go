package sms

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

// gsm7Codes holds a code for each letter up to the euro sign, the last of both
// tables: one septet, or the escape in the upper octet and its septet below.
var gsm7Codes = makeGSM7Codes()

// noCode stands for a letter that the alphabet lacks.
const noCode = 0xffff

func makeGSM7Codes() (codes ['€' + 1]uint16) {
	for r := range codes {
		codes[r] = noCode
	}
	for code, r := range []rune(basicTable) {
		if code != escape {
			codes[r] = uint16(code)
		}
	}
	for r, code := range extension {
		codes[r] = escape<<8 | uint16(code)
	}
	return codes
}

func gsm7Code(r rune) uint16 {
	if int(r) >= len(gsm7Codes) {
		return noCode
	}
	return gsm7Codes[r]
}

func writeGSM7(text string) ([]byte, bool) {
	octets := make([]byte, 0, len(text))
	for _, r := range text {
		code := gsm7Code(r)
		if code == noCode {
			return nil, false
		}
		if code > 0xff {
			octets = append(octets, escape)
		}
		octets = append(octets, byte(code))
	}
	return octets, true
}

func firstGSM7(octets []byte) (length, room int) {
	if octets[0] == escape {
		return 2, 2
	}
	return 1, 1
}
