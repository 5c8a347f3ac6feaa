package smsc

import (
	"errors"
	"strings"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"

	"mobileid/smpp/wire"
)

// Inbound is a message that a person sends from his handset to the service.
type Inbound struct {
	Account string `json:"account"` // "" = the one account
	From    string `json:"from"`    // digits without plus
	To      string `json:"to"`      // the service's number or name
	Text    string `json:"text"`

	Sequence  uint32 `json:"sequence,omitempty"`
	Try       int    `json:"try,omitempty"`
	Raw       []byte `json:"raw,omitempty"`
	AckStatus uint32 `json:"ack_status,omitempty"` // of the deliver_sm_resp, in an event of kind inbound_ack
}

// SendInbound sends a message from a handset: until it is acknowledged, on any
// receiving bind of its account.
func (s *Server) SendInbound(in Inbound) error {
	if in.Account == "" && len(s.cfg.Accounts) == 1 {
		for name := range s.cfg.Accounts {
			in.Account = name
		}
	}
	if _, known := s.cfg.Accounts[in.Account]; !known {
		return errors.New("account: no such account")
	}
	if in.From == "" || in.To == "" {
		return errors.New("from, to: missing")
	}
	d := &delivery{receipt: Receipt{Account: in.Account}, inbound: &in}
	if _, err := d.encodeInbound(); err != nil {
		return err
	}
	s.deliver(d)
	return nil
}

// plainLetters stand at the same places in ASCII and in the GSM alphabet.
const plainLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,:;!?'\"()+-*/=<>%&#\r\n"

func (d *delivery) encodeInbound() ([]byte, error) {
	m := wire.Message{
		Command: wire.DeliverSM,
		Source:  wire.Address{TON: 1, NPI: 1, Addr: d.inbound.From}, Dest: wire.Address{Addr: d.inbound.To},
		ShortMessage: []byte(d.inbound.Text),
	}
	if strings.Trim(d.inbound.Text, plainLetters) != "" {
		m.DataCoding, m.ShortMessage = 8, pdutext.UCS2(d.inbound.Text).Encode()
	}
	if len(m.ShortMessage) > wire.MaxShortMessage {
		m.TLV = []wire.TLV{{Tag: wire.TagMessagePayload, Value: m.ShortMessage}}
		m.ShortMessage = nil
	}
	return m.Encode()
}

func (x *session) deliverInbound(d *delivery) bool {
	raw, err := d.encodeInbound()
	if err != nil {
		return true // SendInbound has said so
	}
	in := *d.inbound
	in.Raw, in.Try = raw, in.Try+1
	sent := *d
	sent.inbound = &in
	sent.receipt.Try = in.Try
	return x.request(raw, &sent, func(sequence uint32) {
		told := in
		told.Sequence = sequence
		x.server.events.publish(Event{At: time.Now(), Kind: EventInbound, Account: in.Account, Inbound: &told})
	})
}
