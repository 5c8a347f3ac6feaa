package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// HeaderLen is the length of a PDU header in bytes (SMPP 3.4, 3.2).
const HeaderLen = 16

// MaxLen bounds a PDU in bytes, header included: the longest message_payload
// (64 KiB; SMPP 3.4, 5.3.2.32) with as much beside it. What is legal must not
// end a bind, because the operator would send it again on the next one.
const MaxLen = 128 << 10

// MaxSequence is the highest sequence_number (SMPP 3.4, 5.1.4); the lowest is 1.
const MaxSequence = 0x7FFFFFFF

// ErrLength says that command_length is outside the bounds. What follows on
// the stream cannot be found any more: answer generic_nack 0x02 and close.
var ErrLength = errors.New("command_length out of bounds")

// Frame is one PDU as it was read (SMPP 3.4, 3.2). Raw holds all of it, header
// included.
type Frame struct {
	Command  Command
	Status   Status
	Sequence uint32
	Raw      []byte
}

// Body returns the bytes behind the header.
func (f Frame) Body() []byte { return f.Raw[HeaderLen:] }

// Read reads one frame; a Reader reads many of them with less memory. io.EOF
// says that the peer closed between two PDUs, io.ErrUnexpectedEOF inside one;
// ErrLength comes with the fields of the bad header, which is in Raw.
func Read(r io.Reader) (Frame, error) {
	header := make([]byte, HeaderLen)
	f, length, err := readHeader(r, header)
	if err != nil {
		return f, err
	}
	return readBody(r, f, header, make([]byte, length))
}

func readHeader(r io.Reader, header []byte) (f Frame, length int, err error) {
	if _, err := io.ReadFull(r, header); err != nil {
		return Frame{}, 0, err
	}
	f = Frame{
		Command:  Command(binary.BigEndian.Uint32(header[4:])),
		Status:   Status(binary.BigEndian.Uint32(header[8:])),
		Sequence: binary.BigEndian.Uint32(header[12:]),
	}
	n := binary.BigEndian.Uint32(header)
	if n < HeaderLen || n > MaxLen {
		f.Raw = header[:HeaderLen:HeaderLen]
		return f, 0, fmt.Errorf("%w: %d", ErrLength, n)
	}
	return f, int(n), nil
}

func readBody(r io.Reader, f Frame, header, raw []byte) (Frame, error) {
	copy(raw, header)
	if _, err := io.ReadFull(r, raw[HeaderLen:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return f, err
	}
	f.Raw = raw
	return f, nil
}

// AppendHeader appends a PDU that is only a header: enquire_link, unbind, their
// answers, generic_nack, and any answer that carries an error.
func AppendHeader(b []byte, c Command, s Status, sequence uint32) []byte {
	return appendHeader(b, HeaderLen, c, s, sequence)
}

// AppendCString appends a PDU whose body is one C-octet string: the answers to
// bind (system_id), submit_sm and deliver_sm (message_id).
func AppendCString(b []byte, c Command, s Status, sequence uint32, text string) []byte {
	b = appendHeader(b, HeaderLen+len(text)+1, c, s, sequence)
	return append(append(b, text...), 0)
}

func appendHeader(b []byte, length int, c Command, s Status, sequence uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = binary.BigEndian.AppendUint32(b, uint32(c))
	b = binary.BigEndian.AppendUint32(b, uint32(s))
	return binary.BigEndian.AppendUint32(b, sequence)
}

// SetSequence writes the sequence number into an encoded PDU.
func SetSequence(raw []byte, sequence uint32) {
	binary.BigEndian.PutUint32(raw[12:HeaderLen], sequence)
}
