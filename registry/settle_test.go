package registry_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// sentTo has a person's code or notice sent, with the operator's id.
func (e *env) sent(b int64, p person, id mobileid.ID, operatorID string) {
	e.t.Helper()
	if a := e.admit(b, id)[0]; a.Verdict != mobileid.VerdictMine {
		e.t.Fatalf("not admitted: %+v", a)
	}
	e.settle(b, e.outcome(id, mobileid.MessageSent, p.binding.Number, operatorID))
}

func TestWhatTheOperatorAnswered(t *testing.T) {
	cases := []struct {
		state     mobileid.MessageState
		reason    string
		charge    string
		challenge mobileid.ChallengeState
		due       int // comes back by DueRetries
	}{
		{"sent", "", "posted", "pending", 0},
		{"rejected", "smpp_0x0b", "voided", "undeliverable", 0},
		{"no_funds", "subscriber_cannot_pay", "voided", "no_funds", 0},
		{"failed", "encoding", "voided", "failed", 0},
		{"expired", "deadline", "voided", "expired", 0},
		{"retry", "smpp_0x58", "pending", "pending", 1},
		{"in_doubt", "no_answer", "pending", "pending", 1},
	}
	e := newEnv(t)
	e.tariff()
	for _, tc := range cases {
		t.Run(string(tc.state), func(t *testing.T) {
			e.exec(`delete from retries`)
			p := e.bind(cost)
			c := e.challenge(p, "k"+string(tc.state))
			e.issue(c)
			b := e.bridge()
			e.admit(b, c.Message.ID)
			o := e.outcome(c.Message.ID, tc.state, p.binding.Number, "op"+string(tc.state))
			o.Reason = tc.reason
			e.settle(b, o, o)
			e.wantMessage(c.Message.ID, tc.state, tc.reason)
			e.wantCharge(c.Message.ID, tc.charge)
			if have := e.challengeState(c.Request.ID); have != tc.challenge {
				t.Errorf("challenge is %s, want %s", have, tc.challenge)
			}
			e.wantErased(c.Message.ID, tc.state.Terminal() || tc.state == mobileid.MessageSent)
			due, err := e.DueRetries(e.ctx(), operator, 10)
			must(t, err)
			if len(due) != tc.due {
				t.Errorf("%d due, want %d", len(due), tc.due)
			}
			if n := query[int](e, `select count(*) from message_parts where message_id = $1`, c.Message.ID[:]); n != 1 {
				t.Errorf("%d parts kept", n)
			}
		})
	}
	err := e.Settle(e.ctx(), 1, account, []mobileid.Outcome{{State: mobileid.MessageDelivered}})
	if mobileid.CodeOf(err) != "outcome_state" {
		t.Errorf("err = %v", err)
	}
}

// A try that counts, and the parts that the operator has, come back with the
// next admission, on whichever bridge; being given back is no try.
func TestTriesAndTakenPartsComeBackWithTheNextAdmission(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	first, second := e.outcome(n.Message.ID, mobileid.MessageRetry, p.binding.Number, "op1"), e.outcome(n.Message.ID, mobileid.MessageRetry, p.binding.Number, "op2")
	first.Tried, first.Parts[0].Part = true, 2
	refused := first.Parts[0]
	refused.Part, refused.Sequence, refused.Status, refused.OperatorID, refused.Link = 1, 900, 0x45, "", "link-2"
	first.Parts = append(first.Parts, refused)
	e.settle(b, first)
	other := e.bridge()
	a := e.admit(other, n.Message.ID)[0]
	if a.Verdict != mobileid.VerdictMine || a.Tries != 1 || a.Parts != n.Message.Parts || !a.Taken.Has(2) || a.Taken.Has(1) || a.Taken.Has(3) {
		t.Fatalf("admitted again: %+v", a)
	}
	if links := query[int](e, `select count(distinct link) from message_parts where message_id = $1`, n.Message.ID[:]); links != 2 {
		t.Errorf("parts written on %d links, want 2", links)
	}
	second.Parts[0].Part = 3
	e.settle(other, second)
	if a = e.admit(b, n.Message.ID)[0]; a.Tries != 1 || !a.Taken.Has(2) || !a.Taken.Has(3) || a.Taken.Has(1) {
		t.Errorf("given back and admitted again: %+v", a)
	}
}

func TestOnlyTheOwnerSettles(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(cost)
	c := e.challenge(p, "k")
	e.issue(c)
	owner, other := e.bridge(), e.bridge()
	e.admit(owner, c.Message.ID)
	e.settle(other, e.outcome(c.Message.ID, mobileid.MessageRejected, p.binding.Number, ""))
	e.wantMessage(c.Message.ID, mobileid.MessageAdmitted, "")
	e.wantCharge(c.Message.ID, "pending")

	e.settle(owner, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "1"))
	e.settle(owner, e.outcome(c.Message.ID, mobileid.MessageRejected, p.binding.Number, ""))
	e.wantMessage(c.Message.ID, mobileid.MessageSent, "")
	e.wantCharge(c.Message.ID, "posted")
}

// A bridge that was only thought dead, because the registry was away for longer
// than its lease, knows what it has not written: that comes again. What it does not
// know stays in doubt, and what another bridge has by then is that one's.
func TestWhatALostOwnerDidNotWriteComesAgain(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	p := e.bind(10 * cost)
	lost, other := e.bridge(), e.bridge()
	back, unknown := e.notice(p, "back"), e.notice(p, "unknown")
	taken := e.challenge(p, "taken")
	e.queue(back, unknown)
	e.issue(taken)
	e.admit(lost, back.Message.ID, unknown.Message.ID, taken.Message.ID)
	e.settle(lost, e.outcome(unknown.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	e.kill(lost)
	e.sweep(s)
	e.wantMessage(back.Message.ID, mobileid.MessageInDoubt, "owner_lost")
	if a := e.admit(other, taken.Message.ID)[0]; !a.Resend {
		t.Fatalf("%+v", a)
	}

	notWritten := func(id mobileid.ID) mobileid.Outcome {
		return mobileid.Outcome{ID: id, State: mobileid.MessageRetry, Reason: mobileid.ReasonNotWritten, RetryAt: e.clk.now()}
	}
	for range 2 { // stored again, nothing changes
		e.settle(lost, notWritten(back.Message.ID), notWritten(unknown.Message.ID), notWritten(taken.Message.ID))
	}
	e.wantMessage(back.Message.ID, mobileid.MessageRetry, mobileid.ReasonNotWritten)
	e.wantMessage(unknown.Message.ID, mobileid.MessageInDoubt, "")
	e.wantMessage(taken.Message.ID, mobileid.MessageAdmitted, "")
	if n := query[int](e, `select count(*) from doubts where message_id = $1`, back.Message.ID[:]); n != 0 {
		t.Error("a receipt of another Message could be taken for one of what was never written")
	}
	due, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(due) != 1 || due[0].ID != back.Message.ID {
		t.Fatalf("due: %+v", due)
	}
	if a := e.admit(other, back.Message.ID)[0]; a.Verdict != mobileid.VerdictMine || a.Resend {
		t.Fatalf("%+v", a)
	}
	e.settle(other, e.outcome(back.Message.ID, mobileid.MessageSent, p.binding.Number, "1"))
	e.wantCharge(back.Message.ID, "posted")
}

func TestALateAnswerSettlesWhatWasInDoubt(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	o := e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, "")
	e.settle(b, o)
	o.State, o.Parts[0].OperatorID, o.Parts[0].AnsweredAt = mobileid.MessageSent, "late", e.clk.now()
	e.settle(b, o)
	e.wantMessage(c.Message.ID, mobileid.MessageSent, "")
	e.wantCharge(c.Message.ID, "posted")
	due, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(due) != 0 {
		t.Fatal("what is sent would be sent again")
	}
	if n := e.receipts(e.receipt(p.binding.Number, "late", mobileid.MessageDelivered)); n != 1 {
		t.Fatal("the id of the late answer is not known")
	}
}

// What a late answer says of a code that is being sent again is kept under no
// bridge: it fills the part that was stored without it and moves nothing, and
// the receipt of that first SMS finds its Message.
func TestALateAnswerMovesNothingUnderNoBridge(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	o := e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, "")
	e.settle(b, o)
	if a := e.admit(b, c.Message.ID)[0]; !a.Resend {
		t.Fatalf("%+v", a)
	}
	o.Parts[0].OperatorID, o.Parts[0].AnsweredAt = "late", e.clk.now()
	e.settle(0, o)
	e.wantMessage(c.Message.ID, mobileid.MessageAdmitted, "")
	if n := query[int](e, `select count(*) from message_parts where message_id = $1 and operator_id = 'late'`, c.Message.ID[:]); n != 1 {
		t.Fatalf("%d parts have the id", n)
	}
	if n := e.receipts(e.receipt(p.binding.Number, "late", mobileid.MessageDelivered)); n != 1 {
		t.Fatal("the receipt of the first sending finds nothing")
	}
}

// notTaken is an answer, after the wait for it, that asks for later.
func (e *env) notTaken(id mobileid.ID, dest mobileid.Pseudonym) mobileid.Outcome {
	o := e.outcome(id, mobileid.MessageRetry, dest, "")
	o.Late, o.Reason, o.RetryAt = true, "smpp_0x58", e.clk.now().Add(time.Second)
	o.Parts[0].Status, o.Parts[0].AnsweredAt = 0x58, e.clk.now()
	return o
}

// What the operator surely did not take is in doubt no more: a notice comes back
// and is charged once.
func TestANoticeThatALateAnswerRefusedForNowComesBack(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	id := n.Message.ID
	e.settle(b, e.outcome(id, mobileid.MessageInDoubt, p.binding.Number, ""))
	late := e.notTaken(id, p.binding.Number)
	e.settle(b, late, late)
	e.wantMessage(id, mobileid.MessageRetry, "smpp_0x58")
	e.wantCharge(id, "pending")
	if n := query[int](e, `select count(*) from doubts`); n != 0 {
		t.Error("it still counts as one that a receipt without an answer may be of")
	}
	e.clk.advance(time.Second)
	due, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(due) != 1 {
		t.Fatalf("%d due", len(due))
	}
	if a := e.admit(e.bridge(), id)[0]; a.Verdict != mobileid.VerdictMine || a.Resend || a.Sealed == nil {
		t.Fatalf("%+v", a)
	}
}

func TestALateRefusalForNowThatLeavesNoTimeEndsTheNotice(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	late := e.notTaken(n.Message.ID, p.binding.Number)
	late.State = mobileid.MessageExpired
	e.settle(b, late)
	e.wantMessage(n.Message.ID, mobileid.MessageExpired, "smpp_0x58")
	e.wantCharge(n.Message.ID, "voided")
}

// Of a code that was sent twice one sending says nothing about the other, and an
// outcome that is no late answer is no proof.
func TestARefusalForNowThatProvesNothingLeavesTheDoubt(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	id := c.Message.ID
	doubt := func() { e.settle(b, e.outcome(id, mobileid.MessageInDoubt, p.binding.Number, "")) }
	doubt()
	given := e.notTaken(id, p.binding.Number)
	given.Late = false
	e.settle(b, given) // back from an admission that may not have been
	e.wantMessage(id, mobileid.MessageInDoubt, "")
	if a := e.admit(b, id)[0]; !a.Resend {
		t.Fatalf("%+v", a)
	}
	e.settle(b, e.notTaken(id, p.binding.Number)) // of the first, while the second is on its way
	e.wantMessage(id, mobileid.MessageAdmitted, "")
	doubt()
	e.settle(b, e.notTaken(id, p.binding.Number)) // of either
	e.wantMessage(id, mobileid.MessageInDoubt, "")
	e.wantCharge(id, "pending")
	if n := query[int](e, `select count(*) from doubts`); n != 1 {
		t.Errorf("%d doubts", n)
	}
}

// A part that a late answer says the operator has is not written again, whoever
// has the Message.
func TestPartsThatLateAnswersSayAreTakenAreNotWrittenAgain(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	id := c.Message.ID
	doubt := e.outcome(id, mobileid.MessageInDoubt, p.binding.Number, "")
	other := doubt.Parts[0]
	other.Part, other.Sequence = 2, 999
	doubt.Parts = append(doubt.Parts, other)
	e.settle(b, doubt)
	fact := doubt
	fact.Late, fact.Parts = true, []mobileid.PartOutcome{other}
	fact.Parts[0].OperatorID, fact.Parts[0].AnsweredAt = "late", e.clk.now()
	version := query[int64](e, `select state_version from messages where id = $1`, id[:])
	e.settle(0, fact)
	if now := query[int64](e, `select state_version from messages where id = $1`, id[:]); now != version {
		t.Error("a fact is told as a change of state")
	}
	a := e.admit(b, id)[0]
	if !a.Resend || a.Taken.Has(1) || !a.Taken.Has(2) {
		t.Errorf("%+v", a)
	}
}

func TestANoticeInDoubtIsNotSentAgain(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	due, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(due) != 0 {
		t.Fatal("a notice in doubt is due")
	}
	if a := e.admit(b, n.Message.ID)[0]; a.Verdict != mobileid.VerdictDrop {
		t.Fatalf("%+v", a)
	}
}

func TestRetriesAreDueAtTheirTimeAndOfTheirOperator(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	o := e.outcome(c.Message.ID, mobileid.MessageRetry, p.binding.Number, "")
	o.RetryAt = e.clk.now().Add(5 * time.Second)
	e.settle(b, o)
	due := func(op string) int {
		items, err := e.DueRetries(e.ctx(), op, 10)
		must(t, err)
		return len(items)
	}
	if due(operator) != 0 {
		t.Fatal("due too early")
	}
	e.clk.advance(5 * time.Second)
	if due(operator) != 1 || due("ucell") != 0 {
		t.Fatal("not due, or due at another operator")
	}
	if a := e.admit(b, c.Message.ID)[0]; a.Verdict != mobileid.VerdictMine || a.Resend {
		t.Fatalf("%+v", a)
	}
	if due(operator) != 0 {
		t.Fatal("due again while a bridge has it")
	}
}

// A thousand notices have been due for an hour: the code that is due last comes
// in the first page all the same, and each says its lane.
func TestADueCodeComesBeforeDueNotices(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	notices := make([]mobileid.NewNotification, 1000)
	for i := range notices {
		notices[i] = e.notice(p, fmt.Sprint("n", i))
		notices[i].Message.Account = 0
	}
	e.queue(notices...)
	for _, n := range notices {
		e.exec(`insert into retries (message_id, operator, due_at) values ($1, $2, $3)`, n.Message.ID[:], operator, now0.Add(-time.Hour))
	}
	items, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(items) != 10 || items[0].ID != c.Message.ID || items[0].Lane != mobileid.LaneOTP {
		t.Fatalf("%d due, first %s on lane %q", len(items), items[0].ID, items[0].Lane)
	}
	for _, it := range items[1:] {
		if it.Lane != mobileid.LaneBulk {
			t.Errorf("a notice is due on lane %q", it.Lane)
		}
	}
}

func TestReceiptsEndAMessageAndCorrectItsCharge(t *testing.T) {
	cases := []struct {
		receipt   mobileid.MessageState
		charge    string
		challenge mobileid.ChallengeState
	}{
		{"delivered", "posted", "pending"},
		{"undeliverable", "reversed", "undeliverable"},
		{"rejected", "reversed", "undeliverable"},
		{"expired", "reversed", "undeliverable"},
		{"failed", "reversed", "failed"},
	}
	e := newEnv(t)
	e.tariff()
	for _, tc := range cases {
		t.Run(string(tc.receipt), func(t *testing.T) {
			p := e.bind(cost)
			c := e.challenge(p, "k"+string(tc.receipt))
			e.issue(c)
			e.sent(e.bridge(), p, c.Message.ID, "id")
			accepted := e.receipt(p.binding.Number, "id", "")
			if n := e.receipts(accepted); n != 1 {
				t.Fatalf("matched %d", n)
			}
			e.wantMessage(c.Message.ID, mobileid.MessageSent, "")
			r := e.receipt(p.binding.Number, "id", tc.receipt)
			for range 3 {
				if n := e.receipts(r, r); n != 2 {
					t.Fatalf("matched %d", n)
				}
			}
			e.wantMessage(c.Message.ID, tc.receipt, "receipt")
			e.wantCharge(c.Message.ID, tc.charge)
			if have := e.challengeState(c.Request.ID); have != tc.challenge {
				t.Errorf("challenge is %s, want %s", have, tc.challenge)
			}
			if n := query[int](e, `select count(*) from receipts where message_id = $1`, c.Message.ID[:]); n != 2 {
				t.Errorf("%d receipts kept, want 2", n)
			}
			// Another verdict of the operator later is a fact, not a state.
			e.receipts(e.receipt(p.binding.Number, "id", "undeliverable"), e.receipt(p.binding.Number, "id", "delivered"))
			e.wantMessage(c.Message.ID, tc.receipt, "receipt")
			e.wantCharge(c.Message.ID, tc.charge)
		})
	}
}

func TestAMessageOfManyPartsEndsWithTheLast(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(3 * cost)
	b := e.bridge()
	send := func(key string) mobileid.NewNotification {
		n := e.notice(p, key)
		e.queue(n)
		e.admit(b, n.Message.ID)
		o := e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, key+"1")
		second := o.Parts[0]
		second.Part, second.Sequence, second.OperatorID = 2, second.Sequence+1000, key+"2"
		o.Parts = append(o.Parts, second)
		e.settle(b, o)
		return n
	}
	good, bad := send("good"), send("bad")
	r := func(id string, s mobileid.MessageState) mobileid.Receipt { return e.receipt(p.binding.Number, id, s) }
	e.receipts(r("good1", "delivered"), r("bad1", "undeliverable"))
	e.wantMessage(good.Message.ID, mobileid.MessageSent, "")
	e.wantMessage(bad.Message.ID, mobileid.MessageSent, "")
	e.receipts(r("good2", "delivered"), r("bad2", "delivered"))
	e.wantMessage(good.Message.ID, mobileid.MessageDelivered, "receipt")
	e.wantMessage(bad.Message.ID, mobileid.MessageUndeliverable, "receipt")
	e.wantCharge(good.Message.ID, "posted")
	e.wantCharge(bad.Message.ID, "reversed")
}

// A bridge that died between two parts leaves an answer for one of them only.
func TestTheReceiptOfOnePartDoesNotDeliverTheOthers(t *testing.T) {
	for state, charge := range map[mobileid.MessageState]string{mobileid.MessageDelivered: "pending", mobileid.MessageUndeliverable: "voided"} {
		t.Run(string(state), func(t *testing.T) {
			e := newEnv(t)
			e.tariff()
			p, b := e.bind(cost), e.bridge()
			n := e.notice(p, "k")
			n.Message.Parts = 2
			e.queue(n)
			e.admit(b, n.Message.ID)
			e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, "1"))
			e.receipts(e.receipt(p.binding.Number, "1", state))
			if state == mobileid.MessageDelivered {
				e.wantMessage(n.Message.ID, mobileid.MessageInDoubt, "")
			} else {
				e.wantMessage(n.Message.ID, state, "receipt")
			}
			e.wantCharge(n.Message.ID, charge)
		})
	}
}

func TestAReceiptThatComesFirstIsMatchedByTheAnswer(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	r := e.receipt(p.binding.Number, "7", mobileid.MessageDelivered)
	for range 2 {
		if have := e.receipts(r); have != 0 {
			t.Fatalf("matched %d", have)
		}
	}
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "7"))
	e.wantMessage(n.Message.ID, mobileid.MessageDelivered, "receipt")
	e.wantCharge(n.Message.ID, "posted")
	if have := query[int](e, `select count(*) from receipts_unmatched`); have != 0 {
		t.Fatalf("%d unmatched", have)
	}
}

func TestAnEarlyReceiptIsMatchedThoughAnOlderOneWithItsIDWaits(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(cost)
	r := func() mobileid.Receipt { return e.receipt(p.binding.Number, "7", mobileid.MessageUndeliverable) }
	e.receipts(r()) // of a Message that we do not know
	e.clk.advance(71 * time.Hour)
	n := e.notice(p, "k")
	e.queue(n)
	b := e.bridge()
	if a := e.admit(b, n.Message.ID)[0]; a.Verdict != mobileid.VerdictMine {
		t.Fatalf("%+v", a)
	}
	older := r()
	older.At = older.At.Add(-time.Second)
	e.receipts(r(), older, r()) // the operator's ids came round
	if have := query[int](e, `select count(*) from receipts_unmatched`); have != 1 {
		t.Fatalf("%d wait", have)
	}
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "7"))
	e.wantMessage(n.Message.ID, mobileid.MessageUndeliverable, "receipt")
	e.wantCharge(n.Message.ID, "reversed")
}

func TestReceiptsThatNothingCanMatchAreForgotten(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	e.receipts(e.receipt(p.binding.Number, "1", "delivered"))
	waiting := func() int { return query[int](e, `select count(*) from receipts_unmatched`) }
	e.clk.advance(72 * time.Hour)
	e.sweep(s)
	if waiting() != 1 {
		t.Fatal("forgotten too early")
	}
	e.clk.advance(time.Second)
	e.sweep(s)
	if waiting() != 0 {
		t.Fatal("kept for ever")
	}
}

func TestAReceiptBelongsToItsAccountDestinationAndTime(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, q := e.bind(2*cost), e.bind(cost)
	b := e.bridge()
	old, n := e.notice(p, "old"), e.notice(p, "new")
	e.queue(old, n)
	e.sent(b, p, old.Message.ID, "9")
	e.clk.advance(time.Minute)
	e.sent(b, p, n.Message.ID, "9") // the operator's ids came round
	stranger := e.receipt(q.binding.Number, "9", "delivered")
	otherAccount := e.receipt(p.binding.Number, "9", "delivered")
	otherAccount.Account = "mobileid-2"
	late := e.receipt(p.binding.Number, "9", "delivered")
	late.At = late.At.Add(73 * time.Hour)
	nameless := e.receipt(p.binding.Number, "", "delivered")
	if have := e.receipts(stranger, otherAccount, late, nameless); have != 0 {
		t.Fatalf("matched %d", have)
	}
	if have := e.receipts(e.receipt(p.binding.Number, "9", "delivered")); have != 1 {
		t.Fatalf("matched %d", have)
	}
	e.wantMessage(n.Message.ID, mobileid.MessageDelivered, "receipt")
	e.wantMessage(old.Message.ID, mobileid.MessageSent, "")
	if _, err := e.StoreReceipts(e.ctx(), []mobileid.Receipt{{State: "odd"}}); mobileid.CodeOf(err) != "receipt_state" {
		t.Fatalf("err = %v", err)
	}
}

func TestACodeSentTwiceIsDeliveredByEither(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	first := e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, "")
	e.settle(b, first)
	if a := e.admit(b, c.Message.ID)[0]; !a.Resend {
		t.Fatalf("%+v", a)
	}
	// While the second is on its way the answer and the receipt of the first come.
	first.State, first.Parts[0].OperatorID, first.Parts[0].AnsweredAt = mobileid.MessageSent, "first", e.clk.now()
	must(t, e.Settle(e.ctx(), b, account, []mobileid.Outcome{first}))
	e.receipts(e.receipt(p.binding.Number, "first", "delivered"))
	e.wantMessage(c.Message.ID, mobileid.MessageDelivered, "receipt")
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "second"))
	e.receipts(e.receipt(p.binding.Number, "second", "delivered"))
	e.wantMessage(c.Message.ID, mobileid.MessageDelivered, "receipt")
	e.wantCharge(c.Message.ID, "posted")
	if have := query[int](e, `select count(*) from transfers where kind = 'posted'`); have != 1 {
		t.Fatalf("%d charges of one message", have)
	}
}

// TestAReceiptThatRacesWithItsAnswerIsMatchedByOneOfTheTwo needs no sweeper.
func TestAReceiptThatRacesWithItsAnswerIsMatchedByOneOfTheTwo(t *testing.T) {
	const batches, each = 30, 20
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(batches*each*cost), e.bridge()
	for batch := range batches {
		var outcomes []mobileid.Outcome
		var receipts []mobileid.Receipt
		for i := range each {
			n := e.notice(p, fmt.Sprint(batch, "-", i))
			e.queue(n)
			e.admit(b, n.Message.ID)
			id := fmt.Sprint(batch*each + i)
			outcomes = append(outcomes, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, id))
			receipts = append(receipts, e.receipt(p.binding.Number, id, mobileid.MessageDelivered))
		}
		var both sync.WaitGroup
		both.Go(func() { e.settle(b, outcomes...) })
		both.Go(func() { e.receipts(receipts...) })
		both.Wait()
	}
	if left := query[int](e, `select count(*) from receipts_unmatched`); left != 0 {
		t.Errorf("%d receipts were seen by neither", left)
	}
	if open := query[int](e, `select count(*) from messages where state <> 'delivered'`); open != 0 {
		t.Errorf("%d Messages are not delivered", open)
	}
	e.wantBalanced()
}
