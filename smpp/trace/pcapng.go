package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Writer prints records, masked.
type Writer interface {
	Write(Record) error
	// End says how many records are missing.
	End(lost int64) error
}

// Block types and options of pcapng (draft-ietf-opsawg-pcapng), and its link
// type for packets that begin with an IP header.
const (
	blockSection    = 0x0A0D0D0A
	blockInterface  = 1
	blockPacket     = 6
	blockStatistics = 5

	byteOrderMagic = 0x1A2B3C4D
	linkTypeRaw    = 101

	optComment     = 1
	optUserAppl    = 4 // of a section
	optName        = 2 // of an interface
	optDescription = 3 // of an interface
	optDropped     = 5 // of statistics: packets lost for lack of room
)

// SMPPPort is the operator's port in the packets whatever it was, so that every
// reader of the file knows what is inside.
const SMPPPort = 2775

// Documentation addresses (RFC 5737) where the connection had no IPv4.
var (
	anyUs   = netip.MustParseAddr("192.0.2.1")
	anyPeer = netip.MustParseAddr("198.51.100.1")
)

// Pcapng writes a capture file: an interface for each session, and each PDU in
// a TCP segment of its own making, without the segments that carried nothing.
type Pcapng struct {
	out      io.Writer
	sessions map[*Session]*stream
}

// stream is one session in the file.
type stream struct {
	number   uint32 // of the interface
	us, peer netip.AddrPort
	sent     [2]uint32 // octets by Direction, for TCP's numbers
	packets  uint16    // IP's identification
}

// NewPcapng begins a file.
func NewPcapng(out io.Writer) (*Pcapng, error) {
	p := &Pcapng{out: out, sessions: map[*Session]*stream{}}
	body := binary.LittleEndian.AppendUint32(nil, byteOrderMagic)
	body = binary.LittleEndian.AppendUint16(body, 1)          // version 1.0
	body = binary.LittleEndian.AppendUint16(body, 0)          //
	body = binary.LittleEndian.AppendUint64(body, ^uint64(0)) // of a length that is not known yet
	body = option(body, optUserAppl, "mobileid links trace")
	body = option(body, optComment, "texts, passwords and numbers are masked; TCP and IP are not as they were sent")
	return p, p.block(blockSection, endOptions(body))
}

// Write prints one PDU, masked.
func (p *Pcapng) Write(r Record) error {
	s, err := p.stream(r.Session)
	if err != nil {
		return err
	}
	pdu := Mask(r.PDU)
	for len(pdu) > 0 { // one of 64 KiB is longer than an IP packet
		n := min(len(pdu), maxSegment)
		if err := p.packet(s, r.Direction, r.At, pdu[:n]); err != nil {
			return err
		}
		pdu = pdu[n:]
	}
	return nil
}

// End says in each interface's statistics that records are missing.
func (p *Pcapng) End(lost int64) error {
	now := time.Now()
	for _, s := range p.sessions {
		body := binary.LittleEndian.AppendUint32(nil, s.number)
		body = stamp(body, now)
		body = option(body, optDropped, string(binary.LittleEndian.AppendUint64(nil, uint64(lost))))
		body = option(body, optComment, fmt.Sprintf("%d PDUs of all interfaces are missing: the reader was slow", lost))
		if err := p.block(blockStatistics, endOptions(body)); err != nil {
			return err
		}
	}
	return nil
}

// maxSegment is how much of a PDU goes into one packet.
const maxSegment = 32 << 10

func (p *Pcapng) stream(of *Session) (*stream, error) {
	if s := p.sessions[of]; s != nil {
		return s, nil
	}
	s := &stream{
		number: uint32(len(p.sessions)),
		us:     or4(of.Us, anyUs, uint16(49152+len(p.sessions))),
		peer:   netip.AddrPortFrom(or4(of.Peer, anyPeer, 0).Addr(), SMPPPort),
		sent:   [2]uint32{1, 1},
	}
	p.sessions[of] = s
	body := binary.LittleEndian.AppendUint16(nil, linkTypeRaw)
	body = binary.LittleEndian.AppendUint16(body, 0)
	body = binary.LittleEndian.AppendUint32(body, 0) // no limit of length
	body = option(body, optName, of.Link)
	body = option(body, optDescription, of.Host)
	return s, p.block(blockInterface, endOptions(body))
}

// or4 returns an address of IPv4.
func or4(a netip.AddrPort, other netip.Addr, port uint16) netip.AddrPort {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return netip.AddrPortFrom(ip, a.Port())
	}
	return netip.AddrPortFrom(other, port)
}

func (p *Pcapng) packet(s *stream, d Direction, at time.Time, payload []byte) error {
	from, to := s.us, s.peer
	if d == In {
		from, to = to, from
	}
	ip := s.segment(from, to, s.sent[d], s.sent[1-d], payload)
	s.sent[d] += uint32(len(payload))
	body := binary.LittleEndian.AppendUint32(nil, s.number)
	body = stamp(body, at)
	body = binary.LittleEndian.AppendUint32(body, uint32(len(ip)))
	body = binary.LittleEndian.AppendUint32(body, uint32(len(ip)))
	return p.block(blockPacket, pad(append(body, ip...)))
}

// segment is a TCP segment in an IPv4 packet (RFC 791, 9293), PSH and ACK set.
func (s *stream) segment(from, to netip.AddrPort, sequence, acknowledged uint32, payload []byte) []byte {
	const header = 20
	s.packets++
	tcp := binary.BigEndian.AppendUint16(nil, from.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, to.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, sequence)
	tcp = binary.BigEndian.AppendUint32(tcp, acknowledged)
	tcp = append(tcp, header/4<<4, 0x18, 0xFF, 0xFF, 0, 0, 0, 0)
	tcp = append(tcp, payload...)
	src, dst := from.Addr().As4(), to.Addr().As4()
	pseudo := append(append(src[:len(src):len(src)], dst[:]...), 0, 6)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))

	ip := []byte{4<<4 | header/4, 0}
	ip = binary.BigEndian.AppendUint16(ip, uint16(header+len(tcp)))
	ip = binary.BigEndian.AppendUint16(ip, s.packets)
	ip = append(ip, 0x40, 0, 64, 6, 0, 0) // do not fragment; 64 hops; TCP
	ip = append(append(ip, src[:]...), dst[:]...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(ip, tcp...)
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, octet := range b {
		sum += uint32(octet) << (8 * (1 - i%2))
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return ^uint16(sum)
}

// stamp appends a time in microseconds, the high half first.
func stamp(b []byte, at time.Time) []byte {
	us := uint64(at.UnixMicro())
	b = binary.LittleEndian.AppendUint32(b, uint32(us>>32))
	return binary.LittleEndian.AppendUint32(b, uint32(us))
}

func option(b []byte, code uint16, value string) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...))
}

func endOptions(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// pad fills up to 32 bits.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// block writes a block, its length before and behind it.
func (p *Pcapng) block(kind uint32, body []byte) error {
	n := uint32(12 + len(body))
	var b bytes.Buffer
	for _, v := range []uint32{kind, n} {
		b.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	b.Write(body)
	b.Write(binary.LittleEndian.AppendUint32(nil, n))
	_, err := p.out.Write(b.Bytes())
	return err
}
