package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
)

// Bind is what a bind request carries (SMPP 3.4, 4.1).
type Bind struct {
	Command    Command // BindTransceiver, BindTransmitter or BindReceiver
	SystemID   string
	Password   string
	SystemType string
}

// Encode returns the PDU with sequence number 1: a bind is the first request
// of its session.
func (b Bind) Encode() ([]byte, error) {
	for _, f := range []struct {
		name, value string
		max         int
	}{{"system_id", b.SystemID, MaxSystemID}, {"password", b.Password, MaxPassword}, {"system_type", b.SystemType, MaxSystemType}} {
		if err := checkText(f.name, f.value, f.max); err != nil {
			return nil, err
		}
	}
	p := pdu.NewBindTransceiver()
	p.Header().ID, p.Header().Seq = pdu.ID(b.Command), 1
	m := p.Fields()
	_ = m.Set(pdufield.SystemID, b.SystemID)
	_ = m.Set(pdufield.Password, b.Password)
	_ = m.Set(pdufield.SystemType, b.SystemType)
	_ = m.Set(pdufield.InterfaceVersion, Version34)
	var out bytes.Buffer
	if err := p.SerializeTo(&out); err != nil {
		return nil, fmt.Errorf("encode %s: %w", b.Command, err)
	}
	return out.Bytes(), nil
}

// Version34 is SMPP 3.4 in interface_version and sc_interface_version (5.2.4,
// 5.3.2.25).
const Version34 = 0x34

// InterfaceVersion reads sc_interface_version from the answer to a bind; 0
// where it does not say. A peer that says less than Version34, or nothing, need
// not understand optional parameters (SMPP 3.4, 3.4).
func InterfaceVersion(f Frame) byte {
	c := cursor{rest: f.Body()}
	c.cString("system_id")
	for _, t := range c.tlvs(nil) {
		if t.Tag == TagSCInterfaceVersion && len(t.Value) == 1 {
			return t.Value[0]
		}
	}
	return 0
}

// AppendBindAnswer appends the answer of an SMSC of SMPP 3.4 to a bind that it
// accepts.
func AppendBindAnswer(b []byte, bind Command, sequence uint32, systemID string) []byte {
	start := len(b)
	b = AppendCString(b, bind.Response(), StatusOK, sequence, systemID)
	b = binary.BigEndian.AppendUint16(b, TagSCInterfaceVersion)
	b = append(b, 0, 1, Version34) // its length and value
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}
