package smsc

import (
	"bytes"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"mobileid/smpp/wire"
)

// What is taken and what is refused stays what the codec of all fields says.
func FuzzASubmitIsReadAsTheCodecOfAllFieldsReadsIt(f *testing.F) {
	f.Add(submit(1, nil)[wire.HeaderLen:])
	f.Add(append(submit(1, nil), 4, 4, 0, 2, 'h', 'i', 9)[wire.HeaderLen:])
	f.Add(append(submit(1, nil), 0, 0, 0, 5)[wire.HeaderLen:])
	f.Add(submit(1, func(m *wire.Message) { m.ESMClass, m.ShortMessage = 0x40, []byte{5, 0, 3, 9, 2, 1, 'a'} })[wire.HeaderLen:])
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := wire.Frame{Command: wire.SubmitSM, Sequence: 1, Raw: sized(append(wire.AppendHeader(nil, wire.SubmitSM, 0, 1), body...))}
		all, want := wire.Decode(frame)
		got, err := readSubmit(frame)
		if (err == nil) != (want == nil) {
			t.Fatalf("%v, want %v", err, want)
		}
		if err != nil {
			return
		}
		for name, same := range map[string]bool{
			"source_addr":         got.Source.Addr == all.Text(pdufield.SourceAddr),
			"destination_addr":    got.Dest.Addr == all.Text(pdufield.DestinationAddr),
			"esm_class":           got.ESMClass == all.Byte(pdufield.ESMClass),
			"validity_period":     got.ValidityPeriod == all.Text(pdufield.ValidityPeriod),
			"registered_delivery": got.RegisteredDelivery == all.Byte(pdufield.RegisteredDelivery),
			"data_coding":         got.DataCoding == all.Byte(pdufield.DataCoding),
			"the text":            bytes.Equal(got.Bytes(), all.Bytes()),
		} {
			if !same {
				t.Errorf("%s differs: %+v, %+v", name, got, all)
			}
		}
		for tag, v := range all.TLV {
			if value, ok := got.Optional(uint16(tag)); !ok || !bytes.Equal(value, v.Bytes()) {
				t.Errorf("parameter 0x%04x: %x, want %x", uint16(tag), value, v.Bytes())
			}
		}
		for _, p := range got.TLV {
			if all.TLV[pdutlv.Tag(p.Tag)] == nil {
				t.Errorf("parameter 0x%04x: not there", p.Tag)
			}
		}
	})
}
