package smpp

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/smpp/wire"
)

// bodied is a PDU with a body, right or not.
func bodied(c wire.Command, body string) []byte {
	raw := append(wire.AppendHeader(nil, c, 0, 0), body...)
	binary.BigEndian.PutUint32(raw, uint32(len(raw)))
	return raw
}

// What an operator may send and how it is answered; whatever it is, the bind
// stays, and a submit_sm behind it goes through.
func TestWhatTheOperatorSendsIsAnsweredAndTheBindStays(t *testing.T) {
	longest := mo(nil, func(m *wire.Message) {
		m.TLV = []wire.TLV{{Tag: wire.TagMessagePayload, Value: make([]byte, 0xFFFF)}}
	})
	lied := mo([]byte("salom"), nil)
	lied[len(lied)-6] = 200 // sm_length
	for name, row := range map[string]struct {
		raw      []byte
		reply    wire.Command // 0: none
		status   wire.Status
		oddities []string
		handed   bool // to the handler
	}{
		"enquire_link":                            {raw: bodied(wire.EnquireLink, ""), reply: wire.EnquireLink.Response()},
		"enquire_link with a body":                {raw: bodied(wire.EnquireLink, "??"), reply: wire.EnquireLink.Response()},
		"deliver_sm":                              {raw: mo([]byte("salom"), nil), reply: wire.DeliverSM.Response(), handed: true},
		"deliver_sm with a wrong sm_length":       {raw: lied, reply: wire.DeliverSM.Response(), handed: true},
		"deliver_sm without a body":               {raw: bodied(wire.DeliverSM, ""), reply: wire.DeliverSM.Response(), handed: true},
		"deliver_sm with the longest text":        {raw: longest, reply: wire.DeliverSM.Response(), handed: true},
		"data_sm":                                 {raw: bodied(wire.DataSM, "\x00\x01\x01998\x00\x01\x01M\x00\x00\x00\x00"), reply: wire.DataSM.Response(), handed: true},
		"data_sm that ends early":                 {raw: bodied(wire.DataSM, "\x00"), reply: wire.DataSM.Response(), handed: true},
		"alert_notification":                      {raw: bodied(wire.AlertNotification, "\x01\x01998\x00\x01\x01M\x00"), oddities: []string{"alert_notification"}},
		"outbind":                                 {raw: bodied(wire.Outbind, "operator\x00secret\x00"), oddities: []string{"outbind"}},
		"a command of no version":                 {raw: bodied(0x00000777, "??"), reply: wire.GenericNack, status: wire.StatusInvalidID, oddities: []string{"unknown_command"}},
		"a command of ours":                       {raw: bodied(wire.SubmitSM, "??"), reply: wire.GenericNack, status: wire.StatusInvalidID, oddities: []string{"unknown_command"}},
		"a bind":                                  {raw: bodied(wire.BindTransceiver, ""), reply: wire.GenericNack, status: wire.StatusInvalidID, oddities: []string{"unknown_command"}},
		"command_id 0":                            {raw: bodied(0, ""), reply: wire.GenericNack, status: wire.StatusInvalidID, oddities: []string{"unknown_command"}},
		"an answer to nothing":                    {raw: bodied(wire.SubmitSM.Response(), "x\x00"), oddities: []string{"unmatched_response"}},
		"an answer of a command of no version":    {raw: bodied(0x80000777, ""), oddities: []string{"unmatched_response"}},
		"generic_nack to nothing":                 {raw: bodied(wire.GenericNack, ""), oddities: []string{"unmatched_response"}},
		"unbind_resp that nobody had asked for":   {raw: bodied(wire.Unbind.Response(), ""), oddities: []string{"unmatched_response"}},
		"enquire_link_resp to no enquire_link":    {raw: bodied(wire.EnquireLink.Response(), ""), oddities: []string{"unmatched_response"}},
		"deliver_sm_resp, which only we may send": {raw: bodied(wire.DeliverSM.Response(), "\x00"), oddities: []string{"unmatched_response"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipe(t, nil)
				for seq := uint32(77); seq < 79; seq++ { // it may come again
					wire.SetSequence(row.raw, seq)
					p.write(row.raw)
					synctest.Wait()
					if row.handed {
						p.s.respond(wire.AppendCString(nil, wire.Command(binary.BigEndian.Uint32(row.raw[4:])).Response(), 0, seq, ""))
					}
					if row.reply != 0 {
						if f := p.read(); f.Command != row.reply || f.Status != row.status || f.Sequence != seq {
							t.Errorf("answered by %s %s, sequence %d", f.Command, f.Status, f.Sequence)
						}
					}
				}
				if want := slices.Concat(row.oddities, row.oddities); !slices.Equal(p.oddities, want) {
					t.Errorf("counted as %v, want %v", p.oddities, want)
				}
				if row.handed != (len(p.delivered) == 2) {
					t.Errorf("%d handed on", len(p.delivered))
				}
				a := p.submit(nil)
				f := p.read()
				if f.Command != wire.SubmitSM {
					t.Fatalf("then %s", f.Command)
				}
				p.write(wire.AppendCString(nil, wire.SubmitSM.Response(), 0, f.Sequence, "id"))
				if got := <-a; got.fate != answered {
					t.Errorf("%+v", got)
				}
				p.end()
			})
		})
	}
}

// Behind a length that cannot be, nothing can be found on the stream.
func TestALengthThatCannotBeIsNackedAndEndsTheLink(t *testing.T) {
	for _, length := range []uint32{0, 1, 15, wire.MaxLen + 1, 0x7FFFFFFF, 0xFFFFFFFF} {
		synctest.Test(t, func(t *testing.T) {
			p := pipe(t, nil)
			a := p.submit(nil)
			p.read()
			raw := wire.AppendHeader(nil, wire.DeliverSM, 0, 9)
			binary.BigEndian.PutUint32(raw, length)
			p.write(raw)
			if f := p.read(); f.Command != wire.GenericNack || f.Status != wire.StatusInvalidLength || f.Sequence != 9 {
				t.Errorf("%d: %+v", length, f)
			}
			if err := <-p.done; !errors.Is(err, errFraming) {
				t.Errorf("%d: ended with %v", length, err)
			}
			if got := <-a; got.fate != lost {
				t.Errorf("%d: what was unanswered: %+v", length, got)
			}
			if !slices.Equal(p.oddities, []string{"bad_length"}) {
				t.Errorf("%d: counted as %v", length, p.oddities)
			}
		})
	}
}

func TestAnswerThatComesTwiceIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a := p.submit(nil)
		f := p.read()
		for range 2 {
			p.write(wire.AppendCString(nil, wire.SubmitSM.Response(), 0, f.Sequence, "id"))
		}
		synctest.Wait()
		if len(a) != 1 || p.s.inUse() != 0 || !slices.Equal(p.oddities, []string{"unmatched_response"}) {
			t.Errorf("%d answers, %d slots taken, %v", len(a), p.s.inUse(), p.oddities)
		}
		p.end()
	})
}

// An operator that answers in pieces, or several PDUs at once, is only slow.
func TestPDUsMayComeInPiecesAndMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a, b := p.submit(nil), p.submit(nil)
		first, second := p.read(), p.read()
		merged := wire.AppendCString(nil, wire.SubmitSM.Response(), 0, first.Sequence, "one")
		merged = wire.AppendCString(merged, wire.SubmitSM.Response(), 0, second.Sequence, "two")
		for i := range merged[:30] {
			p.write(merged[i : i+1])
		}
		p.write(merged[30:])
		if got := <-a; messageID(got.frame) != "one" {
			t.Errorf("%+v", got)
		}
		if got := <-b; messageID(got.frame) != "two" {
			t.Errorf("%+v", got)
		}
		p.end()
	})
}

// What comes in one piece is served in its order, each answer told before its
// slot can be had again; what is left of a PDU waits for its rest alone.
func TestWhatComesTogetherIsServedInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		type told struct {
			name                string
			status              wire.Status
			delivered, takeable int // before it was told
		}
		var order []told
		submit := func(name string) uint32 {
			if !p.s.reserve(1) {
				t.Fatal("no slot")
			}
			p.s.submit(&request{raw: bodied(wire.SubmitSM, ""), command: wire.SubmitSM, done: func(a answer) {
				p.mu.Lock()
				defer p.mu.Unlock()
				order = append(order, told{name, a.frame.Status, len(p.delivered), p.s.offers(p.s.cfg.now()).free})
			}})
			return p.read().Sequence
		}
		first, second := submit("first"), submit("second")
		var all []byte
		all = wire.AppendHeader(all, wire.SubmitSM.Response(), 0, second)
		all = append(all, mo([]byte("salom"), nil)...)
		all = wire.AppendHeader(all, wire.GenericNack, wire.StatusInvalidID, first)
		all = wire.AppendHeader(all, wire.SubmitSM.Response(), 0, second) // again
		all = wire.AppendHeader(all, wire.EnquireLink, 0, 8)
		half := mo([]byte("xayr"), nil)
		p.write(append(all, half[:20]...))
		if f := p.read(); f.Command != wire.EnquireLink.Response() || f.Sequence != 8 {
			t.Errorf("%+v", f)
		}
		synctest.Wait()
		want := []told{{"second", 0, 0, 0}, {"first", wire.StatusInvalidID, 1, 0}}
		if !slices.Equal(order, want) || !slices.Equal(p.oddities, []string{"unmatched_response"}) || p.s.offers(p.s.cfg.now()).free != 2 {
			t.Errorf("%+v, want %+v; oddities %q, %d slots free", order, want, p.oddities, p.s.offers(p.s.cfg.now()).free)
		}
		p.write(half[20:])
		synctest.Wait()
		if len(p.delivered) != 2 {
			t.Errorf("%d delivered", len(p.delivered))
		}
		p.end()
	})
}

// Why we unbind is the cause of the end, however the operator takes it: who
// refuses our settings must not be dialled again at once because he hangs up.
func TestAnOperatorThatHangsUpOnOurUnbindDoesNotHideItsReason(t *testing.T) {
	for name, peer := range map[string]func(*peer, wire.Frame){
		"without an answer": func(*peer, wire.Frame) {},
		"behind its answer": func(p *peer, f wire.Frame) {
			p.write(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipe(t, nil)
				p.s.leave(errWrong, time.Second)
				peer(p, p.read())
				if err := p.end(); !errors.Is(err, errWrong) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}
