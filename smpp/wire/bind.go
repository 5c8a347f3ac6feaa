package wire

import (
	"bytes"
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
	_ = m.Set(pdufield.InterfaceVersion, 0x34)
	var out bytes.Buffer
	if err := p.SerializeTo(&out); err != nil {
		return nil, fmt.Errorf("encode %s: %w", b.Command, err)
	}
	return out.Bytes(), nil
}
