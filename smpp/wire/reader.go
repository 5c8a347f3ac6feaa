package wire

import (
	"bufio"
	"encoding/binary"
	"io"
)

// slabSize is how much memory a Reader takes at a time, some eighty answers;
// largest is the longest frame that is put into it.
const (
	slabSize = 4 << 10
	largest  = slabSize / 4
)

// Reader reads the frames of one stream. Frames lie side by side in slabs of
// memory that are written once and never again, so a frame is the caller's for
// good and nothing has to be given back; a slab is free when all of its frames
// are. One goroutine may use a Reader.
type Reader struct {
	r    io.Reader
	slab []byte // what is left of it
}

// NewReader returns a Reader. It asks r for the header and then for the body,
// so r had better be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read reads one frame, as the function Read does.
func (d *Reader) Read() (Frame, error) {
	if len(d.slab) < HeaderLen {
		d.slab = make([]byte, slabSize)
	}
	header := d.slab[:HeaderLen]
	f, length, err := readHeader(d.r, header)
	if err != nil {
		return f, err
	}
	return readBody(d.r, f, header, d.take(length))
}

// take cuts n bytes off the slab, from a new one when it has not as many.
func (d *Reader) take(n int) []byte {
	if n > largest {
		return make([]byte, n)
	}
	if n > len(d.slab) {
		d.slab = make([]byte, slabSize)
	}
	raw := d.slab[:n:n]
	d.slab = d.slab[n:]
	return raw
}

// Buffered reports whether all of a frame is in the buffer of r, so that reading
// it does not wait.
func Buffered(r *bufio.Reader) bool {
	if r.Buffered() < HeaderLen {
		return false
	}
	length, err := r.Peek(4)
	return err == nil && uint32(r.Buffered()) >= binary.BigEndian.Uint32(length)
}
