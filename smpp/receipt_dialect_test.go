package smpp

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// columns is the dialect of an operator whose receipts are "stat,date,id".
func columns(t testing.TB) profile.Receipts {
	t.Helper()
	d := profile.Receipts{Rules: []profile.ReceiptRule{
		{Stat: "00", State: profile.Delivered}, {Stat: "02", State: profile.Undeliverable},
	}}
	if err := d.Pattern.UnmarshalText([]byte(`^(?P<stat>\d\d),\d{10},(?P<id>[0-9A-F]+)(?:,(?P<err>\w+))?$`)); err != nil {
		t.Fatal(err)
	}
	return d
}

func inUCS2(text string) (octets []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		octets = binary.BigEndian.AppendUint16(octets, unit)
	}
	return octets
}

func TestAVendorsReceiptIsReadAsThePatternSays(t *testing.T) {
	p := testProfile("", 1)
	p.Receipts = columns(t)
	for text, want := range map[string]receipt{
		"00,0210021543,A1":             {operatorID: "A1", stat: "00", state: mobileid.MessageDelivered},
		"02,0210021543,A1,21":          {operatorID: "A1", stat: "02", state: mobileid.MessageUndeliverable, err: "21"},
		"07,0210021543,A1":             {operatorID: "A1", stat: "07"},
		"id:7 stat:EXPIRED err:1":      {operatorID: "7", stat: "EXPIRED", state: mobileid.MessageExpired, err: "1"},
		"kod 00,0210021543,A1":         {},
		"00,0210021543,A1 kod 4711":    {},
		strings.Repeat("0", 600) + ",": {},
	} {
		m := wire.Message{ESMClass: esmReceipt, Source: subscriber, ShortMessage: []byte(text)}
		if got, ok := readReceipt(m, &p); got != want || ok != (want.operatorID != "") {
			t.Errorf("%q: %t, %+v", text, ok, got)
		}
	}
}

func TestAReceiptIsReadInWhateverItIsWritten(t *testing.T) {
	const text = "id:A1 sub:001 dlvrd:001 stat:DELIVRD err:000 text:"
	header := []byte{5, 0, 3, 7, 1, 1}
	p := testProfile("", 1)
	for name, m := range map[string]wire.Message{
		"UCS-2":                        {DataCoding: sms.DataCodingUCS2, ShortMessage: inUCS2(text + "Тасдиқлаш коди 😀")},
		"UCS-2 in message_payload":     {DataCoding: sms.DataCodingUCS2, TLV: []wire.TLV{{Tag: wire.TagMessagePayload, Value: inUCS2(text)}}},
		"ASCII that is told as UCS-2":  {DataCoding: sms.DataCodingUCS2, ShortMessage: []byte(text)},
		"a header before it":           {ESMClass: wire.ESMClassUDHI, ShortMessage: append(header, text...)},
		"a header before it, of UCS-2": {ESMClass: wire.ESMClassUDHI, DataCoding: sms.DataCodingUCS2, ShortMessage: append(header, inUCS2(text)...)},
	} {
		m.ESMClass |= esmReceipt
		want := receipt{operatorID: "A1", stat: "DELIVRD", state: mobileid.MessageDelivered, err: "000"}
		if got, ok := readReceipt(m, &p); !ok || got != want {
			t.Errorf("%s: %t, %+v", name, ok, got)
		}
	}
	for _, octets := range [][]byte{nil, {0}, {0xD8, 0x3D}, {0xD8, 0x3D, 0xDE}, inUCS2(strings.Repeat("ў", 600))} {
		if r := readReceiptText(wire.Message{DataCoding: sms.DataCodingUCS2, ShortMessage: octets}, &p.Receipts); r.id != nil || r.stat != nil {
			t.Errorf("%x: %q", octets, r)
		}
	}
}

func TestAnUntypedTextIsAReceiptOnlyWhereTheOperatorSendsSuch(t *testing.T) {
	untyped := columns(t)
	untyped.Untyped = true
	for _, c := range []struct {
		text string
		esm  byte
		want bool
	}{
		{"id:1 sub:001 stat:DELIVRD err:000 text:", 0, true},
		{"00,0210021543,A1", 0, true},
		{"id:1 err:000", 0, false},
		{"stat:DELIVRD", 0, false},
		{"id:\x01\x02 stat:DELIVRD", 0, false},
		{"text:id:1 stat:DELIVRD", 0, false},
		{"salom", 0, false},
		{"id:1 stat:DELIVRD", 0x08, false}, // of a handset, and it says so
		{"id:1 stat:DELIVRD", esmIntermediate, false},
	} {
		m := wire.Message{ESMClass: c.esm, ShortMessage: []byte(c.text)}
		if got := isReceipt(m, &untyped); got != c.want {
			t.Errorf("%q, esm_class %#x: %t", c.text, c.esm, got)
		}
		typed := columns(t)
		if isReceipt(m, &typed) {
			t.Errorf("%q is a receipt where nobody sends such", c.text)
		}
	}
}

func TestAReceiptIsMatchedByWhicheverAddressIsANumber(t *testing.T) {
	o := newOperatorEnd(t, nil)
	sender := wire.Address{TON: 5, Addr: "MobileID"}
	number, err := mobileid.ParseMSISDN(subscriber.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var none mobileid.Pseudonym
	for i, c := range []struct {
		source, dest wire.Address
		want         mobileid.Pseudonym
		unnumbered   float64
	}{
		{subscriber, sender, o.bridge.numbers.Number(number), 0},
		{sender, subscriber, o.bridge.numbers.Number(number), 0},
		{sender, sender, none, 1},
		{wire.Address{}, sender, none, 2},
	} {
		m := wire.Message{ESMClass: esmReceipt, Source: c.source, Dest: c.dest, ShortMessage: []byte("id:1 stat:DELIVRD")}
		if status := o.deliver(m); status != wire.StatusOK {
			t.Errorf("%d: answered with %s", i, status)
		}
		if r := o.store.receipts[i]; r.Dest != c.want {
			t.Errorf("%d: stored under another number", i)
		}
		if n := testutil.ToFloat64(o.bridge.metrics.unnumbered); n != c.unnumbered {
			t.Errorf("%d: %g counted without a number", i, n)
		}
	}
	logs := o.logs.String()
	if n := strings.Count(logs, "names no number"); n != 1 {
		t.Errorf("said %d times in a minute", n)
	}
	if strings.Contains(logs, subscriber.Addr) {
		t.Error("a number in the log")
	}
}
