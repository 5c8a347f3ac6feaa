package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// readers are the ways to read a stream.
var readers = map[string]func(io.Reader) func() (Frame, error){
	"Read":   func(r io.Reader) func() (Frame, error) { return func() (Frame, error) { return Read(r) } },
	"Reader": func(r io.Reader) func() (Frame, error) { return NewReader(r).Read },
}

// stream is many PDUs of many lengths, merged.
func stream() []byte {
	var b []byte
	for i := range uint32(300) {
		b = AppendHeader(b, EnquireLink, 0, i+1)
		b = AppendCString(b, SubmitSM.Response(), StatusThrottled, i+1, "0123456789"[:i%11])
		b = append(appendHeader(b, HeaderLen+int(i*i%9000), DeliverSM, 0, i+1), bytes.Repeat([]byte{byte(i)}, int(i*i%9000))...)
	}
	return b
}

func TestFramesOfAMergedStream(t *testing.T) {
	all := stream()
	for name, open := range readers {
		for how, r := range map[string]io.Reader{
			"at once": bytes.NewReader(all), "an octet at a time": iotest.OneByteReader(bytes.NewReader(all)),
			"in halves": iotest.HalfReader(bytes.NewReader(all)), "with EOF beside the last": iotest.DataErrReader(bytes.NewReader(all)),
		} {
			read, rest, frames := open(r), all, []Frame{}
			for {
				f, err := read()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, how, err)
				}
				frames = append(frames, f)
			}
			// Looked at in the end, when all the others have been read.
			for i, f := range frames {
				if !bytes.Equal(f.Raw, rest[:len(f.Raw)]) || f.Command != Command(binary.BigEndian.Uint32(f.Raw[4:])) ||
					f.Sequence != uint32(i/3+1) || (f.Status == StatusThrottled) != (i%3 == 1) {
					t.Fatalf("%s, %s: frame %d is %d octets of %s", name, how, i, len(f.Raw), f.Command)
				}
				rest = rest[len(f.Raw):]
			}
			if len(rest) != 0 {
				t.Errorf("%s, %s: %d octets not read", name, how, len(rest))
			}
		}
	}
}

func TestAFrameIsBufferedWhenAllOfItIs(t *testing.T) {
	all := AppendCString(nil, SubmitSM.Response(), 0, 1, "id")
	for n := range 2 * len(all) {
		r := bufio.NewReader(bytes.NewReader(slices.Concat(all, all)[:n]))
		_, _ = r.Peek(n)
		if got := Buffered(r); got != (n >= len(all)) {
			t.Errorf("with %d octets of a frame of %d: %v", n, len(all), got)
		}
	}
}

func TestWhatIsAppendedToAFrameIsNotInTheNext(t *testing.T) {
	r := NewReader(bytes.NewReader(stream()))
	first, _ := r.Read()
	second, _ := r.Read()
	want := bytes.Clone(second.Raw)
	_ = append(first.Raw, "zzzzzzzzzzzzzzzzzzzzzzzz"...)
	if !bytes.Equal(second.Raw, want) {
		t.Error("it is")
	}
}

func TestLengthsOutOfBoundsAreRefusedAndTellTheSequence(t *testing.T) {
	for name, open := range readers {
		for _, n := range []uint32{0, 15, MaxLen + 1, 0xFFFFFFFF} {
			raw := AppendHeader(nil, EnquireLink, 0, 9)
			binary.BigEndian.PutUint32(raw, n)
			if f, err := open(bytes.NewReader(raw))(); !errors.Is(err, ErrLength) || f.Sequence != 9 || !bytes.Equal(f.Raw, raw) {
				t.Errorf("%s of %d octets: %+v, %v", name, n, f, err)
			}
		}
		raw := append(appendHeader(nil, MaxLen, DeliverSM, 0, 9), make([]byte, MaxLen-HeaderLen)...)
		if f, err := open(bytes.NewReader(raw))(); err != nil || len(f.Raw) != MaxLen {
			t.Errorf("%s of the longest: %v", name, err)
		}
	}
}

func TestTheEndOfAStreamInsideAFrameIsTold(t *testing.T) {
	raw := AppendCString(nil, SubmitSM.Response(), 0, 1, "abc")
	for name, open := range readers {
		for cut := range raw {
			want := io.ErrUnexpectedEOF
			if cut == 0 {
				want = io.EOF
			}
			if f, err := open(bytes.NewReader(raw[:cut]))(); !errors.Is(err, want) || f.Raw != nil {
				t.Errorf("%s, cut at %d: %v", name, cut, err)
			}
		}
	}
}

// FuzzFraming: however the bytes arrive, frames are what stands between the
// lengths, and stay so while later ones are read.
func FuzzFraming(f *testing.F) {
	f.Add(stream()[:200], uint8(7))
	f.Add(AppendHeader(nil, EnquireLink, 0, 7), uint8(0))
	f.Add([]byte{0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, chunk uint8) {
		r, rest, frames := NewReader(&chunks{b, int(chunk) + 1}), b, []Frame{}
		for {
			got, err := r.Read()
			if err == nil {
				frames = append(frames, got)
				continue
			}
			read := 0
			for _, fr := range frames {
				if !bytes.Equal(fr.Raw, rest[:len(fr.Raw)]) || int(binary.BigEndian.Uint32(fr.Raw)) != len(fr.Raw) {
					t.Fatalf("frame at %d: %x", read, fr.Raw)
				}
				read += len(fr.Raw)
				rest = rest[len(fr.Raw):]
			}
			length := uint32(0)
			if len(rest) >= HeaderLen {
				length = binary.BigEndian.Uint32(rest)
			}
			want := io.ErrUnexpectedEOF
			switch {
			case len(rest) == 0:
				want = io.EOF
			case len(rest) >= HeaderLen && (length < HeaderLen || length > MaxLen):
				want = ErrLength
			case len(rest) >= HeaderLen && int(length) <= len(rest):
				t.Fatalf("a frame of %d octets was not read", length)
			}
			if !errors.Is(err, want) {
				t.Fatalf("%v before %x, want %v", err, rest[:min(len(rest), HeaderLen)], want)
			}
			return
		}
	})
}

// chunks gives at most n octets a read.
type chunks struct {
	b []byte
	n int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.b[:min(c.n, len(c.b))])
	c.b = c.b[n:]
	return n, nil
}

func TestTheVersionThatABindsAnswerSays(t *testing.T) {
	said := AppendBindAnswer([]byte("before"), BindTransceiver, 7, "smsc")[len("before"):]
	if f, err := Read(bytes.NewReader(said)); err != nil || f.Command != BindTransceiver.Response() || f.Sequence != 7 || InterfaceVersion(f) != Version34 {
		t.Errorf("%+v, %v", f, err)
	}
	for name, body := range map[string]string{
		"no body": "", "nothing behind system_id": "smsc\x00", "system_id without an end": "smsc",
		"cut": "smsc\x00\x02\x10\x00\x01", "too long": "smsc\x00\x02\x10\x00\x02\x34\x34", "another parameter": "smsc\x00\x02\x11\x00\x01\x34",
	} {
		if v := InterfaceVersion(Frame{Command: BindTransceiver.Response(), Raw: append(make([]byte, HeaderLen), body...)}); v != 0 {
			t.Errorf("%s: version %#x", name, v)
		}
	}
}
