package smpp

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"mobileid/internal/sms"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// receiptText are the fields of SMPP 3.4, Appendix B that matter here, as they
// stand in the text.
type receiptText struct{ id, stat, err []byte }

// Bounds of a receipt's text, in octets, and of its fields, in letters.
const (
	longestReceipt = 512 // it is one short message; a payload may be longer
	longestField   = 64
	longestWord    = 16 // of stat and err
)

// readReceiptText reads the text of a receipt in the operator's dialect,
// without the user data header that it may have. Some operators write UCS-2,
// and others repeat the data_coding of our submit_sm beside a text in ASCII.
func readReceiptText(m wire.Message, dialect *profile.Receipts) receiptText {
	octets := m.Bytes()
	if m.ESMClass&wire.ESMClassUDHI != 0 {
		_, octets = partOf(m)
	}
	if m.DataCoding == sms.DataCodingUCS2 {
		if r := inDialect(fromUCS2(octets), dialect); r.id != nil || r.stat != nil {
			return r
		}
	}
	return inDialect(octets, dialect)
}

// inDialect reads a text as the operator's pattern says, else in the usual form.
func inDialect(text []byte, dialect *profile.Receipts) receiptText {
	id, stat, err, ok := dialect.Pattern.Find(text[:min(len(text), longestReceipt)])
	if !ok {
		return parseReceiptText(text)
	}
	r := receiptText{id: id}
	if isWord(stat) {
		r.stat = stat
	}
	if isWord(err) {
		r.err = err
	}
	return r
}

// fromUCS2 writes as much of a text in UTF-8 as is looked at.
func fromUCS2(octets []byte) []byte {
	out := make([]byte, 0, longestReceipt)
	for len(octets) >= 2 && len(out) < longestReceipt {
		r := rune(binary.BigEndian.Uint16(octets))
		if octets = octets[2:]; utf16.IsSurrogate(r) && len(octets) >= 2 {
			r, octets = utf16.DecodeRune(r, rune(binary.BigEndian.Uint16(octets))), octets[2:]
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// parseReceiptText reads "id:... sub:... dlvrd:... submit date:... done
// date:... stat:... err:... text:..." in its vendors' spellings. What follows
// "text:" is the Message's own words and is not looked at.
//
// Every receipt comes through here, so it goes from colon to colon and makes
// nothing: what it returns lies in the text.
func parseReceiptText(text []byte) receiptText {
	text = unquoted(text[:min(len(text), longestReceipt)])
	var r receiptText
	read := 0 // the end of the field before
	for at := 0; ; {
		colon := bytes.IndexByte(text[at:], ':')
		if colon < 0 {
			return r
		}
		colon += at
		at = colon + 1
		field, isID := &r.id, true
		switch name := text[read:colon]; {
		case endsField(name, "id", read == 0):
		case endsField(name, "stat", read == 0):
			field, isID = &r.stat, false
		case endsField(name, "err", read == 0):
			field, isID = &r.err, false
		default:
			continue
		}
		begin := at
		if begin < len(text) && isSpace(text[begin]) {
			begin++
		}
		value := text[begin : begin+valueLength(text[begin:])]
		if len(value) == 0 {
			continue
		}
		at = begin + len(value)
		read = at
		if *field == nil && (isID || isWord(value)) {
			*field = value
		}
	}
}

// unquoted returns what stands before the Message's own words.
func unquoted(text []byte) []byte {
	const name = "text"
	for at := 0; ; at++ {
		colon := bytes.IndexByte(text[at:], ':')
		if colon < 0 {
			return text
		}
		at += colon
		begin := at - len(name)
		if begin < 0 || !isName(text[begin:at], name) {
			continue
		}
		if begin == 0 {
			return nil
		}
		if isSpace(text[begin-1]) {
			return text[:begin-1]
		}
	}
}

// endsField reports whether text ends with the name of a field, which stands
// behind a space, a comma or a semicolon, or where the text begins.
func endsField(text []byte, name string, beginning bool) bool {
	begin := len(text) - len(name)
	if begin < 0 || !isName(text[begin:], name) {
		return false
	}
	if begin == 0 {
		return beginning
	}
	before := text[begin-1]
	return isSpace(before) || before == ',' || before == ';'
}

// isName compares in either case with a name in lower case.
func isName(b []byte, name string) bool {
	for i := range name {
		if b[i]|0x20 != name[i] {
			return false
		}
	}
	return true
}

// valueLength is how many octets of text are the value of a field.
func valueLength(text []byte) int {
	at := 0
	for range longestField {
		if at == len(text) {
			break
		}
		c := text[at]
		if isSpace(c) || c == ',' || c == ';' || c == ':' {
			break
		}
		if c < utf8.RuneSelf {
			at++
			continue
		}
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r' }

// isWord reports whether a stat or err may be kept: a short word of ASCII.
func isWord(b []byte) bool {
	if len(b) == 0 || len(b) > longestWord {
		return false
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
