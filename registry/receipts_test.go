package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// sentNotice is a notice that the operator took under that id.
func (e *env) sentNotice(b int64, p person, key, operatorID string) mobileid.NewNotification {
	e.t.Helper()
	n := e.notice(p, key)
	e.queue(n)
	e.sent(b, p, n.Message.ID, operatorID)
	return n
}

func TestAReceiptThatTheSubscriberCouldNotPayIsTold(t *testing.T) {
	for _, early := range []bool{false, true} {
		e := newEnv(t)
		p, c, b := e.admittedCode()
		r := e.receipt(p.binding.Number, "7", mobileid.MessageRejected)
		r.Reason = mobileid.ReasonCannotPay
		if early { // and before somebody taught the bridge what it means
			before := r
			before.Reason, before.At = "", before.At.Add(-time.Second)
			e.receipts(before)
			e.receipts(r)
		}
		e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "7"))
		if !early {
			e.receipts(r)
		}
		e.wantMessage(c.Message.ID, mobileid.MessageRejected, mobileid.ReasonCannotPay)
		e.wantChallenge(c.Request.ID, mobileid.ChallengeUndeliverable, mobileid.ReasonCannotPay)
		e.wantCharge(c.Message.ID, "reversed")
		if have := query[string](e, `select reason from receipts where message_id = $1`, c.Message.ID[:]); have != mobileid.ReasonCannotPay {
			t.Errorf("the receipt is kept with reason %q", have)
		}
	}
	e := newEnv(t)
	if _, err := e.StoreReceipts(e.ctx(), []mobileid.Receipt{{Reason: "poor"}}); mobileid.CodeOf(err) != "receipt_reason" {
		t.Errorf("err = %v", err)
	}
}

// The reason of a failed part is not that of a Message which came after all.
func TestACodeSentTwiceThatCameOnceHasNoReasonToFail(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	first := e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, "")
	e.settle(b, first)
	e.admit(b, c.Message.ID)
	first.State, first.Parts[0].OperatorID, first.Parts[0].AnsweredAt = mobileid.MessageSent, "first", e.clk.now()
	must(t, e.Settle(e.ctx(), b, account, []mobileid.Outcome{first}))
	refused := e.receipt(p.binding.Number, "first", mobileid.MessageRejected)
	refused.Reason = mobileid.ReasonCannotPay
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "second"))
	e.receipts(refused)
	e.wantMessage(c.Message.ID, mobileid.MessageSent, "")
	e.receipts(e.receipt(p.binding.Number, "second", mobileid.MessageDelivered))
	e.wantMessage(c.Message.ID, mobileid.MessageDelivered, mobileid.ReasonReceipt)
	e.wantCharge(c.Message.ID, "posted")
}

// An operator's ids come round: within 72 h the newest Message with the id has
// the receipt, and behind them none.
func TestAReceiptIsLookedForThroughSeventyTwoHours(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(3*cost), e.bridge()
	n := e.sentNotice(b, p, "a", "9")
	just := e.receipt(p.binding.Number, "9", mobileid.MessageDelivered)
	just.At = just.At.Add(72*time.Hour - time.Second)
	past := just
	past.At = past.At.Add(time.Second)
	if have := e.receipts(past); have != 0 {
		t.Error("a receipt of 72 h later is matched")
	}
	if have := e.receipts(just); have != 1 {
		t.Error("a receipt of just within 72 h is not matched")
	}
	e.wantMessage(n.Message.ID, mobileid.MessageDelivered, mobileid.ReasonReceipt)
}

func TestAReceiptTwoDaysLateCorrectsTheChargeAndNotTheState(t *testing.T) {
	for _, c := range []struct {
		says   mobileid.MessageState
		charge string
	}{{mobileid.MessageUndeliverable, "reversed"}, {mobileid.MessageDelivered, "posted"}} {
		e := newEnv(t)
		p, n, b := e.admittedNotice()
		e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "7"))
		e.clk.advance(47 * time.Hour)
		e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
		e.wantMessage(n.Message.ID, mobileid.MessageUnconfirmed, mobileid.ReasonNoReceipt)
		e.wantCharge(n.Message.ID, "posted")
		e.clk.advance(time.Hour)
		for range 2 {
			if have := e.receipts(e.receipt(p.binding.Number, "7", c.says)); have != 1 {
				t.Fatalf("matched %d", have)
			}
		}
		e.wantMessage(n.Message.ID, mobileid.MessageUnconfirmed, mobileid.ReasonNoReceipt)
		e.wantCharge(n.Message.ID, c.charge)
		if have := query[int](e, `select count(*) from receipts where message_id = $1`, n.Message.ID[:]); have != 1 {
			t.Errorf("%d receipts are kept as facts, want 1", have)
		}
	}
}

// Receipts overtake each other, in one statement or over several: what says
// nothing final changes nothing, before or after, and the first final counts.
func TestReceiptsInAnyOrderEndAMessageOnce(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(3*cost), e.bridge()
	kinds := []mobileid.MessageState{"", mobileid.MessageDelivered, mobileid.MessageExpired}
	orders := [][]int{{0, 1, 2}, {1, 0, 2}, {1, 2, 0}}
	for i, order := range orders {
		id := string(rune('a' + i))
		n := e.sentNotice(b, p, id, id)
		var all []mobileid.Receipt
		for _, k := range order {
			all = append(all, e.receipt(p.binding.Number, id, kinds[k]))
		}
		if i == 0 {
			e.receipts(all...)
		} else {
			for _, r := range all {
				e.receipts(r, r)
			}
		}
		e.wantMessage(n.Message.ID, mobileid.MessageDelivered, mobileid.ReasonReceipt)
		e.wantCharge(n.Message.ID, "posted")
		if have := query[int](e, `select count(*) from receipts where message_id = $1`, n.Message.ID[:]); have != 3 {
			t.Errorf("order %v: %d receipts kept, want 3", order, have)
		}
		if have := query[int](e, `select state_version from messages where id = $1`, n.Message.ID[:]); have > 4 {
			t.Errorf("order %v: version %d of a Message that moved once", order, have)
		}
	}
}

func TestTheFirstFinalReceiptOfAPartCounts(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	o := e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "1")
	second := o.Parts[0]
	second.Part, second.Sequence, second.OperatorID = 2, second.Sequence+1000, "2"
	o.Parts = append(o.Parts, second)
	e.settle(b, o)
	for _, r := range []mobileid.Receipt{
		e.receipt(p.binding.Number, "1", mobileid.MessageDelivered),
		e.receipt(p.binding.Number, "1", mobileid.MessageExpired),
		e.receipt(p.binding.Number, "2", mobileid.MessageDelivered),
	} {
		e.receipts(r)
	}
	e.wantMessage(n.Message.ID, mobileid.MessageDelivered, mobileid.ReasonReceipt)
	e.wantCharge(n.Message.ID, "posted")
}

// Two bridges of one account: the receipt comes on a bind of the one before the
// other, which wrote the Message, has settled the answer; and at the same time.
func TestAReceiptOnAnotherBridgeFindsTheAnswerOfTheOther(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	const messages = 40
	p, b := e.bind(messages*cost), e.bridge()
	other := e.bridge()
	var ns []mobileid.NewNotification
	var outcomes []mobileid.Outcome
	var receipts []mobileid.Receipt
	for i := range messages {
		id := string(rune('A'+i/26)) + string(rune('a'+i%26))
		n := e.notice(p, id)
		ns = append(ns, n)
		outcomes = append(outcomes, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, id))
		receipts = append(receipts, e.receipt(p.binding.Number, id, mobileid.MessageDelivered))
	}
	e.queue(ns...)
	for i, n := range ns {
		if i%2 == 0 {
			e.admit(b, n.Message.ID)
		} else {
			e.admit(other, n.Message.ID)
		}
	}
	done := make(chan error, 1)
	go func() {
		for i := range receipts {
			if _, err := e.StoreReceipts(e.ctx(), receipts[i:i+1]); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range outcomes {
		owner := b
		if i%2 == 1 {
			owner = other
		}
		e.settle(owner, outcomes[i])
	}
	must(t, <-done)
	// What raced is the sweeper's.
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
	for _, n := range ns {
		e.wantMessage(n.Message.ID, mobileid.MessageDelivered, mobileid.ReasonReceipt)
		e.wantCharge(n.Message.ID, "posted")
	}
	if have := query[int](e, `select count(*) from receipts_unmatched`); have != 0 {
		t.Errorf("%d receipts wait", have)
	}
}
