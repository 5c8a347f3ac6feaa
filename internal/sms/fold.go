package sms

import "strings"

// Fold replaces what people write for the apostrophe of oʻ and gʻ (U+02BB,
// U+02BC, U+2018, U+2019, U+0060, U+00B4) by the ASCII one, the only one that
// GSM 03.38 has. One letter outside that alphabet makes the whole text UCS-2
// and more than halves what a part holds.
func Fold(text string) string { return strings.Map(foldLetter, text) }

func foldLetter(r rune) rune {
	switch r {
	case '\u02bb', '\u02bc', '\u2018', '\u2019', '\u0060', '\u00b4':
		return '\''
	}
	return r
}
