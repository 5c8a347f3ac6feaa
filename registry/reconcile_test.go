package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/reconcile"
)

// doubt puts a notice of a new person in doubt: written, no answer.
func (e *env) doubt(bridge int64, key string) (person, mobileid.ID) {
	e.t.Helper()
	p := e.bind(cost)
	n := e.notice(p, key)
	e.queue(n)
	e.admit(bridge, n.Message.ID)
	e.settle(bridge, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	return p, n.Message.ID
}

// fileOf is a file that states everything, of the day around now0.
func fileOf(hash byte) reconcile.File {
	return reconcile.File{
		From: now0.Add(-time.Hour), Until: now0.Add(24 * time.Hour), Count: 1, Checksum: "said", Hash: [32]byte{hash}, Lines: 1, First: now0, Last: now0,
	}
}

func lineTo(p person, no int, state mobileid.MessageState) *reconcile.Line {
	return &reconcile.Line{
		No: no, Submitted: now0, Dest: p.binding.Number, Reference: reconcile.NoReference, State: state, Stat: "X", Parts: 1,
	}
}

// apply does what the command does with a file.
func (e *env) apply(f reconcile.File, lines ...*reconcile.Line) (reconcile.Result, int) {
	e.t.Helper()
	c, err := e.Compare(e.ctx(), registry.FileOf{Operator: operator, Account: account, Life: time.Hour, Slack: time.Minute}, f)
	must(e.t, err)
	for _, l := range lines {
		must(e.t, c.Add(e.ctx(), l))
	}
	r, err := c.Match(e.ctx())
	must(e.t, err)
	id, err := e.BeginFile(e.ctx(), operator, f)
	must(e.t, err)
	n, err := e.Reconcile(e.ctx(), account, id, r.Groups)
	must(e.t, err)
	e.wantBalanced()
	return r, n
}

func TestALineSettlesANoticeInDoubtAsItsReceiptWould(t *testing.T) {
	for state, charge := range map[mobileid.MessageState]string{
		mobileid.MessageDelivered: "posted", mobileid.MessageUndeliverable: "voided", mobileid.MessageRejected: "voided",
	} {
		e := newEnv(t)
		e.tariff()
		p, id := e.doubt(e.bridge(), "k")
		if _, n := e.apply(fileOf(1), lineTo(p, 3, state)); n != 1 {
			t.Fatalf("%s: %d settled", state, n)
		}
		e.wantMessage(id, state, mobileid.ReasonReceipt)
		e.wantCharge(id, charge)
		e.wantErased(id, true)
	}
}

func TestAReferenceTellsTwoNoticesToOneNumberApart(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	b, p := e.bridge(), e.bind(2*cost)
	var ids []mobileid.ID
	for _, key := range []string{"one", "two"} {
		n := e.notice(p, key)
		e.queue(n)
		e.admit(b, n.Message.ID)
		e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
		ids = append(ids, n.Message.ID)
	}
	first, second := lineTo(p, 3, mobileid.MessageDelivered), lineTo(p, 4, mobileid.MessageUndeliverable)
	// Without it the ends are nobody's.
	if r, n := e.apply(fileOf(1), first, second); n != 0 || len(r.Doubts) != 1 {
		t.Fatalf("%d settled, %d for a person", n, len(r.Doubts))
	}
	first.Reference, second.Reference = reconcile.Reference(ids[0]), reconcile.Reference(ids[1])
	if _, n := e.apply(fileOf(2), second, first); n != 2 {
		t.Fatalf("%d settled", n)
	}
	e.wantMessage(ids[0], mobileid.MessageDelivered, mobileid.ReasonReceipt)
	e.wantMessage(ids[1], mobileid.MessageUndeliverable, mobileid.ReasonReceipt)
	e.wantCharge(ids[0], "posted")
	e.wantCharge(ids[1], "voided")
}

func TestAnIdCorrectsTheChargeOfWhatEndedWithoutAReceiptAndNotTheState(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "op-1"))
	e.clk.advance(3 * time.Hour)
	must(t, registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, &lanes{}, nil).Sweep(e.ctx()))
	e.wantMessage(n.Message.ID, mobileid.MessageUnconfirmed, mobileid.ReasonNoReceipt)
	e.wantCharge(n.Message.ID, "posted")
	l := lineTo(p, 3, mobileid.MessageUndeliverable)
	l.ID = "op-1"
	if _, settled := e.apply(fileOf(1), l); settled != 1 {
		t.Fatalf("%d settled", settled)
	}
	e.wantMessage(n.Message.ID, mobileid.MessageUnconfirmed, mobileid.ReasonNoReceipt)
	e.wantCharge(n.Message.ID, "reversed")
	if _, settled := e.apply(fileOf(2), l); settled != 0 {
		t.Fatalf("the next file settled %d again", settled)
	}
	e.wantCharge(n.Message.ID, "reversed")
}

func TestTheSameLinesInALaterFileAreNotGivenToAnother(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	b, p := e.bridge(), e.bind(2*cost)
	put := func(key string) mobileid.ID {
		n := e.notice(p, key)
		e.queue(n)
		e.admit(b, n.Message.ID)
		e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
		return n.Message.ID
	}
	first := put("one")
	l := lineTo(p, 3, mobileid.MessageDelivered)
	if _, n := e.apply(fileOf(1), l); n != 1 {
		t.Fatalf("%d settled", n)
	}
	second := put("two")
	if r, n := e.apply(fileOf(2), l); n != 0 || len(r.Doubts) != 1 {
		t.Fatalf("%d settled, %+v", n, r)
	}
	e.wantMessage(first, mobileid.MessageDelivered, mobileid.ReasonReceipt)
	e.wantMessage(second, mobileid.MessageInDoubt, "")
	e.wantCharge(second, "pending")
}

func TestWhatTheBridgeDiedWithIsSettledByACompleteFileOnly(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*reconcile.File)
		ends   bool
	}{
		"complete":    {func(*reconcile.File) {}, true},
		"no period":   {func(f *reconcile.File) { f.From, f.Until = time.Time{}, time.Time{} }, false},
		"no count":    {func(f *reconcile.File) { f.Count = -1 }, false},
		"no checksum": {func(f *reconcile.File) { f.Checksum = "" }, false},
		"too short":   {func(f *reconcile.File) { f.Until = now0.Add(2 * time.Hour) }, false},
	} {
		e := newEnv(t)
		_, n, b := e.admittedNotice()
		e.kill(b)
		must(t, registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, &lanes{}, nil).Sweep(e.ctx()))
		e.wantMessage(n.Message.ID, mobileid.MessageInDoubt, mobileid.ReasonOwnerLost)
		f := fileOf(1)
		c.change(&f)
		if _, settled := e.apply(f); (settled == 1) != c.ends {
			t.Fatalf("%s: %d settled", name, settled)
		}
		if c.ends {
			e.wantMessage(n.Message.ID, mobileid.MessageFailed, mobileid.ReasonNoAnswer)
			e.wantCharge(n.Message.ID, "voided")
			e.wantErased(n.Message.ID, true)
		} else {
			e.wantMessage(n.Message.ID, mobileid.MessageInDoubt, mobileid.ReasonOwnerLost)
			e.wantCharge(n.Message.ID, "pending")
		}
	}
}

func TestACodeThatTheFileDoesNotHaveEndsItsChallengeAndIsNotSentAgain(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	e.apply(fileOf(1))
	e.wantMessage(c.Message.ID, mobileid.MessageFailed, mobileid.ReasonNoAnswer)
	e.wantChallenge(c.Request.ID, mobileid.ChallengeFailed, mobileid.ReasonNoAnswer)
	e.wantCharge(c.Message.ID, "voided")
	due, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(due) != 0 {
		t.Errorf("%d are to be sent again", len(due))
	}
}

func TestWhatMovedSinceItWasReadIsLeftAlone(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	b := e.bridge()
	p, id := e.doubt(b, "k")
	c, err := e.Compare(e.ctx(), registry.FileOf{Operator: operator, Account: account, Life: time.Hour}, fileOf(1))
	must(t, err)
	must(t, c.Add(e.ctx(), lineTo(p, 3, mobileid.MessageUndeliverable)))
	r, err := c.Match(e.ctx())
	must(t, err)
	if len(r.Groups) != 1 {
		t.Fatalf("%d groups", len(r.Groups))
	}
	e.settle(b, e.outcome(id, mobileid.MessageSent, p.binding.Number, "late"))
	file, err := e.BeginFile(e.ctx(), operator, fileOf(1))
	must(t, err)
	n, err := e.Reconcile(e.ctx(), account, file, r.Groups)
	must(t, err)
	if n != 0 {
		t.Errorf("%d settled", n)
	}
	e.wantMessage(id, mobileid.MessageSent, "")
	e.wantCharge(id, "posted")
}

func TestAFileIsKnownByItsBytesOnceItWasApplied(t *testing.T) {
	e := newEnv(t)
	seen, err := e.SeenFile(e.ctx(), operator, fileOf(1).Hash)
	must(t, err)
	if seen.ID != 0 {
		t.Fatalf("seen before: %+v", seen)
	}
	id, err := e.BeginFile(e.ctx(), operator, fileOf(1))
	must(t, err)
	again, err := e.BeginFile(e.ctx(), operator, fileOf(1))
	must(t, err)
	other, err := e.BeginFile(e.ctx(), operator, fileOf(2))
	must(t, err)
	must(t, e.EndFile(e.ctx(), id, 4))
	e.clk.advance(time.Hour)
	must(t, e.EndFile(e.ctx(), id, 0))
	seen, err = e.SeenFile(e.ctx(), operator, fileOf(1).Hash)
	must(t, err)
	if again != id || other == id || seen.ID != id || !seen.Done.Equal(now0) || seen.Doubts != 4 {
		t.Errorf("begun as %d and %d, the other %d; seen %+v", id, again, other, seen)
	}
}
