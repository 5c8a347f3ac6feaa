package smpp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"

	"mobileid/smpp/trace"
	"mobileid/smpp/wire"
)

// Trace records the PDUs of all links from now on, until the reader is closed.
// The error is trace.ErrBusy.
func (b *Bridge) Trace() (*trace.Reader, error) { return b.tap.Listen() }

// tap is what a session shows its PDUs to; the zero value is nobody.
type tap struct {
	to      *trace.Tap
	of      *trace.Session
	leaving *leaving
}

// leaving is what is being written and has not been shown yet. Only what has left
// is shown, and no answer before its request: so an answer shows the write that it
// overtakes up to its request, and the end of the write shows the rest.
type leaving struct {
	mu   sync.Mutex
	pdus []byte // nil: nothing, or nobody looked when the write began
	left int    // of it were shown
}

func newTap(to *trace.Tap, of *trace.Session) tap { return tap{to: to, of: of, leaving: &leaving{}} }

// read shows what the operator sent.
func (t tap) read(f wire.Frame) {
	if t.to == nil || !t.to.Listening() {
		return
	}
	l := t.leaving
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Command.IsResponse() {
		t.show(through(l.pdus, f.Sequence))
	}
	t.to.Show(t.of, trace.In, f.Raw)
}

// stray shows the header that ended the framing.
func (t tap) stray(f wire.Frame) {
	if t.to != nil {
		t.to.ShowStray(t.of, f.Raw)
	}
}

// writes is told of PDUs that are about to be written, wrote how many of their
// octets have left.
func (t tap) writes(pdus []byte) {
	if t.to == nil || !t.to.Listening() {
		return
	}
	t.leaving.mu.Lock()
	defer t.leaving.mu.Unlock()
	t.leaving.pdus, t.leaving.left = pdus, 0
}

func (t tap) wrote(n int) {
	if t.to == nil {
		return
	}
	l := t.leaving
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pdus == nil {
		return
	}
	t.show(n)
	l.pdus = nil // the writer uses it again
}

// show shows what is being written up to there. The caller holds leaving.mu.
func (t tap) show(end int) {
	if l := t.leaving; end > l.left {
		t.to.Show(t.of, trace.Out, l.pdus[l.left:end])
		l.left = end
	}
}

// through is where a request with that number ends in PDUs; 0: it is not there.
func through(pdus []byte, sequence uint32) int {
	for at := 0; at+wire.HeaderLen <= len(pdus); {
		header := pdus[at : at+wire.HeaderLen]
		at += int(binary.BigEndian.Uint32(header))
		if c := wire.Command(binary.BigEndian.Uint32(header[4:])); !c.IsResponse() && binary.BigEndian.Uint32(header[12:]) == sequence {
			return at
		}
	}
	return 0
}

// addrPort is invalid for an address that is none of TCP.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
