package wire

import "slices"

// Address is a number or name with its type and plan (SMPP 3.4, 5.2.5, 5.2.6,
// 5.2.8).
type Address struct {
	TON, NPI byte
	Addr     string
}

// ESMClassUDHI is the bit of esm_class that says that the text begins with a
// user data header (SMPP 3.4, 5.2.12).
const ESMClassUDHI = 0x40

// Message is a submit_sm or deliver_sm (SMPP 3.4, 4.4.1, 4.6.1), to be written
// or as it was read; also a data_sm (4.7.1) that was read. The mandatory fields
// that it lacks are written 0 or empty and not kept when read: protocol_id,
// schedule_delivery_time, replace_if_present_flag and sm_default_msg_id.
type Message struct {
	Command            Command
	ServiceType        string
	Source, Dest       Address
	ESMClass           byte
	PriorityFlag       byte   // 0 to 3 (5.2.14)
	ValidityPeriod     string // "", or 16 characters: RelativeTime, AbsoluteTime
	RegisteredDelivery byte
	DataCoding         byte
	ShortMessage       []byte // user data header included
	TLV                []TLV  // in any order; written by rising tag
}

// Bytes returns message_payload when that carries the text, else short_message
// (SMPP 3.4, 5.3.2.32).
func (m Message) Bytes() []byte {
	if payload, _ := m.Optional(TagMessagePayload); len(payload) > 0 {
		return payload
	}
	return m.ShortMessage
}

// Optional returns the value of an optional parameter, of the last one if the
// peer repeats it.
func (m Message) Optional(tag uint16) (value []byte, ok bool) {
	for _, t := range slices.Backward(m.TLV) {
		if t.Tag == tag {
			return t.Value, true
		}
	}
	return nil, false
}

// OptionalText returns an optional parameter that is a C-octet string, with or
// without the NUL that some operators leave out; "" if absent.
func (m Message) OptionalText(tag uint16) string {
	value, _ := m.Optional(tag)
	if n := len(value); n > 0 && value[n-1] == 0 {
		value = value[:n-1]
	}
	return string(value)
}
