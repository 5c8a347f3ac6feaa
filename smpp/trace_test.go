package smpp

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

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
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	r.store.until(t, "receipt", func() bool { return len(r.store.receipts) == 1 })
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
