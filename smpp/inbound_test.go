package smpp

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// operatorEnd is the operator's end of a bound link, for PDUs that the
// simulator does not write.
type operatorEnd struct {
	*rig
	conn     net.Conn
	sequence uint32
}

func newOperatorEnd(t *testing.T, tune func(*rig, *profile.Profile)) *operatorEnd {
	t.Helper()
	return answeringBinds(t, func(bind wire.Frame) []byte {
		return wire.AppendCString(nil, bind.Command.Response(), wire.StatusOK, bind.Sequence, "")
	}, tune)
}

// answeringBinds is newOperatorEnd of an operator who answers binds so.
func answeringBinds(t *testing.T, with func(bind wire.Frame) []byte, tune func(*rig, *profile.Profile)) *operatorEnd {
	t.Helper()
	ours, theirs := net.Pipe()
	r := assemble(t, Config{Profile: testProfile("operator:2775", 10), StoreTimeout: 2 * time.Second, DrainTimeout: time.Second})
	if tune != nil {
		tune(r, &r.bridge.cfg.Profile)
	}
	r.bridge.dial = func(context.Context, string, profile.TLS) (net.Conn, error) { return ours, nil }
	r.start()
	t.Cleanup(func() { _ = theirs.Close() }) // before the bridge stops
	bind, err := wire.Read(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write(with(bind)); err != nil {
		t.Fatal(err)
	}
	return &operatorEnd{rig: r, conn: theirs}
}

// send writes a PDU and returns the status it was answered with.
func (o *operatorEnd) send(raw []byte) wire.Status {
	o.t.Helper()
	o.sequence++
	wire.SetSequence(raw, o.sequence)
	if _, err := o.conn.Write(raw); err != nil {
		o.t.Fatal(err)
	}
	f, err := wire.Read(o.conn)
	if err != nil {
		o.t.Fatal(err)
	}
	want := wire.Command(binary.BigEndian.Uint32(raw[4:])).Response()
	if f.Sequence != o.sequence || f.Command != want {
		o.t.Fatalf("answered with %s %d, want %s %d", f.Command, f.Sequence, want, o.sequence)
	}
	return f.Status
}

func (o *operatorEnd) deliver(m wire.Message) wire.Status {
	o.t.Helper()
	m.Command = wire.DeliverSM
	raw, err := m.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	return o.send(raw)
}

// dataSM writes a data_sm by hand: we never send one (SMPP 3.4, 4.7.1).
func dataSM(from string, esm byte, tlvs ...wire.TLV) []byte {
	b := wire.AppendHeader(nil, wire.DataSM, wire.StatusOK, 0)
	b = append(b, 0)                                        // service_type
	b = append(append(b, 1, 1), append([]byte(from), 0)...) // source
	b = append(b, 1, 1, '1', '0', '0', 0)                   // destination
	b = append(b, esm, 0, 0)                                // registered_delivery, data_coding
	for _, t := range tlvs {
		b = append(b, byte(t.Tag>>8), byte(t.Tag), byte(len(t.Value)>>8), byte(len(t.Value)))
		b = append(b, t.Value...)
	}
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	return b
}

var subscriber = wire.Address{TON: 1, NPI: 1, Addr: "998901234567"}

func TestAReceiptInDataSMOrWithoutATextIsStored(t *testing.T) {
	o := newOperatorEnd(t, func(_ *rig, p *profile.Profile) {
		p.IDs = profile.IDs{Answer: profile.Hex, Receipt: profile.Decimal}
		p.Receipts.Rules = []profile.ReceiptRule{{Stat: "REJECTD", Err: "88", State: profile.Rejected, Balance: true}}
	})
	id := wire.TLV{Tag: wire.TagReceiptedMessageID, Value: []byte("0000000161\x00")}
	state := func(b byte) wire.TLV { return wire.TLV{Tag: wire.TagMessageState, Value: []byte{b}} }
	text := wire.TLV{Tag: wire.TagMessagePayload, Value: []byte("id:0000000161 sub:001 dlvrd:001 submitdate:260102150405 donedate:990102150405 stat:DELIVRD err:000")}
	for name, raw := range map[string][]byte{
		"by its parameters": dataSM(subscriber.Addr, 4, id, state(2)),
		"by its text":       dataSM(subscriber.Addr, 4, text),
		"without a type":    dataSM(subscriber.Addr, 0, id, state(2)),
	} {
		before := len(o.store.receipts)
		began := time.Now()
		if status := o.send(raw); status != wire.StatusOK {
			t.Errorf("%s: answered with %s", name, status)
		}
		if len(o.store.receipts) != before+1 {
			t.Fatalf("%s: acknowledged and not stored", name)
		}
		r := o.store.receipts[before]
		if r.OperatorID != o.bridge.cfg.Profile.IDs.FromAnswer("a1") || r.State != mobileid.MessageDelivered || r.Dest == (mobileid.Pseudonym{}) {
			t.Errorf("%s: %+v", name, r)
		}
		// Its dates are of 2026 and 2099, and of no zone.
		if r.At.Before(began) || r.At.After(time.Now()) {
			t.Errorf("%s: received at %v", name, r.At)
		}
	}
	poor := wire.TLV{Tag: wire.TagNetworkErrorCode, Value: []byte{3, 0, 88}}
	o.deliver(wire.Message{ESMClass: 4, Source: subscriber, TLV: []wire.TLV{id, state(8), poor}})
	if r := o.store.receipts[len(o.store.receipts)-1]; r.State != mobileid.MessageRejected || r.Reason != mobileid.ReasonCannotPay {
		t.Errorf("%+v", r)
	}
	if len(o.store.inbound) != 0 || len(o.store.unread) != 0 {
		t.Errorf("%d taken for messages, %d not read", len(o.store.inbound), len(o.store.unread))
	}
}

func TestAnIDAnsweredInHexFindsItsReceiptInDecimal(t *testing.T) {
	r := newRig(t, nil)
	r.bridge.cfg.Profile.IDs = profile.IDs{Answer: profile.Hex, Receipt: profile.Decimal}
	r.fault(smsc.Fault{Kind: smsc.FaultIDs, Form: "hex", ReceiptForm: "decimal_zeros"})
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	r.store.until(t, "receipt", func() bool { return len(r.store.receipts) == 1 })
	if answered, told := r.last(id).Parts[0].OperatorID, r.store.receipts[0].OperatorID; answered != told {
		t.Errorf("answered %q, told %q", answered, told)
	}
}

func TestAReceiptThatCannotBeReadIsKeptSealedAndAcknowledged(t *testing.T) {
	o := newOperatorEnd(t, nil)
	const quoted = "00,0210021543,kod 4711"
	if status := o.deliver(wire.Message{ESMClass: 4, Source: subscriber, ShortMessage: []byte(quoted)}); status != wire.StatusOK {
		t.Errorf("answered with %s: it would come again for ever", status)
	}
	damaged := dataSM(subscriber.Addr, 4)[:wire.HeaderLen+5] // in the middle of a number
	damaged[3] = byte(len(damaged))
	if status := o.send(damaged); status != wire.StatusOK {
		t.Errorf("a damaged one is answered with %s", status)
	}
	if len(o.store.unread) != 2 || len(o.store.inbound) != 0 || len(o.store.receipts) != 0 {
		t.Fatalf("%d unread, %d inbound, %d receipts", len(o.store.unread), len(o.store.inbound), len(o.store.receipts))
	}
	for i, why := range []string{"unparseable", "malformed"} {
		u := o.store.unread[i]
		if u.Why != why || u.Account != "beeline/mobileid" || u.At.IsZero() {
			t.Errorf("%+v", u)
		}
		if bytes.Contains(u.Sealed, []byte("kod 4711")) || bytes.Contains(u.Sealed, []byte(subscriber.Addr)) {
			t.Error("kept in clear")
		}
	}
	raw, err := o.bridge.opener.Open([]byte("beeline/mobileid"), o.store.unread[0].Sealed)
	if err != nil || !bytes.Contains(raw, []byte(quoted)) {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestAnInboundMessageIsStoredSealedAndThenAcknowledged(t *testing.T) {
	tries := 0
	o := newOperatorEnd(t, func(r *rig, _ *profile.Profile) {
		r.store.onAside = func() error {
			if tries++; tries == 1 {
				return mobileid.Unavailable("database_away", time.Second, nil)
			}
			return nil
		}
	})
	const text = "id:1 sub:001 dlvrd:001 stat:DELIVRD err:000 text:stop 4711"
	stop := wire.Message{
		Source: subscriber, Dest: wire.Address{TON: 3, Addr: "1000"}, DataCoding: 3, ShortMessage: []byte(text),
	}
	for i, want := range []wire.Status{wire.StatusTemporary, wire.StatusOK} {
		if status := o.deliver(stop); status != want {
			t.Fatalf("try %d is answered with %s, want %s", i, status, want)
		}
	}
	if len(o.store.receipts) != 0 || len(o.store.inbound) != 1 {
		t.Fatalf("%d receipts, %d inbound", len(o.store.receipts), len(o.store.inbound))
	}
	in := o.store.inbound[0]
	number, _ := mobileid.ParseMSISDN(subscriber.Addr)
	if in.Operator != "beeline" || in.Account != "beeline/mobileid" || in.Number != o.bridge.numbers.Number(number) || in.Part != (mobileid.InboundPart{}) {
		t.Errorf("%+v", in)
	}
	plain, err := o.bridge.opener.Open(in.ID[:], in.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	var got mobileid.SealedInbound
	if err := json.Unmarshal(plain, &got); err != nil {
		t.Fatal(err)
	}
	if got.From != subscriber.Addr || got.To != "1000" || got.DataCoding != 3 || string(got.Octets) != text {
		t.Error("what was sealed is not what came")
	}
	// From a name there is no number.
	stop.Source = wire.Address{TON: 5, Addr: "Bank"}
	o.deliver(stop)
	if in := o.store.inbound[1]; in.Number != (mobileid.Pseudonym{}) {
		t.Errorf("%+v", in)
	}
	for _, personal := range []string{subscriber.Addr, "stop 4711"} {
		if bytes.Contains(in.Sealed, []byte(personal)) || strings.Contains(o.logs.String(), personal) {
			t.Errorf("%q stands in clear", personal)
		}
	}
}

// Nothing in SMPP tells a message that the operator sends again, because our
// answer was lost, from a word that somebody sends twice: both are stored.
func TestAnInboundMessageSentAgainIsStoredAgainWithItsFingerprint(t *testing.T) {
	o := newOperatorEnd(t, nil)
	part := func(text string) []byte { return append([]byte{5, 0, 3, 200, 2, 1}, text...) }
	first := wire.Message{Source: subscriber, Dest: wire.Address{Addr: "1000"}, ESMClass: wire.ESMClassUDHI, ShortMessage: part("stop")}
	with := func(change func(*wire.Message)) wire.Message {
		m := first
		m.ShortMessage = bytes.Clone(first.ShortMessage)
		change(&m)
		return m
	}
	for _, m := range []wire.Message{
		first,
		first,
		with(func(m *wire.Message) { m.ShortMessage[3]++ }), // another text of his, in parts
		with(func(m *wire.Message) { m.ShortMessage[5]++ }), // its other part
		with(func(m *wire.Message) { m.ShortMessage = part("stap") }),
		with(func(m *wire.Message) { m.DataCoding = 8 }),
		with(func(m *wire.Message) { m.Dest.Addr = "1001" }),
		with(func(m *wire.Message) { m.Source.Addr = "998901234568" }),
	} {
		if status := o.deliver(m); status != wire.StatusOK {
			t.Fatalf("answered with %s", status)
		}
	}
	seen := map[mobileid.Fingerprint]int{}
	for i, in := range o.store.inbound {
		if at, ok := seen[in.Fingerprint]; ok != (i == 1) || in.Fingerprint == (mobileid.Fingerprint{}) || ok && o.store.inbound[at].ID == in.ID {
			t.Errorf("message %d has the fingerprint of %d", i, at)
		}
		seen[in.Fingerprint] = i
	}
	if len(o.store.inbound) != 8 {
		t.Errorf("%d stored, want each", len(o.store.inbound))
	}
}

func TestInboundMessagesOfOneNumberAreLimited(t *testing.T) {
	o := newOperatorEnd(t, nil)
	send := func(from string) {
		m := wire.Message{Source: wire.Address{TON: 1, NPI: 1, Addr: from}, ShortMessage: []byte("stop")}
		if status := o.deliver(m); status != wire.StatusOK {
			t.Fatalf("answered with %s", status)
		}
	}
	for range inboundPerNumber + 5 {
		send(subscriber.Addr)
	}
	if n := len(o.store.inbound); n != inboundPerNumber {
		t.Errorf("%d stored of one number, want %d", n, inboundPerNumber)
	}
	send("998907654321")
	if n := len(o.store.inbound); n != inboundPerNumber+1 {
		t.Error("another number is limited, too")
	}
	n, at := newNumberLimit(), time.Now()
	allowed := func(at time.Time) bool { _, ok := n.allow("1", at); return ok }
	for range inboundPerNumber {
		if !allowed(at) {
			t.Fatal("limited too early")
		}
	}
	if allowed(at.Add(inboundWindow-1)) || !allowed(at.Add(inboundWindow)) {
		t.Error("a window is not as long as it should be")
	}
}

// While the registry is away the operator sends one message again and again, and
// it must not be the limit that takes it from him unstored.
func TestAnInboundMessageThatIsNotStoredDoesNotCountForItsNumber(t *testing.T) {
	away := true
	o := newOperatorEnd(t, func(r *rig, _ *profile.Profile) {
		r.store.onAside = func() error {
			if away {
				return mobileid.Unavailable("database_away", time.Second, nil)
			}
			return nil
		}
	})
	stop := wire.Message{Source: subscriber, ShortMessage: []byte("stop")}
	for range inboundPerNumber + 5 {
		if status := o.deliver(stop); status != wire.StatusTemporary {
			t.Fatalf("answered with %s and not stored", status)
		}
	}
	away = false
	for range inboundPerNumber + 5 {
		if status := o.deliver(stop); status != wire.StatusOK {
			t.Fatalf("answered with %s", status)
		}
	}
	if n := len(o.store.inbound); n != inboundPerNumber {
		t.Errorf("%d stored, want the %d that are the limit", n, inboundPerNumber)
	}
	// What was counted in a window that is over is not taken from the next.
	n, at := newNumberLimit(), time.Now()
	old, _ := n.allow("1", at)
	for range inboundPerNumber {
		n.allow("1", at.Add(inboundWindow))
	}
	n.takeBack(old)
	if _, ok := n.allow("1", at.Add(inboundWindow)); ok {
		t.Error("one too many in the next window")
	}
}

func TestPartsOfAnInboundTextSayTheirPlace(t *testing.T) {
	sar := func(total, number byte) []wire.TLV {
		return []wire.TLV{
			{Tag: wire.TagSARMsgRefNum, Value: []byte{1, 2}},
			{Tag: wire.TagSARTotalSegments, Value: []byte{total}},
			{Tag: wire.TagSARSegmentSeqnum, Value: []byte{number}},
		}
	}
	const udhi = wire.ESMClassUDHI
	for name, c := range map[string]struct {
		m    wire.Message
		part mobileid.InboundPart
		text string
	}{
		"whole":                {wire.Message{ShortMessage: []byte("stop")}, mobileid.InboundPart{}, "stop"},
		"8-bit reference":      {wire.Message{ESMClass: udhi, ShortMessage: []byte("\x05\x00\x03\xC8\x03\x02stop")}, mobileid.InboundPart{Reference: 200, Total: 3, Number: 2}, "stop"},
		"16-bit reference":     {wire.Message{ESMClass: udhi, ShortMessage: []byte("\x06\x08\x04\x01\x02\x03\x03stop")}, mobileid.InboundPart{Reference: 258, Total: 3, Number: 3}, "stop"},
		"between others":       {wire.Message{ESMClass: udhi, ShortMessage: []byte("\x0A\x24\x01\x01\x00\x03\xC8\x02\x01\x70\x00stop")}, mobileid.InboundPart{Reference: 200, Total: 2, Number: 1}, "stop"},
		"in the payload":       {wire.Message{ESMClass: udhi, TLV: []wire.TLV{{Tag: wire.TagMessagePayload, Value: []byte("\x05\x00\x03\x01\x02\x02stop")}}}, mobileid.InboundPart{Reference: 1, Total: 2, Number: 2}, "stop"},
		"by parameters":        {wire.Message{ShortMessage: []byte("stop"), TLV: sar(2, 1)}, mobileid.InboundPart{Reference: 258, Total: 2, Number: 1}, "stop"},
		"part 0":               {wire.Message{ShortMessage: []byte("stop"), TLV: sar(2, 0)}, mobileid.InboundPart{}, "stop"},
		"part 3 of 2":          {wire.Message{ESMClass: udhi, ShortMessage: []byte("\x05\x00\x03\xC8\x02\x03stop")}, mobileid.InboundPart{}, "stop"},
		"a header beyond it":   {wire.Message{ESMClass: udhi, ShortMessage: []byte("\x09\x00\x03stop")}, mobileid.InboundPart{}, "\x09\x00\x03stop"},
		"an element beyond it": {wire.Message{ESMClass: udhi, ShortMessage: []byte("\x03\x00\x09\x01stop")}, mobileid.InboundPart{}, "\x03\x00\x09\x01stop"},
		"a header, no octet":   {wire.Message{ESMClass: udhi}, mobileid.InboundPart{}, ""},
		"nothing but a header": {wire.Message{ESMClass: udhi, ShortMessage: []byte("\x05\x00\x03\xC8\x02\x02")}, mobileid.InboundPart{Reference: 200, Total: 2, Number: 2}, ""},
	} {
		part, octets := partOf(c.m)
		if part != c.part || string(octets) != c.text {
			t.Errorf("%s: %+v %q", name, part, octets)
		}
	}
}

func FuzzInboundPart(f *testing.F) {
	f.Add(byte(0x40), []byte("\x05\x00\x03\xC8\x03\x02stop"))
	f.Add(byte(0x40), []byte("\x06\x08\x04\x01\x02\x03\x03stop"))
	f.Add(byte(0), []byte("stop"))
	f.Fuzz(func(t *testing.T, esm byte, text []byte) {
		part, octets := partOf(wire.Message{ESMClass: esm, ShortMessage: text})
		if part != (mobileid.InboundPart{}) && (part.Total < 2 || part.Total > 255 || part.Number < 1 || part.Number > part.Total || part.Reference > 65535) {
			t.Fatalf("%+v", part)
		}
		if !bytes.HasSuffix(text, octets) {
			t.Fatalf("%q is not the end of %q", octets, text)
		}
	})
}
