package sms

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// handset joins parts the way a handset and an operator do, and strictly: what
// they would smooth over is an error here. It shares nothing with the encoder
// but the order of the alphabet.
type handset struct {
	charset Charset
	style   Style
}

// heard is one part with its place.
type heard struct {
	reference, total, number int
	letters                  []byte
}

func (h handset) read(e Encoded, reference uint16) (string, error) {
	parts := make([]heard, 0, len(e.Parts))
	for i := range slices.Backward(e.Parts) { // the last comes first
		part, err := h.place(e.Parts[i])
		if err != nil {
			return "", fmt.Errorf("part %d: %w", i+1, err)
		}
		if part.total == 0 && len(e.Parts) > 1 {
			return "", fmt.Errorf("part %d does not say its place", i+1)
		}
		want := int(reference)
		if h.style == StyleUDH8 {
			want &= 0xff
		}
		if part.total != 0 && (part.total != len(e.Parts) || part.reference != want) {
			return "", fmt.Errorf("part %d says reference %d of %d parts", i+1, part.reference, part.total)
		}
		if err := h.fits(e.DataCoding, part); err != nil {
			return "", fmt.Errorf("part %d: %w", i+1, err)
		}
		parts = append(parts, part)
	}
	slices.SortFunc(parts, func(a, b heard) int { return a.number - b.number })
	var text strings.Builder
	for i, part := range parts {
		if part.total != 0 && part.number != i+1 {
			return "", fmt.Errorf("no part %d", i+1)
		}
		words, err := h.decode(e.DataCoding, part.letters)
		if err != nil {
			return "", fmt.Errorf("part %d alone: %w", i+1, err)
		}
		text.WriteString(words)
	}
	return text.String(), nil
}

// place reads the header or the parameters of a part.
func (h handset) place(p Part) (heard, error) {
	tlv := map[uint16][]byte{}
	for i, t := range p.TLV {
		if i > 0 && t.Tag <= p.TLV[i-1].Tag {
			return heard{}, errors.New("parameters out of order")
		}
		tlv[t.Tag] = t.Value
	}
	payload, inPayload := tlv[tagMessagePayload]
	if inPayload != (len(p.TLV) == 1) || inPayload && (len(p.ShortMessage) > 0 || p.UDHI || h.style != StylePayload) {
		return heard{}, errors.New("message_payload beside something else")
	}
	sm := p.ShortMessage
	switch {
	case inPayload:
		return heard{letters: payload}, nil
	case len(p.TLV) > 0:
		if p.UDHI || h.style != StyleSAR || len(p.TLV) != 3 || len(tlv[tagSARMsgRefNum]) != 2 ||
			len(tlv[tagSARTotalSegments]) != 1 || len(tlv[tagSARSegmentSeqnum]) != 1 {
			return heard{}, fmt.Errorf("parameters %v", p.TLV)
		}
		return heard{
			int(binary.BigEndian.Uint16(tlv[tagSARMsgRefNum])), int(tlv[tagSARTotalSegments][0]), int(tlv[tagSARSegmentSeqnum][0]), sm,
		}, nil
	case !p.UDHI:
		return heard{letters: sm}, nil
	case h.style == StyleUDH8 && len(sm) > 6 && [3]byte(sm) == [3]byte{5, 0, 3}:
		return heard{int(sm[3]), int(sm[4]), int(sm[5]), sm[6:]}, nil
	case (h.style == StyleUDH16 || h.style == "") && len(sm) > 7 && [3]byte(sm) == [3]byte{6, 8, 4}:
		return heard{int(binary.BigEndian.Uint16(sm[3:])), int(sm[5]), int(sm[6]), sm[7:]}, nil
	}
	return heard{}, errors.New("not a header of this style")
}

// fits counts bits: 140 octets on the air, with the header, which the operator
// makes 7 octets long where we leave it to him. Septets begin behind a header
// that is filled up to a whole number of them.
func (h handset) fits(dataCoding byte, part heard) error {
	header := 0
	switch {
	case part.total == 0 && h.style == StylePayload:
		return nil // the operator cuts it
	case part.total == 0:
	case h.style == StyleUDH8:
		header = 8 * 6
	default:
		header = 8 * 7
	}
	bits := 8 * len(part.letters)
	if dataCoding == DataCodingDefault && h.charset != CharsetLatin1 {
		header = (header + 6) / 7 * 7
		bits = 7 * len(part.letters)
		if h.charset == CharsetASCII {
			bits += 7 * strings.Count(strings.Map(extended, string(part.letters)), "x")
		}
	}
	if header+bits > 8*140 {
		return fmt.Errorf("%d bits behind a header of %d", bits, header)
	}
	return nil
}

func extended(r rune) rune {
	if _, ok := extension[r]; ok {
		return 'x'
	}
	return '.'
}

func (h handset) decode(dataCoding byte, letters []byte) (string, error) {
	switch {
	case dataCoding == DataCodingUCS2:
		return decodeUCS2(letters)
	case dataCoding != DataCodingDefault || h.charset == CharsetUCS2:
		return "", fmt.Errorf("data_coding %d", dataCoding)
	case h.charset == CharsetGSM7 || h.charset == "":
		return decodeGSM7(letters)
	}
	out := make([]rune, len(letters))
	for i, octet := range letters {
		if out[i] = rune(octet); h.charset == CharsetASCII && octet > 0x7e {
			return "", fmt.Errorf("octet %#x is not ASCII", octet)
		}
	}
	return string(out), nil
}

func decodeGSM7(letters []byte) (string, error) {
	basic := []rune(basicTable)
	out := make([]rune, 0, len(letters))
	for i := 0; i < len(letters); i++ {
		code := letters[i]
		switch {
		case code > 0x7f:
			return "", fmt.Errorf("octet %d is above 0x7f", i)
		case code != escape:
			out = append(out, basic[code])
			continue
		}
		i++
		if i == len(letters) {
			return "", errors.New("an escape without its letter at the end")
		}
		at := len(out)
		for r, extended := range extension {
			if extended == letters[i] {
				out = append(out, r)
			}
		}
		if len(out) == at {
			return "", fmt.Errorf("unknown extension code at octet %d", i)
		}
	}
	return string(out), nil
}

func decodeUCS2(letters []byte) (string, error) {
	if len(letters)%2 != 0 {
		return "", fmt.Errorf("%d octets of UCS-2", len(letters))
	}
	var out []rune
	for at := 0; at < len(letters); at += 2 {
		r := rune(binary.BigEndian.Uint16(letters[at:]))
		if utf16.IsSurrogate(r) {
			if at += 2; at == len(letters) {
				return "", errors.New("half a surrogate pair at the end")
			}
			if r = utf16.DecodeRune(r, rune(binary.BigEndian.Uint16(letters[at:]))); r == '\uFFFD' {
				return "", fmt.Errorf("half a surrogate pair at octet %d", at)
			}
		}
		out = append(out, r)
	}
	return string(out), nil
}
