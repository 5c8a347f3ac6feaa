package diameter

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// later answers each request with that code when told to.
func later(o *ocs, code uint32) (tell func()) {
	type held struct {
		c diam.Conn
		s seen
	}
	waits := make(chan held, 100)
	o.does(func(c diam.Conn, _ int, s seen) { waits <- held{c, s} })
	return func() {
		for len(waits) > 0 {
			h := <-waits
			o.write(h.c, o.cca(h.s, code))
		}
		synctest.Wait()
	}
}

func TestALateAnswerIsToldOnce(t *testing.T) {
	for code, want := range map[uint32]Answer{2001: Yes, 4012: No, 5031: Unknown} {
		rigged(t, 1, nil, func(r *rig) {
			t := r.t
			tell := later(r.one, code)
			m := r.message(1)
			is(t, "reserve", r.Reserve(r.within(time.Second), m), Unknown, Silent, "one")
			if len(r.lates) != 0 {
				t.Fatalf("%+v", r.lates)
			}
			tell()
			if len(r.lates) != 1 || r.lates[0].id != m.ID || r.lates[0].r.Answer != want || r.lates[0].r.Code != code {
				t.Errorf("%+v", r.lates)
			}
			if n := testutil.ToFloat64(r.metrics.late.WithLabelValues("initial", "told")); n != 1 {
				t.Errorf("counted %v", n)
			}
		})
	}
}

func TestOfTwoLateAnswersOneIsTold(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		one, two := later(r.one, 2001), later(r.two, 4012)
		is(t, "reserve", r.reserve(r.message(1)), Unknown, Silent, "two")
		two()
		one()
		if len(r.lates) != 1 || r.lates[0].r.Peer != "two" || r.lates[0].r.Answer != No || !r.lates[0].r.Resent {
			t.Errorf("%+v", r.lates)
		}
		if r.odd("one", "twice") != 1 {
			t.Error("the second was not counted")
		}
	})
}

// That a peer is busy now says nothing of what it was asked before.
func TestALateRefusalToProcessIsNotTold(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		one, two := later(r.one, 2001), later(r.two, 3004)
		is(t, "reserve", r.reserve(r.message(1)), Unknown, Silent, "two")
		two()
		if len(r.lates) != 0 {
			t.Errorf("%+v", r.lates)
		}
		one()
		if len(r.lates) != 1 || r.lates[0].r.Answer != Yes {
			t.Errorf("%+v", r.lates)
		}
	})
}

func TestTheFirstPeersAnswerCountsWhileTheSecondIsAsked(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		one, two := later(r.one, 2001), later(r.two, 2001)
		got := make(chan Result)
		m := r.message(1)
		go func() { got <- r.reserve(m) }()
		sleep(t.Context(), r.cfg.Tx+time.Second)
		one()
		is(t, "reserve", <-got, Yes, Answered, "one")
		two()
		if len(r.lates) != 0 || r.odd("two", "twice") != 1 {
			t.Errorf("the second answer: %+v, counted %v", r.lates, r.odd("two", "twice"))
		}
	})
}

func TestALateSettlementIsDone(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		m := r.message(1)
		is(t, "reserve", r.reserve(m), Yes, Answered, "one")
		tell := later(r.one, 2001)
		if r.settle(m, 1) == nil {
			t.Fatal("done without an answer")
		}
		tell()
		if err := r.settle(m, 1); err != nil || len(r.one.got()) != 2 || len(r.lates) != 0 {
			t.Errorf("%v, %d requests, told %+v", err, len(r.one.got()), r.lates)
		}
	})
}

func TestAnAnswerIsNotWaitedForForever(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		tell := later(r.one, 2001)
		is(t, "reserve", r.reserve(r.message(1)), Unknown, Silent, "one")
		sleep(t.Context(), r.cfg.LateFor)
		is(t, "another", r.reserve(r.message(1)), Unknown, Silent, "one")
		if n := testutil.ToFloat64(r.metrics.inFlight.WithLabelValues("one")); n != 1 {
			t.Errorf("%v are waited for, want the second", n)
		}
		tell()
		if len(r.lates) != 1 || r.odd("one", "twice") != 1 {
			t.Errorf("told %+v", r.lates)
		}
	})
}

func TestASecondAnswerIsDropped(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		r.one.does(func(c diam.Conn, _ int, s seen) {
			r.one.write(c, r.one.cca(s, 2001))
			r.one.write(c, r.one.cca(s, 4012))
		})
		is(t, "reserve", r.reserve(r.message(1)), Yes, Answered, "one")
		synctest.Wait()
		if r.odd("one", "twice") != 1 || len(r.lates) != 0 {
			t.Errorf("counted %v, told %+v", r.odd("one", "twice"), r.lates)
		}
	})
}

func TestAnAnswerThatIsNotOursIsNotTaken(t *testing.T) {
	for kind, spoil := range map[string]func(o *ocs, s seen) *diam.Message{
		"unknown_hop_by_hop": func(o *ocs, s seen) *diam.Message {
			a := o.cca(s, 4012)
			a.Header.HopByHopID += 1000
			return a
		},
		"wrong_end_to_end": func(o *ocs, s seen) *diam.Message {
			a := o.cca(s, 4012)
			a.Header.EndToEndID++
			return a
		},
		"wrong_session": func(o *ocs, s seen) *diam.Message {
			s.session += "x"
			return o.cca(s, 4012)
		},
		"wrong_session, none": func(o *ocs, s seen) *diam.Message { return o.answer(s.m, 4012) },
		"wrong_session, of a termination": func(o *ocs, s seen) *diam.Message {
			s.kind = 3
			return o.cca(s, 4012)
		},
		"wrong_session, of another number": func(o *ocs, s seen) *diam.Message {
			s.number = 1
			return o.cca(s, 4012)
		},
		"answer": func(o *ocs, s seen) *diam.Message {
			a := o.cca(s, 4012)
			a.Header.CommandCode = diam.Accounting
			return a
		},
	} {
		rigged(t, 1, nil, func(r *rig) {
			t := r.t
			r.one.does(func(c diam.Conn, _ int, s seen) {
				r.one.write(c, spoil(r.one, s))
				r.one.write(c, r.one.cca(s, 2001)) // and then the right one
			})
			is(t, kind, r.reserve(r.message(1)), Yes, Answered, "one")
			label, _, _ := strings.Cut(kind, ",")
			if r.odd("one", label) != 1 || r.connected() != 1 {
				t.Errorf("%s: counted %v, %d connections", kind, r.odd("one", label), r.connected())
			}
		})
	}
}

func TestAnAnswerThatCannotBeReadIsUnknown(t *testing.T) {
	for name, spoil := range map[string]func(raw []byte) []byte{
		"an AVP that is longer than the message": func(raw []byte) []byte { raw[diam.HeaderLength+6] = 0xFF; return raw },
		"an AVP that is shorter than its header": func(raw []byte) []byte { raw[diam.HeaderLength+7] = 3; return raw },
		"octets after the last":                  func(raw []byte) []byte { return append(raw, 1, 2, 3, 4) },
		"a Result-Code of five octets": func(raw []byte) []byte {
			bad, _ := diam.NewAVP(avp.ResultCode, must, 0, datatype.OctetString("12345")).Serialize()
			return append(raw, bad...)
		},
		"a group that is cut short": func(raw []byte) []byte {
			bad, _ := diam.NewAVP(avp.MultipleServicesCreditControl, must, 0, datatype.OctetString("1234567")).Serialize()
			return append(raw, bad...)
		},
	} {
		rigged(t, 1, nil, func(r *rig) {
			t := r.t
			r.one.does(func(c diam.Conn, _ int, s seen) {
				raw, _ := r.one.cca(s, 2001).Serialize()
				raw = spoil(raw)
				raw[2], raw[3] = byte(len(raw)>>8), byte(len(raw))
				_, _ = c.Write(raw)
			})
			is(t, name, r.reserve(r.message(1)), Unknown, Unreadable, "one")
			if r.odd("one", "unreadable") != 1 {
				t.Errorf("%s: not counted", name)
			}
			r.one.says(2001)
			is(t, "the next on the same connection", r.reserve(r.message(1)), Yes, Answered, "one")
			if _, _, dials := r.one.watched(); dials != 1 {
				t.Errorf("%s: %d connections were made", name, dials)
			}
		})
	}
}

func TestALengthThatCannotBeEndsTheConnection(t *testing.T) {
	for name, head := range map[string][]byte{
		"shorter than a header": {1, 0, 0, 16},
		"too long":              {1, 1, 0, 4},
		"no multiple of four":   {1, 0, 0, 22},
		"of another version":    {2, 0, 0, 20},
	} {
		rigged(t, 2, nil, func(r *rig) {
			t := r.t
			r.one.does(func(c diam.Conn, _ int, _ seen) { _, _ = c.Write(append(slices.Clone(head), make([]byte, 16)...)) })
			is(t, name, r.reserve(r.message(1)), Yes, Answered, "two")
			if r.odd("one", "length") != 1 {
				t.Errorf("%s: not counted", name)
			}
		})
	}
}
