package wire

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
)

// What a Message may allocate: it is what the collector of a busy bridge does.
func TestAllocations(t *testing.T) {
	submit, deliver := submitSM(), encoded(t, deliverSM())
	answer := Frame{Command: SubmitSM.Response(), Raw: AppendCString(nil, SubmitSM.Response(), 0, 1, "0123456789")}
	buf := make([]byte, 0, 1024)
	var into Message
	frames := NewReader(bytes.NewReader(bytes.Repeat(answer.Raw, 5000)))
	for name, c := range map[string]struct {
		most float64
		do   func() error
	}{
		"submit_sm into a buffer": {0, func() (err error) { buf, err = submit.Append(buf[:0]); return err }},
		"submit_sm":               {1, func() (err error) { _, err = submit.Encode(); return err }},
		"submit_sm_resp":          {1, func() (err error) { _, err = MessageID(answer); return err }},
		"deliver_sm":              {3, func() error { var m Message; return DecodeMessage(deliver, &m) }},
		"deliver_sm again":        {2, func() error { return DecodeMessage(deliver, &into) }},
		"enquire_link_resp":       {0, func() error { buf = AppendHeader(buf[:0], EnquireLink.Response(), 0, 1); return nil }},
		"deliver_sm_resp":         {0, func() error { buf = AppendCString(buf[:0], DeliverSM.Response(), 0, 1, ""); return nil }},
		"a frame":                 {0, func() error { _, err := frames.Read(); return err }}, // of a slab: on average
	} {
		if n := testing.AllocsPerRun(1000, func() {
			if err := c.do(); err != nil {
				t.Error(err)
			}
		}); n > c.most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, c.most)
		}
	}
}

func BenchmarkSubmitSM(b *testing.B) {
	m, buf := submitSM(), make([]byte, 0, 1024)
	b.Run("into a buffer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = m.Append(buf[:0])
		}
	})
	b.Run("own memory", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = m.Encode()
		}
	})
	b.Run("go-smpp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = encodedByThem(m)
		}
	})
}

func BenchmarkSubmitSMResp(b *testing.B) {
	f := Frame{Command: SubmitSM.Response(), Raw: AppendCString(nil, SubmitSM.Response(), 0, 1, "0123456789")}
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = MessageID(f)
		}
	})
	b.Run("go-smpp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d, _ := Decode(f)
			_ = d.Text(pdufield.MessageID)
		}
	})
}

func BenchmarkDeliverSM(b *testing.B) {
	f := encoded(b, deliverSM())
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m Message
			_ = DecodeMessage(f, &m)
		}
	})
	b.Run("go-smpp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Decode(f)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	all := bytes.Repeat(AppendCString(nil, SubmitSM.Response(), 0, 1, "0123456789"), 1000)
	r := bytes.NewReader(nil)
	br := bufio.NewReaderSize(r, 64<<10)
	for name, read := range map[string]func() (Frame, error){
		"one by one": func() (Frame, error) { return Read(br) },
		"Reader":     NewReader(br).Read,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			left := 0
			for b.Loop() {
				if left == 0 {
					r.Reset(all)
					br.Reset(r)
					left = 1000
				}
				left--
				if _, err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
