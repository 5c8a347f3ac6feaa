package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// two queues a notice of two parts.
func (e *env) two(p person, key string) mobileid.NewNotification {
	n := e.notice(p, key)
	n.Message.Parts = 2
	e.queue(n)
	return n
}

// retrying has the operator take the first part and ask for the rest later.
func (e *env) retrying(b int64, n mobileid.NewNotification, id string) {
	o := e.partly(n, mobileid.MessageRetry, id)
	o.RetryAt = e.clk.now().Add(10 * time.Minute)
	e.settle(b, o)
}

// While a Message waits for its retry, a receipt of what was sent of it decides nothing.
func TestHalfAnSMSThatExpiresIsNotPaidByItsReceipt(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(10*cost), e.bridge()
	n := e.two(p, "k")
	e.admit(b, n.Message.ID)
	e.retrying(b, n, "a")
	e.receipts(e.receipt(n.Message.Dest, "a", mobileid.MessageDelivered))
	e.clk.advance(2 * time.Hour)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
	e.wantMessage(n.Message.ID, mobileid.MessageExpired, mobileid.ReasonDeadline)
	e.wantCharge(n.Message.ID, "voided")
}

// A part that failed while the other one waits does not make the next sending free.
func TestARetryIsNotFreeBecauseAPartFailed(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(10*cost), e.bridge()
	n := e.two(p, "k")
	e.admit(b, n.Message.ID)
	e.retrying(b, n, "a")
	e.receipts(e.receipt(n.Message.Dest, "a", mobileid.MessageUndeliverable))
	e.clk.advance(11 * time.Minute)
	if a := e.admit(b, n.Message.ID)[0]; a.Verdict != mobileid.VerdictMine {
		t.Fatalf("%s, %s", a.Verdict, a.State)
	}
	e.wantCharge(n.Message.ID, "pending")
}

// A code in doubt is sent again and told to come later; the first one fails late.
func TestAThirdSendingIsPaidWhenItComes(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	c := e.challenge(p, "k")
	e.issue(c)
	e.admit(b, c.Message.ID)
	first := e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, "")
	e.settle(b, first)
	e.admit(b, c.Message.ID)
	o := e.outcome(c.Message.ID, mobileid.MessageRetry, p.binding.Number, "")
	o.RetryAt = e.clk.now().Add(5 * time.Second)
	e.settle(b, o)
	// The late answer of the first, kept as a fact.
	late := e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, "first")
	late.Late = true
	must(t, e.Settle(e.ctx(), 0, account, []mobileid.Outcome{late}))
	e.receipts(e.receipt(p.binding.Number, "first", mobileid.MessageUndeliverable))
	e.clk.advance(6 * time.Second)
	e.admit(b, c.Message.ID)
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "third"))
	e.receipts(e.receipt(p.binding.Number, "third", mobileid.MessageDelivered))
	e.wantMessage(c.Message.ID, mobileid.MessageDelivered, "receipt")
	e.wantCharge(c.Message.ID, "posted")
}

// The answer of the charging system was lost, and the operator refuses the SMS.
func TestWhatTheOperatorRefusesIsToldThoughNobodyKnewOfIt(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	n := e.notice(p, "k")
	n.Message.Charging = mobileid.ChargingDiameter
	e.queue(n)
	e.admit(b, n.Message.ID)
	o := e.outcome(n.Message.ID, mobileid.MessageRejected, p.binding.Number, "")
	o.Charge = mobileid.ChargeNotKnown
	e.settle(b, o)
	calls, err := e.ChargeCalls(e.ctx(), operator, 100)
	must(t, err)
	if len(calls) != 1 || calls[0].Kind != mobileid.ChargeVoided {
		t.Errorf("the charging system is told %+v, not that the SMS was refused", calls)
	}
}

func TestMorePartsThanArePricedAreGivenBackOnce(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitPart, true)
	p, b := e.bind(10*cost), e.bridge()
	n := e.two(p, "k")
	e.admit(b, n.Message.ID)
	e.settle(b, e.partly(n, mobileid.MessageSent, "a", "b", "c"))
	e.receipts(e.receipt(n.Message.Dest, "a", mobileid.MessageRejected), e.receipt(n.Message.Dest, "b", mobileid.MessageRejected), e.receipt(n.Message.Dest, "c", mobileid.MessageRejected))
	e.wantMessage(n.Message.ID, mobileid.MessageRejected, "receipt")
	e.wantTransfers(n.Message.ID, "pending admitted 2 0", "posted answer -2 2", "reversed receipt 0 -2")
}

func TestMorePartsThanArePricedInDoubt(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitPart, true)
	p, b := e.bind(10*cost), e.bridge()
	n := e.two(p, "k")
	e.admit(b, n.Message.ID)
	o := e.partly(n, mobileid.MessageInDoubt, "a", "b", "c")
	e.settle(b, o)
	e.receipts(e.receipt(n.Message.Dest, "a", mobileid.MessageRejected), e.receipt(n.Message.Dest, "b", mobileid.MessageRejected), e.receipt(n.Message.Dest, "c", mobileid.MessageRejected))
	e.wantTransfers(n.Message.ID, "pending admitted 2 0", "voided receipt -2 0")
}

func TestARepeatedReceiptDoesNotSuspendAgain(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	n := e.notice(p, "k")
	n.Message.Charging = mobileid.ChargingOperator
	e.queue(n)
	e.admit(b, n.Message.ID)
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "a"))
	r := e.receipt(p.binding.Number, "a", mobileid.MessageRejected)
	r.Reason = mobileid.ReasonCannotPay
	e.receipts(r)
	e.clk.advance(time.Hour)
	must(t, e.Tell(e.ctx(), mobileid.BalanceNews{Source: "operator:" + operator, Seq: "1", Operator: operator, Number: p.binding.Number, Kind: mobileid.BalanceTopUp, Amount: 100 * cost, At: e.clk.now()}))
	if e.suspended(p) {
		t.Fatal("not back")
	}
	e.receipts(r) // the operator repeats it
	if e.suspended(p) {
		t.Error("the same receipt, repeated, suspends again")
	}
}

func TestTheDailyLimitHoldsAtMidnightWithClocksApart(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(100*cost), e.bridge()
	e.exec(`update accounts set daily_limit = $2 where id = $1`, p.binding.Account, cost)
	mine := 0
	midnight := time.Date(2026, 11, 23, 19, 0, 0, 0, time.UTC)
	for i := range 6 { // two bridges, a second apart
		e.clk.ns.Store(midnight.Add(time.Duration(i%2)*time.Second - time.Millisecond).UnixNano())
		n := e.notice(p, string(rune('a'+i)))
		e.queue(n)
		if e.admit(b, n.Message.ID)[0].Verdict == mobileid.VerdictMine {
			mine++
		}
	}
	if mine > 2 {
		t.Errorf("%d in two days with a ceiling of one", mine)
	}
}

func TestAnOutcomeThatMovesNothingSuspendsNobody(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, a := e.bind(0), e.bridge()
	c := e.challenge(p, "k")
	c.Message.Charging = mobileid.ChargingOperator
	e.issue(c)
	e.admit(a, c.Message.ID)
	e.kill(a)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
	b := e.bridge()
	if v := e.admit(b, c.Message.ID)[0]; v.Verdict != mobileid.VerdictMine {
		t.Fatalf("%+v", v)
	}
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "b"))
	e.settle(a, e.outcome(c.Message.ID, mobileid.MessageNoFunds, p.binding.Number, ""))
	e.wantMessage(c.Message.ID, mobileid.MessageSent, "")
	if e.suspended(p) {
		t.Error("an outcome that moved nothing suspends")
	}
}
