package trace

import (
	"bytes"
	"encoding/binary"
	"regexp"

	"mobileid/smpp/wire"
)

// length is command_length (SMPP 3.4, 3.2).
func length(pdu []byte) int { return int(binary.BigEndian.Uint32(pdu)) }

// Mask returns a copy of a PDU without what is nobody's business, octet for
// octet as long: texts are x, of numbers only the last two digits are left, the
// password of a bind is x. A PDU whose body cannot be read, or whose layout is not
// known here, is x behind its header. A stray header, alone and with a length that
// no PDU has, may be of a text itself: it keeps its zeros, and when its command is
// one of SMPP, that and the octets that are no letter and no digit.
func Mask(pdu []byte) []byte {
	out := bytes.Clone(pdu)
	if isStray(out) {
		maskStray(out)
	}
	if len(out) <= wire.HeaderLen {
		return out
	}
	f := &fields{rest: out[wire.HeaderLen:]}
	switch command := wire.Command(binary.BigEndian.Uint32(out[4:])); command {
	case wire.BindTransceiver, wire.BindTransmitter, wire.BindReceiver:
		f.bind()
	case wire.SubmitSM, wire.DeliverSM, wire.DataSM:
		f.message(command)
	case wire.BindTransceiver.Response(), wire.BindTransmitter.Response(), wire.BindReceiver.Response():
		f.word(wire.MaxSystemID)
		f.tlvs(nil)
	case wire.SubmitSM.Response(), wire.DeliverSM.Response(), wire.DataSM.Response():
		f.id()
		f.tlvs(nil)
	default:
		f.bad = true
	}
	if f.bad {
		fill(out[wire.HeaderLen:])
	}
	return out
}

func isStray(b []byte) bool {
	return len(b) == wire.HeaderLen && (length(b) < wire.HeaderLen || length(b) > wire.MaxLen)
}

func maskStray(b []byte) {
	known := wire.Command(binary.BigEndian.Uint32(b[4:])).Known()
	for i, octet := range b {
		inCommand := i >= 4 && i < 8
		if octet != 0 && !known || octet >= ' ' && !inCommand {
			b[i] = 'x'
		}
	}
}

// fields masks the fields of a body in place, one after the other. The first
// that makes no sense sets bad.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.rest) {
		f.bad = true
		return nil
	}
	v := f.rest[:n:n]
	f.rest = f.rest[n:]
	return v
}

func (f *fields) octet() byte {
	if v := f.take(1); v != nil {
		return v[0]
	}
	return 0
}

// cString is a C-octet string without its NUL.
func (f *fields) cString() []byte {
	n := bytes.IndexByte(f.rest, 0)
	if n < 0 {
		f.bad = true
		return nil
	}
	return f.take(n + 1)[:n]
}

// word is a C-octet string that is kept, unless it is longer than its field.
func (f *fields) word(longest int) {
	if v := f.cString(); len(v) > longest {
		fill(v)
	}
}

// id is a message_id that is kept.
func (f *fields) id() {
	if v := f.cString(); len(v) > wire.MaxMessageID {
		fill(v)
	} else {
		noNumber(v)
	}
}

// address is TON, NPI and number or name.
func (f *fields) address() {
	f.take(2)
	digits(f.cString())
}

// moment is a time as SMPP 3.4, 7.1.1 prints it.
var moment = regexp.MustCompile(`^[0-9]{15}[+R-]$`)

func (f *fields) time() {
	if v := f.cString(); !moment.Match(v) {
		fill(v)
	}
}

// bind is SMPP 3.4, 4.1.
func (f *fields) bind() {
	f.word(wire.MaxSystemID)
	fill(f.cString())
	f.word(wire.MaxSystemType)
	f.take(3)
	digits(f.cString())
	f.tlvs(nil)
}

// message is a submit_sm, deliver_sm or data_sm (SMPP 3.4, 4.4.1, 4.6.1, 4.7.1).
func (f *fields) message(command wire.Command) {
	f.word(wire.MaxServiceType)
	f.address()
	f.address()
	t := text{esm: f.octet()}
	t.receipt = command != wire.SubmitSM && t.esm&0x3C == 0x04 // 5.2.12
	if command == wire.DataSM {
		f.take(1)
		t.coding = f.octet()
	} else {
		f.take(2)
		f.time()
		f.time()
		f.take(2)
		t.coding = f.octet()
		f.take(1)
		t.mask(f.take(int(f.octet())))
	}
	f.tlvs(t.mask)
}

// known are the optional parameters that hold numbers of the protocol, by tag,
// with their lengths (SMPP 3.4, 5.3.2).
var known = map[uint16]int{
	wire.TagUserMessageReference: 2,
	wire.TagSARMsgRefNum:         2,
	wire.TagSARTotalSegments:     1,
	wire.TagSARSegmentSeqnum:     1,
	wire.TagMessageState:         1,
	0x0210:                       1, // sc_interface_version
	0x0423:                       3, // network_error_code
	0x0425:                       1, // delivery_failure_reason
	0x0426:                       1, // more_messages_to_send
}

// tlvs masks the optional parameters; payload masks message_payload.
func (f *fields) tlvs(payload func([]byte)) {
	for len(f.rest) >= 4 && !f.bad {
		tag, n := binary.BigEndian.Uint16(f.rest), int(binary.BigEndian.Uint16(f.rest[2:]))
		f.take(4)
		v := f.take(n)
		switch {
		case known[tag] == n && n > 0:
		case tag == wire.TagReceiptedMessageID && n <= wire.MaxMessageID+1:
			noNumber(v)
		case tag == wire.TagMessagePayload && payload != nil:
			payload(v)
		default:
			fill(v)
		}
	}
	fillUnless0(f.rest) // what some operators leave there
}

// text is how the text of a message is written.
type text struct {
	esm, coding byte
	receipt     bool
}

func (t text) mask(b []byte) {
	if t.esm&wire.ESMClassUDHI != 0 {
		b = b[header(b):]
	}
	switch {
	case t.receipt:
		maskReceipt(b)
	case t.coding == 8 && len(b)%2 == 0: // UCS-2
		for i := range b {
			b[i] = "\x00x"[i%2]
		}
	default:
		fill(b)
	}
}

// header masks a user data header, save the place of a part, and returns its
// length; 0 when there is none that makes sense.
func header(b []byte) int {
	if len(b) == 0 || int(b[0])+1 > len(b) {
		return 0
	}
	end := int(b[0]) + 1
	for at := 1; at < end; {
		if at+2 > end || at+2+int(b[at+1]) > end {
			return 0
		}
		n := int(b[at+1])
		// Concatenation with an 8-bit and a 16-bit reference (3GPP 23.040, 9.2.3.24).
		if !(b[at] == 0 && n == 3 || b[at] == 8 && n == 4) {
			fill(b[at+2 : at+2+n])
		}
		at += 2 + n
	}
	return end
}

// receiptPart is what a receipt says of a message (SMPP 3.4, Appendix B), and
// what is worth a ticket. Everything else in its text is masked.
var receiptPart = regexp.MustCompile(`(?i)\b(?:id: ?[0-9A-Z_-]{1,64}|sub: ?[0-9]{1,4}|dlvrd: ?[0-9]{1,4}|` +
	`submit date: ?[0-9]{10,12}|done date: ?[0-9]{10,12}|stat: ?[A-Z]{1,9}|err: ?[0-9A-Z]{1,4})(?:[\s,;]|$)`)

// receiptText is where the quoted text begins.
var receiptText = regexp.MustCompile(`(?i)\btext:`)

func maskReceipt(b []byte) {
	end := len(b)
	if quote := receiptText.FindIndex(b); quote != nil {
		end = quote[0]
	}
	at, seen := 0, map[string]bool{}
	for _, part := range receiptPart.FindAllIndex(b[:end], -1) {
		name, _, _ := bytes.Cut(b[part[0]:part[1]], []byte(":"))
		// Each once: a text of somebody's that looks like a receipt has little
		// room for more.
		key := string(bytes.ToLower(name))
		if seen[key] {
			continue
		}
		seen[key] = true
		fill(b[at:part[0]])
		noNumber(b[part[0]:part[1]])
		at = part[1]
	}
	fill(b[at:])
}

// number is a subscriber's number where an operator makes it a message_id.
var number = regexp.MustCompile(`998[0-9]{9}`)

func noNumber(b []byte) {
	for _, at := range number.FindAllIndex(b, -1) {
		digits(b[at[0]:at[1]])
	}
}

// digits leaves the last two digits.
func digits(b []byte) {
	left := 2
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < '0' || b[i] > '9' {
			continue
		}
		if left > 0 {
			left--
			continue
		}
		b[i] = '0'
	}
}

func fill(b []byte) {
	for i := range b {
		b[i] = 'x'
	}
}

func fillUnless0(b []byte) {
	for i := range b {
		if b[i] != 0 {
			b[i] = 'x'
		}
	}
}
