package smpp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	gosmpp "github.com/fiorix/go-smpp/smpp"
	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// The session of go-smpp, whose codec we use, has defects that a paid service
// cannot accept. Each test here plays one script to that session and to ours: the
// first subtest says what theirs does, and failing tells that it was mended.

// quick is a time in which a local peer would long have done what it does.
const quick = 300 * time.Millisecond

// theirs binds a transceiver of go-smpp.
func theirs(t *testing.T, s *stage, tune func(*gosmpp.Transceiver)) *gosmpp.Transceiver {
	t.Helper()
	tr := &gosmpp.Transceiver{Addr: s.addr, User: "mobileid", Passwd: "secret", RespTimeout: 5 * time.Second, BindInterval: 20 * time.Millisecond}
	if tune != nil {
		tune(tr)
	}
	status := tr.Bind()
	t.Cleanup(func() { s.hangUp(); _ = tr.Close() })
	if got := within(t, "bound", status); got.Status() != gosmpp.Connected {
		t.Fatalf("%s: %v", got.Status(), got.Error())
	}
	return tr
}

func theirOTP() *gosmpp.ShortMessage {
	return &gosmpp.ShortMessage{Dst: secretTo, Text: pdutext.Raw(strings.Repeat("x", 37))}
}

// notRacing skips a subtest of go-smpp under the race detector.
func notRacing(t *testing.T) {
	t.Helper()
	if racing {
		t.Skip("the session of go-smpp has data races: its half is NOT run under the race detector")
	}
}

type theirAnswer struct {
	id  string
	err error
}

func theirSubmit(tr *gosmpp.Transceiver, m *gosmpp.ShortMessage) <-chan theirAnswer {
	done := make(chan theirAnswer, 1)
	go func() {
		sm, err := tr.Submit(m)
		a := theirAnswer{err: err}
		if sm != nil {
			a.id = sm.RespID()
		}
		done <- a
	}()
	return done
}

func TestDefect1APeerThatStopsReading(t *testing.T) {
	const messages, payload = 200, 60_000
	script := func(o *actor) { o.bound() } // and reads no more
	t.Run("go-smpp waits for ever, in Submit and in Close", func(t *testing.T) {
		notRacing(t)
		s := play(t, script)
		tr := theirs(t, s, func(tr *gosmpp.Transceiver) { tr.RespTimeout = quick })
		returned := make(chan error, messages)
		for range messages {
			m := theirOTP()
			m.TLVFields = pdutlv.Fields{pdutlv.TagMessagePayload: make([]byte, payload)}
			go func() { _, err := tr.Submit(m); returned <- err }()
		}
		closed := make(chan struct{})
		time.AfterFunc(3*quick, func() { _ = tr.Close(); close(closed) })
		select {
		case <-closed:
			t.Error("Close returned")
		case <-time.After(8 * quick):
		}
		if n := len(returned); n >= messages {
			t.Errorf("%d of %d returned", n, messages)
		}
		s.hangUp()
		<-closed
		for range messages {
			<-returned
		}
	})
	t.Run("ours ends the link and tells every fate", func(t *testing.T) {
		s := play(t, script)
		o := s.bindTo(t, func(c *sessionConfig) { c.writeTimeout = quick }, nil)
		m := wire.Message{Command: wire.SubmitSM, TLV: []wire.TLV{{Tag: wire.TagMessagePayload, Value: make([]byte, payload)}}}
		var fates []<-chan answer
		for range messages {
			raw, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			fates = append(fates, o.send(t, raw))
		}
		if err := within(t, "the end", o.ended); !errors.Is(err, errHalfOpen) {
			t.Errorf("ended with %v", err)
		}
		told := map[fate]int{}
		for _, f := range fates {
			told[within(t, "a fate", f).fate]++
		}
		if told[lost] == 0 || told[notWritten] == 0 || told[lost]+told[notWritten] != messages {
			t.Errorf("fates %v", told)
		}
	})
}

func TestDefect2ABindThatIsNeverAnswered(t *testing.T) {
	script := func(o *actor) { _, _ = wire.Read(o) }
	t.Run("go-smpp waits for ever", func(t *testing.T) {
		notRacing(t)
		s := play(t, script)
		tr := &gosmpp.Transceiver{Addr: s.addr, RespTimeout: quick / 10}
		status := tr.Bind()
		select {
		case got := <-status:
			t.Errorf("%s: %v", got.Status(), got.Error())
		case <-time.After(4 * quick):
		}
		s.hangUp()
		_ = tr.Close()
	})
	t.Run("ours gives up", func(t *testing.T) {
		s := play(t, script)
		b := NewBridge(Config{Profile: testProfile(s.addr, 10)}, Deps{Store: newStore()})
		b.cfg.Profile.Timers.Bind = quick
		began := time.Now()
		if _, err := b.links[0].connect(t.Context(), s.addr); err == nil || time.Since(began) > 3*quick {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestDefect3ARequestOfTheOperatorWithTheNumberOfOneOfOurs(t *testing.T) {
	script := func(o *actor) {
		if !o.bound() {
			return
		}
		f, err := wire.Read(o)
		if err != nil {
			return
		}
		o.send(mo([]byte("salom"), nil), f.Sequence)
		o.send(wire.AppendCString(nil, f.Command.Response(), 0, 0, "id"), f.Sequence)
		o.serve()
	}
	t.Run("go-smpp takes it for the answer, and loses it", func(t *testing.T) {
		notRacing(t)
		s := play(t, script)
		handled := make(chan pdu.ID, 10)
		tr := theirs(t, s, func(tr *gosmpp.Transceiver) { tr.Handler = func(p pdu.Body) { handled <- p.Header().ID } })
		if a := within(t, "Submit", theirSubmit(tr, theirOTP())); a.err == nil || !strings.Contains(a.err.Error(), "unexpected PDU ID") {
			t.Errorf("%+v", a)
		}
		s.hears(t, "deliver_sm_resp") // acknowledged, and yet:
		for len(handled) > 0 {
			if id := <-handled; id == pdu.DeliverSMID {
				t.Error("the handler has it")
			}
		}
	})
	t.Run("ours keeps the numbers of both sides apart", func(t *testing.T) {
		s := play(t, script)
		o := s.bindTo(t, nil, nil)
		if a := within(t, "an answer", o.send(t, otp())); a.fate != answered || messageID(a.frame) != "id" {
			t.Errorf("%+v", a)
		}
		if f := within(t, "deliver_sm", o.delivered); f.Command != wire.DeliverSM {
			t.Errorf("%s", f.Command)
		}
	})
}

// Defects 4 to 6: one PDU that go-smpp cannot read costs the bind, and comes
// again on the next one.
func TestDefects4To6APDUThatCannotBeRead(t *testing.T) {
	wrong := mo([]byte("salom"), func(m *wire.Message) {
		m.ESMClass, m.TLV = 4, []wire.TLV{{Tag: wire.TagUserMessageReference, Value: []byte{0, 1}}}
	})
	wrong[len(wrong)-12] = 200 // sm_length; the text and the parameter behind it are 11 octets
	if wrong[len(wrong)-11] != 's' {
		t.Fatal("that is not sm_length")
	}
	body := func(c wire.Command, body string) []byte {
		raw := append(wire.AppendHeader(nil, c, 0, 0), body...)
		raw[3] = byte(len(raw))
		return raw
	}
	for name, row := range map[string]struct {
		raw   []byte
		reply string
	}{
		"4 wrong sm_length":    {wrong, "deliver_sm_resp"},
		"5 data_sm":            {body(wire.DataSM, "\x00\x01\x01998901234567\x00\x00\x00\x00\x00\x00\x00"), "data_sm_resp"},
		"5 alert_notification": {body(wire.AlertNotification, "\x01\x01998901234567\x00\x01\x01MobileID\x00"), ""},
		"5 outbind":            {body(wire.Outbind, "operator\x00secret\x00"), ""},
		"6 5000 octets of message_payload": {mo(nil, func(m *wire.Message) {
			m.TLV = []wire.TLV{{Tag: wire.TagMessagePayload, Value: bytes.Repeat([]byte("x"), 5000)}}
		}), "deliver_sm_resp"},
	} {
		script := func(o *actor) {
			if !o.bound() {
				return
			}
			o.send(bytes.Clone(row.raw), 7)
			o.send(wire.AppendHeader(nil, wire.EnquireLink, 0, 0), 8)
			o.serve()
		}
		t.Run(name+"/go-smpp drops the bind, again and again", func(t *testing.T) {
			notRacing(t)
			s := play(t, func(o *actor) { script(o); o.tell("dropped") })
			theirs(t, s, func(tr *gosmpp.Transceiver) { tr.Handler = func(pdu.Body) {} })
			for range 3 {
				s.hears(t, "dropped")
			}
		})
		t.Run(name+"/ours stays bound", func(t *testing.T) {
			s := play(t, script)
			r := assemble(t, Config{Profile: testProfile(s.addr, 10)})
			r.start()
			seen := map[string]bool{}
			for !seen["enquire_link_resp"] || row.reply != "" && !seen[row.reply] {
				seen[within(t, "an answer", s.events)] = true
			}
			if n := s.connections(); n != 1 || seen["dropped"] || seen["generic_nack"] {
				t.Errorf("%d connections, %v", n, seen)
			}
			r.store.mu.Lock()
			defer r.store.mu.Unlock()
			if len(r.store.receipts) != 0 {
				t.Errorf("stored as receipts: %d", len(r.store.receipts))
			}
		})
	}
}

func TestDefect7TheOperatorUnbinds(t *testing.T) {
	t.Run("go-smpp does not answer", func(t *testing.T) {
		notRacing(t)
		s := play(t, func(o *actor) {
			if o.bound() {
				o.send(wire.AppendHeader(nil, wire.Unbind, 0, 0), 7)
				o.send(wire.AppendHeader(nil, wire.EnquireLink, 0, 0), 8)
				o.serve()
			}
		})
		theirs(t, s, nil)
		s.hears(t, "enquire_link_resp") // what came later is answered first
		select {
		case got := <-s.events:
			t.Errorf("then %s", got)
		case <-time.After(quick):
		}
	})
	t.Run("ours does", func(t *testing.T) {
		s := play(t, func(o *actor) {
			if o.bound() {
				o.send(wire.AppendHeader(nil, wire.Unbind, 0, 0), 7)
				o.serve()
			}
		})
		o := s.bindTo(t, nil, nil)
		s.hears(t, "unbind_resp")
		if err := within(t, "the end", o.ended); !errors.Is(err, errUnbound) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestDefect8ATextThatIsTooLong(t *testing.T) {
	text := strings.Repeat("0123456789", 30)
	received := make(chan wire.Frame, 10)
	script := func(o *actor) {
		if !o.bound() {
			return
		}
		o.received = received
		o.serve()
	}
	t.Run("go-smpp writes a corrupt PDU without an error", func(t *testing.T) {
		notRacing(t)
		s := play(t, script)
		m := theirOTP()
		m.Text = pdutext.Raw(text)
		if a := within(t, "Submit", theirSubmit(theirs(t, s, nil), m)); a.err != nil {
			t.Errorf("%+v", a)
		}
		var got wire.Message
		if err := wire.DecodeMessage(within(t, "submit_sm", received), &got); err == nil {
			t.Errorf("it can be read, with %d octets of text", len(got.ShortMessage))
		}
	})
	t.Run("ours writes it in parts", func(t *testing.T) {
		s := play(t, script)
		r := assemble(t, Config{Profile: testProfile(s.addr, 10)})
		r.start()
		id := r.message(mobileid.LaneBulk, func(x *row) {
			plain, _ := json.Marshal(mobileid.SealedText{To: secretTo, Text: text})
			x.admission.Sealed, _ = r.sealer.Seal(x.admission.ID[:], plain)
		})
		r.mustTake(mobileid.LaneBulk, id)
		whole := ""
		for range 2 {
			var part wire.Message
			if err := wire.DecodeMessage(within(t, "submit_sm", received), &part); err != nil {
				t.Fatal(err)
			}
			if part.ESMClass != wire.ESMClassUDHI || len(part.ShortMessage) < 7 {
				t.Fatalf("part %+v", part)
			}
			whole += string(part.ShortMessage[7:])
		}
		if whole != text {
			t.Errorf("the parts say %q", whole)
		}
		r.until(id, mobileid.MessageSent)
	})
}

func TestDefect9SubmittingFromTheHandler(t *testing.T) {
	script := func(o *actor) {
		if o.bound() {
			o.send(mo([]byte("STOP"), nil), 7)
			o.serve()
		}
	}
	t.Run("go-smpp waits for an answer that it does not read", func(t *testing.T) {
		notRacing(t)
		s := play(t, script)
		result := make(chan error, 1)
		ready := make(chan *gosmpp.Transceiver, 1)
		tr := theirs(t, s, func(tr *gosmpp.Transceiver) {
			tr.RespTimeout = quick
			tr.Handler = func(p pdu.Body) {
				if p.Header().ID == pdu.DeliverSMID {
					_, err := (<-ready).Submit(theirOTP())
					result <- err
				}
			}
		})
		ready <- tr
		s.hears(t, "submit_sm") // and accepted at once
		if err := within(t, "Submit", result); !errors.Is(err, gosmpp.ErrTimeout) {
			t.Errorf("%v", err)
		}
	})
	t.Run("ours tells the answer", func(t *testing.T) {
		s := play(t, script)
		fate := make(chan answer, 1)
		s.bindTo(t, nil, func(s *session, _ wire.Frame) {
			if s.reserve(1) {
				s.submit(&request{raw: otp(), command: wire.SubmitSM, done: func(a answer) { fate <- a }})
			}
		})
		if a := within(t, "an answer", fate); a.fate != answered || messageID(a.frame) != "id" {
			t.Errorf("%+v", a)
		}
	})
}

// turnstile lets one through each time something is put into it.
type turnstile chan struct{}

func (w turnstile) Wait(context.Context) error { <-w; return nil }

func TestDefect10APacedSenderAndReceipts(t *testing.T) {
	receipts := func(o *actor) {
		for seq := range uint32(5) {
			o.send(mo([]byte("id:1 stat:DELIVRD"), func(m *wire.Message) { m.ESMClass = 4 }), seq+1)
		}
	}
	t.Run("go-smpp takes the acknowledgements for messages", func(t *testing.T) {
		notRacing(t)
		s := play(t, func(o *actor) {
			if o.bound() {
				receipts(o)
				o.serve()
			}
		})
		pace := make(turnstile)
		theirs(t, s, func(tr *gosmpp.Transceiver) { tr.RateLimiter = pace })
		select {
		case got := <-s.events:
			t.Errorf("%s without the pace allowing it", got)
		case <-time.After(quick):
		}
		for range 5 {
			pace <- struct{}{}
			s.hears(t, "deliver_sm_resp")
		}
		close(pace)
	})
	t.Run("ours acknowledges while messages wait", func(t *testing.T) {
		s := play(t, func(o *actor) {
			if !o.bound() {
				return
			}
			if _, err := wire.Read(o); err != nil { // a submit_sm that fills the window
				return
			}
			receipts(o)
			o.serve()
		})
		o := s.bindTo(t, func(c *sessionConfig) { c.window = 1 }, nil)
		fate := o.send(t, otp())
		for range 5 {
			s.hears(t, "deliver_sm_resp")
		}
		if len(fate) != 0 || o.reserve(1) {
			t.Error("the window was not full")
		}
	})
}

// moPart is a part of a text from a handset.
func moPart(udh ...byte) []byte {
	return mo(append(append([]byte{byte(len(udh))}, udh...), "salom"...), func(m *wire.Message) { m.ESMClass = wire.ESMClassUDHI })
}

// mergePanic names, for a child of the test, which parts to receive.
const mergePanic = "MOBILEID_TEST_MERGE_PANIC"

func TestDefect11PartsThatDoNotFit(t *testing.T) {
	for name, parts := range map[string][][]byte{
		"number 0":   {moPart(0, 3, 9, 1, 0)},
		"one, twice": {moPart(0, 3, 9, 2, 1), moPart(0, 3, 9, 2, 1)},
	} {
		script := func(o *actor) {
			if o.bound() {
				for i, raw := range parts {
					o.send(bytes.Clone(raw), uint32(i+1))
				}
				o.serve()
			}
		}
		if os.Getenv(mergePanic) == name {
			s := play(t, script)
			r := &gosmpp.Receiver{Addr: s.addr, MergeInterval: time.Minute, Handler: func(pdu.Body) {}}
			r.Bind()
			time.Sleep(5 * time.Second) // it does not live that long
			return
		}
		t.Run(name+"/go-smpp takes the process down", func(t *testing.T) {
			notRacing(t)
			child := exec.Command(os.Args[0], "-test.run=^TestDefect11PartsThatDoNotFit$")
			child.Env = append(os.Environ(), mergePanic+"="+name)
			out, err := child.CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte("panic:")) || !bytes.Contains(out, []byte("handlePDU")) {
				t.Errorf("%v: %s", err, out)
			}
		})
		t.Run(name+"/ours hands on each part as it is", func(t *testing.T) {
			o := play(t, script).bindTo(t, nil, nil)
			for range parts {
				if f := within(t, "a part", o.delivered); f.Command != wire.DeliverSM {
					t.Errorf("%s", f.Command)
				}
			}
		})
	}
}

func TestDefect12PartsWith16BitReferences(t *testing.T) {
	script := func(o *actor) {
		if o.bound() {
			o.send(moPart(8, 4, 1, 2, 2, 1), 1)
			o.send(moPart(8, 4, 1, 2, 2, 2), 2)
			o.serve()
		}
	}
	t.Run("go-smpp acknowledges and drops them", func(t *testing.T) {
		notRacing(t)
		s := play(t, script)
		handled := make(chan pdu.Body, 10)
		r := &gosmpp.Receiver{Addr: s.addr, MergeInterval: time.Minute, Handler: func(p pdu.Body) { handled <- p }}
		within(t, "bound", r.Bind())
		t.Cleanup(func() { s.hangUp(); _ = r.Close() })
		s.hears(t, "deliver_sm_resp")
		s.hears(t, "deliver_sm_resp")
		select {
		case p := <-handled:
			t.Errorf("the handler has %v", p.Fields()[pdufield.ShortMessage])
		case <-time.After(quick):
		}
	})
	t.Run("ours hands on each part as it is", func(t *testing.T) {
		s := play(t, script)
		o := s.bindTo(t, nil, nil)
		for n := range byte(2) {
			var m wire.Message
			if err := wire.DecodeMessage(within(t, "a part", o.delivered), &m); err != nil || m.ShortMessage[6] != n+1 {
				t.Errorf("part %d: %+v, %v", n+1, m, err)
			}
			s.hears(t, "deliver_sm_resp")
		}
	})
}

func TestDefect13AnAnswerThatComesLate(t *testing.T) {
	script := func(o *actor) {
		if !o.bound() {
			return
		}
		f, err := wire.Read(o)
		if err != nil {
			return
		}
		time.Sleep(quick)
		o.send(wire.AppendCString(nil, f.Command.Response(), 0, 0, "id"), f.Sequence)
		o.serve()
	}
	t.Run("go-smpp says failed and gives the answer to the handler", func(t *testing.T) {
		notRacing(t)
		handled := make(chan pdu.ID, 10)
		tr := theirs(t, play(t, script), func(tr *gosmpp.Transceiver) {
			tr.RespTimeout = quick / 3
			tr.Handler = func(p pdu.Body) { handled <- p.Header().ID }
		})
		if a := within(t, "Submit", theirSubmit(tr, theirOTP())); !errors.Is(a.err, gosmpp.ErrTimeout) {
			t.Errorf("%+v", a)
		}
		if id := within(t, "the answer", handled); id != pdu.SubmitSMRespID {
			t.Errorf("%s", id)
		}
	})
	t.Run("ours says unknown and tells the request", func(t *testing.T) {
		o := play(t, script).bindTo(t, func(c *sessionConfig) { c.response = quick / 3 }, nil)
		fate := o.send(t, otp())
		if a := within(t, "a fate", fate); a.fate != timedOut || a.sequence == 0 {
			t.Errorf("%+v", a)
		}
		if a := within(t, "the late answer", fate); a.fate != answered || messageID(a.frame) != "id" {
			t.Errorf("%+v", a)
		}
	})
}
