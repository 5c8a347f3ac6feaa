package smpp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/smpp/trace"
	"mobileid/smpp/wire"
)

// A trace sees the bind, both sides of what it carries, and the end, in an
// order in which no answer comes before its request.
func TestATraceSeesEveryPDUOfASession(t *testing.T) {
	r := newRig(t, nil)
	reader, err := r.bridge.Trace()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	events, cancel := r.smsc.Subscribe()
	defer cancel()
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	for e := range events {
		if e.Kind == smsc.EventReceiptAck {
			break
		}
	}
	r.stop()
	var got []wire.Command
	asked := map[uint32]bool{}
	for len(reader.Records()) > 0 {
		rec := <-reader.Records()
		reader.Took(rec)
		c := wire.Command(binary.BigEndian.Uint32(rec.PDU[4:]))
		got = append(got, c)
		sequence := binary.BigEndian.Uint32(rec.PDU[12:])
		ours := rec.Direction == trace.Out != c.IsResponse() // a request of ours, or its answer
		if !c.IsResponse() && ours {
			asked[sequence] = true
		} else if ours && !asked[sequence] {
			t.Errorf("%s %d before its request", c, sequence)
		}
		if s := rec.Session; s.Link != "beeline/mobileid/a" || s.Host != r.smsc.Addr() || s.Peer.String() != r.smsc.Addr() {
			t.Errorf("of session %+v", s)
		}
		if bytes.Contains(trace.Mask(rec.PDU), []byte(secretTo)) {
			t.Errorf("%s names the number", c)
		}
	}
	for _, want := range []wire.Command{
		wire.BindTransceiver, wire.BindTransceiver.Response(), wire.SubmitSM, wire.SubmitSM.Response(),
		wire.DeliverSM, wire.DeliverSM.Response(), wire.Unbind, wire.Unbind.Response(),
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %v", want, got)
		}
	}
}

// traced starts a session whose PDUs are recorded, and returns what of them has
// been shown so far.
func traced(t *testing.T) (p *peer, shown func() []string) {
	t.Helper()
	var to trace.Tap
	reader, err := to.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	p = pipe(t, func(c *sessionConfig) { c.tap = newTap(&to, &trace.Session{}) })
	return p, func() (out []string) {
		synctest.Wait()
		for len(reader.Records()) > 0 {
			rec := <-reader.Records()
			reader.Took(rec)
			from := "operator"
			if rec.Direction == trace.Out {
				from = "us"
			}
			out = append(out, fmt.Sprintf("%s %s %d", from, wire.Command(binary.BigEndian.Uint32(rec.PDU[4:])), binary.BigEndian.Uint32(rec.PDU[12:])))
		}
		return out
	}
}

// What did not leave is not shown as sent, and what is answered in the middle of a
// write is shown before its answer.
func TestATraceShowsOnlyWhatHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, shown := traced(t)
		look := func(when string, want ...string) {
			t.Helper()
			if got := shown(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		submit := func() *request {
			return &request{raw: wire.AppendHeader(nil, wire.SubmitSM, 0, 0), command: wire.SubmitSM, done: func(answer) {}}
		}
		if !p.s.reserve(2) {
			t.Fatal("no slots")
		}
		p.s.submit(submit(), submit()) // one write
		look("nobody reads")
		first := p.read()
		look("the first is read, and the write goes on")
		p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), 0, first.Sequence))
		look("the first is answered", "us submit_sm 2", "operator submit_sm_resp 2")
		p.read()
		look("the second is read", "us submit_sm 3")

		p.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 77))
		look("a question", "operator enquire_link 77")
		half := make([]byte, wire.HeaderLen/2)
		if _, err := io.ReadFull(p.conn, half); err != nil {
			t.Fatal(err)
		}
		p.end()
		look("half of its answer has left")
	})
}

// The header that ends the framing is what a ticket is about.
func TestATraceShowsTheHeaderThatBreaksTheFraming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, shown := traced(t)
		raw := wire.AppendHeader(nil, wire.DeliverSM, 0, 9)
		raw[0] = 0x7F
		p.write(raw)
		p.read()
		if got, want := shown(), []string{"operator deliver_sm 9", "us generic_nack 9"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		<-p.done
	})
}
