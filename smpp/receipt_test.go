package smpp

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

func decoded(t testing.TB, text string, tlv []wire.TLV) (m wire.Message) {
	t.Helper()
	raw, err := wire.Message{
		Command: wire.DeliverSM, ESMClass: 4, Source: wire.Address{TON: 1, NPI: 1, Addr: "998901234567"},
		ShortMessage: []byte(text), TLV: tlv,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.DecodeMessage(wire.Frame{Command: wire.DeliverSM, Raw: raw}, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReceiptSpellings(t *testing.T) {
	id := func(s string) []wire.TLV {
		return []wire.TLV{{Tag: wire.TagReceiptedMessageID, Value: append([]byte(s), 0)}}
	}
	with := func(s string, state byte, more ...wire.TLV) []wire.TLV {
		return append(append(id(s), wire.TLV{Tag: wire.TagMessageState, Value: []byte{state}}), more...)
	}
	network := wire.TLV{Tag: wire.TagNetworkErrorCode, Value: []byte{3, 0, 88}}
	for name, c := range map[string]struct {
		text string
		tlv  []wire.TLV
		want receipt
		bad  bool
	}{
		"appendix B": {
			text: "id:0123 sub:001 dlvrd:001 submit date:2601021504 done date:2601021505 stat:DELIVRD err:000 text:Kod 123",
			want: receipt{operatorID: "0123", state: mobileid.MessageDelivered, stat: "DELIVRD", err: "000"},
		},
		"dates without space, of 12 digits": {
			text: "id:a-b-c sub:1 dlvrd:0 submitdate:260102150405 donedate:260102150505 stat:UNDELIV err:1A Text:x",
			want: receipt{operatorID: "a-b-c", state: mobileid.MessageUndeliverable, stat: "UNDELIV", err: "1A"},
		},
		"a word where err stands, and no text": {
			text: "id:9 sub:001 dlvrd:000 submit date:2601021504 done date:2601021505 stat:EXPIRED err:EC_ABSENT",
			want: receipt{operatorID: "9", state: mobileid.MessageExpired, stat: "EXPIRED", err: "EC_ABSENT"},
		},
		"FAILED, done at no time": {
			text: "id:9 sub:001 dlvrd:000 submit date:2601021504 done date:0000000000 stat:FAILED err:1 text:",
			want: receipt{operatorID: "9", state: mobileid.MessageUndeliverable, stat: "FAILED", err: "1"},
		},
		"a UUID": {
			text: "id:7d8c1f2e-0b5a-4a44-9d0e-2f6a4f3f1a10 sub:001 dlvrd:001 submit date:2601021504 done date:2601021505 stat:DELIVRD err:000 text:",
			want: receipt{operatorID: "7d8c1f2e-0b5a-4a44-9d0e-2f6a4f3f1a10", state: mobileid.MessageDelivered, stat: "DELIVRD", err: "000"},
		},
		"the quoted text is not looked at": {
			text: "id:1 stat:EXPIRED err:1 text: id:2 stat:DELIVRD err:9",
			want: receipt{operatorID: "1", state: mobileid.MessageExpired, stat: "EXPIRED", err: "1"},
		},
		"nor behind a capital": {
			text: "stat:EXPIRED err:1 Text: id:2 stat:DELIVRD", bad: true,
		},
		"parameters before text": {
			text: "id:161 stat:ENROUTE err:0", tlv: with("a1", 2),
			want: receipt{operatorID: "a1", state: mobileid.MessageDelivered, stat: "DELIVRD", err: "0"},
		},
		"another end in the parameters than in the text": {
			text: "id:a1 stat:UNDELIV err:0", tlv: with("a1", 2),
			want: receipt{operatorID: "a1", state: mobileid.MessageDelivered, stat: "DELIVRD", err: "0"},
		},
		"nothing final in the parameters": {
			text: "id:a1 stat:UNDELIV err:0", tlv: with("a1", 1),
			want: receipt{operatorID: "a1", stat: "ENROUTE", err: "0"},
		},
		"only parameters": {
			tlv:  with("a1", 8, network),
			want: receipt{operatorID: "a1", state: mobileid.MessageRejected, stat: "REJECTD", err: "88"},
		},
		"err of the text before that of the network": {
			text: "id:1 stat:UNDELIV err:011", tlv: []wire.TLV{network},
			want: receipt{operatorID: "1", state: mobileid.MessageUndeliverable, stat: "UNDELIV", err: "011"},
		},
		"comma separated beside parameters": {
			text: "00,0210021543,0210021544", tlv: with("a1", 2),
			want: receipt{operatorID: "a1", state: mobileid.MessageDelivered, stat: "DELIVRD"},
		},
		"deleted is our failure":   {text: "id:1 stat:DELETED", want: receipt{operatorID: "1", state: mobileid.MessageFailed, stat: "DELETED"}},
		"accepted is not final":    {text: "id:1 stat:ACCEPTD", want: receipt{operatorID: "1", stat: "ACCEPTD"}},
		"unknown is not a failure": {text: "id:1 stat:UNKNOWN", want: receipt{operatorID: "1", stat: "UNKNOWN"}},
		"a word nobody knows":      {text: "id:1 stat:WEIRD", want: receipt{operatorID: "1", stat: "WEIRD"}},
		"lower case":               {text: "ID:1 STAT:delivrd", want: receipt{operatorID: "1", state: mobileid.MessageDelivered, stat: "DELIVRD"}},
		"no id":                    {text: "stat:DELIVRD", bad: true},
		"no state":                 {text: "id:1 err:000", bad: true},
		"nothing":                  {bad: true},
		// Its second column is a date: no id can be told in it without knowing the operator.
		"comma separated, no keywords": {text: "00,0210021543,0210021544", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := testProfile("", 1)
			got, ok := readReceipt(decoded(t, c.text, c.tlv), &p)
			if ok == c.bad {
				t.Fatalf("ok = %v, %+v", ok, got)
			}
			if ok && got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTheOperatorsDialectIsLaidOverTheStandard(t *testing.T) {
	p := testProfile("", 1)
	p.IDs = profile.IDs{Answer: profile.Hex, Receipt: profile.Decimal}
	p.Receipts = profile.Receipts{FinalUnknown: true, Rules: []profile.ReceiptRule{
		{Stat: "REJECTD", Err: "088", State: profile.Rejected, Balance: true},
		{Stat: "UNDELIV", Err: "88", State: profile.Undeliverable, Balance: true},
		{Stat: "ACCEPTD", State: profile.Delivered},
		{Stat: "EXPIRED", State: profile.NotFinal},
	}}
	network := []wire.TLV{{Tag: wire.TagNetworkErrorCode, Value: []byte{3, 0, 88}}}
	for _, c := range []struct {
		text   string
		tlv    []wire.TLV
		state  mobileid.MessageState
		reason string
	}{
		{"id:0000000161 stat:REJECTD err:088", nil, mobileid.MessageRejected, mobileid.ReasonCannotPay},
		{"id:0000000161 stat:REJECTD err:001", nil, mobileid.MessageRejected, ""},
		{"id:161 stat:UNDELIV", network, mobileid.MessageUndeliverable, mobileid.ReasonCannotPay},
		{"id:161 stat:ACCEPTD err:000", nil, mobileid.MessageDelivered, ""},
		{"id:161 stat:EXPIRED err:000", nil, "", ""},
		{"id:161 stat:UNKNOWN err:000", nil, mobileid.MessageFailed, ""},
		{"id:161 stat:DELIVRD err:000", nil, mobileid.MessageDelivered, ""},
	} {
		r, ok := readReceipt(decoded(t, c.text, c.tlv), &p)
		if !ok || r.operatorID != p.IDs.FromAnswer("A1") || r.state != c.state || r.reason != c.reason {
			t.Errorf("%s: %v, %+v", c.text, ok, r)
		}
	}
}

func TestATextThatLooksLikeAReceiptIsNone(t *testing.T) {
	const text = "id:1 sub:001 dlvrd:001 stat:DELIVRD err:000 text:"
	id := wire.TLV{Tag: wire.TagReceiptedMessageID, Value: []byte("1\x00")}
	for name, c := range map[string]struct {
		esm  byte
		tlv  []wire.TLV
		want bool
	}{
		"typed as a receipt":                    {0x04, nil, true},
		"the same with a header":                {0x44, nil, true},
		"no type, but it names our Message":     {0, []wire.TLV{id}, true},
		"from a handset":                        {0, nil, false},
		"from a handset, in parts":              {0x40, nil, false},
		"acknowledged by a handset":             {0x08, []wire.TLV{id}, false},
		"acknowledged by a person":              {0x10, []wire.TLV{id}, false},
		"an intermediate notification":          {0x20, []wire.TLV{id}, false},
		"from a handset, with a reply path":     {0x80, nil, false},
		"typed as a receipt, with a reply path": {0x84, nil, true},
		"conversation abort (Korea, 5.2.12)":    {0x18, nil, false},
		"a mode of delivery is not a type":      {0x03, nil, false},
		"a receipt whatever the mode says":      {0x07, nil, true},
		"a reserved type":                       {0x24, []wire.TLV{id}, false},
	} {
		m := wire.Message{ESMClass: c.esm, ShortMessage: []byte(text), TLV: c.tlv}
		if got := isReceipt(m, &profile.Receipts{}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whatever stands in a deliver_sm or data_sm, it is read without a fault, and
// what becomes a receipt fits the registry.
func FuzzReceiptPDU(f *testing.F) {
	for _, text := range []string{"id:1 stat:DELIVRD err:000 text:x", "00,0210021543,1", ""} {
		raw, err := wire.Message{
			Command: wire.DeliverSM, ESMClass: 4, Source: wire.Address{TON: 1, NPI: 1, Addr: "998901234567"}, ShortMessage: []byte(text),
			TLV: []wire.TLV{{Tag: wire.TagReceiptedMessageID, Value: []byte("1\x00")}, {Tag: wire.TagNetworkErrorCode, Value: []byte{3, 0, 1}}},
		}.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, false)
	}
	p := testProfile("", 1)
	p.IDs = profile.IDs{Answer: profile.Hex, Receipt: profile.Hex, StripZeros: true}
	p.Receipts = columns(f)
	p.Receipts.Untyped = true
	f.Fuzz(func(t *testing.T, raw []byte, data bool) {
		if len(raw) < wire.HeaderLen {
			return
		}
		command := wire.DeliverSM
		if data {
			command = wire.DataSM
		}
		var m wire.Message
		if wire.DecodeMessage(wire.Frame{Command: command, Raw: raw}, &m) != nil || !isReceipt(m, &p.Receipts) {
			return
		}
		r, ok := readReceipt(m, &p)
		if !ok {
			return
		}
		if r.operatorID == "" || r.stat == "" || len(r.stat) > 16 || len(r.err) > 16 {
			t.Fatalf("%+v", r)
		}
		for _, s := range []string{r.operatorID, r.stat, r.err} {
			if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) {
				t.Fatalf("%q is no text for a column", s)
			}
		}
	})
}

func FuzzReceiptText(f *testing.F) {
	f.Add([]byte("id:0123 sub:001 dlvrd:001 submit date:2601021504 stat:DELIVRD err:000 text:Kod 123"))
	f.Add([]byte("id: \x00 stat:\xff err:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := parseReceiptText(b)
		if len(r.stat) > 16 || len(r.err) > 16 || utf8.RuneCount(r.id) > 64 {
			t.Fatalf("fields too long: %q", r)
		}
		// What stands behind text: never gets out.
		if at := bytes.Index(bytes.ToLower(b), []byte(" text:")); at == 0 && (r.id != nil || r.stat != nil || r.err != nil) {
			t.Fatalf("read from the quoted text: %q", r)
		}
		if id := operatorID(string(r.id)); strings.ContainsAny(id, " \x00\n") || len(id) > 64 {
			t.Fatalf("operator id %q", id)
		}
	})
}

func TestMeterCountsTheLastSecond(t *testing.T) {
	var m meter
	at := time.UnixMilli(1_000_000)
	for i := range 20 {
		m.add(at.Add(time.Duration(i) * 100 * time.Millisecond))
	}
	end := at.Add(1900 * time.Millisecond)
	if n := m.lastSecond(end); n != 10 {
		t.Errorf("%d in the last second, want 10", n)
	}
	if n := m.lastSecond(end.Add(time.Hour)); n != 0 {
		t.Errorf("%d an hour later", n)
	}
}
