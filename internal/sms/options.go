package sms

import (
	"errors"
	"fmt"
)

// Charset says how an operator reads data_coding 0, his default alphabet
// (SMPP 3.4, 5.2.19). A text that does not fit it goes as UCS-2.
type Charset string

// The default alphabets that operators have.
const (
	CharsetGSM7   Charset = "gsm7"   // GSM 03.38, one septet an octet; "" is the same
	CharsetLatin1 Charset = "latin1" // ISO 8859-1
	CharsetASCII  Charset = "ascii"  // its printable letters, CR and LF
	CharsetUCS2   Charset = "ucs2"   // nothing is sent under data_coding 0
)

// Style says how a text of several parts is marked for the handset to join.
type Style string

// The styles that operators ask for.
const (
	// StyleUDH8 is a header of 6 octets with an 8-bit reference before each
	// part (3GPP TS 23.040, 9.2.3.24.1). A handset tells the parts of two texts
	// of one sender apart by it alone: of two that it has in parts at one time,
	// 1 pair in 256 is joined wrongly.
	StyleUDH8 Style = "udh8"
	// StyleUDH16 is a header of 7 octets with a 16-bit reference
	// (3GPP TS 23.040, 9.2.3.24.8), so 1 pair in 65,536; "" is the same.
	StyleUDH16 Style = "udh16"
	// StyleSAR leaves the header to the operator and tells him the parts by
	// sar_msg_ref_num, sar_total_segments and sar_segment_seqnum
	// (SMPP 3.4, 5.3.2.22 to 24).
	StyleSAR Style = "sar"
	// StylePayload leaves the cutting to the operator, too: one submit_sm with
	// all of the text in message_payload (SMPP 3.4, 5.3.2.32).
	StylePayload Style = "payload"
)

// Options are what an operator's interface document says about texts. The zero
// value is what they take who have not said otherwise: GSM-7, and headers with a
// 16-bit reference.
type Options struct {
	Charset Charset
	Style   Style
}

// ErrOptions says that a name is none of the constants of this package.
var ErrOptions = errors.New("sms: unknown charset or style")

// Check returns an ErrOptions that names what is unknown.
func (o Options) Check() error {
	switch o.Charset {
	case "", CharsetGSM7, CharsetLatin1, CharsetASCII, CharsetUCS2:
	default:
		return fmt.Errorf("%w: charset %q is not gsm7, latin1, ascii or ucs2", ErrOptions, o.Charset)
	}
	switch o.Style {
	case "", StyleUDH8, StyleUDH16, StyleSAR, StylePayload:
	default:
		return fmt.Errorf("%w: style %q is not udh8, udh16, sar or payload", ErrOptions, o.Style)
	}
	return nil
}
