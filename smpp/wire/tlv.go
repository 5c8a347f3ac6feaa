package wire

import "encoding/binary"

// TLV is an optional parameter (SMPP 3.4, 5.3).
type TLV struct {
	Tag   uint16
	Value []byte
}

// The optional parameters that somebody here writes or reads (SMPP 3.4, 5.3.2).
const (
	TagReceiptedMessageID   uint16 = 0x001E // C-octet string: message_id that the receipt is for
	TagUserMessageReference uint16 = 0x0204 // 2 octets, of ours
	TagSARMsgRefNum         uint16 = 0x020C // 2 octets, the same in all parts of a text
	TagSARTotalSegments     uint16 = 0x020E // 1 octet
	TagSARSegmentSeqnum     uint16 = 0x020F // 1 octet, from 1
	TagSCInterfaceVersion   uint16 = 0x0210 // 1 octet, in the answer to a bind (5.3.2.25)
	TagNetworkErrorCode     uint16 = 0x0423 // 3 octets: kind of network, error code
	TagMessagePayload       uint16 = 0x0424 // the text, where short_message is empty
	TagMessageState         uint16 = 0x0427 // 1 octet (5.2.28)
)

// tlvHeader is the length of tag and length.
const tlvHeader = 4

// checkTLVs checks what the parameters say together (SMPP 3.4, 4.4.1, 5.2.12):
// each at most once, the text in one place only, the place of a part told by
// its header or by all three parameters.
func (m Message) checkTLVs() error {
	sar := 0
	for i, t := range m.TLV {
		for _, earlier := range m.TLV[:i] {
			if earlier.Tag == t.Tag {
				return misfit("optional parameter, twice")
			}
		}
		if len(t.Value) > 0xFFFF {
			return misfit("optional parameter")
		}
		switch t.Tag {
		case TagMessagePayload:
			if len(m.ShortMessage) > 0 {
				return misfit("message_payload beside short_message")
			}
		case TagSARMsgRefNum, TagSARTotalSegments, TagSARSegmentSeqnum:
			sar++
		}
	}
	switch {
	case sar > 0 && m.ESMClass&ESMClassUDHI != 0:
		return misfit("sar_msg_ref_num beside a user data header")
	case sar != 0 && sar != 3:
		return misfit("sar_msg_ref_num without sar_total_segments and sar_segment_seqnum")
	}
	return nil
}

// appendTLVs appends the parameters by rising tag, so that equal Messages are
// equal bytes. There are few of them: looking for the next is cheaper than
// sorting a copy.
func appendTLVs(b []byte, tlvs []TLV) []byte {
	for last := -1; ; {
		next := -1
		for i, t := range tlvs {
			if int(t.Tag) > last && (next < 0 || t.Tag < tlvs[next].Tag) {
				next = i
			}
		}
		if next < 0 {
			return b
		}
		t := tlvs[next]
		b = binary.BigEndian.AppendUint16(b, t.Tag)
		b = binary.BigEndian.AppendUint16(b, uint16(len(t.Value)))
		b = append(b, t.Value...)
		last = int(t.Tag)
	}
}
