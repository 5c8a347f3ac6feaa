package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBody says that the fields of a frame cannot be read. Framing is intact.
var ErrBody = errors.New("PDU body cannot be read")

// DecodeMessage reads a deliver_sm, submit_sm or data_sm. ShortMessage and the
// values of the parameters are the frame's own bytes; the memory of into.TLV is
// used again. The error is ErrBody and never quotes the body.
//
// What a peer says clearly is read although it must not be said: a longer
// address, sm_length 255, text in two places. Receipts come again for ever when
// they are refused, and are lost when they are dropped.
func DecodeMessage(f Frame, into *Message) error {
	switch f.Command {
	case SubmitSM, DeliverSM, DataSM:
	default:
		return fmt.Errorf("%w: %s is no message", ErrBody, f.Command)
	}
	c := cursor{rest: f.Body()}
	m := Message{Command: f.Command, TLV: into.TLV[:0]}
	m.ServiceType = c.text("service_type")
	m.Source = Address{c.octet("source_addr_ton"), c.octet("source_addr_npi"), c.text("source_addr")}
	m.Dest = Address{c.octet("dest_addr_ton"), c.octet("dest_addr_npi"), c.text("destination_addr")}
	m.ESMClass = c.octet("esm_class")
	if f.Command == DataSM {
		m.RegisteredDelivery = c.octet("registered_delivery")
		m.DataCoding = c.octet("data_coding")
	} else {
		c.octet("protocol_id")
		m.PriorityFlag = c.octet("priority_flag")
		c.cString("schedule_delivery_time")
		m.ValidityPeriod = c.text("validity_period")
		m.RegisteredDelivery = c.octet("registered_delivery")
		c.octet("replace_if_present_flag")
		m.DataCoding = c.octet("data_coding")
		c.octet("sm_default_msg_id")
		m.ShortMessage = c.octets("short_message", int(c.octet("sm_length")))
	}
	m.TLV = c.tlvs(m.TLV)
	if c.short != "" {
		return fmt.Errorf("%w: %s ends before the end of %s", ErrBody, f.Command, c.short)
	}
	*into = m
	return nil
}

// MessageID reads the message_id of an answer to submit_sm, deliver_sm or
// data_sm (SMPP 3.4, 4.4.2, 4.6.2, 4.7.2): "" where the answer has no body, as
// one that carries an error need not, and often an acknowledgement. What stands
// behind it is not looked at. The error is ErrBody.
func MessageID(f Frame) (string, error) {
	switch f.Command {
	case SubmitSM.Response(), DeliverSM.Response(), DataSM.Response():
	default:
		return "", fmt.Errorf("%w: %s has no message_id", ErrBody, f.Command)
	}
	if len(f.Body()) == 0 {
		return "", nil
	}
	c := cursor{rest: f.Body()}
	id := c.cString("message_id")
	if c.short != "" || len(id) > MaxMessageID {
		return "", fmt.Errorf("%w: message_id of %s", ErrBody, f.Command)
	}
	return string(id), nil
}

// cursor reads fields one after the other. The first that the bytes do not
// reach is named in short; what is read from there on is empty.
type cursor struct {
	rest  []byte
	short string
}

func (c *cursor) octets(field string, n int) []byte {
	if n > len(c.rest) {
		c.fail(field)
		return nil
	}
	v := c.rest[:n:n]
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) octet(field string) byte {
	if len(c.rest) == 0 {
		c.fail(field)
		return 0
	}
	v := c.rest[0]
	c.rest = c.rest[1:]
	return v
}

// cString reads a C-octet string without its NUL.
func (c *cursor) cString(field string) []byte {
	n := bytes.IndexByte(c.rest, 0)
	if n < 0 {
		c.fail(field)
		return nil
	}
	v := c.rest[:n]
	c.rest = c.rest[n+1:]
	return v
}

func (c *cursor) text(field string) string { return string(c.cString(field)) }

func (c *cursor) fail(field string) {
	if c.short == "" {
		c.short = field
	}
	c.rest = nil
}

// tlvs reads the optional parameters to the end. Up to three octets of 0 that
// some operators leave there are not one.
func (c *cursor) tlvs(into []TLV) []TLV {
	if into == nil && len(c.rest) > tlvHeader {
		into = make([]TLV, 0, 4)
	}
	for len(c.rest) >= tlvHeader {
		tag := binary.BigEndian.Uint16(c.rest)
		length := int(binary.BigEndian.Uint16(c.rest[2:]))
		c.rest = c.rest[tlvHeader:]
		into = append(into, TLV{tag, c.octets("optional parameters", length)})
	}
	for _, octet := range c.rest {
		if octet != 0 {
			c.fail("optional parameters")
			break
		}
	}
	return into
}
