package diameter

import (
	"errors"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

func resultCode(code uint32) *diam.AVP { return field(avp.ResultCode, datatype.Unsigned32(code)) }

func granted(n uint64) *diam.AVP {
	return field(avp.GrantedServiceUnit, group(field(avp.CCServiceSpecificUnits, datatype.Unsigned64(n))))
}

func service(items ...*diam.AVP) *diam.AVP {
	return field(avp.MultipleServicesCreditControl, group(items...))
}

func experimental(vendor, code uint32) *diam.AVP {
	return field(avp.ExperimentalResult, group(
		field(avp.VendorID, datatype.Unsigned32(vendor)), field(avp.ExperimentalResultCode, datatype.Unsigned32(code)),
	))
}

func TestEachResultCodeHasOneMeaning(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   uint32
		more   []*diam.AVP
		answer Answer
		reason Reason
		says   uint32
	}{
		{"success", 2001, nil, Yes, Answered, 2001},
		{"limited success", 2002, nil, Yes, Answered, 2002},
		{"success, granted", 2001, []*diam.AVP{granted(3)}, Yes, Answered, 2001},
		{"success, more granted", 2001, []*diam.AVP{granted(30)}, Yes, Answered, 2001},
		{"success, less granted", 2001, []*diam.AVP{granted(2)}, No, Partly, 2001},
		{"success, nothing granted", 2001, []*diam.AVP{service(granted(0))}, No, Partly, 2001},
		{"success outside and within", 2001, []*diam.AVP{service(granted(3), resultCode(2001))}, Yes, Answered, 2001},
		{"no money", 4012, nil, No, Answered, 4012},
		{"no money within", 2001, []*diam.AVP{service(resultCode(4012))}, No, Answered, 4012},
		{"no money for the second service", 2001, []*diam.AVP{service(resultCode(2001)), service(resultCode(4012))}, No, Answered, 4012},
		{"no money outside, success within", 4012, []*diam.AVP{service(granted(3), resultCode(2001))}, No, Answered, 4012},
		{"free", 4011, nil, Free, Answered, 4011},
		{"free within", 2001, []*diam.AVP{service(resultCode(4011))}, Free, Answered, 4011},
		{"denied", 4010, nil, Denied, Answered, 4010},
		{"denied within", 2001, []*diam.AVP{service(resultCode(4010))}, Denied, Answered, 4010},
		{"no such subscriber", 5030, nil, NoUser, Answered, 5030},
		{"rating failed", 5031, nil, Unknown, Answered, 5031},
		{"rating failed within", 2001, []*diam.AVP{service(resultCode(5031))}, Unknown, Answered, 5031},
		{"cannot deliver", 3002, nil, Unknown, Busy, 3002},
		{"too busy", 3004, nil, Unknown, Busy, 3004},
		{"loop", 3005, nil, Unknown, Busy, 3005},
		{"realm not served", 3003, nil, Unknown, Answered, 3003},
		{"authentication rejected", 4001, nil, Unknown, Answered, 4001},
		{"AVP unsupported", 5001, nil, Unknown, Answered, 5001},
		{"unknown session", 5002, nil, Unknown, Answered, 5002},
		{"authorization rejected", 5003, nil, Unknown, Answered, 5003},
		{"unable to comply", 5012, nil, Unknown, Answered, 5012},
		{"a code of nobody", 70000, nil, Unknown, Answered, 70000},
		{"no code", 0, nil, Unknown, Unreadable, 0},
		{"a vendor's code", 0, []*diam.AVP{experimental(10415, 4012)}, Unknown, Answered, 4012},
		{"a vendor's success", 0, []*diam.AVP{experimental(10415, 2001)}, Unknown, Answered, 2001},
		{"a code and a vendor's", 2001, []*diam.AVP{experimental(10415, 5030)}, Yes, Answered, 2001},
		{"a vendor's AVP with the code of Result-Code", 2001, []*diam.AVP{diam.NewAVP(avp.ResultCode, must, 9999, datatype.Unsigned32(4012))}, Yes, Answered, 2001},
		{"a vendor's AVP of odd length with the code of another", 2001, []*diam.AVP{diam.NewAVP(avp.CreditControlFailureHandling, must, 9999, datatype.OctetString("x"))}, Yes, Answered, 2001},
	} {
		for _, mode := range []Mode{ECUR, IEC} {
			t.Run(c.name+", "+string(mode), func(t *testing.T) {
				rigged(t, 1, func(cfg *Config) { cfg.Mode = mode }, func(r *rig) {
					t := r.t
					r.one.says(c.code, c.more...)
					got := r.reserve(r.message(3))
					want := c.answer
					if mode == IEC && c.reason == Busy {
						want = UnknownHold // surely not debited
					}
					is(t, "answer", got, want, c.reason, "one")
					if got.Code != c.says {
						t.Errorf("code %d, want %d", got.Code, c.says)
					}
					if r.odd("one", "unreadable") != 0 {
						t.Error("counted as unreadable")
					}
				})
			})
		}
	}
}

// What is sent again is refused by some servers because they have it.
func TestOfAReplayOnlyTheMoneysOwnCodesAreAnswers(t *testing.T) {
	for code, want := range map[uint32]struct {
		answer Answer
		reason Reason
	}{
		2001: {Yes, Answered}, 4010: {Denied, Answered}, 4011: {Free, Answered}, 4012: {No, Answered},
		5030: {Unknown, Exists}, 5012: {Unknown, Exists}, 5031: {Unknown, Exists}, 5002: {Unknown, Exists}, 4001: {Unknown, Answered},
	} {
		rigged(t, 1, nil, func(r *rig) {
			t := r.t
			m := r.message(1)
			r.one.does(never)
			is(t, "first", r.reserve(m), Unknown, Silent, "one")
			r.one.says(code)
			got := r.reserve(m)
			is(t, "again", got, want.answer, want.reason, "one")
			if !got.Resent || got.Code != code {
				t.Errorf("%d: %+v", code, got)
			}
			if a, b := r.one.got()[0], r.one.got()[1]; a.e2e != b.e2e || a.session != b.session || a.again || !b.again {
				t.Errorf("first %+v, again %+v", a, b)
			}
		})
	}
}

func TestWhatIsGrantedInPartIsGivenBack(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		r.one.says(2001, service(granted(2), resultCode(2001)))
		is(t, "reserve", r.reserve(r.message(3)), No, Partly, "one")
		got := r.one.got()
		if len(got) != 2 || got[1].kind != 3 || got[1].units != 0 || got[1].session != got[0].session {
			t.Errorf("after it came %+v, want a termination with nothing used", got[1:])
		}
	})
	rigged(t, 1, func(cfg *Config) { cfg.Mode = IEC }, func(r *rig) {
		t := r.t
		r.one.says(2001, service(granted(2), resultCode(2001)))
		is(t, "debit", r.reserve(r.message(3)), No, Partly, "one")
		got := r.one.got()
		if len(got) != 2 || got[1].kind != 4 || got[1].action != 1 || got[1].units != 2 || got[1].number != 0 || got[1].session == got[0].session {
			t.Errorf("after it came %+v, want a refund of 2", got[1:])
		}
	})
}

func TestASettlementIsDoneByItsAnswerAlone(t *testing.T) {
	for _, c := range []struct {
		code      uint32
		used      int
		done, end bool // end: ErrNoSession
	}{
		{2001, 1, true, false},
		{2001, 0, true, false},
		{2002, 1, true, false},
		{5002, 0, true, false}, // nothing is held
		{5002, 1, false, true},
		{5031, 1, false, false},
		{5012, 0, false, false},
		{3004, 1, false, false},
		{0, 1, false, false},
	} {
		rigged(t, 1, nil, func(r *rig) {
			t := r.t
			m := r.message(1)
			is(t, "reserve", r.reserve(m), Yes, Answered, "one")
			r.one.says(c.code)
			err := r.settle(m, c.used)
			if (err == nil) != c.done || errors.Is(err, ErrNoSession) != c.end {
				t.Errorf("%d, %d used: %v", c.code, c.used, err)
			}
			if failed, ok := errors.AsType[*Error](err); err != nil && (!ok || failed.Code != c.code) {
				t.Errorf("%d: %#v", c.code, err)
			}
			// Done is done: nothing is said any more.
			before := len(r.one.got())
			_ = r.settle(m, c.used)
			if after := len(r.one.got()); (after == before) != c.done {
				t.Errorf("%d, %d used, settled again: %d requests", c.code, c.used, after-before)
			}
		})
	}
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		m := r.message(1)
		r.one.says(4011)
		is(t, "reserve", r.reserve(m), Free, Answered, "one")
		if err := r.settle(m, 1); err != nil || len(r.one.got()) != 1 {
			t.Errorf("what is free was settled: %v, %+v", err, r.one.got())
		}
	})
}

func TestARequestWithoutSenseIsNotSent(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		good := r.message(2)
		for _, spoil := range []func(*Request){
			func(m *Request) { m.ID = "" },
			func(m *Request) { m.ID = "a;b" },
			func(m *Request) { m.Number = Request{}.Number },
			func(m *Request) { m.Units = 0 },
			func(m *Request) { m.Units = -1 },
		} {
			m := good
			spoil(&m)
			is(t, "reserve", r.reserve(m), Unknown, BadRequest, "")
			if r.settle(m, 1) == nil || r.Refund(t.Context(), m, 1) == nil {
				t.Errorf("%+v was settled, or refunded", m)
			}
		}
		if r.settle(good, 3) == nil || r.settle(good, -1) == nil || r.Refund(t.Context(), good, 3) == nil {
			t.Error("more was settled than the Message has")
		}
		if n := len(r.one.got()); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

// What was said first may have been heard.
func TestASettlementIsRepeatedAsItWas(t *testing.T) {
	for _, mode := range []Mode{ECUR, IEC} {
		rigged(t, 1, func(cfg *Config) { cfg.Mode = mode }, func(r *rig) {
			t := r.t
			m := r.message(3)
			is(t, "reserve", r.reserve(m), Yes, Answered, "one")
			r.one.does(never)
			if r.settle(m, 1) == nil {
				t.Fatal("done without an answer")
			}
			r.one.does(nil)
			if err := r.settle(m, 0); err != nil {
				t.Error(err)
			}
			if got := r.one.got(); got[1].units != got[2].units || got[1].e2e != got[2].e2e || !got[2].again {
				t.Errorf("%s: first %+v, then %+v", mode, got[1], got[2])
			}

			m = r.message(3)
			is(t, "reserve", r.reserve(m), Yes, Answered, "one")
			if err := r.settle(m, 3); err != nil {
				t.Error(err)
			}
			before := len(r.one.got())
			if err := r.settle(m, 0); err != nil || len(r.one.got()) != before {
				t.Errorf("%s: what was used was given back: %v", mode, err)
			}
		})
	}
}

// A replay of a refund is the same one; that of another step is another, and no
// replay.
func TestEachStepIsRefundedOnce(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		m := r.message(3)
		is(t, "reserve", r.reserve(m), Yes, Answered, "one")
		if err := r.settle(m, 3); err != nil {
			t.Fatal(err)
		}
		before := len(r.one.got())
		for _, c := range []struct{ step, units int }{{3, 2}, {3, 2}, {4, 1}} {
			m.Step = c.step
			if err := r.Refund(r.within(8*time.Second), m, c.units); err != nil {
				t.Fatal(err)
			}
		}
		got := r.one.got()[before:]
		first, again, other := got[0], got[1], got[2]
		if first.session != again.session || first.e2e != again.e2e || first.again || !again.again || again.units != 2 {
			t.Errorf("the first refund %+v, told again %+v", first, again)
		}
		if other.session == first.session || other.e2e == first.e2e || other.again || other.units != 1 || other.action != 1 {
			t.Errorf("the second refund is %+v, the first was %+v", other, first)
		}
	})
}
