package sms

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// MaxParts is the highest count that a concatenation header can tell
// (3GPP TS 23.040, 9.2.3.24.1).
const MaxParts = 255

var (
	// ErrNotUTF8 says that the text is no text.
	ErrNotUTF8 = errors.New("sms: the text is not valid UTF-8")
	// ErrTooLong says that the text needs more than MaxParts parts.
	ErrTooLong = errors.New("sms: the text needs more than 255 parts")
)

// The optional parameters that parts carry (SMPP 3.4, 5.3.2.22 to 24, 5.3.2.32).
const (
	tagSARMsgRefNum     = 0x020C
	tagSARTotalSegments = 0x020E
	tagSARSegmentSeqnum = 0x020F
	tagMessagePayload   = 0x0424
)

// Encoded is a text ready for submit_sm.
type Encoded struct {
	DataCoding byte   // DataCodingDefault or DataCodingUCS2
	Parts      []Part // in order, one submit_sm each; at least one
}

// Part is what one submit_sm carries of a text.
type Part struct {
	// UDHI says that ShortMessage begins with a user data header: bit 6 of
	// esm_class (SMPP 3.4, 5.2.12).
	UDHI bool
	// ShortMessage has at most 160 octets, its header included. It is empty
	// when the text is in message_payload.
	ShortMessage []byte
	TLV          []TLV // by rising tag
}

// TLV is an optional parameter (SMPP 3.4, 5.3).
type TLV struct {
	Tag   uint16
	Value []byte
}

// Encode folds the apostrophes, chooses the alphabet and cuts the text into
// parts. A text that fits one SMS (160 septets, 140 octets or 70 units of
// UCS-2) is one part with nothing but its letters in any style. No part ends
// inside an escape pair or a surrogate pair, so each part can be read alone.
//
// The reference tells the parts of one text from those of another; StyleUDH8
// has room for its lower octet only. It should not come again for hours between
// the same sender and number.
//
// The errors are ErrNotUTF8, ErrTooLong and ErrOptions; none repeats the text.
func (o Options) Encode(text string, reference uint16) (Encoded, error) {
	a, octets, parts, err := o.lay(text)
	if err != nil {
		return Encoded{}, err
	}
	e := Encoded{DataCoding: a.dataCoding}
	switch {
	case parts == 1:
		e.Parts = []Part{{ShortMessage: octets}}
	case o.Style == StylePayload:
		e.Parts = []Part{{TLV: []TLV{{tagMessagePayload, octets}}}}
	case o.Style == StyleSAR:
		e.Parts = o.segments(a, octets, parts, reference)
	default:
		e.Parts = o.headed(a, octets, parts, reference)
	}
	return e, nil
}

// Count returns how many submit_sm a text costs, 0 when Encode refuses it. With
// StylePayload that is one, whatever the operator makes of it on the air.
func (o Options) Count(text string) int {
	_, _, parts, err := o.lay(text)
	switch {
	case err != nil:
		return 0
	case o.Style == StylePayload:
		return 1
	}
	return parts
}

// Count returns the parts of a text at an operator who takes the zero Options:
// the catalogue's texts are bounded before any operator is known.
func Count(text string) int { return Options{}.Count(text) }

// lay writes the letters and counts their parts on the air.
func (o Options) lay(text string) (a *alphabet, octets []byte, parts int, err error) {
	if err := o.Check(); err != nil {
		return nil, nil, 0, err
	}
	if !utf8.ValidString(text) {
		return nil, nil, 0, ErrNotUTF8
	}
	a, octets = o.Charset.letters(Fold(text))
	if a.cut(octets, a.room(0)) == len(octets) {
		return a, octets, 1, nil
	}
	room := a.room(o.header())
	for rest := octets; len(rest) > 0; rest = rest[a.cut(rest, room):] {
		if parts++; parts > MaxParts {
			return nil, nil, 0, ErrTooLong
		}
	}
	return a, octets, parts, nil
}

// header is how many octets of each part its user data header takes on the air.
// Where the operator makes the header, it may be the longer one: the reference
// that he is told has 16 bits.
func (o Options) header() int {
	if o.Style == StyleUDH8 {
		return 6
	}
	return 7
}

// headed writes the user data header before each part.
func (o Options) headed(a *alphabet, octets []byte, count int, reference uint16) []Part {
	header, room := o.header(), a.room(o.header())
	all := make([]byte, 0, len(octets)+count*header)
	parts := make([]Part, count)
	for i := range parts {
		start := len(all)
		if o.Style == StyleUDH8 {
			all = append(all, 5, 0, 3)
		} else {
			all = append(all, 6, 8, 4, byte(reference>>8))
		}
		all = append(all, byte(reference), byte(count), byte(i+1))
		n := a.cut(octets, room)
		all = append(all, octets[:n]...)
		octets = octets[n:]
		parts[i] = Part{UDHI: true, ShortMessage: all[start:len(all):len(all)]}
	}
	return parts
}

// segments tells the operator the place of each part. The parameters must not
// stand beside a user data header with a reference (SMPP 3.4, 5.2.12).
func (o Options) segments(a *alphabet, octets []byte, count int, reference uint16) []Part {
	room := a.room(o.header())
	ref := binary.BigEndian.AppendUint16(nil, reference)
	total := []byte{byte(count)}
	parts := make([]Part, count)
	for i := range parts {
		n := a.cut(octets, room)
		parts[i] = Part{ShortMessage: octets[:n:n], TLV: []TLV{
			{tagSARMsgRefNum, ref}, {tagSARTotalSegments, total}, {tagSARSegmentSeqnum, []byte{byte(i + 1)}},
		}}
		octets = octets[n:]
	}
	return parts
}
