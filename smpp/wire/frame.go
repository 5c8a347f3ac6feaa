package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// HeaderLen is the length of a PDU header in bytes.
const HeaderLen = 16

// MaxLen bounds a PDU in bytes, header included. The specification would let a
// message_payload alone have 64 KiB; what operators send is a fraction of that.
const MaxLen = 64 << 10

// MaxSequence is the highest sequence_number (SMPP 3.4, 5.1.4); the lowest is 1.
const MaxSequence = 0x7FFFFFFF

// ErrLength says that command_length is outside the bounds. What follows on
// the stream cannot be found any more: answer generic_nack 0x02 and close.
var ErrLength = errors.New("command_length out of bounds")

// Frame is one PDU as it was read. Raw holds all of it, header included.
type Frame struct {
	Command  Command
	Status   Status
	Sequence uint32
	Raw      []byte
}

// Body returns the bytes behind the header.
func (f Frame) Body() []byte { return f.Raw[HeaderLen:] }

// Read reads one frame. io.EOF says that the peer closed between two PDUs;
// ErrLength comes with the sequence number of the bad header.
func Read(r io.Reader) (Frame, error) {
	var h [HeaderLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(h[0:])
	f := Frame{
		Command:  Command(binary.BigEndian.Uint32(h[4:])),
		Status:   Status(binary.BigEndian.Uint32(h[8:])),
		Sequence: binary.BigEndian.Uint32(h[12:]),
	}
	if n < HeaderLen || n > MaxLen {
		return f, fmt.Errorf("%w: %d", ErrLength, n)
	}
	f.Raw = make([]byte, n)
	copy(f.Raw, h[:])
	if _, err := io.ReadFull(r, f.Raw[HeaderLen:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the peer closed inside a PDU
		}
		return f, err
	}
	return f, nil
}

// AppendHeader appends a PDU that is only a header: enquire_link, unbind, their
// answers, generic_nack, and any answer that carries an error.
func AppendHeader(b []byte, c Command, s Status, sequence uint32) []byte {
	return appendPDU(b, c, s, sequence, nil)
}

// AppendCString appends a PDU whose body is one C-octet string: the answers to
// bind (system_id), submit_sm and deliver_sm (message_id).
func AppendCString(b []byte, c Command, s Status, sequence uint32, text string) []byte {
	return appendPDU(b, c, s, sequence, append([]byte(text), 0))
}

func appendPDU(b []byte, c Command, s Status, sequence uint32, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(HeaderLen+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(c))
	b = binary.BigEndian.AppendUint32(b, uint32(s))
	b = binary.BigEndian.AppendUint32(b, sequence)
	return append(b, body...)
}

// SetSequence writes the sequence number into an encoded PDU.
func SetSequence(raw []byte, sequence uint32) {
	binary.BigEndian.PutUint32(raw[12:HeaderLen], sequence)
}
