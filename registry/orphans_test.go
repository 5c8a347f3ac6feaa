package registry_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// orphaned is a receipt on the operator's account whose answer nobody stored.
func (e *env) orphaned(dest mobileid.Pseudonym, operatorID string, state mobileid.MessageState) mobileid.Receipt {
	r := e.receipt(dest, operatorID, state)
	r.Account = operator + "/" + account
	return r
}

func orphanSweeper(e *env) *registry.Sweeper {
	return registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: 2, OrphanAfter: time.Minute}, nil, nil)
}

func referenceOf(id mobileid.ID) *uint16 { return new(binary.BigEndian.Uint16(id[7:9])) }

func TestAReceiptWhoseAnswerNeverCameEndsTheDoubt(t *testing.T) {
	for _, c := range []struct {
		receipt, state mobileid.MessageState
		charge         string
	}{
		{mobileid.MessageDelivered, mobileid.MessageDelivered, "posted"},
		{mobileid.MessageUndeliverable, mobileid.MessageUndeliverable, "voided"},
		{"", mobileid.MessageInDoubt, "pending"},
	} {
		t.Run(string(c.receipt), func(t *testing.T) {
			e := newEnv(t)
			p, n, b := e.admittedNotice()
			e.clk.advance(time.Second)
			e.receipts(e.orphaned(p.binding.Number, "42", c.receipt))
			s := orphanSweeper(e)
			e.kill(b)
			e.sweep(s)
			e.wantMessage(n.Message.ID, mobileid.MessageInDoubt, "owner_lost")
			e.clk.advance(2 * time.Minute)
			e.sweep(s)
			reason := "receipt"
			if c.state == mobileid.MessageInDoubt {
				reason = "owner_lost"
			}
			e.wantMessage(n.Message.ID, c.state, reason)
			e.wantCharge(n.Message.ID, c.charge)
			if left := query[int](e, `select count(*) from receipts_unmatched`); left != 0 {
				t.Errorf("%d receipts belong to nothing", left)
			}
			// From now on the operator's id is known: the same receipt again is matched.
			if matched := e.receipts(e.orphaned(p.binding.Number, "42", c.receipt)); matched != 1 {
				t.Error("the receipt came again and belongs to nothing")
			}
		})
	}
}

func TestACodeWhoseSecondBridgeDiedIsEndedByEitherReceipt(t *testing.T) {
	e := newEnv(t)
	p, c, first := e.admittedCode()
	e.kill(first)
	s := orphanSweeper(e)
	e.sweep(s)
	second := e.bridge()
	if a := e.admit(second, c.Message.ID); a[0].Verdict != mobileid.VerdictMine || !a[0].Resend {
		t.Fatalf("%+v, want mine, a resend", a[0])
	}
	e.kill(second)
	e.sweep(s)
	e.wantMessage(c.Message.ID, mobileid.MessageInDoubt, "owner_lost")
	e.receipts(e.orphaned(p.binding.Number, "first", mobileid.MessageUndeliverable), e.orphaned(p.binding.Number, "second", mobileid.MessageDelivered))
	e.clk.advance(2 * time.Minute)
	e.sweep(s)
	e.wantMessage(c.Message.ID, mobileid.MessageDelivered, "receipt")
	e.wantCharge(c.Message.ID, "posted")
	e.wantChallenge(c.Request.ID, mobileid.ChallengePending, "")
}

func TestAReceiptThatTwoMayBelongToIsLeftAlone(t *testing.T) {
	for _, told := range []bool{false, true} {
		t.Run(fmt.Sprint("reference ", told), func(t *testing.T) {
			e := newEnv(t)
			e.tariff()
			p, b := e.bind(2*cost), e.bridge()
			one, two := e.notice(p, "1"), e.notice(p, "2")
			e.queue(one, two)
			e.admit(b, one.Message.ID, two.Message.ID)
			e.kill(b)
			s := orphanSweeper(e)
			e.sweep(s)
			r := e.orphaned(p.binding.Number, "42", mobileid.MessageDelivered)
			if told {
				r.Reference = referenceOf(two.Message.ID)
			}
			e.receipts(r)
			e.clk.advance(2 * time.Minute)
			e.sweep(s)
			e.wantMessage(one.Message.ID, mobileid.MessageInDoubt, "owner_lost")
			if told {
				e.wantMessage(two.Message.ID, mobileid.MessageDelivered, "receipt")
				return
			}
			e.wantMessage(two.Message.ID, mobileid.MessageInDoubt, "owner_lost")
			if left := query[int](e, `select count(*) from receipts_unmatched`); left != 1 {
				t.Errorf("%d receipts wait, want 1", left)
			}
		})
	}
}

func TestWhatIsNotOfTheMessageDoesNotEndItsDoubt(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(e *env, r *mobileid.Receipt)
	}{
		{"another number", func(_ *env, r *mobileid.Receipt) { r.Dest[0]++ }},
		{"another operator", func(_ *env, r *mobileid.Receipt) { r.Account = "ucell/" + account }},
		{"another reference", func(_ *env, r *mobileid.Receipt) { *r.Reference++ }},
		{"before it was admitted", func(e *env, r *mobileid.Receipt) { r.At = e.clk.now().Add(-time.Hour) }},
		{"just now", func(e *env, r *mobileid.Receipt) { r.At = e.clk.now().Add(2*time.Minute - 59*time.Second) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t)
			p, n, b := e.admittedNotice()
			e.kill(b)
			s := orphanSweeper(e)
			e.sweep(s)
			r := e.orphaned(p.binding.Number, "42", mobileid.MessageDelivered)
			r.Reference = referenceOf(n.Message.ID)
			c.spoil(e, &r)
			e.receipts(r)
			e.clk.advance(2 * time.Minute)
			e.sweep(s)
			e.wantMessage(n.Message.ID, mobileid.MessageInDoubt, "owner_lost")
		})
	}
}

func TestALongTextInDoubtIsDeliveredByReceiptsOfAllItsParts(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(cost), e.bridge()
	n := e.notice(p, "k")
	n.Message.Parts = 3
	e.queue(n)
	e.admit(b, n.Message.ID)
	e.kill(b)
	s := orphanSweeper(e)
	e.sweep(s)
	for i, id := range []string{"a", "b", "c"} {
		e.wantMessage(n.Message.ID, mobileid.MessageInDoubt, "owner_lost")
		e.receipts(e.orphaned(p.binding.Number, id, mobileid.MessageDelivered))
		e.clk.advance(2 * time.Minute)
		e.sweep(s)
		if have := query[int](e, `select count(distinct part) from message_parts`); have != i+1 {
			t.Fatalf("receipts of %d parts are stored, want %d", have, i+1)
		}
	}
	e.wantMessage(n.Message.ID, mobileid.MessageDelivered, "receipt")
}

func TestDoubtsAreForgottenWhenNoReceiptCanCome(t *testing.T) {
	e := newEnv(t)
	_, _, b := e.admittedNotice()
	e.kill(b)
	s := orphanSweeper(e)
	e.sweep(s)
	doubts := func() int { return query[int](e, `select count(*) from doubts`) }
	if doubts() != 1 {
		t.Fatal("the doubt is not remembered")
	}
	e.clk.advance(97 * time.Hour)
	e.sweep(s)
	if doubts() != 0 {
		t.Error("the doubt is never forgotten")
	}
}
