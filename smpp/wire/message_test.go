package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func submitSM() Message {
	return Message{
		Command: SubmitSM, ServiceType: "CMT", Source: Address{5, 0, "MobileID"}, Dest: Address{1, 1, "998901234567"},
		PriorityFlag: 1, ValidityPeriod: "000000000500000R", RegisteredDelivery: 1, DataCoding: 8,
		ShortMessage: []byte("Tasdiqlash kodi 739214. Hech kimga aytmang."),
		TLV:          []TLV{{TagUserMessageReference, []byte{0xab, 0xcd}}},
	}
}

func deliverSM() Message {
	return Message{
		Command: DeliverSM, Source: Address{1, 1, "998901234567"}, Dest: Address{5, 0, "MobileID"}, ESMClass: 0x04,
		ShortMessage: []byte("id:0123456789 sub:001 dlvrd:001 submit date:2601021504 done date:2601021505 stat:DELIVRD err:000 text:Tasdiqlash kodi 7392"),
		TLV:          []TLV{{TagReceiptedMessageID, []byte("0123456789\x00")}, {TagMessageState, []byte{2}}},
	}
}

func encoded(t testing.TB, m Message) Frame {
	t.Helper()
	raw, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The layout of SMPP 3.4, 4.4.1, octet by octet.
func TestSubmitSMOnTheWire(t *testing.T) {
	m := submitSM()
	m.ShortMessage = []byte("kod")
	raw, err := m.Append([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	SetSequence(raw[6:], 7)
	want := "before" + "\x00\x00\x00\x51\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x07" +
		"CMT\x00" + "\x05\x00MobileID\x00" + "\x01\x01998901234567\x00" + "\x00\x00\x01" + "\x00" +
		"000000000500000R\x00" + "\x01\x00\x08\x00" + "\x03kod" + "\x02\x04\x00\x02\xab\xcd"
	if string(raw) != want {
		t.Errorf("\n got %q\nwant %q", raw, want)
	}
}

func TestParametersAreWrittenByTagAndTheCallersOrderStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := submitSM()
		m.TLV = []TLV{{0x0005, []byte{1}}, {0x0204, []byte{1, 2}}, {0x020A, nil}, {0x1380, []byte("x")}, {0xFFFF, []byte("y")}, {0, nil}}
		want, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		m.TLV = rapid.Permutation(m.TLV).Draw(t, "order")
		order := append([]TLV(nil), m.TLV...)
		if got, _ := m.Encode(); !bytes.Equal(got, want) || !reflect.DeepEqual(m.TLV, order) {
			t.Fatalf("%x, want %x", got, want)
		}
		if tail := "\x00\x00\x00\x00\x00\x05\x00\x01\x01\x02\x04"; !strings.Contains(string(want), tail) || !strings.HasSuffix(string(want), "\xff\xff\x00\x01y") {
			t.Fatalf("%x", want)
		}
	})
}

func TestWhatDoesNotFitIsNotWritten(t *testing.T) {
	sar := []TLV{{TagSARMsgRefNum, []byte{0, 1}}, {TagSARTotalSegments, []byte{2}}, {TagSARSegmentSeqnum, []byte{1}}}
	for name, c := range map[string]struct {
		change func(*Message)
		fits   bool
	}{
		"text of 254 octets":      {func(m *Message) { m.ShortMessage = make([]byte, 254) }, true},
		"text of 255 octets":      {func(m *Message) { m.ShortMessage = make([]byte, 255) }, false},
		"text of 300 octets":      {func(m *Message) { m.ShortMessage = make([]byte, 300) }, false},
		"address of 20":           {func(m *Message) { m.Dest.Addr = strings.Repeat("9", 20) }, true},
		"address of 21":           {func(m *Message) { m.Dest.Addr = strings.Repeat("9", 21) }, false},
		"sender of 21":            {func(m *Message) { m.Source.Addr = strings.Repeat("9", 21) }, false},
		"NUL in a sender":         {func(m *Message) { m.Source.Addr = "a\x00b" }, false},
		"NUL in an address":       {func(m *Message) { m.Dest.Addr = "\x00" }, false},
		"service_type of 5":       {func(m *Message) { m.ServiceType = "12345" }, true},
		"service_type of 6":       {func(m *Message) { m.ServiceType = "123456" }, false},
		"NUL in a service_type":   {func(m *Message) { m.ServiceType = "\x00" }, false},
		"priority of 4":           {func(m *Message) { m.PriorityFlag = 4 }, false},
		"no validity":             {func(m *Message) { m.ValidityPeriod = "" }, true},
		"absolute validity":       {func(m *Message) { m.ValidityPeriod = "261231235959020+" }, true},
		"half a validity":         {func(m *Message) { m.ValidityPeriod = "0000" }, false},
		"validity of 17":          {func(m *Message) { m.ValidityPeriod = "0000000005000000R" }, false},
		"validity with a letter":  {func(m *Message) { m.ValidityPeriod = "00000000O500000R" }, false},
		"validity without a kind": {func(m *Message) { m.ValidityPeriod = "0000000005000000" }, false},
		"another command":         {func(m *Message) { m.Command = DataSM }, false},
		"text in two places":      {func(m *Message) { m.TLV = []TLV{{TagMessagePayload, []byte("x")}} }, false},
		"text in a parameter":     {func(m *Message) { m.ShortMessage, m.TLV = nil, []TLV{{TagMessagePayload, make([]byte, 5000)}} }, true},
		"a parameter twice":       {func(m *Message) { m.TLV = append(m.TLV, m.TLV[0]) }, false},
		"sar":                     {func(m *Message) { m.TLV = sar }, true},
		"sar and a header":        {func(m *Message) { m.TLV, m.ESMClass = sar, ESMClassUDHI }, false},
		"two thirds of sar":       {func(m *Message) { m.TLV = sar[:2] }, false},
		"parameter of 65536":      {func(m *Message) { m.TLV = []TLV{{1, make([]byte, 0x10000)}} }, false},
		"parameter of 65535":      {func(m *Message) { m.TLV = []TLV{{1, make([]byte, 0xFFFF)}} }, true},
		"more than a PDU":         {func(m *Message) { m.TLV = []TLV{{1, make([]byte, 0xFFFF)}, {2, make([]byte, 0xFFFF)}} }, false},
	} {
		m := submitSM()
		c.change(&m)
		raw, err := m.Append([]byte("before"))
		if c.fits != (err == nil) || !c.fits && (!errors.Is(err, ErrField) || string(raw) != "before") {
			t.Errorf("%s: %v, %d octets", name, err, len(raw))
		}
	}
	if _, err := (Bind{Command: BindTransceiver, Password: "123456789"}).Encode(); !errors.Is(err, ErrField) {
		t.Errorf("nine characters of password: %v", err)
	}
}

func TestAMessageIsReadAsItWasWritten(t *testing.T) {
	for _, want := range []Message{submitSM(), deliverSM(), {Command: SubmitSM}} {
		got := Message{ServiceType: "old", TLV: []TLV{{9, nil}, {8, nil}, {7, nil}}}
		if err := DecodeMessage(encoded(t, want), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.TLV) == 0 {
			got.TLV = nil
		}
		if len(got.ShortMessage) == 0 {
			got.ShortMessage = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
}

func TestEveryCutOfAMessageIsRefused(t *testing.T) {
	for _, m := range []Message{submitSM(), deliverSM()} {
		f := encoded(t, m)
		end := m
		end.TLV = nil
		text := end.length()
		whole := map[int]bool{text: true, text + tlvHeader + len(m.TLV[0].Value): true, len(f.Raw): true}
		whole[text+1] = m.TLV[0].Tag < 0x100 // one 0 is as good as none
		for cut := HeaderLen; cut <= len(f.Raw); cut++ {
			into := Message{ServiceType: "untouched"}
			err := DecodeMessage(Frame{Command: m.Command, Raw: f.Raw[:cut]}, &into)
			if errors.Is(err, ErrBody) == whole[cut] || err != nil && into.ServiceType != "untouched" {
				t.Errorf("%s cut at %d: %v", m.Command, cut, err)
			}
		}
	}
}

func TestADataSMIsRead(t *testing.T) {
	body := "\x00\x01\x01998901234567\x00\x05\x00MobileID\x00\x04\x01\x08" + "\x00\x1e\x00\x02a\x00"
	var m Message
	err := DecodeMessage(Frame{Command: DataSM, Raw: append(AppendHeader(nil, DataSM, 0, 3), body...)}, &m)
	want := Message{
		Command: DataSM, Source: Address{1, 1, "998901234567"}, Dest: Address{5, 0, "MobileID"}, ESMClass: 4,
		RegisteredDelivery: 1, DataCoding: 8, TLV: []TLV{{TagReceiptedMessageID, []byte("a\x00")}},
	}
	if err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, %v", m, err)
	}
	if err := DecodeMessage(Frame{Command: EnquireLink, Raw: AppendHeader(nil, EnquireLink, 0, 3)}, &m); !errors.Is(err, ErrBody) {
		t.Errorf("enquire_link: %v", err)
	}
}

// What an operator says clearly is not lost for a rule that he breaks.
func TestWhatIsClearIsReadAllTheSame(t *testing.T) {
	long := strings.Repeat("9", 64)
	head := "\x00\x01\x01" + long + "\x00\x05\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00"
	for name, c := range map[string]struct{ tail, bytes, id string }{
		"sm_length 255":         {"\xff" + strings.Repeat("x", 255), strings.Repeat("x", 255), ""},
		"text in two places":    {"\x01x\x04\x24\x00\x02yz", "yz", ""},
		"empty message_payload": {"\x01x\x04\x24\x00\x00", "x", ""},
		"zeroes at the end":     {"\x01x\x00\x00\x00", "x", ""},
		"a parameter twice":     {"\x01x\x00\x1e\x00\x02a\x00\x00\x1e\x00\x02b\x00", "x", "b"},
		"no NUL in a parameter": {"\x01x\x00\x1e\x00\x02ab", "x", "ab"},
	} {
		var m Message
		err := DecodeMessage(Frame{Command: DeliverSM, Raw: append(AppendHeader(nil, DeliverSM, 0, 3), head+c.tail...)}, &m)
		if err != nil || m.Source.Addr != long || string(m.Bytes()) != c.bytes || m.OptionalText(TagReceiptedMessageID) != c.id {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestMessageIDOfAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		command Command
		body    string
		id      string
		bad     bool
	}{
		"given":               {SubmitSM.Response(), "0a1b\x00", "0a1b", false},
		"of a receipt":        {DeliverSM.Response(), "\x00", "", false},
		"of a data_sm":        {DataSM.Response(), "x\x00", "x", false},
		"without a body":      {SubmitSM.Response(), "", "", false},
		"of 64 letters":       {SubmitSM.Response(), strings.Repeat("a", 64) + "\x00", strings.Repeat("a", 64), false},
		"of 65 letters":       {SubmitSM.Response(), strings.Repeat("a", 65) + "\x00", "", true},
		"without its NUL":     {SubmitSM.Response(), "abc", "", true},
		"with something else": {SubmitSM.Response(), "abc\x00\x00\x1d\x00\x01x", "abc", false},
		"of no message":       {EnquireLink.Response(), "abc\x00", "", true},
	} {
		id, err := MessageID(Frame{Command: c.command, Raw: append(AppendHeader(nil, c.command, 0, 1), c.body...)})
		if id != c.id || errors.Is(err, ErrBody) != c.bad {
			t.Errorf("%s: %q, %v", name, id, err)
		}
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
