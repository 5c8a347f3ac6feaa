package diameter

import (
	"encoding/binary"
	"errors"
	"io"
	"iter"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
)

// maxFrame is the longest message that is read. An answer to a charging request
// has some hundred octets.
const maxFrame = 1 << 16

// errLength ends a connection: nobody knows where the next message begins.
var errLength = errors.New("a message with a version or length that cannot be")

// errAVP is an AVP whose length does not fit what is around it.
var errAVP = errors.New("an AVP with a length that cannot be")

// frame is one message: the header and the AVPs, as they came.
type frame []byte

// readFrame reads one message.
func readFrame(r io.Reader) (frame, error) {
	var head [diam.HeaderLength]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length := int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if head[0] != 1 || length < diam.HeaderLength || length > maxFrame || length%4 != 0 {
		return nil, errLength
	}
	f := make(frame, length)
	copy(f, head[:])
	_, err := io.ReadFull(r, f[diam.HeaderLength:])
	return f, err
}

func (f frame) flags() byte         { return f[4] }
func (f frame) command() uint32     { return binary.BigEndian.Uint32(f[4:]) & 0xFFFFFF }
func (f frame) application() uint32 { return binary.BigEndian.Uint32(f[8:]) }
func (f frame) hopByHop() uint32    { return binary.BigEndian.Uint32(f[12:]) }
func (f frame) endToEnd() uint32    { return binary.BigEndian.Uint32(f[16:]) }
func (f frame) avps() avps          { return avps(f[diam.HeaderLength:]) }

// setHopByHop numbers a message that is about to be written.
func (f frame) setHopByHop(id uint32) { binary.BigEndian.PutUint32(f[12:], id) }

// item is one AVP. Data is what is within it.
type item struct {
	code, vendor uint32
	data         []byte
}

// is reports whether it is the AVP of RFC 6733 or 8506 with that code. Vendors
// number their own from 1 again.
func (a item) is(code uint32) bool { return a.vendor == 0 && a.code == code }

// u32 reads an Unsigned32 or Enumerated.
func (a item) u32() (uint32, bool) {
	if len(a.data) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(a.data), true
}

// u64 reads an Unsigned64.
func (a item) u64() (uint64, bool) {
	if len(a.data) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(a.data), true
}

// avps are AVPs one after the other, each padded to four octets.
type avps []byte

// all yields them in turn, at last the error where the next one cannot be read.
// The padding of the last one may be missing.
func (b avps) all() iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		for len(b) > 0 {
			if len(b) < 8 {
				yield(item{}, errAVP)
				return
			}
			a := item{code: binary.BigEndian.Uint32(b)}
			length, head := int(b[5])<<16|int(b[6])<<8|int(b[7]), 8
			if b[4]&avp.Vbit != 0 {
				head = 12
			}
			if length < head || length > len(b) {
				yield(item{}, errAVP)
				return
			}
			if head == 12 {
				a.vendor = binary.BigEndian.Uint32(b[8:])
			}
			a.data = b[head:length]
			if !yield(a, nil) {
				return
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}
