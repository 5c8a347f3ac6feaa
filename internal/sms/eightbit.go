package sms

// Alphabets of one octet a letter.

func writeASCII(text string) ([]byte, bool) { return writeOctets(text, 0x7e) }

// firstASCII counts a letter as GSM 03.38 does, because that is what the
// operator makes of it on the air: a bracket costs two septets.
func firstASCII(octets []byte) (length, room int) {
	if gsm7Code(rune(octets[0])) > 0xff {
		return 1, 2
	}
	return 1, 1
}

func writeLatin1(text string) ([]byte, bool) { return writeOctets(text, 0xff) }

// firstLatin1 counts octets: whether the operator packs them into septets
// depends on the letters, and a part of 140 goes either way.
func firstLatin1([]byte) (length, room int) { return 1, 1 }

// writeOctets writes letters up to last by their code points. Of the control
// characters CR and LF are text; the others have no place on a handset.
func writeOctets(text string, last rune) ([]byte, bool) {
	octets := make([]byte, 0, len(text))
	for _, r := range text {
		printable := ' ' <= r && r <= '~' || '\u00a0' <= r && r <= last
		if !printable && r != '\n' && r != '\r' {
			return nil, false
		}
		octets = append(octets, byte(r))
	}
	return octets, true
}
