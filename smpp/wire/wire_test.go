package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

func TestReadFrames(t *testing.T) {
	link := AppendHeader(nil, EnquireLink, 0, 7)
	resp := AppendCString(nil, SubmitSM.Response(), 0, 8, "abc")
	r := bytes.NewReader(append(bytes.Clone(link), resp...))
	f, err := Read(r)
	if err != nil || f.Command != EnquireLink || f.Sequence != 7 || len(f.Body()) != 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	f, err = Read(r)
	if err != nil || f.Command.String() != "submit_sm_resp" || string(f.Body()) != "abc\x00" {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err = Read(r); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

func TestReadRefusesLengthsOutOfBoundsAndTellsTheSequence(t *testing.T) {
	for _, n := range []uint32{0, 15, MaxLen + 1, 0xFFFFFFFF} {
		raw := AppendHeader(nil, EnquireLink, 0, 9)
		raw[0], raw[1], raw[2], raw[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		f, err := Read(bytes.NewReader(raw))
		if !errors.Is(err, ErrLength) || f.Sequence != 9 {
			t.Errorf("length %d: %+v, %v", n, f, err)
		}
	}
}

func TestReadTellsAFrameThatWasCutOff(t *testing.T) {
	raw := AppendCString(nil, SubmitSM.Response(), 0, 1, "abc")
	if _, err := Read(bytes.NewReader(raw[:18])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("err = %v", err)
	}
}

func message() Message {
	return Message{
		Command: DeliverSM, Source: Address{1, 1, "998901234567"}, Dest: Address{5, 0, "MobileID"},
		ESMClass: 0x04, ShortMessage: []byte("id:1 stat:DELIVRD"),
		TLV: pdutlv.Fields{pdutlv.TagReceiptedMessageID: pdutlv.CString("1")},
	}
}

func TestMessageIsReadAsItWasWritten(t *testing.T) {
	for _, c := range []Command{SubmitSM, DeliverSM} {
		m := message()
		m.Command = c
		raw, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		SetSequence(raw, 42)
		f, err := Read(bytes.NewReader(raw))
		if err != nil || int(f.Sequence) != 42 || f.Command != c {
			t.Fatalf("%+v, %v", f, err)
		}
		d, err := Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		if d.Text(pdufield.SourceAddr) != "998901234567" || d.Byte(pdufield.ESMClass) != 4 ||
			string(d.Bytes()) != "id:1 stat:DELIVRD" || d.OptionalText(pdutlv.TagReceiptedMessageID) != "1" {
			t.Errorf("%v %v", d.Named, d.TLV)
		}
	}
}

// The defects of the codec that this package stands in front of: each was a lost link or a corrupt PDU.
func TestValuesThatDoNotFitAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Message){
		"300-byte text":     func(m *Message) { m.ShortMessage = make([]byte, 300) },
		"long address":      func(m *Message) { m.Dest.Addr = strings.Repeat("9", 21) },
		"NUL in an address": func(m *Message) { m.Source.Addr = "a\x00b" },
		"half a validity":   func(m *Message) { m.ValidityPeriod = "0000" },
	} {
		m := message()
		change(&m)
		if _, err := m.Encode(); !errors.Is(err, ErrField) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Bind{Command: BindTransceiver, Password: "123456789"}).Encode(); !errors.Is(err, ErrField) {
		t.Errorf("nine characters of password: %v", err)
	}
}

func TestDecodeRefusesTruncatedRequestsAndKeepsLargePayloads(t *testing.T) {
	raw, _ := message().Encode()
	for _, cut := range []int{17, 30, 50, len(raw) - 1} {
		if _, err := Decode(Frame{Command: DeliverSM, Raw: raw[:cut]}); !errors.Is(err, ErrBody) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	m := message()
	m.ShortMessage = nil
	m.TLV = pdutlv.Fields{pdutlv.TagMessagePayload: bytes.Repeat([]byte("x"), 5000)}
	big, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(bytes.NewReader(big))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(f)
	if err != nil || len(d.Bytes()) != 5000 {
		t.Errorf("5000-byte message_payload: %d bytes, %v", len(d.Bytes()), err)
	}
}

func TestDecodeReadsDataSM(t *testing.T) {
	body := "\x00\x01\x01998901234567\x00\x05\x00MobileID\x00\x04\x00\x00" + "\x00\x1e\x00\x02a\x00"
	raw := append(AppendHeader(nil, DataSM, 0, 3), body...)
	d, err := Decode(Frame{Command: DataSM, Raw: raw})
	if err != nil || d.Byte(pdufield.ESMClass) != 4 || d.OptionalText(pdutlv.TagReceiptedMessageID) != "a" {
		t.Errorf("%v %v", d, err)
	}
}

func TestNames(t *testing.T) {
	for c, want := range map[Command]string{
		GenericNack: "generic_nack", DataSM: "data_sm", BindTransceiver.Response(): "bind_transceiver_resp", 0x777: "0x00000777",
	} {
		if c.String() != want {
			t.Errorf("%s, want %s", c, want)
		}
	}
}

func FuzzReadAndDecode(f *testing.F) {
	raw, _ := message().Encode()
	f.Add(raw)
	f.Add(AppendHeader(nil, EnquireLink, 0, 7))
	bind, _ := Bind{Command: BindTransceiver, SystemID: "a", Password: "b"}.Encode()
	f.Add(bind)
	udh := message()
	udh.ESMClass, udh.ShortMessage = 0x44, []byte{200, 1, 255, 3}
	broken, _ := udh.Encode()
	f.Add(broken)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			fr, err := Read(r)
			if err != nil {
				return
			}
			if len(fr.Raw) < HeaderLen || len(fr.Raw) > MaxLen {
				t.Fatalf("frame of %d bytes", len(fr.Raw))
			}
			d, err := Decode(fr)
			if err != nil {
				if !errors.Is(err, ErrBody) {
					t.Fatalf("error of another kind: %v", err)
				}
				continue
			}
			_ = d.Bytes()
			_ = d.Text(pdufield.SourceAddr)
			_ = d.OptionalText(pdutlv.TagReceiptedMessageID)
		}
	})
}
