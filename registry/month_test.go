package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// TestABatchOfTwoMonthsIsCarriedAsAnyOther crosses midnight on the last of
// November.
func TestABatchOfTwoMonthsIsCarriedAsAnyOther(t *testing.T) {
	e := newEnv(t)
	e.clk.ns.Store(time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC).UnixNano())
	e.tariff()
	p, b := e.bind(2*cost), e.bridge()
	november := e.notice(p, "november")
	e.clk.advance(2 * time.Second)
	december := e.notice(p, "december")
	e.queue(november, december)
	for _, a := range e.admit(b, november.Message.ID, december.Message.ID) {
		if a.Verdict != mobileid.VerdictMine {
			t.Fatalf("%+v, want mine", a)
		}
	}
	e.settle(b, e.outcome(november.Message.ID, mobileid.MessageSent, p.binding.Number, "1"),
		e.outcome(december.Message.ID, mobileid.MessageSent, p.binding.Number, "2"))
	e.wantCharge(november.Message.ID, "posted")
	e.wantCharge(december.Message.ID, "posted")
	if n := e.receipts(e.receipt(p.binding.Number, "1", mobileid.MessageDelivered), e.receipt(p.binding.Number, "2", mobileid.MessageDelivered)); n != 2 {
		t.Fatalf("%d receipts are matched, want 2", n)
	}
	e.wantMessage(november.Message.ID, mobileid.MessageDelivered, "receipt")
	e.wantMessage(december.Message.ID, mobileid.MessageDelivered, "receipt")
}

// TestAMonthWithoutAPartitionStoresNothingAndBreaksNothing: an id that is older
// than what is kept.
func TestAMonthWithoutAPartitionStoresNothingAndBreaksNothing(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(cost), e.bridge()
	old := e.key.Make(mobileid.KindMessage, client, "old", now0.AddDate(-1, 0, 0))
	if a := e.admit(b, old)[0]; a.Verdict != mobileid.VerdictUnknown {
		t.Errorf("%+v, want unknown", a)
	}
	e.settle(b, e.outcome(old, mobileid.MessageSent, p.binding.Number, "1"))
	if n := query[int](e, `select count(*) from message_parts`); n != 0 {
		t.Errorf("%d parts of nothing are stored", n)
	}
}
