package wire

import (
	"bytes"
	"fmt"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// Fields are the decoded fields of a PDU: the mandatory ones by name, the
// optional ones by tag.
type Fields struct {
	Named pdufield.Map
	TLV   pdutlv.Map
}

var bindFields = pdu.NewBindTransceiver().FieldList()

// messageFields is the layout that submit_sm and deliver_sm share. The codec's
// own list for deliver_sm takes the user data header apart, which loses one
// that is damaged; the header is left inside short_message here.
var messageFields = pdu.NewSubmitSM(nil).FieldList()

var layouts = map[Command]pdufield.List{
	BindReceiver: bindFields, BindTransmitter: bindFields, BindTransceiver: bindFields,
	BindReceiver.Response(): {pdufield.SystemID}, BindTransmitter.Response(): {pdufield.SystemID},
	BindTransceiver.Response(): {pdufield.SystemID},
	SubmitSM:                   messageFields, DeliverSM: messageFields,
	SubmitSM.Response(): {pdufield.MessageID}, DeliverSM.Response(): {pdufield.MessageID},
}

// Decode reads the fields of a frame. Requests must be complete; an answer may
// come without a body, as it often does with an error. The error is ErrBody
// and never quotes the body.
func Decode(f Frame) (Fields, error) {
	layout, ok := layouts[f.Command]
	if !ok {
		return Fields{}, fmt.Errorf("%w: %s has no fields here", ErrBody, f.Command)
	}
	r := bytes.NewBuffer(f.Body())
	named, err := layout.Decode(r)
	if err != nil {
		return Fields{}, fmt.Errorf("%w: %s", ErrBody, f.Command)
	}
	if !f.Command.IsResponse() {
		// The codec stops without a word at the end of the bytes.
		for _, name := range layout {
			if named[name] == nil {
				return Fields{}, fmt.Errorf("%w: %s ends before %s", ErrBody, f.Command, name)
			}
		}
	}
	tlv, err := pdutlv.DecodeTLV(r)
	if err != nil {
		return Fields{}, fmt.Errorf("%w: optional parameters of %s", ErrBody, f.Command)
	}
	return Fields{Named: named, TLV: tlv}, nil
}

// Text returns a C-octet string field without its NUL, "" if absent.
func (f Fields) Text(name pdufield.Name) string {
	if v := f.Named[name]; v != nil {
		return v.String()
	}
	return ""
}

// Byte returns a one-byte field, 0 if absent.
func (f Fields) Byte(name pdufield.Name) byte {
	if v, ok := f.Named[name].(*pdufield.Fixed); ok {
		return v.Data
	}
	return 0
}

// Bytes returns short_message, or message_payload when that carries the text
// (SMPP 3.4, 5.3.2.32).
func (f Fields) Bytes() []byte {
	if v := f.TLV[pdutlv.TagMessagePayload]; v != nil && len(v.Bytes()) > 0 {
		return v.Bytes()
	}
	if v, ok := f.Named[pdufield.ShortMessage].(*pdufield.SM); ok {
		return v.Data
	}
	return nil
}

// OptionalText returns an optional parameter that is a C-octet string.
func (f Fields) OptionalText(tag pdutlv.Tag) string {
	if v, ok := f.TLV[tag]; ok {
		return v.String()
	}
	return ""
}
