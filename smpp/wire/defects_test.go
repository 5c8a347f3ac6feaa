package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
)

// TestWhereGoSMPPIsWrong names each difference to the codec, which is otherwise
// the reference. A row that fails on their side says that the codec has changed.
func TestWhereGoSMPPIsWrong(t *testing.T) {
	written := func(change func(*Message)) (Message, []byte) {
		m := submitSM()
		change(&m)
		return m, encodedByThem(m)
	}
	refused := func(t *testing.T, m Message) {
		t.Helper()
		if _, err := m.Encode(); !errors.Is(err, ErrField) {
			t.Errorf("ours: %v", err)
		}
	}
	read := func(raw []byte) (m Message, err error) {
		f, err := Read(bytes.NewReader(raw))
		if err == nil {
			err = DecodeMessage(f, &m)
		}
		return m, err
	}

	t.Run("300 octets of text are written behind sm_length 44", func(t *testing.T) {
		m, raw := written(func(m *Message) { m.ShortMessage, m.TLV = bytes.Repeat([]byte("x"), 300), nil })
		if !bytes.HasSuffix(raw, append([]byte{44}, m.ShortMessage...)) {
			t.Errorf("theirs: %q", raw)
		}
		refused(t, m)
	})
	t.Run("a NUL in an address shifts what stands behind it", func(t *testing.T) {
		m, raw := written(func(m *Message) { m.Source.Addr = "a\x00b" })
		if p, err := theirs(raw); err != nil || p.Fields()[pdufield.DestinationAddr].String() == m.Dest.Addr {
			t.Errorf("theirs: %v", err)
		}
		refused(t, m)
	})
	t.Run("an address of any length is written", func(t *testing.T) {
		m, raw := written(func(m *Message) { m.Dest.Addr = strings.Repeat("9", 21) })
		if !bytes.Contains(raw, []byte(m.Dest.Addr)) {
			t.Error("theirs: refused")
		}
		refused(t, m)
	})
	t.Run("text is written in two places", func(t *testing.T) {
		m, raw := written(func(m *Message) { m.TLV = []TLV{{TagMessagePayload, []byte("payload")}} })
		if !bytes.Contains(raw, m.ShortMessage) || !bytes.Contains(raw, []byte("payload")) {
			t.Error("theirs: refused")
		}
		refused(t, m)
	})
	t.Run("the order of parameters is drawn by lot", func(t *testing.T) {
		m, first := written(func(m *Message) { m.TLV = []TLV{{1, nil}, {2, nil}, {3, nil}, {4, nil}, {5, nil}, {6, nil}} })
		varied := false
		for range 100 {
			varied = varied || !bytes.Equal(first, encodedByThem(m))
		}
		if !varied {
			t.Error("theirs: always the same")
		}
	})
	t.Run("a body that was cut is read", func(t *testing.T) {
		raw := encoded(t, submitSM()).Raw[:40]
		raw[3] = 40
		if p, err := theirs(raw); err != nil || p.Fields()[pdufield.ShortMessage] != nil {
			t.Errorf("theirs: %v", err)
		}
		if _, err := read(raw); !errors.Is(err, ErrBody) {
			t.Errorf("ours: %v", err)
		}
	})
	t.Run("a parameter that was cut in its header is passed over", func(t *testing.T) {
		raw := append(encodedByThem(Message{Command: SubmitSM}), 0x02, 0x04)
		raw[3] += 2
		if _, err := theirs(raw); err != nil {
			t.Errorf("theirs: %v", err)
		}
		if _, err := read(raw); !errors.Is(err, ErrBody) {
			t.Errorf("ours: %v", err)
		}
	})
	t.Run("a PDU of more than 4096 octets ends the stream", func(t *testing.T) {
		m := submitSM()
		m.ShortMessage, m.TLV = nil, []TLV{{TagMessagePayload, make([]byte, 5000)}}
		raw := encoded(t, m).Raw
		if _, err := theirs(raw); err == nil {
			t.Error("theirs: read")
		}
		if got, err := read(raw); err != nil || len(got.Bytes()) != 5000 {
			t.Errorf("ours: %v", err)
		}
	})
	t.Run("a damaged user data header loses the text without a word", func(t *testing.T) {
		raw := encoded(t, Message{Command: DeliverSM, ESMClass: ESMClassUDHI, ShortMessage: []byte{200, 1, 255, 3}}).Raw
		if p, err := pdu.Decode(bytes.NewReader(raw)); err != nil || p.Fields()[pdufield.ShortMessage] != nil {
			t.Errorf("theirs: %v", err)
		}
		if got, err := read(raw); err != nil || len(got.ShortMessage) != 4 {
			t.Errorf("ours: %v", err)
		}
	})
	t.Run("its own deliver_sm has octets that the PDU does not have", func(t *testing.T) {
		p := pdu.NewDeliverSM()
		_ = p.Fields().Set(pdufield.ShortMessage, "salom")
		var b bytes.Buffer
		if err := p.SerializeTo(&b); err != nil {
			t.Fatal(err)
		}
		ours := encoded(t, Message{Command: DeliverSM, ShortMessage: []byte("salom")}).Raw
		if b.Len() == len(ours) {
			t.Error("theirs: as long as ours")
		}
		if m, err := read(b.Bytes()); err == nil && string(m.ShortMessage) == "salom" {
			t.Error("read as if nothing were wrong")
		}
	})
	t.Run("a message_id without its NUL is no message_id and no error", func(t *testing.T) {
		raw := append(appendHeader(nil, HeaderLen+3, SubmitSM.Response(), 0, 1), "abc"...)
		if p, err := pdu.Decode(bytes.NewReader(raw)); err != nil || p.Fields()[pdufield.MessageID] != nil {
			t.Errorf("theirs: %v", err)
		}
		if _, err := MessageID(Frame{Command: SubmitSM.Response(), Raw: raw}); !errors.Is(err, ErrBody) {
			t.Errorf("ours: %v", err)
		}
	})
	t.Run("data_sm is not known", func(t *testing.T) {
		raw := append(AppendHeader(nil, DataSM, 0, 1), make([]byte, 10)...)
		raw[3] += 10
		if _, err := pdu.Decode(bytes.NewReader(raw)); err == nil {
			t.Error("theirs: read")
		}
		if _, err := read(raw); err != nil {
			t.Errorf("ours: %v", err)
		}
	})
}
