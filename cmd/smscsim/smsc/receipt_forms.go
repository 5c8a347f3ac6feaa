package smsc

import (
	"fmt"
	"strings"
	"time"

	"mobileid/smpp/wire"
)

// The forms of a receipt. "" is the text of Appendix B with both TLVs.
const (
	receiptTLV         = "tlv_only"    // receipted_message_id and message_state, no text
	receiptText        = "text_only"   // the text of Appendix B, no TLVs
	receiptCompact     = "compact"     // "submitdate:", "Text:", dates of 12 digits, no TLVs
	receiptCSV         = "csv"         // state, date, id, number by commas, no TLVs
	receiptUnparseable = "unparseable" // says neither an id nor a state
	receiptDataSM      = "data_sm"     // as tlv_only, in a data_sm
)

func receiptForms() []string {
	return []string{receiptTLV, receiptText, receiptCompact, receiptCSV, receiptUnparseable, receiptDataSM}
}

// messageStates are the values of the message_state parameter (5.2.28).
var messageStates = map[string]byte{
	"ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7, "REJECTD": 8,
}

// text is what the receipt's deliver_sm says in words.
func (d *delivery) text(now time.Time) string {
	delivered, code := "000", "012"
	if d.receipt.State == "DELIVRD" {
		delivered, code = "001", "000"
	}
	const stamp, long = "0601021504", "060102150405"
	now = now.Add(-d.age)
	switch d.form {
	case receiptTLV, receiptDataSM:
		return ""
	case receiptUnparseable:
		return "Your message has been processed, thank you."
	case receiptCSV:
		return strings.Join([]string{
			fmt.Sprintf("%02d", messageStates[d.receipt.State]), now.Format(stamp), d.said, d.receipt.Dest, code,
		}, ",")
	case receiptCompact:
		return fmt.Sprintf("id:%s sub:001 dlvrd:%s submitdate:%s donedate:%s stat:%s err:%s Text:%s",
			d.said, delivered, now.Format(long), now.Format(long), d.receipt.State, code, d.quoted)
	}
	date := now.Format(stamp)
	return "id:" + d.said + " sub:001 dlvrd:" + delivered + " submit date:" + date + " done date:" + date +
		" stat:" + d.receipt.State + " err:" + code + " text:" + d.quoted
}

// encode makes the PDU and the text in it.
func (d *delivery) encode(now time.Time) (raw []byte, text string, err error) {
	text = d.text(now)
	m := wire.Message{
		Command: wire.DeliverSM, ESMClass: 0x04,
		Source: wire.Address{TON: 1, NPI: 1, Addr: d.receipt.Dest}, Dest: wire.Address{TON: 5, Addr: d.source},
		ShortMessage: []byte(text),
	}
	switch d.form {
	case "", receiptTLV, receiptDataSM:
		m.TLV = []wire.TLV{
			{Tag: wire.TagReceiptedMessageID, Value: append([]byte(d.said), 0)},
			{Tag: wire.TagMessageState, Value: []byte{messageStates[d.receipt.State]}},
		}
	}
	if len(d.reference) > 0 {
		m.TLV = append(m.TLV, wire.TLV{Tag: wire.TagUserMessageReference, Value: d.reference})
	}
	raw, err = m.Encode()
	if err == nil && d.form == receiptDataSM {
		raw = dataSM(m)
	}
	return raw, text, err
}

// dataSM writes a message as data_sm (SMPP 3.4, 4.7.1).
func dataSM(m wire.Message) []byte {
	b := wire.AppendHeader(nil, wire.DataSM, 0, 0)
	b = append(b, 0) // service_type
	for _, a := range []wire.Address{m.Source, m.Dest} {
		b = append(append(append(b, a.TON, a.NPI), a.Addr...), 0)
	}
	b = append(b, m.ESMClass, 0, 0) // registered_delivery, data_coding
	for _, t := range m.TLV {
		b = append(b, byte(t.Tag>>8), byte(t.Tag), byte(len(t.Value)>>8), byte(len(t.Value)))
		b = append(b, t.Value...)
	}
	return sized(b)
}
