package sms

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The values of data_coding that Encode chooses from (SMPP 3.4, 5.2.19).
const (
	DataCodingDefault byte = 0 // the SMSC's default: GSM 03.38, one septet an octet (unpacked)
	DataCodingUCS2    byte = 8 // UCS-2, big-endian; in truth UTF-16, as handsets read it
)

// Octets of one part, without its user data header. A part of several loses
// the room of a 6-octet header (3GPP TS 23.040, 9.2.3.24.1).
const (
	gsm7Alone, gsm7Joined = 160, 153
	ucs2Alone, ucs2Joined = 2 * 70, 2 * 67
)

// MaxParts is the highest count that a concatenation header can tell.
const MaxParts = 255

var (
	// ErrNotUTF8 says that the text is no text.
	ErrNotUTF8 = errors.New("sms: the text is not valid UTF-8")
	// ErrTooLong says that the text needs more than MaxParts parts.
	ErrTooLong = errors.New("sms: the text needs more than 255 parts")
)

// Encoded is a text ready for submit_sm.
type Encoded struct {
	DataCoding byte     // DataCodingDefault or DataCodingUCS2
	Parts      [][]byte // payloads in order, without user data header; at least one
}

var fold = strings.NewReplacer("\u02bb", "'", "\u02bc", "'", "\u2018", "'", "\u2019", "'", "`", "'", "\u00b4", "'")

// Fold replaces what people write for the apostrophe of oʻ and gʻ (U+02BB,
// U+02BC, U+2018, U+2019, U+0060, U+00B4) by the ASCII one, the only one that
// GSM 03.38 has. One letter outside that alphabet makes the whole text UCS-2
// and more than halves what a part holds.
func Fold(text string) string { return fold.Replace(text) }

// Encode folds the apostrophes, chooses the alphabet (GSM-7 when every letter
// is in it, else UCS-2) and cuts the text into parts: one of 160 septets or 70
// units, or several of 153 or 67. No part ends inside an escape pair or a
// surrogate pair, so each part can be read alone. An empty text is one empty
// part. The errors are ErrNotUTF8 and ErrTooLong; neither repeats the text.
func Encode(text string) (Encoded, error) {
	if !utf8.ValidString(text) {
		return Encoded{}, ErrNotUTF8
	}
	folded := Fold(text)
	if letters, ok := gsm7Letters(folded); ok {
		return join(DataCodingDefault, letters, gsm7Alone, gsm7Joined)
	}
	return join(DataCodingUCS2, ucs2Letters(folded), ucs2Alone, ucs2Joined)
}

func join(coding byte, letters [][]byte, alone, joined int) (Encoded, error) {
	total := 0
	for _, l := range letters {
		total += len(l)
	}
	limit := alone
	if total > alone {
		limit = joined
	}
	parts := [][]byte{make([]byte, 0, min(total, limit))}
	for _, l := range letters {
		last := len(parts) - 1
		if len(parts[last])+len(l) > limit {
			if len(parts) == MaxParts {
				return Encoded{}, ErrTooLong
			}
			parts = append(parts, make([]byte, 0, limit))
			last++
		}
		parts[last] = append(parts[last], l...)
	}
	return Encoded{DataCoding: coding, Parts: parts}, nil
}

// Count returns the number of parts that text costs, 0 when Encode refuses it.
func Count(text string) int {
	encoded, err := Encode(text)
	if err != nil {
		return 0
	}
	return len(encoded.Parts)
}

// Decode reads one part's payload (without user data header) the way a handset
// would, but strictly: an octet outside the alphabet, an unknown extension
// code or half a pair is an error, because a simulator must show what is wrong
// instead of smoothing it over.
func Decode(dataCoding byte, payload []byte) (string, error) {
	switch dataCoding {
	case DataCodingDefault:
		return decodeGSM7(payload)
	case DataCodingUCS2:
		return decodeUCS2(payload)
	}
	return "", fmt.Errorf("data_coding 0x%02x is not one that this system sends", dataCoding)
}
