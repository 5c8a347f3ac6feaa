package smsc

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"

	"mobileid/smpp/wire"
)

// Submit is a submit_sm as it was received, with what became of it here.
type Submit struct {
	At         time.Time         `json:"at"` // when it had been read
	Account    string            `json:"account"`
	MessageID  string            `json:"message_id"` // given in the answer; "" when refused
	Status     uint32            `json:"status"`     // command_status of the answer
	Answered   bool              `json:"answered"`   // false: a fault kept the answer back
	Source     string            `json:"source"`
	Dest       string            `json:"dest"`
	Text       string            `json:"text"`            // of this part, decoded
	Whole      string            `json:"whole,omitempty"` // what the person reads, on the part that completes it
	Part       int               `json:"part"`            // from 1
	Parts      int               `json:"parts"`
	Reference  int               `json:"reference"` // of the concatenation, 0 = none
	DataCoding byte              `json:"data_coding"`
	Validity   string            `json:"validity"`
	ESMClass   byte              `json:"esm_class"`
	Registered byte              `json:"registered_delivery"`
	Sequence   uint32            `json:"sequence"`
	Raw        []byte            `json:"raw"`              // the whole PDU
	Fields     map[string]string `json:"fields"`           // every field by its name in the specification
	Answer     []byte            `json:"answer,omitempty"` // the submit_sm_resp, in events only
}

// Receipt is a delivery receipt that was sent.
type Receipt struct {
	At        time.Time `json:"at"`
	Account   string    `json:"account"`
	MessageID string    `json:"message_id"`
	Dest      string    `json:"dest"`
	State     string    `json:"state"` // DELIVRD, UNDELIV, ...
	Text      string    `json:"text"`  // of the deliver_sm
	Sequence  uint32    `json:"sequence"`
	Try       int       `json:"try"` // from 1
	Raw       []byte    `json:"raw"` // the deliver_sm
	// Of the deliver_sm_resp, in an event of kind receipt_ack.
	AckStatus uint32 `json:"ack_status"`
	AckRaw    []byte `json:"ack_raw,omitempty"`
}

// stored is a submit as it is kept: the fields are decoded when somebody asks.
type stored struct {
	at          time.Time
	account     string
	charset     string // of data_coding 0
	number      int64  // that the ids are written from
	messageID   string
	receiptForm string
	status      uint32
	answered    bool
	whole       string
	frame       wire.Frame
}

// submit decodes a stored submit.
func (m *stored) submit() Submit {
	sm, err := readSubmit(m.frame)
	if err != nil {
		return Submit{} // submit decoded it once
	}
	f, err := wire.Decode(m.frame)
	if err != nil {
		return Submit{}
	}
	s := m.read(sm)
	s.Fields = fieldsOf(m.frame, f)
	return s
}

// readSubmit reads a submit_sm with the codec of messages, which costs little
// beside the one that names every field. It refuses what that one refuses, and
// nothing else: octets behind the last parameter are left away.
func readSubmit(f wire.Frame) (wire.Message, error) {
	var sm wire.Message
	err := wire.DecodeMessage(f, &sm)
	if err == nil {
		return sm, nil
	}
	if _, refused := wire.Decode(f); refused != nil {
		return wire.Message{}, refused
	}
	for whole := f.Raw; err != nil && len(whole)-len(f.Raw) < 3; {
		f.Raw = f.Raw[:len(f.Raw)-1]
		err = wire.DecodeMessage(f, &sm)
	}
	return sm, err
}

// read takes from a submit_sm what a handset would.
func (m *stored) read(sm wire.Message) Submit {
	s := Submit{
		At: m.at, Account: m.account, MessageID: m.messageID, Status: m.status, Answered: m.answered,
		Sequence: m.frame.Sequence, Raw: m.frame.Raw, Part: 1, Parts: 1, Whole: m.whole,
	}
	s.Source, s.Dest, s.Validity = sm.Source.Addr, sm.Dest.Addr, sm.ValidityPeriod
	s.DataCoding, s.ESMClass, s.Registered = sm.DataCoding, sm.ESMClass, sm.RegisteredDelivery
	payload := sm.Bytes()
	if s.ESMClass&wire.ESMClassUDHI != 0 {
		payload = s.header(payload)
	} else {
		s.sar(sm)
	}
	s.Text = decodeText(s.DataCoding, m.charset, payload)
	return s
}

// sar reads the place of a part from the sar_ parameters (SMPP 3.4, 5.3.2.22).
func (s *Submit) sar(sm wire.Message) {
	reference, _ := sm.Optional(wire.TagSARMsgRefNum)
	total, _ := sm.Optional(wire.TagSARTotalSegments)
	part, _ := sm.Optional(wire.TagSARSegmentSeqnum)
	if len(reference) != 2 || len(total) != 1 || len(part) != 1 {
		return
	}
	s.Reference, s.Parts, s.Part = int(binary.BigEndian.Uint16(reference)), int(total[0]), int(part[0])
}

// header reads the user data header and returns what stands behind it.
func (s *Submit) header(payload []byte) []byte {
	if len(payload) == 0 || int(payload[0])+1 > len(payload) {
		return payload
	}
	head, rest := payload[1:payload[0]+1], payload[payload[0]+1:]
	for len(head) >= 2 && int(head[1])+2 <= len(head) {
		data := head[2 : 2+head[1]]
		switch {
		case head[0] == 0 && len(data) == 3:
			s.Reference, s.Parts, s.Part = int(data[0]), int(data[1]), int(data[2])
		case head[0] == 8 && len(data) == 4:
			s.Reference, s.Parts, s.Part = int(data[0])<<8|int(data[1]), int(data[2]), int(data[3])
		}
		head = head[2+head[1]:]
	}
	return rest
}

// decodeText decodes with the codec's tables, which the service does not use.
func decodeText(coding byte, charset string, payload []byte) string {
	switch coding {
	case 0:
		switch charset {
		case CharsetLatin1:
			return string(pdutext.Latin1(payload).Decode())
		case CharsetASCII:
			return ascii(payload)
		}
		if isPlain(payload) {
			return string(payload)
		}
		return string(pdutext.GSM7(payload).Decode())
	case 3:
		return string(pdutext.Latin1(payload).Decode())
	case 6:
		return string(pdutext.ISO88595(payload).Decode())
	case 8:
		return string(pdutext.UCS2(payload).Decode())
	}
	return hex.EncodeToString(payload)
}

// isPlain reports whether septets are the letters that they are in ASCII.
func isPlain(payload []byte) bool {
	for _, c := range payload {
		if strings.IndexByte(plainLetters, c) < 0 {
			return false
		}
	}
	return true
}

// ascii shows what is none as a question mark.
func ascii(payload []byte) string {
	out := slices.Clone(payload)
	for i, c := range out {
		if c > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}

func fieldsOf(frame wire.Frame, f wire.Fields) map[string]string {
	out := map[string]string{
		"command_length":  fmt.Sprint(len(frame.Raw)),
		"command_id":      frame.Command.String(),
		"command_status":  frame.Status.String(),
		"sequence_number": fmt.Sprint(frame.Sequence),
	}
	for name, v := range f.Named {
		if name == pdufield.ShortMessage {
			out[string(name)] = hex.EncodeToString(v.Bytes())
			continue
		}
		out[string(name)] = v.String()
	}
	for tag, v := range f.TLV {
		out["tlv_0x"+tag.Hex()] = hex.EncodeToString(v.Bytes())
	}
	return out
}

// quote is what receipts repeat of a text: its first 20 letters, as operators
// do; letters outside ASCII become '?'.
func quote(text string) string {
	var b strings.Builder
	for _, r := range text {
		if b.Len() == 20 {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
