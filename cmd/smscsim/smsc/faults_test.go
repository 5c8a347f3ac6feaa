package smsc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"

	"mobileid/smpp/wire"
)

// faulty starts a server with faults and binds.
func faulty(t *testing.T, faults ...Fault) (*Server, *client) {
	t.Helper()
	s := start(t, Config{})
	for _, f := range faults {
		set(t, s, f)
	}
	return s, bound(t, s)
}

func set(t *testing.T, s *Server, f Fault) {
	t.Helper()
	if err := s.SetFault(f); err != nil {
		t.Fatal(err)
	}
}

func noReceipt(m *wire.Message) { m.RegisteredDelivery = 0 }

// submits writes n submits and returns the statuses of their answers.
func (c *client) submits(n int, change func(*wire.Message)) []wire.Status {
	c.t.Helper()
	var out []wire.Status
	for i := range n {
		c.write(submit(uint32(i+1), change))
		out = append(out, c.read().Status)
	}
	return out
}

// receipt writes a submit and returns its id and its receipt.
func (c *client) receipt() (id string, receipt wire.Message, f wire.Frame) {
	c.t.Helper()
	c.write(submit(1, func(m *wire.Message) { m.TLV = []wire.TLV{{Tag: wire.TagUserMessageReference, Value: []byte{7, 9}}} }))
	resp := c.read()
	id, err := wire.MessageID(resp)
	if err != nil || resp.Command != wire.SubmitSM.Response() {
		c.t.Fatalf("%+v %v", resp, err)
	}
	f = c.read()
	if err := wire.DecodeMessage(f, &receipt); err != nil {
		c.t.Fatal(err)
	}
	return id, receipt, f
}

func TestEveryKindIsTakenAsItsExampleAndReadsNothingElse(t *testing.T) {
	for _, k := range Kinds() {
		f := k.example
		f.Kind = k.Kind
		raw, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var read Fault
		if err := json.Unmarshal(raw, &read); err != nil || read.check() != nil {
			t.Errorf("the example %s: %v, %v", raw, err, read.check())
		}
		if !strings.Contains(Help(), string(raw)) || k.Does == "" {
			t.Errorf("%s is not in the help", k.Kind)
		}
		for name, more := range map[string]func(f *Fault){
			"count": func(f *Fault) { f.Count = 1 }, "for": func(f *Fault) { f.For = 1 }, "to": func(f *Fault) { f.To = "9" },
			"status": func(f *Fault) { f.Status = 1 }, "state": func(f *Fault) { f.State = "DELIVRD" }, "delay": func(f *Fault) { f.Delay = 1 },
			"n": func(f *Fault) { f.N = 1 }, "rate": func(f *Fault) { f.Rate = 1 }, "burst": func(f *Fault) { f.Burst = 1 },
			"form": func(f *Fault) {
				f.Form = strings.Join(k.Forms[:min(len(k.Forms), 1)], "") + strings.Repeat("x", max(0, 1-len(k.Forms)))
			},
			"receipt_form": func(f *Fault) { f.ReceiptForm = idHex }, "bytes": func(f *Fault) { f.Bytes = []byte{1} },
		} {
			with := f
			more(&with)
			if reads := slices.Contains(k.Must, name) || slices.Contains(k.May, name); reads != (with.check() == nil) {
				t.Errorf("%s and the field %s: %v", k.Kind, name, with.check())
			}
		}
		if len(k.Must) > 0 && (&Fault{Kind: k.Kind}).check() == nil {
			t.Errorf("%s is taken without %v", k.Kind, k.Must)
		}
		for _, form := range k.Forms {
			f.Form = form
			if err := f.check(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestRulesThatRefuseSomeSubmits(t *testing.T) {
	to := func(number string) func(*wire.Message) {
		return func(m *wire.Message) { m.RegisteredDelivery, m.Dest.Addr = 0, number }
	}
	t.Run("every third", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultEvery, N: 3, Status: 0x14})
		if got := c.submits(6, noReceipt); !slices.Equal(got, []wire.Status{0, 0, 0x14, 0, 0, 0x14}) {
			t.Error(got)
		}
	})
	t.Run("throttle lets the burst through", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultThrottle, Rate: 1e-9, Burst: 2})
		if got := c.submits(4, noReceipt); !slices.Equal(got, []wire.Status{0, 0, 0x58, 0x58}) {
			t.Error(got)
		}
	})
	t.Run("throttle of each number", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultThrottleDest, Rate: 1e-9})
		got := slices.Concat(c.submits(2, to("998900000001")), c.submits(2, to("998900000002")))
		if !slices.Equal(got, []wire.Status{0, 0x14, 0, 0x14}) {
			t.Error(got)
		}
	})
	t.Run("window", func(t *testing.T) {
		s, c := faulty(t, Fault{Kind: FaultWindow, N: 2}, Fault{Kind: FaultNoAnswer, Count: 2})
		c.write(submit(1, noReceipt))
		c.write(submit(2, noReceipt))
		if got := c.submits(1, noReceipt); got[0] != 0x58 {
			t.Error(got)
		}
		s.Lift(FaultWindow)
		if got := c.submits(1, noReceipt); got[0] != 0 {
			t.Errorf("lifted: %s", got[0])
		}
	})
	t.Run("generic_nack", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultNack, Count: 1})
		c.write(submit(8, noReceipt))
		if f := c.read(); f.Command != wire.GenericNack || f.Status != 3 || f.Sequence != 8 {
			t.Errorf("%+v", f)
		}
	})
}

func TestTheBucketFillsWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(Fault{Rate: 2, Burst: 3}, time.Now())
		taken := func() (n int) {
			for b.take(time.Now()) {
				n++
			}
			return n
		}
		first := taken()
		time.Sleep(time.Second)
		second := taken()
		time.Sleep(time.Hour)
		if third := taken(); first != 3 || second != 2 || third != 3 {
			t.Error(first, second, third)
		}
	})
}

func TestAFaultEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s script
		s.add(Fault{Kind: FaultStatus, Status: 0x58, For: time.Minute}, time.Now())
		if _, ok := s.use(FaultStatus, "", time.Now()); !ok || len(s.inForce(time.Now())) != 1 {
			t.Error("not in force")
		}
		time.Sleep(time.Minute)
		if _, ok := s.use(FaultStatus, "", time.Now()); ok || len(s.inForce(time.Now())) != 0 {
			t.Error("still in force")
		}
	})
}

func TestBindsAreLimited(t *testing.T) {
	s, _ := faulty(t, Fault{Kind: FaultMaxBinds, N: 2})
	second := bound(t, s)
	if st := dial(t, s).bind(wire.BindTransceiver, "pw"); st != wire.StatusBindFailed {
		t.Errorf("third: %s", st)
	}
	second.write(wire.AppendHeader(nil, wire.Unbind, 0, 9))
	second.read()
	_, _ = second.br.ReadByte() // the end of the connection
	_ = bound(t, s)
}

func TestAConnectionThatDoesNotBindIsClosed(t *testing.T) {
	s := start(t, Config{})
	set(t, s, Fault{Kind: FaultSessionInit, Delay: 20 * time.Millisecond})
	c := bound(t, s) // its time is over before the other's
	idle := dial(t, s)
	if _, err := wire.Read(idle.br); !errors.Is(err, io.EOF) {
		t.Errorf("not closed: %v", err)
	}
	if got := c.submits(1, noReceipt); got[0] != 0 {
		t.Errorf("a bind: %s", got[0])
	}
}

func TestAStalledOperatorReadsEverythingLater(t *testing.T) {
	s, c := faulty(t)
	set(t, s, Fault{Kind: FaultStall, For: time.Hour})
	c.write(submit(1, noReceipt))
	other := bound(t, s) // what connects later is served
	if got := other.submits(1, noReceipt); got[0] != 0 || s.Count() != 1 {
		t.Fatalf("read while stalled: %d, %s", s.Count(), got[0])
	}
	s.Lift(FaultStall)
	if f := c.read(); f.Sequence != 1 || f.Status != 0 {
		t.Errorf("%+v", f)
	}
	set(t, s, Fault{Kind: FaultStall, For: time.Millisecond})
	if got := c.submits(1, noReceipt); got[0] != 0 {
		t.Errorf("the time is over: %s", got[0])
	}
}

func TestAHalfOpenConnectionIsNeverServedAgain(t *testing.T) {
	s, c := faulty(t)
	c.write(submit(1, nil))
	c.read()
	first := c.read() // its receipt, unacknowledged
	set(t, s, Fault{Kind: FaultHalfOpen})
	c.write(submit(2, noReceipt))
	c.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 3))
	s.Lift(FaultStall) // ends a stall, and this is none
	other := bound(t, s)
	if f := other.read(); !bytes.Equal(f.Body(), first.Body()) {
		t.Errorf("the receipt does not come on another bind: %+v", f)
	}
	if got := other.submits(1, noReceipt); got[0] != 0 || s.Count() != 2 || s.Bound() != 1 {
		t.Errorf("%d submits, %d bound", s.Count(), s.Bound())
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if f, err := wire.Read(c.br); err == nil {
		t.Errorf("written: %+v", f)
	}
}

// writes is a connection that remembers how its bytes came.
type writes struct {
	client *client
	sizes  []int
}

func (w *writes) Read(p []byte) (int, error) {
	n, err := w.client.conn.Read(p)
	w.sizes = append(w.sizes, n)
	return n, err
}

func TestEverythingIsWrittenOneByteAtATime(t *testing.T) {
	_, c := faulty(t, Fault{Kind: FaultByteWrites, Delay: time.Millisecond})
	c.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 5))
	w := &writes{client: c}
	if f, err := wire.Read(w); err != nil || f.Sequence != 5 || len(w.sizes) < 8 {
		t.Errorf("%+v, %v in reads of %v", f, err, w.sizes)
	}
}

func TestPDUsAreMergedIntoOneWrite(t *testing.T) {
	s, c := faulty(t)
	set(t, s, Fault{Kind: FaultMerge, N: 3, Delay: time.Hour})
	c.write(bytes.Join([][]byte{submit(1, noReceipt), submit(2, noReceipt)}, nil))
	if err := s.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	c.write(submit(3, noReceipt))
	all := make([]byte, 1<<10)
	n, err := c.conn.Read(all)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(all[:n])
	for i := range 3 {
		if f, err := wire.Read(r); err != nil || f.Sequence != uint32(i+1) {
			t.Fatalf("%d of one write: %v", i, err)
		}
	}
	set(t, s, Fault{Kind: FaultMerge, N: 99}) // the first is still in force
	s.Lift(FaultMerge)
	set(t, s, Fault{Kind: FaultMerge, N: 99, Delay: time.Millisecond})
	if got := c.submits(1, noReceipt); got[0] != 0 {
		t.Error("the time is over")
	}
}

func TestMalformedPDUs(t *testing.T) {
	var m wire.Message
	for form, wrong := range map[string]func(f wire.Frame, err error) bool{
		malformedSMLength: func(f wire.Frame, err error) bool {
			return f.Command == wire.DeliverSM && wire.DecodeMessage(f, &m) != nil
		},
		malformedShort:   func(_ wire.Frame, err error) bool { return errors.Is(err, wire.ErrLength) },
		malformedHuge:    func(_ wire.Frame, err error) bool { return errors.Is(err, wire.ErrLength) },
		malformedUnknown: func(f wire.Frame, err error) bool { return f.Command == 0x777 },
		malformedAnswer:  func(f wire.Frame, err error) bool { return f.Command == wire.SubmitSM.Response() },
		malformedNack:    func(f wire.Frame, err error) bool { return f.Command == wire.GenericNack && f.Sequence == 0 },
		malformedCut: func(f wire.Frame, err error) bool {
			return f.Command == wire.DeliverSM && wire.DecodeMessage(f, &m) != nil
		},
		malformedEmpty: func(f wire.Frame, err error) bool { return f.Command == wire.DeliverSM && len(f.Body()) == 0 },
		malformedTLV: func(f wire.Frame, err error) bool {
			return f.Command == wire.DeliverSM && wire.DecodeMessage(f, &m) != nil
		},
	} {
		t.Run(form, func(t *testing.T) {
			s, c := faulty(t)
			set(t, s, Fault{Kind: FaultMalformed, Form: form})
			if f, err := wire.Read(c.br); !wrong(f, err) {
				t.Errorf("%+v %v", f, err)
			}
		})
	}
	if len(malformedForms()) != 9 {
		t.Error("a form without a test")
	}
}

func TestWhatAnOperatorSendsUnasked(t *testing.T) {
	s, c := faulty(t)
	set(t, s, Fault{Kind: FaultGarbage, Bytes: []byte("\x00\x00\x00\x10rest")})
	got := make([]byte, 8)
	if _, err := io.ReadFull(c.br, got); err != nil || string(got) != "\x00\x00\x00\x10rest" {
		t.Errorf("garbage: %q %v", got, err)
	}
	set(t, s, Fault{Kind: FaultEnquireLink})
	if f := c.read(); f.Command != wire.EnquireLink {
		t.Errorf("%+v", f)
	}
	set(t, s, Fault{Kind: FaultAlert, To: "998907777777"})
	if f := c.read(); f.Command != wire.AlertNotification || !bytes.HasPrefix(f.Body(), []byte("\x01\x01998907777777\x00")) {
		t.Errorf("%+v", f)
	}
	set(t, s, Fault{Kind: FaultUnbindMid, Count: 2})
	c.write(submit(1, noReceipt))
	c.write(submit(2, noReceipt))
	var order []string
	for range 3 {
		order = append(order, c.read().Command.String())
	}
	if strings.Join(order, " ") != "submit_sm_resp unbind submit_sm_resp" {
		t.Error(order)
	}
}

func TestIDsDifferBetweenAnswerAndReceipt(t *testing.T) {
	for _, forms := range [][2]string{
		{idHex, idDecimal}, {idDecimal, idHex}, {idHex, idUpper}, {idZeros, idHex}, {idHex, idDecimalZeros}, {idUpper, ""},
	} {
		s, c := faulty(t, Fault{Kind: FaultIDs, Form: forms[0], ReceiptForm: forms[1]})
		id, receipt, _ := c.receipt()
		number := s.journal.all()[0].number
		in := forms[1]
		if in == "" {
			in = forms[0]
		}
		said := receipt.OptionalText(wire.TagReceiptedMessageID)
		if id != idText(number, forms[0]) || said != idText(number, in) || !bytes.Contains(receipt.Bytes(), []byte("id:"+said+" ")) {
			t.Errorf("%v: answer %q, receipt %q, text %q", forms, id, said, receipt.Bytes())
		}
	}
	const number = 0x18c3f20a000001
	for form, want := range map[string]string{
		idHex: "18c3f20a000001", idUpper: "18C3F20A000001", idDecimal: "6970843758329857",
		idZeros: "00000018c3f20a000001", idDecimalZeros: "00006970843758329857",
	} {
		if got := idText(number, form); got != want {
			t.Errorf("%s: %s, want %s", form, got, want)
		}
	}
}

func TestFormsOfAReceipt(t *testing.T) {
	for form, right := range map[string]func(id string, m wire.Message, f wire.Frame) bool{
		receiptTLV: func(id string, m wire.Message, _ wire.Frame) bool {
			return len(m.ShortMessage) == 0 && m.OptionalText(wire.TagReceiptedMessageID) == id
		},
		receiptText: func(id string, m wire.Message, _ wire.Frame) bool {
			return len(m.TLV) == 0 && strings.HasPrefix(string(m.ShortMessage), "id:"+id+" sub:001 dlvrd:001 submit date:")
		},
		receiptCompact: func(id string, m wire.Message, _ wire.Frame) bool {
			return len(m.TLV) == 0 && strings.Contains(string(m.ShortMessage), " donedate:") && strings.HasSuffix(string(m.ShortMessage), "Text:Kod 1234")
		},
		receiptCSV: func(id string, m wire.Message, _ wire.Frame) bool {
			return len(m.TLV) == 0 && strings.HasSuffix(string(m.ShortMessage), ","+id+",998901234567,000")
		},
		receiptUnparseable: func(id string, m wire.Message, _ wire.Frame) bool {
			return len(m.TLV) == 0 && !strings.Contains(string(m.ShortMessage), id)
		},
		receiptDataSM: func(id string, m wire.Message, f wire.Frame) bool {
			return f.Command == wire.DataSM && m.ESMClass == 4 && m.OptionalText(wire.TagReceiptedMessageID) == id
		},
	} {
		t.Run(form, func(t *testing.T) {
			s, c := faulty(t, Fault{Kind: FaultReceiptForm, Form: form})
			events, cancel := s.Subscribe()
			defer cancel()
			id, m, f := c.receipt()
			if !right(id, m, f) || m.Dest.Addr != "MobileID" || m.Source.Addr != "998901234567" {
				t.Errorf("%s %+v %q", f.Command, m, m.ShortMessage)
			}
			c.write(ack(f, 0))
			for e := range events {
				if e.Kind == EventReceiptAck {
					break
				}
			}
		})
	}
	if len(receiptForms()) != 6 {
		t.Error("a form without a test")
	}
}

func TestReceiptsComeInDisorder(t *testing.T) {
	t.Run("unknown id", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultReceiptUnknown})
		id, m, _ := c.receipt()
		if said := m.OptionalText(wire.TagReceiptedMessageID); said == id || said == "" {
			t.Error(said)
		}
	})
	t.Run("reference repeated", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultReceiptReference})
		_, m, _ := c.receipt()
		if v, _ := m.Optional(wire.TagUserMessageReference); !bytes.Equal(v, []byte{7, 9}) {
			t.Errorf("%x", v)
		}
	})
	t.Run("dated two days ago", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultReceiptDate, Delay: 48 * time.Hour})
		_, m, _ := c.receipt()
		said, _, _ := strings.Cut(strings.SplitAfter(string(m.Bytes()), "done date:")[1], " ")
		done, err := time.ParseInLocation("0601021504", said, time.Local)
		if age := time.Since(done); err != nil || age < 47*time.Hour || age > 49*time.Hour {
			t.Errorf("done at %s: %v", said, err)
		}
	})
	t.Run("repeated", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultReceiptRepeat, N: 3})
		_, _, first := c.receipt()
		for range 2 {
			if again := c.read(); !bytes.Equal(again.Body(), first.Body()) || again.Sequence == first.Sequence {
				t.Errorf("%+v", again)
			}
		}
	})
	t.Run("late", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultReceiptLate, Delay: 50 * time.Millisecond, Count: 1})
		c.write(submit(1, nil))
		c.write(submit(2, nil))
		var ids []string
		for len(ids) < 4 {
			f := c.read()
			var m wire.Message
			if f.Command == wire.DeliverSM && wire.DecodeMessage(f, &m) == nil {
				ids = append(ids, m.OptionalText(wire.TagReceiptedMessageID))
				continue
			}
			id, err := wire.MessageID(f)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		// The last is the receipt of the first, and of the other two that are
		// left one is the second's.
		if ids[3] != ids[0] {
			t.Error(ids)
		}
	})
	t.Run("reversed", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultReceiptReverse, N: 3})
		var ids, said []string
		for i := range 3 {
			c.write(submit(uint32(i+1), nil))
			id, err := wire.MessageID(c.read())
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		for range 3 {
			var m wire.Message
			if err := wire.DecodeMessage(c.read(), &m); err != nil {
				t.Fatal(err)
			}
			said = append(said, m.OptionalText(wire.TagReceiptedMessageID))
		}
		slices.Reverse(said)
		if !slices.Equal(ids, said) {
			t.Error(ids, said)
		}
	})
	t.Run("on another bind", func(t *testing.T) {
		s, c := faulty(t, Fault{Kind: FaultReceiptOtherBind})
		other := bound(t, s)
		c.write(submit(1, nil))
		c.read()
		if f := other.read(); f.Command != wire.DeliverSM {
			t.Errorf("%+v", f)
		}
	})
	t.Run("one unacknowledged at most", func(t *testing.T) {
		_, c := faulty(t, Fault{Kind: FaultReceiptWindow, N: 1})
		for i := range 3 {
			c.write(submit(uint32(i+1), nil))
		}
		var receipts []wire.Frame
		for range 4 { // three answers and one receipt, in any order
			if f := c.read(); f.Command == wire.DeliverSM {
				receipts = append(receipts, f)
			}
		}
		if len(receipts) != 1 {
			t.Fatalf("%d receipts at once", len(receipts))
		}
		// Behind the answer to enquire_link there would be another, were there one.
		c.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 50))
		if f := c.read(); f.Command != wire.EnquireLink.Response() {
			t.Errorf("%+v", f)
		}
		for i := range 2 {
			c.write(ack(receipts[i], 0))
			receipts = append(receipts, c.read())
		}
	})
}

func TestAMessageFromAHandsetComesUntilItIsAcknowledged(t *testing.T) {
	s := start(t, Config{})
	for _, text := range []string{"STOP", "Тўхта", strings.Repeat("ў", 200)} {
		if err := s.SendInbound(Inbound{From: "998901234567", To: "1234", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	events, cancel := s.Subscribe()
	defer cancel()
	c := bound(t, s) // they have waited for it
	var got []string
	var first wire.Frame
	for range 3 {
		f := c.read()
		var m wire.Message
		if err := wire.DecodeMessage(f, &m); err != nil || m.ESMClass != 0 || m.Source.Addr != "998901234567" || m.Dest.Addr != "1234" {
			t.Fatalf("%+v %v", m, err)
		}
		text := string(m.Bytes())
		if m.DataCoding == 8 {
			text = string(pdutext.UCS2(m.Bytes()).Decode())
		}
		if got = append(got, text); len(got) == 1 {
			first = f
		}
	}
	if got[0] != "STOP" || got[1] != "Тўхта" || len(got[2]) != 400 {
		t.Errorf("%q", got)
	}
	c.write(ack(first, wire.StatusTemporary))
	again := c.read()
	if !bytes.Equal(again.Body(), first.Body()) {
		t.Errorf("%+v", again)
	}
	c.write(ack(again, 0))
	for e := range events {
		if e.Kind == EventInboundAck && e.Inbound.AckStatus == 0 {
			if e.Inbound.Try != 2 {
				t.Errorf("try %d", e.Inbound.Try)
			}
			break
		}
	}
	for _, bad := range []Inbound{{From: "1"}, {To: "1"}, {Account: "none", From: "1", To: "2"}, {From: strings.Repeat("9", 30), To: "2"}} {
		if s.SendInbound(bad) == nil {
			t.Errorf("taken: %+v", bad)
		}
	}
}

func TestTheLogShowsWhatAPersonReads(t *testing.T) {
	part := func(how string, i, n int, text string) func(*wire.Message) {
		return func(m *wire.Message) {
			m.RegisteredDelivery, m.ShortMessage = 0, []byte(text)
			switch how {
			case "udh8":
				m.ESMClass, m.ShortMessage = 0x40, append([]byte{5, 0, 3, 77, byte(n), byte(i)}, text...)
			case "udh16":
				m.ESMClass, m.ShortMessage = 0x40, append([]byte{6, 8, 4, 1, 2, byte(n), byte(i)}, text...)
			case "sar":
				m.TLV = []wire.TLV{
					{Tag: wire.TagSARMsgRefNum, Value: []byte{3, 4}},
					{Tag: wire.TagSARTotalSegments, Value: []byte{byte(n)}},
					{Tag: wire.TagSARSegmentSeqnum, Value: []byte{byte(i)}},
				}
			case "message_payload":
				m.ShortMessage, m.TLV = nil, []wire.TLV{{Tag: wire.TagMessagePayload, Value: []byte(text)}}
			}
		}
	}
	for _, how := range []string{"udh8", "udh16", "sar"} {
		s, c := faulty(t)
		for _, p := range []struct {
			n    int
			text string
		}{{3, " of "}, {1, "one"}, {2, " two"}} {
			c.write(submit(uint32(p.n), part(how, p.n, 3, p.text)))
			c.read()
		}
		got := s.Received()
		if got[0].Whole != "" || got[1].Whole != "" || got[2].Whole != "one two of " || got[2].Text != " two" || got[2].Part != 2 {
			t.Errorf("%s: %+v", how, got)
		}
	}
	s, c := faulty(t, Fault{Kind: FaultEvery, N: 2})
	c.submits(2, part("message_payload", 1, 1, "all of it"))
	if got := s.Received(); got[0].Whole != "all of it" || got[1].Whole != "" {
		t.Errorf("message_payload, and a refused one: %q %q", got[0].Whole, got[1].Whole)
	}
}

func TestAnAccountHasItsOwnCharset(t *testing.T) {
	for charset, want := range map[string]string{"": "é@", CharsetGSM7: "é@", CharsetLatin1: "\x05\x00", CharsetASCII: "\x05\x00"} {
		s := start(t, Config{Charsets: map[string]string{"a": charset}})
		c := bound(t, s)
		c.write(submit(1, func(m *wire.Message) { m.RegisteredDelivery, m.ShortMessage = 0, []byte{5, 0} }))
		c.write(submit(2, func(m *wire.Message) { m.RegisteredDelivery, m.ShortMessage = 0, []byte{'a', 0xE9} }))
		if err := s.Wait(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		got := s.Received()
		second := map[string]string{CharsetLatin1: "aé", CharsetASCII: "a?"}[charset]
		if got[0].Text != want || (second != "" && got[1].Text != second) {
			t.Errorf("%s: %q %q", charset, got[0].Text, got[1].Text)
		}
	}
}

func TestFaultsFromTheStart(t *testing.T) {
	s := start(t, Config{Faults: []Fault{{Kind: FaultStatus, Status: 0x58, Count: 1}}})
	if got := bound(t, s).submits(2, noReceipt); !slices.Equal(got, []wire.Status{0x58, 0}) {
		t.Error(got)
	}
}
