package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// The longest values of the fields that we fill, in bytes without the NUL
// (SMPP 3.4, 4.1.1, 4.4.1).
const (
	MaxSystemID     = 15
	MaxPassword     = 8
	MaxSystemType   = 12
	MaxAddress      = 20
	MaxShortMessage = 254
)

// ErrField says that a value does not fit its field. The codec would write it
// all the same and shift everything behind it.
var ErrField = errors.New("value does not fit its field")

// Bind is what a bind request carries.
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
	return encode(p)
}

// Address is a number or name with its type and plan (SMPP 3.4, 5.2.5, 5.2.6).
type Address struct {
	TON, NPI byte
	Addr     string
}

// Message is a submit_sm or deliver_sm to be written.
type Message struct {
	Command            Command // SubmitSM or DeliverSM
	Source, Dest       Address
	ESMClass           byte
	ValidityPeriod     string // "" or 16 characters (7.1.1)
	RegisteredDelivery byte
	DataCoding         byte
	ShortMessage       []byte // user data header included
	TLV                pdutlv.Fields
}

// Encode returns the PDU with sequence number 0; SetSequence gives it one.
func (m Message) Encode() ([]byte, error) {
	if err := checkText("source_addr", m.Source.Addr, MaxAddress); err != nil {
		return nil, err
	}
	if err := checkText("destination_addr", m.Dest.Addr, MaxAddress); err != nil {
		return nil, err
	}
	if n := len(m.ValidityPeriod); n != 0 && n != 16 {
		return nil, fmt.Errorf("%w: validity_period", ErrField)
	}
	if len(m.ShortMessage) > MaxShortMessage {
		return nil, fmt.Errorf("%w: short_message", ErrField)
	}
	// The codec's own deliver_sm writes two bytes that the PDU does not have;
	// submit_sm has the same layout.
	p := pdu.NewSubmitSM(m.TLV)
	p.Header().ID, p.Header().Seq = pdu.ID(m.Command), 0
	f := p.Fields()
	_ = f.Set(pdufield.SourceAddrTON, m.Source.TON)
	_ = f.Set(pdufield.SourceAddrNPI, m.Source.NPI)
	_ = f.Set(pdufield.SourceAddr, m.Source.Addr)
	_ = f.Set(pdufield.DestAddrTON, m.Dest.TON)
	_ = f.Set(pdufield.DestAddrNPI, m.Dest.NPI)
	_ = f.Set(pdufield.DestinationAddr, m.Dest.Addr)
	_ = f.Set(pdufield.ESMClass, m.ESMClass)
	_ = f.Set(pdufield.ValidityPeriod, m.ValidityPeriod)
	_ = f.Set(pdufield.RegisteredDelivery, m.RegisteredDelivery)
	_ = f.Set(pdufield.DataCoding, m.DataCoding)
	_ = f.Set(pdufield.ShortMessage, m.ShortMessage)
	return encode(p)
}

func encode(p pdu.Body) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(256)
	if err := p.SerializeTo(&b); err != nil {
		return nil, fmt.Errorf("encode %s: %w", Command(p.Header().ID), err)
	}
	return b.Bytes(), nil
}

func checkText(name, value string, limit int) error {
	if len(value) > limit || strings.IndexByte(value, 0) >= 0 {
		return fmt.Errorf("%w: %s", ErrField, name)
	}
	return nil
}
