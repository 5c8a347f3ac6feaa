package diameter

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/fiorix/go-diameter/v4/diam/dict"
)

// octets writes a CCA with AVPs.
func octets(items ...*diam.AVP) []byte {
	m := diam.NewMessage(diam.CreditControl, 0, diam.CHARGING_CONTROL_APP_ID, 1, 2, nil)
	for _, a := range items {
		m.AddAVP(a)
	}
	raw, err := m.Serialize()
	if err != nil {
		panic(err)
	}
	return raw
}

// theirs reads with go-diameter; a panic of it is an answer, too.
func theirs(raw []byte) (m *diam.Message, panics any, err error) {
	defer func() { panics = recover() }()
	m, err = diam.ReadMessage(bytes.NewReader(raw), dict.Default)
	return m, nil, err
}

// ours reads an answer as a connection does.
func ours(raw []byte) (*reply, error) {
	f, err := readFrame(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return readReply(f)
}

// Why answers are read by ourselves. When one of these fails, go-diameter has
// been mended, and decision 017 may be looked at again.
func TestWhereGoDiameterIsWrong(t *testing.T) {
	short := diam.NewAVP(avp.MultipleServicesCreditControl, must, 0, datatype.OctetString("1234"))
	if _, panics, _ := theirs(octets(resultCode(2001), short)); panics == nil {
		t.Error("a group that is cut short is no panic any more")
	}
	if _, err := ours(octets(resultCode(2001), short)); err == nil {
		t.Error("we read a group that is cut short")
	}

	foreign := diam.NewAVP(avp.ResultCode, 0, 9999, datatype.Unsigned32(4012))
	m, _, err := theirs(octets(foreign, resultCode(2001)))
	if err != nil {
		t.Fatal(err)
	}
	if first, err := m.FindAVP(uint32(avp.ResultCode), 0); err != nil || first.Data != datatype.Unsigned32(4012) {
		t.Errorf("a vendor's AVP is not taken for Result-Code any more: %v, %v", first, err)
	}
	if r, err := ours(octets(foreign, resultCode(2001))); err != nil || r.code != 2001 {
		t.Errorf("we read %+v, %v", r, err)
	}

	within := octets(service(resultCode(4012)), resultCode(2001))
	if m, _, err = theirs(within); err != nil {
		t.Fatal(err)
	}
	if first, err := m.FindAVP(uint32(avp.ResultCode), 0); err != nil || first.Data != datatype.Unsigned32(4012) {
		t.Errorf("FindAVP does not find the Result-Code of a service first any more: %v, %v", first, err)
	}
	if r, err := ours(within); err != nil || r.code != 2001 || r.service != 4012 {
		t.Errorf("we read %+v, %v", r, err)
	}

	// Nine octets where four belong: what follows is read from the middle of them.
	wide := diam.NewAVP(avp.CCRequestNumber, must, 0, datatype.OctetString("\x00\x00\x01\x0c\x40\x00\x00\x0c\x00\x00\x0f\xac"))
	shifted := octets(resultCode(2001), wide)
	if m, panics, err := theirs(shifted); panics == nil && err == nil && len(m.AVP) == 2 {
		t.Error("a field of a wrong size does not shift what follows any more")
	}
	if _, err := ours(shifted); err == nil {
		t.Error("we read a field of a wrong size")
	}
}

// seeds are answers to begin with.
func seeds() [][]byte {
	return [][]byte{
		octets(),
		octets(field(avp.SessionID, datatype.UTF8String("a;1;2;ms_1")), resultCode(2001), granted(3)),
		octets(resultCode(2001), service(granted(1), resultCode(4012)), field(avp.CCSessionFailover, datatype.Enumerated(1))),
		octets(experimental(10415, 4012), field(avp.CreditControlFailureHandling, datatype.Enumerated(2))),
		octets(resultCode(5030), diam.NewAVP(avp.ResultCode, 0, 9999, datatype.OctetString("x"))),
		octets(field(avp.AuthApplicationID, datatype.Unsigned32(4)), field(avp.OriginHost, datatype.DiameterIdentity("ocs1.ocs.test"))),
	}
}

// FuzzAnswer reads anything without harm; and what go-diameter reads and writes
// again as it was, we read as it does.
func FuzzAnswer(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fr, err := readFrame(bytes.NewReader(raw))
		if err != nil {
			return
		}
		r, err := readReply(fr)
		_, _ = readCapabilities(fr)
		if err != nil {
			return
		}
		for units := range 3 {
			for _, resent := range []bool{false, true} {
				if answer, _ := r.judge(units, resent); answer == UnknownHold {
					t.Errorf("%+v is judged %v", r, answer)
				}
			}
		}
		if fr.application() != diam.CHARGING_CONTROL_APP_ID || fr.command() != diam.CreditControl {
			return
		}
		m, panics, err := theirs(fr)
		if err != nil || panics != nil {
			return
		}
		var code uint32
		for _, a := range m.AVP {
			if v, ok := a.Data.(datatype.Unsigned32); ok && a.Code == avp.ResultCode && a.VendorID == 0 {
				code = uint32(v)
			}
		}
		if again, err := m.Serialize(); err == nil && bytes.Equal(again, fr) && r.vendor == 0 && r.code != code {
			t.Errorf("we read the code %d, go-diameter %d", r.code, code)
		}
	})
}

// FuzzPeer gives a connection whatever a peer may send.
func FuzzPeer(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		near, far := net.Pipe()
		cfg := testConfig(Peer{Name: "one", Address: "ocs1:3868"})
		cfg.Registry = nil
		cl := &Client{cfg: cfg.withDefaults(), metrics: newMetrics(nil), memory: newMemory(), lates: make(chan lateAnswer, 10)}
		p := &peer{Peer: cfg.Peers[0], client: cl}
		cl.peers = []*peer{p}
		c := newConn(p, near, 1)
		c.start(newReader(near))
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, far)
		}()
		m := asked(t, 1, msisdn(t, "901234567"), 1)
		k, _ := cl.newCall(initial, m, 1)
		k.endToEnd = 2
		frame, err := cl.cfg.ccr(initial, &m, 1, p.Peer, k.endToEnd, false)
		if err != nil {
			t.Fatal(err)
		}
		c.send(context.Background(), frame, &sending{call: k, to: c, at: time.Now()})
		_, _ = far.Write(raw)
		_ = far.Close()
		c.work.Wait()
		<-drained
		select {
		case e := <-k.events:
			if e.reply != nil && e.reply.session != "" && e.reply.session != k.session {
				t.Errorf("an answer of %q was taken for one of %q", e.reply.session, k.session)
			}
		default:
			t.Error("the caller was not told that the connection ended")
		}
	})
}
