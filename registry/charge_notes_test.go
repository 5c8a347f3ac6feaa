package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// asked queues a notice that the operator's charging system is asked about, and
// admits it.
func (e *env) asked(p person, b int64, key string) mobileid.NewNotification {
	e.t.Helper()
	n := e.notice(p, key)
	n.Message.Charging = mobileid.ChargingDiameter
	e.queue(n)
	e.admit(b, n.Message.ID)
	return n
}

// dueCalls are the calls that are due within an hour, each once.
func (e *env) dueCalls() (out []mobileid.ChargeCall) {
	e.t.Helper()
	e.clk.advance(time.Hour)
	for range 2 { // a question that is withdrawn was before another call
		calls, err := e.ChargeCalls(e.ctx(), operator, 100)
		must(e.t, err)
		out = append(out, calls...)
	}
	return out
}

func (e *env) wantCall(id mobileid.ID, kind mobileid.ChargeState, moved int) mobileid.ChargeCall {
	e.t.Helper()
	calls := e.dueCalls()
	if len(calls) != 1 || calls[0].ID != id || calls[0].Kind != kind || calls[0].Moved != moved {
		e.t.Fatalf("calls %+v, want one: %s, %d moved", calls, kind, moved)
	}
	return calls[0]
}

func (e *env) wantNoCall() {
	e.t.Helper()
	if calls := e.dueCalls(); len(calls) != 0 {
		e.t.Fatalf("calls %+v, want none", calls)
	}
}

// doubtful puts a Message in doubt whose Charge the charging system answered so.
func (e *env) doubtful(b int64, id mobileid.ID, dest mobileid.Pseudonym, note mobileid.ChargeNote) mobileid.Outcome {
	e.t.Helper()
	o := e.outcome(id, mobileid.MessageInDoubt, dest, "")
	o.Charge = note
	e.settle(b, o)
	return o
}

// late is the answer that came to it after all, a refusal without an id.
func late(o mobileid.Outcome, state mobileid.MessageState, operatorID string, at time.Time) mobileid.Outcome {
	o.State, o.Late, o.Reason = state, true, mobileid.ReasonLateAnswer
	o.Parts = []mobileid.PartOutcome{o.Parts[0]}
	o.Parts[0].OperatorID, o.Parts[0].AnsweredAt = operatorID, at
	if operatorID == "" {
		o.Parts[0].Status = 0x58
	}
	return o
}

// What costs nothing costs nothing however the doubt ends.
func TestADoubtKeepsThatItsSMSIsFree(t *testing.T) {
	for name, end := range map[string]func(e *env, p person, b int64, o mobileid.Outcome){
		"delivered, says a receipt": func(e *env, p person, _ int64, o mobileid.Outcome) {
			must(e.t, e.Settle(e.ctx(), 0, account, []mobileid.Outcome{late(o, mobileid.MessageInDoubt, "a", e.clk.now())}))
			e.receipts(e.receipt(p.binding.Number, "a", mobileid.MessageDelivered))
		},
		"answered late": func(e *env, _ person, b int64, o mobileid.Outcome) {
			e.settle(b, late(o, mobileid.MessageSent, "a", e.clk.now()))
		},
		"to its end": func(e *env, _ person, _ int64, _ mobileid.Outcome) {
			e.clk.advance(3 * time.Hour)
			e.sweep(sweeperOf(e))
		},
		"delivered, says the file": func(e *env, p person, _ int64, _ mobileid.Outcome) {
			e.apply(fileOf(1), lineTo(p, 1, mobileid.MessageDelivered))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.priced(ledger.UnitMessage, true)
			p, b := e.bind(0), e.bridge()
			n := e.asked(p, b, "k")
			end(e, p, b, e.doubtful(b, n.Message.ID, n.Message.Dest, mobileid.ChargeFree))
			e.wantTransfers(n.Message.ID, "pending admitted 1 0", "voided charger -1 0")
			e.wantNoCall()
		})
	}
}

// What the charging system did not answer for is asked about when it is known that
// the operator has the SMS, not before, and not when nobody knows it to the end.
func TestADoubtKeepsThatItsChargeIsUnknown(t *testing.T) {
	start := []string{"pending admitted 1 0", "unknown charger -1 0"}
	for name, c := range map[string]struct {
		end  func(e *env, p person, b int64, o mobileid.Outcome)
		asks bool
		want string // transfer, when nothing is asked
	}{
		"delivered, says a receipt": {func(e *env, p person, _ int64, o mobileid.Outcome) {
			must(e.t, e.Settle(e.ctx(), 0, account, []mobileid.Outcome{late(o, mobileid.MessageInDoubt, "a", e.clk.now())}))
			e.receipts(e.receipt(p.binding.Number, "a", mobileid.MessageDelivered))
		}, true, ""},
		"answered late": {func(e *env, _ person, b int64, o mobileid.Outcome) {
			e.settle(b, late(o, mobileid.MessageSent, "a", e.clk.now()))
		}, true, ""},
		"delivered, says the file": {func(e *env, p person, _ int64, _ mobileid.Outcome) {
			e.apply(fileOf(1), lineTo(p, 1, mobileid.MessageDelivered))
		}, true, ""},
		"refused late": {func(e *env, _ person, b int64, o mobileid.Outcome) {
			e.settle(b, late(o, mobileid.MessageRejected, "", e.clk.now()))
		}, false, "voided answer 0 0"},
		"refused, says a receipt": {func(e *env, p person, _ int64, o mobileid.Outcome) {
			must(e.t, e.Settle(e.ctx(), 0, account, []mobileid.Outcome{late(o, mobileid.MessageInDoubt, "a", e.clk.now())}))
			e.receipts(e.receipt(p.binding.Number, "a", mobileid.MessageRejected))
		}, false, "voided receipt 0 0"},
		"not taken, and late for another try": {func(e *env, p person, b int64, o mobileid.Outcome) {
			e.settle(b, late(o, mobileid.MessageRetry, "", e.clk.now()))
			e.clk.advance(2 * time.Hour)
			e.sweep(sweeperOf(e))
		}, false, "voided stopped 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.priced(ledger.UnitMessage, true)
			p, b := e.bind(0), e.bridge()
			n := e.asked(p, b, "k")
			id := n.Message.ID
			o := e.doubtful(b, id, n.Message.Dest, mobileid.ChargeNotKnown)
			e.wantTransfers(id, start...)
			if calls, err := e.ChargeCalls(e.ctx(), operator, 100); err != nil || len(calls) != 0 {
				t.Fatalf("asked about while it is in doubt: %+v %v", calls, err)
			}
			c.end(e, p, b, o)
			if !c.asks {
				e.wantTransfers(id, append(start, c.want)...)
				must(t, e.ChargeTold(e.ctx(), e.wantCall(id, mobileid.ChargeVoided, 0), ""))
				e.wantNoCall()
				return
			}
			e.wantTransfers(id, start...)
			must(t, e.ChargeTold(e.ctx(), e.wantCall(id, mobileid.ChargeUnknown, 0), mobileid.ChargePosted))
			e.wantTransfers(id, append(start, "posted charger 0 1")...)
			must(t, e.ChargeTold(e.ctx(), e.wantCall(id, mobileid.ChargePosted, 1), ""))
			e.wantNoCall()
		})
	}
	t.Run("to its end, and delivered, says the file", func(t *testing.T) {
		e := newEnv(t)
		e.priced(ledger.UnitMessage, true)
		p, b := e.bind(0), e.bridge()
		n := e.asked(p, b, "k")
		e.doubtful(b, n.Message.ID, n.Message.Dest, mobileid.ChargeNotKnown)
		e.clk.advance(3 * time.Hour)
		e.sweep(sweeperOf(e))
		e.wantMessage(n.Message.ID, mobileid.MessageUnconfirmed, mobileid.ReasonNoAnswer)
		// What is held for it is given back, and the books go on without it.
		must(t, e.ChargeTold(e.ctx(), e.wantCall(n.Message.ID, mobileid.ChargeVoided, 0), ""))
		e.wantTransfers(n.Message.ID, start...)
		e.apply(fileOf(1), lineTo(p, 1, mobileid.MessageDelivered))
		e.wantTransfers(n.Message.ID, append(start, "posted receipt 0 1")...)
		e.wantCall(n.Message.ID, mobileid.ChargePosted, 1)
	})
	t.Run("a code, sent again and reserved", func(t *testing.T) {
		e := newEnv(t)
		e.priced(ledger.UnitMessage, true)
		p, b := e.bind(0), e.bridge()
		c := e.challenge(p, "k")
		c.Message.Charging = mobileid.ChargingDiameter
		e.issue(c)
		e.admit(b, c.Message.ID)
		e.doubtful(b, c.Message.ID, c.Message.Dest, mobileid.ChargeNotKnown)
		if a := e.admit(b, c.Message.ID)[0]; !a.Resend {
			t.Fatalf("%+v", a)
		}
		e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, c.Message.Dest, "b"))
		e.wantTransfers(c.Message.ID, append(start, "posted answer 0 1")...)
		e.wantCall(c.Message.ID, mobileid.ChargePosted, 1)
	})
	// It comes back, and is stopped before it goes: nothing is paid, whatever is
	// reserved there by now.
	t.Run("a code, not taken and not wanted any more", func(t *testing.T) {
		e := newEnv(t)
		e.priced(ledger.UnitMessage, true)
		p, b := e.bind(0), e.bridge()
		c := e.challenge(p, "k")
		c.Message.Charging = mobileid.ChargingDiameter
		e.issue(c)
		e.admit(b, c.Message.ID)
		o := e.doubtful(b, c.Message.ID, c.Message.Dest, mobileid.ChargeNotKnown)
		e.settle(b, late(o, mobileid.MessageRetry, "", e.clk.now()))
		must(t, e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeExhausted, mobileid.ReasonWrongCodes))
		e.wantMessage(c.Message.ID, mobileid.MessageCancelled, mobileid.ReasonOfChallenge(mobileid.ChallengeExhausted))
		must(t, e.ChargeTold(e.ctx(), e.wantCall(c.Message.ID, mobileid.ChargeUnknown, 0), mobileid.ChargePosted))
		e.wantTransfers(c.Message.ID, append(start, "voided stopped 0 0")...)
		must(t, e.ChargeTold(e.ctx(), e.wantCall(c.Message.ID, mobileid.ChargeVoided, 0), ""))
		e.wantNoCall()
	})
}

// Where we have no price his charging system has one: what was used is told by
// units, late or not, and what the operator refused is given back.
func TestWhatHasNoPriceIsToldByItsUnits(t *testing.T) {
	e := newEnv(t) // no tariff
	p, b := e.bind(0), e.bridge()
	inTime, delayed := e.asked(p, b, "in time"), e.asked(p, b, "delayed")
	e.settle(b, e.outcome(inTime.Message.ID, mobileid.MessageSent, p.binding.Number, "a"))
	o := e.doubtful(b, delayed.Message.ID, p.binding.Number, "")
	e.settle(b, late(o, mobileid.MessageSent, "b", e.clk.now()))
	calls := e.dueCalls()
	if len(calls) != 2 {
		t.Fatalf("calls %+v", calls)
	}
	for _, c := range calls {
		if c.Kind != mobileid.ChargePosted || c.Moved != 1 {
			t.Errorf("%s, %d moved", c.Kind, c.Moved)
		}
		must(t, e.ChargeTold(e.ctx(), c, ""))
	}
	e.receipts(e.receipt(p.binding.Number, "a", mobileid.MessageRejected))
	e.receipts(e.receipt(p.binding.Number, "a", mobileid.MessageRejected)) // operators repeat
	e.receipts(e.receipt(p.binding.Number, "b", mobileid.MessageDelivered))
	must(t, e.ChargeTold(e.ctx(), e.wantCall(inTime.Message.ID, mobileid.ChargeReversed, 1), ""))
	e.wantTransfers(inTime.Message.ID, "pending admitted 0 0", "posted answer 0 0", "reversed receipt 0 0")
	e.wantCharge(delayed.Message.ID, "posted")
	e.wantNoCall()
}

// An operator who charges otherwise from some day on has no bridge that makes his
// calls. What only waits for its turn is not given up.
func TestACallThatNobodyMakesAnyMoreIsGivenUp(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	n := e.asked(p, b, "k")
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "a"))
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	left := func() int { return query[int](e, `select count(*) from charge_calls`) }
	e.clk.advance(6*24*time.Hour + 23*time.Hour)
	e.sweep(s)
	if left() != 1 {
		t.Error("given up within seven days")
	}
	e.clk.advance(2 * time.Hour)
	e.sweep(s)
	if left() != 0 {
		t.Error("it stands for ever")
	}
	e.wantCharge(n.Message.ID, "posted")
}
