package trace

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"mobileid/internal/sms"
	"mobileid/smpp/wire"
)

// What must never be in a file.
const (
	canaryCode   = "739214"
	canaryNumber = "998901234567"
	canaryPINFL  = "31231456789012"
	canaryPass   = "s3cr3t7"
	canaryText   = "Tasdiqlash kodi " + canaryCode + ", PINFL " + canaryPINFL + ", +" + canaryNumber
)

// clean fails when something personal is left, as ASCII or UCS-2.
func clean(t *testing.T, what string, file []byte) {
	t.Helper()
	for _, secret := range []string{
		canaryCode, canaryNumber, canaryNumber[3:], canaryNumber[:10], canaryPINFL, canaryPass, "Tasdiqlash", "kodi",
	} {
		var wide []byte
		for _, u := range utf16.Encode([]rune(secret)) {
			wide = binary.BigEndian.AppendUint16(wide, u)
		}
		if bytes.Contains(file, []byte(secret)) || bytes.Contains(file, wide) {
			t.Errorf("%s: %q is in it", what, secret)
		}
	}
}

func encode(t testing.TB, m wire.Message) []byte {
	t.Helper()
	raw, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// raw is a PDU of any command and body.
func raw(c wire.Command, body string) []byte {
	b := append(wire.AppendHeader(nil, c, 0, 7), body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// samples are PDUs that carry personal data, each in its own way.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	number := wire.Address{TON: 1, NPI: 1, Addr: canaryNumber}
	name := wire.Address{TON: 5, Addr: "MobileID"}
	submit := wire.Message{Command: wire.SubmitSM, Source: name, Dest: number, ValidityPeriod: "000001000000000R"}
	deliver := wire.Message{Command: wire.DeliverSM, Source: number, Dest: name}
	all := map[string][]byte{}
	for style, o := range map[string]sms.Options{
		"gsm7": {Charset: sms.CharsetGSM7}, "sar": {Charset: sms.CharsetGSM7, Style: sms.StyleSAR}, "payload": {Charset: sms.CharsetGSM7, Style: sms.StylePayload},
		"ucs2": {Charset: sms.CharsetUCS2}, "udh16": {Charset: sms.CharsetUCS2, Style: sms.StyleUDH16},
	} {
		e, err := o.Encode(strings.Repeat(canaryText+" ", 4), 77)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range e.Parts {
			m := submit
			m.DataCoding, m.ShortMessage = e.DataCoding, p.ShortMessage
			if p.UDHI {
				m.ESMClass = wire.ESMClassUDHI
			}
			for _, v := range p.TLV {
				m.TLV = append(m.TLV, wire.TLV(v))
			}
			all["submit_sm "+style+string(rune('1'+i))] = encode(t, m)
		}
	}
	tell := func(name string, change func(m *wire.Message)) {
		m := deliver
		change(&m)
		all["deliver_sm "+name] = encode(t, m)
	}
	tell("from a handset", func(m *wire.Message) { m.ShortMessage = []byte(canaryText) })
	receipt := "id:0A1B2C sub:001 dlvrd:001 submit date:2611231000 done date:2611231001 stat:DELIVRD err:000 "
	tell("receipt", func(m *wire.Message) { m.ESMClass, m.ShortMessage = 4, []byte(receipt+"text:"+canaryText[:40]) })
	tell("receipt in other words", func(m *wire.Message) { m.ESMClass, m.ShortMessage = 4, []byte(receipt+canaryText[:40]) })
	tell("receipt that quotes a receipt", func(m *wire.Message) {
		m.ESMClass, m.ShortMessage = 4, []byte(receipt+"id:"+canaryPINFL+" id:"+canaryCode+" Text:"+canaryText[:40])
	})
	tell("receipt by number", func(m *wire.Message) {
		m.ESMClass, m.ShortMessage = 4, []byte("id:"+canaryNumber+" stat:DELIVRD")
		m.TLV = []wire.TLV{{Tag: wire.TagReceiptedMessageID, Value: []byte("77-" + canaryNumber + "\x00")}}
	})
	tell("header that is a text", func(m *wire.Message) {
		text := canaryText[:40]
		m.ESMClass, m.ShortMessage = wire.ESMClassUDHI, append([]byte{byte(len(text) + 2), 0x70, byte(len(text))}, text...)
	})
	tell("header that lies", func(m *wire.Message) {
		m.ESMClass, m.ShortMessage = wire.ESMClassUDHI, append([]byte{0xF0}, canaryText[:40]...)
	})
	tell("vendor's parameters", func(m *wire.Message) {
		m.TLV = []wire.TLV{
			{Tag: 0x1400, Value: []byte(canaryText)}, {Tag: 0x0381, Value: []byte(canaryNumber)}, {Tag: wire.TagMessageState, Value: []byte(canaryCode)},
		}
	})
	all["bind"] = raw(wire.BindTransceiver, "mobileid\x00"+canaryPass+"\x00\x00\x34\x01\x01"+canaryNumber+"\x00")
	all["outbind"] = raw(wire.Outbind, "smsc\x00"+canaryPass+"\x00")
	all["alert_notification"] = raw(wire.AlertNotification, "\x01\x01"+canaryNumber+"\x00\x01\x01"+canaryNumber+"\x00")
	all["query_sm"] = raw(0x03, "0A1B\x00\x01\x01"+canaryNumber+"\x00")
	all["unknown"] = raw(0x7777, canaryText)
	all["enquire_link with a body"] = raw(wire.EnquireLink, canaryText)
	all["submit_sm_resp"] = raw(wire.SubmitSM.Response(), "id-"+canaryNumber+"\x00")
	all["submit_sm_resp and more"] = raw(wire.SubmitSM.Response(), "0A1B\x00"+canaryText)
	all["deliver_sm cut off"] = all["deliver_sm from a handset"][:60]
	all["deliver_sm of no layout"] = raw(wire.DeliverSM, canaryText)
	return all
}

func TestNothingPersonalIsLeft(t *testing.T) {
	for name, pdu := range samples(t) {
		masked := Mask(pdu)
		clean(t, name, masked)
		if len(masked) != len(pdu) || !bytes.Equal(masked[:wire.HeaderLen], pdu[:wire.HeaderLen]) {
			t.Errorf("%s: another length or header", name)
		}
	}
}

// What an operator needs to find the Message, and to see what was wrong with
// it, stays.
func TestWhatTheOperatorNeedsIsLeft(t *testing.T) {
	all := samples(t)
	var m wire.Message
	decode := func(name string) wire.Message {
		t.Helper()
		f, err := wire.Read(bytes.NewReader(Mask(all[name])))
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.DecodeMessage(f, &m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return m
	}
	if s := decode("submit_sm udh162"); s.Source.Addr != "MobileID" || s.Dest.Addr != "000000000067" || s.ValidityPeriod != "000001000000000R" ||
		s.DataCoding != 8 || !bytes.Equal(s.ShortMessage[:7], []byte{6, 8, 4, 0, 77, s.ShortMessage[5], 2}) ||
		!bytes.Equal(s.ShortMessage[7:], bytes.Repeat([]byte{0, 'x'}, len(s.ShortMessage[7:])/2)) {
		t.Errorf("submit_sm: %+v", s)
	}
	if s := decode("submit_sm sar1"); len(s.TLV) != 3 || s.TLV[0].Value[1] != 77 {
		t.Errorf("the place of a part: %+v", s.TLV)
	}
	want := "id:0A1B2C sub:001 dlvrd:001 submit date:2611231000 done date:2611231001 stat:DELIVRD err:000 "
	if s := decode("deliver_sm receipt"); !strings.HasPrefix(string(s.ShortMessage), want) {
		t.Errorf("receipt: %q", s.ShortMessage)
	}
	if got := Mask(all["bind"]); !bytes.Contains(got, []byte("mobileid\x00xxxxxxx\x00\x00\x34")) {
		t.Errorf("bind: %q", got)
	}
}

// A stray header is what stands where a header should: of a text when the PDU
// before it said a wrong length.
func TestAStrayHeaderShowsNoTextAndNoNumber(t *testing.T) {
	wide := func(text string) []byte {
		var b []byte
		for _, u := range utf16.Encode([]rune(text)) {
			b = binary.BigEndian.AppendUint16(b, u)
		}
		return b
	}
	enquire := wire.AppendHeader(nil, wire.EnquireLink, 0, 9)
	behind := func(text string) []byte { return append([]byte(text), enquire[:wire.HeaderLen-len(text)]...) }
	for name, row := range map[string]struct {
		header []byte
		want   string
	}{
		"a length of 0":        {append([]byte{0, 0, 0, 0}, enquire[4:]...), "\x00\x00\x00\x00\x00\x00\x00\x15\x00\x00\x00\x00\x00\x00\x00\x09"},
		"a length of 16 MiB":   {append([]byte{1, 0, 0, 16}, enquire[4:]...), "\x01\x00\x00\x10\x00\x00\x00\x15\x00\x00\x00\x00\x00\x00\x00\x09"},
		"an answer":            {append([]byte{0, 3, 0, 0}, wire.AppendHeader(nil, wire.SubmitSM.Response(), 8, 9)[4:]...), "\x00\x03\x00\x00\x80\x00\x00\x04\x00\x00\x00\x08\x00\x00\x00\x09"},
		"of a text":            {[]byte(canaryText[:16]), strings.Repeat("x", 16)},
		"of a code":            {[]byte("kodi " + canaryCode + ", +99"), strings.Repeat("x", 16)},
		"of a wide text":       {wide("739214 К"), strings.Repeat("\x00x", 7) + "xx"},
		"of a number":          {[]byte(canaryNumber + "\x00\x00\x00\x00"), strings.Repeat("x", 12) + "\x00\x00\x00\x00"},
		"the end of a code":    {behind("9214"), "xxxx\x00\x00\x00x\x00\x00\x00x\x00\x00\x00\x00"},
		"a code as a sequence": {append([]byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 6}, "7392"...), "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x06xxxx"},
	} {
		masked := Mask(row.header)
		if string(masked) != row.want {
			t.Errorf("%s: %q, want %q", name, masked, row.want)
		}
		var lines bytes.Buffer
		if err := NewHex(&lines).Write(Record{Session: session, PDU: row.header}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(lines.String(), "0x37333932") || strings.Contains(lines.String(), "927150386") { // 7392 and 7392 as numbers
			t.Errorf("%s: %s", name, lines.String())
		}
	}
}

func FuzzMask(f *testing.F) {
	for _, pdu := range samples(f) {
		f.Add(pdu)
	}
	f.Fuzz(func(t *testing.T, pdu []byte) {
		masked := Mask(pdu)
		if isStray(pdu) {
			if len(masked) != len(pdu) || bytes.ContainsAny(append(masked[:4:4], masked[8:]...), "0123456789") {
				t.Errorf("of a stray header %q is left", masked)
			}
			return
		}
		if len(masked) != len(pdu) || !bytes.Equal(masked[:min(len(pdu), wire.HeaderLen)], pdu[:min(len(pdu), wire.HeaderLen)]) {
			t.Error("another length or header")
		}
		var m wire.Message
		read, err := wire.Read(bytes.NewReader(pdu))
		if err != nil || len(read.Raw) != len(pdu) || read.Command != wire.SubmitSM || wire.DecodeMessage(read, &m) != nil {
			return
		}
		// Of what is read as a text of ours nothing is left.
		read.Raw = masked
		var of wire.Message
		if err := wire.DecodeMessage(read, &of); err != nil {
			t.Fatalf("it could be read, and masked it cannot: %v", err)
		}
		if m.ESMClass&wire.ESMClassUDHI == 0 && strings.Trim(string(of.ShortMessage), "\x00x") != "" {
			t.Errorf("left of the text: %q", of.ShortMessage)
		}
	})
}
