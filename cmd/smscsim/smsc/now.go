package smsc

import (
	"cmp"
	"encoding/binary"

	"mobileid/smpp/wire"
)

// The forms of a malformed PDU.
const (
	malformedSMLength = "sm_length"       // sm_length says more than there is
	malformedShort    = "command_length"  // command_length below the header's: framing is lost
	malformedHuge     = "huge_length"     // command_length of 2 GiB: framing is lost
	malformedUnknown  = "unknown_command" // a request that SMPP does not have
	malformedAnswer   = "unknown_answer"  // an answer to nothing that was asked
	malformedNack     = "generic_nack"    // of no PDU: sequence_number 0
	malformedCut      = "cut_body"        // the body ends inside a field
	malformedEmpty    = "empty_body"      // a deliver_sm without a body
	malformedTLV      = "tlv_length"      // the length of an optional parameter leads behind the PDU
)

func malformedForms() []string {
	return []string{
		malformedSMLength, malformedShort, malformedHuge, malformedUnknown, malformedAnswer, malformedNack,
		malformedCut, malformedEmpty, malformedTLV,
	}
}

// now does a fault that is done once, on everything that is connected.
func (s *Server) now(f Fault) {
	for _, x := range s.open() {
		switch f.Kind {
		case FaultCut:
			x.end()
		case FaultStall:
			x.stall.begin(f)
		case FaultHalfOpen:
			x.stall.begin(f)
			x.forget()
		case FaultUnbind:
			x.request(wire.AppendHeader(nil, wire.Unbind, 0, 0), nil, nil)
		default:
			if x.bound() {
				x.say(f)
			}
		}
	}
}

// say sends on a bind what nobody asked for.
func (x *session) say(f Fault) {
	switch f.Kind {
	case FaultEnquireLink:
		x.request(wire.AppendHeader(nil, wire.EnquireLink, 0, 0), nil, nil)
	case FaultGarbage:
		x.send(f.Bytes)
	case FaultAlert:
		x.request(alertNotification(f.To), nil, nil)
	case FaultMalformed:
		x.send(malformed(f.Form))
	default:
	}
}

// alertNotification says that a handset can be reached again (SMPP 3.4, 4.12).
func alertNotification(number string) []byte {
	b := wire.AppendHeader(nil, wire.AlertNotification, 0, 0)
	b = append(append(append(b, 1, 1), cmp.Or(number, "998901234567")...), 0)
	return sized(append(b, 5, 0, 0)) // the ESME's address is empty
}

// sized writes the length of what was put together by hand.
func sized(pdu []byte) []byte {
	binary.BigEndian.PutUint32(pdu, uint32(len(pdu)))
	return pdu
}

// malformedSequence is far from the sequence numbers of a session's requests.
const malformedSequence = 0x7ffffff0

// malformed makes a PDU with one mistake.
func malformed(form string) []byte {
	good, err := wire.Message{
		Command: wire.DeliverSM, ESMClass: 0x04, Source: wire.Address{TON: 1, NPI: 1, Addr: "998901234567"},
		Dest: wire.Address{TON: 5, Addr: "MobileID"}, ShortMessage: []byte("id:1 stat:DELIVRD"),
		TLV: []wire.TLV{{Tag: wire.TagMessageState, Value: []byte{2}}},
	}.Encode()
	if err != nil {
		return nil // it fits: it is the same each time
	}
	wire.SetSequence(good, malformedSequence)
	const tlv = 5 // bytes of the one optional parameter
	switch form {
	case malformedSMLength:
		good[len(good)-tlv-len("id:1 stat:DELIVRD")-1] = 200
	case malformedShort:
		binary.BigEndian.PutUint32(good, 8)
	case malformedHuge:
		binary.BigEndian.PutUint32(good, 0x7fffffff)
	case malformedUnknown:
		binary.BigEndian.PutUint32(good[4:], 0x00000777)
	case malformedAnswer:
		return wire.AppendCString(nil, wire.SubmitSM.Response(), 0, malformedSequence, "1")
	case malformedNack:
		return wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidLength, 0)
	case malformedCut:
		return sized(good[:wire.HeaderLen+6])
	case malformedEmpty:
		return sized(good[:wire.HeaderLen])
	case malformedTLV:
		binary.BigEndian.PutUint16(good[len(good)-3:], 900)
	}
	return good
}
