package smpp

import (
	"net"
	"net/netip"

	"mobileid/smpp/trace"
)

// Trace records the PDUs of all links from now on, until the reader is closed.
// The error is trace.ErrBusy.
func (b *Bridge) Trace() (*trace.Reader, error) { return b.tap.Listen() }

// tap is what a session shows its PDUs to; the zero value is nobody.
type tap struct {
	to *trace.Tap
	of *trace.Session
}

func (t tap) show(d trace.Direction, pdus []byte) {
	if t.to != nil {
		t.to.Show(t.of, d, pdus)
	}
}

// addrPort is invalid for an address that is none of TCP.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}
