package sms

// The values of data_coding that Encode chooses from (SMPP 3.4, 5.2.19).
const (
	DataCodingDefault byte = 0 // the operator's default alphabet
	DataCodingUCS2    byte = 8 // UCS-2, big-endian; in truth UTF-16, as handsets read it
)

// smsOctets is what one SMS holds on the air (3GPP TS 23.040, 9.2.3.24).
const smsOctets = 140

// alphabet is a way to write letters.
type alphabet struct {
	dataCoding byte
	septets    bool // packed on the air, eight letters in seven octets
	// write returns the letters of text, or false at the first one that the
	// alphabet lacks.
	write func(text string) ([]byte, bool)
	// first returns how many octets of what write gave are its first letter,
	// and the room that it takes in a part. A letter is never cut.
	first func(octets []byte) (length, room int)
}

var (
	gsm7   = &alphabet{DataCodingDefault, true, writeGSM7, firstGSM7}
	ascii  = &alphabet{DataCodingDefault, true, writeASCII, firstASCII}
	latin1 = &alphabet{DataCodingDefault, false, writeLatin1, firstLatin1}
	ucs2   = &alphabet{DataCodingUCS2, false, writeUCS2, firstUCS2}
)

// room returns how much a part holds behind a header of that many octets: 160,
// 153 or 152 septets, 140, 134 or 133 octets. Of the last a UCS-2 text uses 132.
func (a *alphabet) room(header int) int {
	if a.septets {
		return (smsOctets - header) * 8 / 7
	}
	return smsOctets - header
}

// cut returns how many of the octets make one part.
func (a *alphabet) cut(octets []byte, room int) int {
	at := 0
	for at < len(octets) {
		length, takes := a.first(octets[at:])
		if takes > room {
			break
		}
		room -= takes
		at += length
	}
	return at
}

// letters writes a folded text in the operator's default alphabet if that has
// all of it, else in UCS-2.
func (c Charset) letters(text string) (*alphabet, []byte) {
	var a *alphabet
	switch c {
	case CharsetUCS2:
		a = ucs2
	case CharsetLatin1:
		a = latin1
	case CharsetASCII:
		a = ascii
	case CharsetGSM7:
		a = gsm7
	default:
		a = gsm7
	}
	octets, ok := a.write(text)
	if !ok {
		a = ucs2
		octets, _ = a.write(text)
	}
	return a, octets
}
