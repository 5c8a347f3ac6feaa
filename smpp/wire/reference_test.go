package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// theirs decodes a message with go-smpp. Of submit_sm and deliver_sm, which
// have one layout, its submit_sm is the reference: its deliver_sm takes a user
// data header apart.
func theirs(raw []byte) (pdu.Body, error) {
	raw = bytes.Clone(raw)
	if Command(binary.BigEndian.Uint32(raw[4:])) == DeliverSM {
		binary.BigEndian.PutUint32(raw[4:], uint32(SubmitSM))
	}
	return pdu.Decode(bytes.NewReader(raw))
}

// encodedByThem encodes a Message with go-smpp.
func encodedByThem(m Message) []byte {
	p := pdu.NewSubmitSM(nil)
	p.Header().ID, p.Header().Seq = pdu.ID(m.Command), 0
	f := p.Fields()
	for name, value := range map[pdufield.Name]any{
		pdufield.ServiceType: m.ServiceType, pdufield.ESMClass: m.ESMClass, pdufield.PriorityFlag: m.PriorityFlag,
		pdufield.SourceAddrTON: m.Source.TON, pdufield.SourceAddrNPI: m.Source.NPI, pdufield.SourceAddr: m.Source.Addr,
		pdufield.DestAddrTON: m.Dest.TON, pdufield.DestAddrNPI: m.Dest.NPI, pdufield.DestinationAddr: m.Dest.Addr,
		pdufield.ValidityPeriod: m.ValidityPeriod, pdufield.RegisteredDelivery: m.RegisteredDelivery,
		pdufield.DataCoding: m.DataCoding, pdufield.ShortMessage: m.ShortMessage,
	} {
		_ = f.Set(name, value)
	}
	for _, v := range m.TLV {
		_ = p.TLVFields().Set(pdutlv.Tag(v.Tag), v.Value)
	}
	var b bytes.Buffer
	_ = p.SerializeTo(&b)
	return b.Bytes()
}

// same compares each field; the parameters of m must be all and no others.
func same(t *testing.T, m Message, p pdu.Body) {
	t.Helper()
	octet := func(name pdufield.Name) byte { return p.Fields()[name].(*pdufield.Fixed).Data }
	text := func(name pdufield.Name) string { return p.Fields()[name].String() }
	got := Message{
		Command: m.Command, ServiceType: text(pdufield.ServiceType),
		Source:   Address{octet(pdufield.SourceAddrTON), octet(pdufield.SourceAddrNPI), text(pdufield.SourceAddr)},
		Dest:     Address{octet(pdufield.DestAddrTON), octet(pdufield.DestAddrNPI), text(pdufield.DestinationAddr)},
		ESMClass: octet(pdufield.ESMClass), PriorityFlag: octet(pdufield.PriorityFlag),
		ValidityPeriod: text(pdufield.ValidityPeriod), RegisteredDelivery: octet(pdufield.RegisteredDelivery),
		DataCoding: octet(pdufield.DataCoding), ShortMessage: p.Fields()[pdufield.ShortMessage].Bytes(),
	}
	if got.ServiceType != m.ServiceType || got.Source != m.Source || got.Dest != m.Dest || got.ESMClass != m.ESMClass ||
		got.PriorityFlag != m.PriorityFlag || got.ValidityPeriod != m.ValidityPeriod || got.RegisteredDelivery != m.RegisteredDelivery ||
		got.DataCoding != m.DataCoding || !bytes.Equal(got.ShortMessage, m.ShortMessage) || octet(pdufield.SMLength) != byte(len(m.ShortMessage)) {
		t.Fatalf("\n   ours %+v\n theirs %+v", m, got)
	}
	tags := map[uint16]bool{}
	for _, v := range m.TLV {
		tags[v.Tag] = true
		value, _ := m.Optional(v.Tag)
		field := p.TLVFields()[pdutlv.Tag(v.Tag)]
		if field == nil || !bytes.Equal(field.Bytes(), value) || field.String() != m.OptionalText(v.Tag) {
			t.Fatalf("parameter 0x%04x: %v, theirs %v", v.Tag, value, field)
		}
	}
	if len(tags) != len(p.TLVFields()) {
		t.Fatalf("%d parameters, theirs %d", len(tags), len(p.TLVFields()))
	}
}

// FuzzMessageAgainstGoSMPP: what we encode go-smpp decodes to the same fields,
// what go-smpp encodes we decode to the same fields, and both encode the same
// octets but for the order of parameters.
func FuzzMessageAgainstGoSMPP(f *testing.F) {
	for _, m := range []Message{submitSM(), deliverSM()} {
		tlvs := appendTLVs(nil, m.TLV)
		f.Add(m.Command == DeliverSM, m.ServiceType, m.Source.TON, m.Source.NPI, m.Source.Addr, m.Dest.Addr, m.ESMClass, m.PriorityFlag,
			m.ValidityPeriod, m.RegisteredDelivery, m.DataCoding, m.ShortMessage, tlvs)
	}
	f.Add(false, "123456", byte(1), byte(2), strings.Repeat("a", 21), "a\x00", byte(0x40), byte(3), "0", byte(1), byte(2), make([]byte, 300), []byte{4, 0x24, 0, 0})
	f.Fuzz(func(t *testing.T, deliver bool, service string, ton, npi byte, source, dest string, esm, priority byte,
		validity string, registered, coding byte, text, tlvs []byte,
	) {
		m := Message{
			Command: SubmitSM, ServiceType: service, Source: Address{ton, npi, source}, Dest: Address{npi, ton, dest}, ESMClass: esm,
			PriorityFlag: priority, ValidityPeriod: validity, RegisteredDelivery: registered, DataCoding: coding, ShortMessage: text,
		}
		if deliver {
			m.Command = DeliverSM
		}
		c := cursor{rest: tlvs}
		m.TLV = c.tlvs(nil)
		if c.short != "" {
			return
		}
		raw, err := m.Encode()
		if err != nil || len(raw) > pdu.MaxSize {
			return
		}
		if m.TLV == nil {
			m.TLV = []TLV{}
		}
		body, err := theirs(raw)
		if err != nil {
			t.Fatalf("go-smpp cannot read %x: %v", raw, err)
		}
		same(t, m, body)
		back := encodedByThem(m)
		if head := len(raw) - len(appendTLVs(nil, m.TLV)); !bytes.Equal(back[:head], raw[:head]) || len(back) != len(raw) ||
			len(m.TLV) < 2 && !bytes.Equal(back, raw) {
			t.Fatalf("\n  ours %x\ntheirs %x", raw, back)
		}
		var read Message
		if err := DecodeMessage(Frame{Command: m.Command, Raw: back}, &read); err != nil {
			t.Fatal(err)
		}
		same(t, read, body)
		if err := DecodeMessage(Frame{Command: m.Command, Raw: raw}, &read); err != nil {
			t.Fatal(err)
		}
		same(t, read, body)
		if !slices.IsSortedFunc(read.TLV, func(a, b TLV) int { return int(a.Tag) - int(b.Tag) }) {
			t.Fatalf("parameters not by tag: %v", read.TLV)
		}
	})
}

// FuzzBodyAgainstGoSMPP: a body that we read go-smpp reads alike. One that we
// refuse go-smpp refuses as well, or stops without a word before its end
// (TestWhereGoSMPPIsWrong).
func FuzzBodyAgainstGoSMPP(f *testing.F) {
	for _, m := range []Message{submitSM(), deliverSM()} {
		raw, _ := m.Encode()
		f.Add(raw[HeaderLen:])
		f.Add(raw[HeaderLen : len(raw)-2])
		f.Add(append(raw[HeaderLen:], 0, 1))
	}
	broken, _ := Message{Command: DeliverSM, ESMClass: ESMClassUDHI, ShortMessage: []byte{200, 1, 255, 3}}.Encode()
	f.Add(broken[HeaderLen:])
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > pdu.MaxSize-HeaderLen {
			return
		}
		raw := append(appendHeader(nil, HeaderLen+len(body), DeliverSM, 0, 1), body...)
		var m Message
		err := DecodeMessage(Frame{Command: DeliverSM, Raw: raw}, &m)
		p, theirErr := theirs(raw)
		if err == nil {
			if theirErr != nil {
				t.Fatalf("go-smpp: %v", theirErr)
			}
			same(t, m, p)
			return
		}
		if theirErr != nil {
			return
		}
		read := HeaderLen
		for _, name := range p.FieldList() {
			if p.Fields()[name] == nil {
				return // it stopped there
			}
			read += p.Fields()[name].Len()
		}
		for rest := raw[read:]; len(rest) > 0; {
			if len(rest) < tlvHeader {
				return // it does not look at less than a parameter's header
			}
			rest = rest[tlvHeader+int(binary.BigEndian.Uint16(rest[2:])):]
		}
		t.Fatalf("we say %v, go-smpp %v %v", err, p.Fields(), p.TLVFields())
	})
}

// FuzzAnswerAgainstGoSMPP is the same for the message_id of an answer.
func FuzzAnswerAgainstGoSMPP(f *testing.F) {
	f.Add([]byte("0a1b\x00"))
	f.Add([]byte("0a1b"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > pdu.MaxSize-HeaderLen {
			return
		}
		raw := append(appendHeader(nil, HeaderLen+len(body), SubmitSM.Response(), 0, 1), body...)
		id, err := MessageID(Frame{Command: SubmitSM.Response(), Raw: raw})
		p, theirErr := pdu.Decode(bytes.NewReader(raw))
		var field pdufield.Body
		if theirErr == nil {
			field = p.Fields()[pdufield.MessageID]
		}
		switch {
		case err == nil && field != nil && field.String() != id:
			t.Fatalf("%q, go-smpp %q", id, field)
		case err == nil && field == nil && len(body) > 0 && theirErr == nil:
			t.Fatalf("%q, go-smpp nothing", id)
		case err != nil && field != nil && field.Len() <= MaxMessageID+1:
			t.Fatalf("%v, go-smpp %q", err, field)
		}
	})
}

// FuzzFields: the decoder that the simulator uses never panics.
func FuzzFields(f *testing.F) {
	for _, m := range []Message{submitSM(), deliverSM()} {
		raw, _ := m.Encode()
		f.Add(raw)
	}
	bind, _ := Bind{Command: BindTransceiver, SystemID: "a", Password: "b"}.Encode()
	f.Add(bind)
	f.Fuzz(func(_ *testing.T, b []byte) {
		fr, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		d, _ := Decode(fr)
		_ = d.Bytes()
		_ = d.Text(pdufield.SourceAddr)
		_ = d.OptionalText(pdutlv.TagReceiptedMessageID)
	})
}
