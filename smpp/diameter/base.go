package diameter

import (
	"net"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// The messages of RFC 6733 that keep a connection.

// cer asks for capabilities (5.3.1).
func (c *Config) cer(local net.Addr, endToEnd uint32) (frame, error) {
	m := c.newRequest(diam.CapabilitiesExchange, 0, diam.BASE_APP_ID, endToEnd)
	c.origin(m)
	ip := net.IPv4(127, 0, 0, 1)
	if tcp, ok := local.(*net.TCPAddr); ok {
		ip = tcp.IP
	}
	m.AddAVP(field(avp.HostIPAddress, datatype.Address(ip)))
	m.AddAVP(field(avp.VendorID, datatype.Unsigned32(0)))
	m.AddAVP(diam.NewAVP(avp.ProductName, 0, 0, datatype.UTF8String("mobileid")))
	m.AddAVP(field(avp.SupportedVendorID, datatype.Unsigned32(vendor3GPP)))
	m.AddAVP(field(avp.AuthApplicationID, datatype.Unsigned32(diam.CHARGING_CONTROL_APP_ID)))
	return m.Serialize()
}

// dwr asks whether the peer is there (5.5.1).
func (c *Config) dwr(endToEnd uint32) (frame, error) {
	m := c.newRequest(diam.DeviceWatchdog, 0, diam.BASE_APP_ID, endToEnd)
	c.origin(m)
	return m.Serialize()
}

// dpr says that we go (5.4.1).
func (c *Config) dpr(endToEnd uint32) (frame, error) {
	m := c.newRequest(diam.DisconnectPeer, 0, diam.BASE_APP_ID, endToEnd)
	c.origin(m)
	m.AddAVP(field(avp.DisconnectCause, datatype.Enumerated(0))) // REBOOTING: we may come back
	return m.Serialize()
}

// answer answers a request of the peer's.
func (c *Config) answer(to frame, code uint32) (frame, error) {
	flags := to.flags() & diam.ProxiableFlag
	if code == unsupported {
		flags |= diam.ErrorFlag
	}
	m := diam.NewMessage(to.command(), flags, to.application(), 1, 1, nil)
	m.Header.HopByHopID, m.Header.EndToEndID = to.hopByHop(), to.endToEnd()
	// The Session-Id of a request comes first in its answer, too (RFC 6733, 8.8).
	for a, err := range to.avps().all() {
		if err == nil && a.is(avp.SessionID) {
			m.AddAVP(field(avp.SessionID, datatype.UTF8String(a.data)))
		}
		break
	}
	m.AddAVP(field(avp.ResultCode, datatype.Unsigned32(code)))
	c.origin(m)
	return m.Serialize()
}
