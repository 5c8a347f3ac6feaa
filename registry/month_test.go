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

// The operator's ids come round while Messages of two months are under way: a
// receipt is of the one that was answered last, whichever month its id is of.
func TestAReceiptIsOfTheNewestPartWhicheverMonthItsMessageIsOf(t *testing.T) {
	december := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name              string
		older, newer      time.Duration // when they were accepted, from the turn of the month
		answers, receipts time.Duration // when they are answered, and their receipts come
	}{
		{"last month's, after midnight", 10 * time.Minute, -10 * time.Minute, 20 * time.Minute, 30 * time.Minute},
		{"this month's, after midnight", -10 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute},
		{"last month's, after all its days", 10 * time.Minute, -time.Minute, 7 * 24 * time.Hour, (10*24 - 1) * time.Hour},
		{"next month's, by a clock that is ahead", -10 * time.Minute, time.Minute, -2 * time.Minute, -time.Minute},
		{"both last month's", -20 * time.Minute, -10 * time.Minute, -time.Minute, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t)
			at := func(d time.Duration) { e.clk.ns.Store(december.Add(d).UnixNano()) }
			e.tariff()
			p, b := e.bind(2*cost), e.bridge()
			accepted := func(key string, when time.Duration) mobileid.NewNotification {
				at(when)
				n := e.notice(p, key)
				n.Message.Deadline = n.Message.Deadline.Add(8 * 24 * time.Hour)
				e.queue(n)
				return n
			}
			older, newer := accepted("older", c.older), accepted("newer", c.newer)
			at(c.answers)
			e.sent(b, p, older.Message.ID, "9")
			e.clk.advance(time.Second)
			e.sent(b, p, newer.Message.ID, "9")
			at(c.receipts)
			if n := e.receipts(e.receipt(p.binding.Number, "9", mobileid.MessageDelivered)); n != 1 {
				t.Fatalf("%d receipts are matched, want 1", n)
			}
			e.wantMessage(newer.Message.ID, mobileid.MessageDelivered, "receipt")
			e.wantMessage(older.Message.ID, mobileid.MessageSent, "")
			e.wantCharge(newer.Message.ID, "posted")
		})
	}
}
