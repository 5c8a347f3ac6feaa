package registry_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// priced loads a tariff of all kinds that began long ago.
func (e *env) priced(unit ledger.Unit, refund bool) {
	e.t.Helper()
	t := tariffOf(operator, "", cost, now0.AddDate(-1, 0, 0))
	t.Unit, t.RefundUndelivered = unit, refund
	_, err := e.LoadTariffs(e.ctx(), []ledger.Tariff{t})
	must(e.t, err)
}

// transfers are the steps of a Charge, "kind why held taken".
func (e *env) transfers(id mobileid.ID) (out []string) {
	e.t.Helper()
	rows, err := e.pool.Query(e.ctx(), `select kind, why, held, taken from transfers where message_id = $1 order by step`, id[:])
	must(e.t, err)
	for rows.Next() {
		var kind, why string
		var held, taken mobileid.Money
		must(e.t, rows.Scan(&kind, &why, &held, &taken))
		out = append(out, fmt.Sprintf("%s %s %d %d", kind, why, held/cost, taken/cost))
	}
	must(e.t, rows.Err())
	return out
}

func (e *env) wantTransfers(id mobileid.ID, want ...string) {
	e.t.Helper()
	if have := e.transfers(id); !slices.Equal(have, want) {
		e.t.Errorf("transfers %q, want %q", have, want)
	}
	e.wantBalanced()
}

// parts makes the outcome of a notice of several parts: of each the operator's id,
// "" = refused.
func (e *env) partly(n mobileid.NewNotification, state mobileid.MessageState, ids ...string) mobileid.Outcome {
	o := e.outcome(n.Message.ID, state, n.Message.Dest, "")
	o.Parts = nil
	for i, id := range ids {
		p := mobileid.PartOutcome{Part: i + 1, Link: o.Link, Sequence: uint32(e.n.Add(1)), OperatorID: id, Dest: n.Message.Dest, AnsweredAt: e.clk.now()}
		if id == "" {
			p.Status = 0x45
		}
		o.Parts = append(o.Parts, p)
	}
	return o
}

// One row of the table is the life of a Message of three parts: what the operator
// answered, and which receipts came.
func TestPartsAndTariffsDecideWhatIsPaid(t *testing.T) {
	const d, r, u = mobileid.MessageDelivered, mobileid.MessageRejected, mobileid.MessageUndeliverable
	all := []string{"a", "b", "c"}
	for name, c := range map[string]struct {
		unit     ledger.Unit
		refund   bool
		state    mobileid.MessageState
		answers  []string
		receipts []mobileid.MessageState // of the parts that were taken
		want     []string
		charge   string
	}{
		"by the message, delivered": {ledger.UnitMessage, true, "sent", all, []mobileid.MessageState{d, d, d}, []string{"pending admitted 1 0", "posted answer -1 1"}, "posted"},
		"by the message, one part undelivered": {
			ledger.UnitMessage, true, "sent", all,
			[]mobileid.MessageState{d, u, d},
			[]string{"pending admitted 1 0", "posted answer -1 1", "reversed receipt 0 -1"},
			"reversed",
		},
		"by the message, undelivered and not refunded": {
			ledger.UnitMessage, false, "sent", all, []mobileid.MessageState{d, u, d}, []string{"pending admitted 1 0", "posted answer -1 1"}, "posted",
		},
		"by the message, refused by receipt, whatever is not refunded": {
			ledger.UnitMessage, false, "sent", all,
			[]mobileid.MessageState{d, r, d},
			[]string{"pending admitted 1 0", "posted answer -1 1", "reversed receipt 0 -1"},
			"reversed",
		},
		"by the message, one part refused at once": {
			ledger.UnitMessage, true, "rejected", []string{"a", "b", ""}, nil, []string{"pending admitted 1 0", "voided answer -1 0"}, "voided",
		},
		"by the part, delivered": {ledger.UnitPart, true, "sent", all, []mobileid.MessageState{d, d, d}, []string{"pending admitted 3 0", "posted answer -3 3"}, "posted"},
		"by the part, one refused at once": {
			ledger.UnitPart, true, "rejected", []string{"a", "b", ""}, nil, []string{"pending admitted 3 0", "posted answer -3 2"}, "posted",
		},
		"by the part, one refused at once, the others delivered": {
			ledger.UnitPart, true, "rejected", []string{"a", "b", ""}, []mobileid.MessageState{d, d}, []string{"pending admitted 3 0", "posted answer -3 2"}, "posted",
		},
		"by the part, one refused at once, one by receipt": {
			ledger.UnitPart, true, "rejected",
			[]string{"a", "b", ""},
			[]mobileid.MessageState{d, r},
			[]string{"pending admitted 3 0", "posted answer -3 2", "reversed receipt 0 -1"},
			"posted",
		},
		"by the part, one undelivered": {
			ledger.UnitPart, true, "sent", all,
			[]mobileid.MessageState{d, u, d},
			[]string{"pending admitted 3 0", "posted answer -3 3", "reversed receipt 0 -1"},
			"posted",
		},
		"by the part, one undelivered and one refused, not refunded": {
			ledger.UnitPart, false, "sent", all,
			[]mobileid.MessageState{d, u, r},
			[]string{"pending admitted 3 0", "posted answer -3 3", "reversed receipt 0 -1"},
			"posted",
		},
		"by the part, all refused by receipt": {
			ledger.UnitPart, true, "sent", all,
			[]mobileid.MessageState{r, r, r},
			[]string{"pending admitted 3 0", "posted answer -3 3", "reversed receipt 0 -3"},
			"reversed",
		},
		"by the part, none was taken": {
			ledger.UnitPart, true, "rejected", []string{"", "", ""}, nil, []string{"pending admitted 3 0", "voided answer -3 0"}, "voided",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.priced(c.unit, c.refund)
			p, b := e.bind(10*cost), e.bridge()
			n := e.notice(p, "k")
			n.Message.Parts = 3
			e.queue(n)
			e.admit(b, n.Message.ID)
			e.settle(b, e.partly(n, c.state, c.answers...))
			for i, state := range c.receipts {
				e.clk.advance(time.Second)
				e.receipts(e.receipt(n.Message.Dest, c.answers[i], state))
				e.receipts(e.receipt(n.Message.Dest, c.answers[i], state)) // operators repeat
			}
			e.wantTransfers(n.Message.ID, c.want...)
			e.wantCharge(n.Message.ID, c.charge)
		})
	}
}

// What the system pays for needs no money of the subscriber, does not stop with his
// SMS, and is booked on the payer's account.
func TestWhatThePayerPaysForNeedsNoMoney(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	broke, free, other := e.notice(p, "broke"), e.notice(p, "free"), e.notice(p, "other")
	free.Message.Payer, other.Message.Payer = "mobileid", "mobileid"
	e.queue(broke, free, other)
	e.admit(b, broke.Message.ID)
	e.wantMessage(broke.Message.ID, mobileid.MessageNoFunds, mobileid.ReasonBalance)
	for _, a := range e.admit(b, free.Message.ID, other.Message.ID) {
		if a.Verdict != mobileid.VerdictMine || a.Charging != mobileid.ChargingPayer {
			t.Errorf("%s, charging %s", a.Verdict, a.Charging)
		}
	}
	e.settle(b, e.outcome(free.Message.ID, "sent", p.binding.Number, "1"), e.outcome(other.Message.ID, "rejected", p.binding.Number, ""))
	e.wantTransfers(free.Message.ID, "pending admitted 1 0", "posted answer -1 1")
	e.wantTransfers(other.Message.ID, "pending admitted 1 0", "voided answer -1 0")
	owner := query[string](e, `select a.owner from transfers t join accounts a on a.id = t.account_id where t.message_id = $1 and t.step = 1`, free.Message.ID[:])
	moved := query[bool](e, `select exists (select from accounts where posted <> 0 or pending <> 0)`)
	if owner != "payer:mobileid" || moved {
		t.Errorf("paid by %q; a balance moved: %v", owner, moved)
	}
}

// A number that has moved pays out of its account at the operator that it went to.
func TestANumberThatMovedPaysAtItsNewOperator(t *testing.T) {
	e := newEnv(t)
	p := e.bind(cost)
	n := e.notice(p, "k")
	n.Message.Account, n.Message.Operator = 0, "ucell"
	e.queue(n)
	owner := query[string](e, `select a.owner from messages m join accounts a on a.id = m.account_id where m.id = $1`, n.Message.ID[:])
	if want := "subscriber:" + p.binding.Number.String() + ":ucell"; owner != want {
		t.Errorf("%q pays, want %q", owner, want)
	}
}

// The money is out, a probe is in vain again and again, and comes back: by a
// top-up, or by a probe.
func TestSMSAreSuspendedWhenTheMoneyIsOut(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(cost), e.bridge()
	try := func(key string) (mobileid.ID, mobileid.Verdict) {
		n := e.notice(p, key)
		e.queue(n)
		return n.Message.ID, e.admit(b, n.Message.ID)[0].Verdict
	}
	want := func(key string, state mobileid.MessageState, reason string) {
		t.Helper()
		id, _ := try(key)
		e.wantMessage(id, state, reason)
	}
	want("first", mobileid.MessageAdmitted, "")
	want("second", mobileid.MessageNoFunds, mobileid.ReasonBalance)
	suspended := func() bool {
		return query[bool](e, `select sms_suspended from bindings where id = $1 and state = 'active' and version = 1`, p.binding.ID)
	}
	if !suspended() {
		t.Fatal("SMS are not suspended, or the binding changed otherwise")
	}
	// One Message in each pause tells whether the money is back; the pause doubles.
	for i, minutes := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		e.clk.advance(time.Duration(minutes)*time.Minute - time.Second)
		want(fmt.Sprint("early", i), mobileid.MessageNoFunds, mobileid.ReasonSuspended)
		e.clk.advance(time.Second)
		want(fmt.Sprint("probe", i), mobileid.MessageNoFunds, mobileid.ReasonBalance)
		want(fmt.Sprint("after", i), mobileid.MessageNoFunds, mobileid.ReasonSuspended)
	}
	must(t, e.Credit(e.ctx(), p.binding.Account, "operator:"+operator, "silent", cost)) // by account: nothing is brought back
	e.clk.advance(time.Hour)
	want("the probe that goes through", mobileid.MessageAdmitted, "")
	if suspended() {
		t.Error("SMS are suspended after a probe that was paid")
	}
	want("broke again", mobileid.MessageNoFunds, mobileid.ReasonBalance)
	must(t, e.Tell(e.ctx(), mobileid.BalanceNews{
		Source: "operator:" + operator, Seq: "1", Operator: operator, Number: p.binding.Number, Kind: mobileid.BalanceTopUp, Amount: 2 * cost, At: e.clk.now(),
	}))
	if suspended() {
		t.Error("SMS are suspended after a top-up")
	}
	want("rich", mobileid.MessageAdmitted, "")
	// The next shortage begins with a short pause again.
	want("rich too", mobileid.MessageAdmitted, "")
	want("broke at last", mobileid.MessageNoFunds, mobileid.ReasonBalance)
	e.clk.advance(time.Minute)
	want("probe", mobileid.MessageNoFunds, mobileid.ReasonBalance)
	e.wantBalanced()
}

// Where the operator says by himself that there was no money, the probe goes out
// and his answer decides; a receipt that says so counts as another one in vain.
func TestAProbeIsDecidedByTheOperatorWhoDebits(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	try := func(key string) (mobileid.NewNotification, mobileid.Admission) {
		n := e.notice(p, key)
		n.Message.Charging = mobileid.ChargingOperator
		e.queue(n)
		return n, e.admit(b, n.Message.ID)[0]
	}
	suspended := func() bool {
		return query[bool](e, `select sms_suspended from bindings where id = $1`, p.binding.ID)
	}
	n, a := try("first")
	if a.Verdict != mobileid.VerdictMine || a.Probe {
		t.Fatalf("our mirror, which is empty, was asked: %+v", a)
	}
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageNoFunds, p.binding.Number, ""))
	e.wantTransfers(n.Message.ID, "pending admitted 1 0", "voided answer -1 0")
	if _, a := try("suspended"); a.State != mobileid.MessageNoFunds || !suspended() {
		t.Fatalf("%s", a.State)
	}
	e.clk.advance(time.Minute)
	n, a = try("probe")
	if a.Verdict != mobileid.VerdictMine || !a.Probe {
		t.Fatalf("%s, probe %v", a.Verdict, a.Probe)
	}
	if _, a := try("beside the probe"); a.State != mobileid.MessageNoFunds {
		t.Errorf("%s while a probe is on its way", a.State)
	}
	o := e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "1")
	o.Probe = true
	e.settle(b, o)
	if suspended() {
		t.Error("suspended after a probe that the operator took")
	}
	r := e.receipt(p.binding.Number, "1", mobileid.MessageRejected)
	r.Reason = mobileid.ReasonCannotPay
	e.receipts(r)
	e.wantTransfers(n.Message.ID, "pending admitted 1 0", "posted answer -1 1", "reversed receipt 0 -1")
	if !suspended() {
		t.Error("not suspended though the receipt says that he could not pay")
	}
	e.clk.advance(2*time.Minute - time.Second)
	if _, a := try("early"); a.State != mobileid.MessageNoFunds {
		t.Errorf("%s: the pause did not double", a.State)
	}
	e.clk.advance(time.Second)
	if _, a := try("next probe"); !a.Probe {
		t.Error("no probe after the pause")
	}
}

// A charging system that does not answer says nothing of the money: a code goes out on
// credit then, and a probe that does brings nothing back.
func TestAProbeOnCreditBringsNoSMSBack(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	broke := e.asked(p, b, "broke")
	e.settle(b, e.outcome(broke.Message.ID, mobileid.MessageNoFunds, p.binding.Number, ""))
	if !e.suspended(p) {
		t.Fatal("SMS are not suspended")
	}
	probe := func(key string, note mobileid.ChargeNote) {
		t.Helper()
		e.clk.advance(time.Minute)
		c := e.challenge(p, key)
		c.Message.Charging = mobileid.ChargingDiameter
		e.issue(c)
		a := e.admit(b, c.Message.ID)[0]
		if a.Verdict != mobileid.VerdictMine || !a.Probe {
			t.Fatalf("%s, probe %v", a.Verdict, a.Probe)
		}
		o := e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "id of "+key)
		o.Probe, o.Charge = a.Probe, note
		e.settle(b, o)
		e.wantMessage(c.Message.ID, mobileid.MessageSent, "")
	}
	probe("on credit", mobileid.ChargeNotKnown)
	if !e.suspended(p) {
		t.Error("SMS are back, and nobody said that he can pay")
	}
	probe("reserved", mobileid.ChargeAsReserved)
	if e.suspended(p) {
		t.Error("SMS are suspended after a probe that was paid")
	}
	e.wantBalanced()
}

func TestABarredNumberGetsNothingUntilItIsUnbarred(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(10*cost), e.bridge()
	tell := func(kind mobileid.BalanceKind) {
		must(t, e.Tell(e.ctx(), mobileid.BalanceNews{Source: "operator:" + operator, Seq: string(kind), Operator: operator, Number: p.binding.Number, Kind: kind, At: e.clk.now()}))
	}
	waits := e.notice(p, "waits")
	e.queue(waits)
	e.admit(b, waits.Message.ID)
	e.settle(b, e.outcome(waits.Message.ID, mobileid.MessageRetry, p.binding.Number, ""))
	tell(mobileid.BalanceBarred)
	// What waited for its retry stops, too, and what was reserved for it is free.
	e.clk.advance(time.Minute)
	if a := e.admit(b, waits.Message.ID)[0]; a.Verdict != mobileid.VerdictRefused {
		t.Errorf("what waited for its retry: %s", a.Verdict)
	}
	e.wantMessage(waits.Message.ID, mobileid.MessageNoFunds, mobileid.ReasonSuspended)
	e.wantTransfers(waits.Message.ID, "pending admitted 1 0", "voided stopped -1 0")
	e.clk.advance(24 * time.Hour) // no probe: the operator has to take it back
	n := e.notice(p, "barred")
	e.queue(n)
	e.admit(b, n.Message.ID)
	e.wantMessage(n.Message.ID, mobileid.MessageNoFunds, mobileid.ReasonSuspended)
	must(t, e.Credit(e.ctx(), p.binding.Account, "test", "money", cost))
	tell(mobileid.BalanceUnbarred)
	n = e.notice(p, "unbarred")
	e.queue(n)
	e.admit(b, n.Message.ID)
	e.wantMessage(n.Message.ID, mobileid.MessageAdmitted, "")
}

// A subscriber's own ceiling is exact, however batches are cut and whoever takes the
// money, and is of the day in Tashkent.
func TestTheDailyLimitOfASubscriberIsKept(t *testing.T) {
	for _, by := range []mobileid.Charging{mobileid.ChargingLedger, mobileid.ChargingDiameter, mobileid.ChargingOperator} {
		t.Run(string(by), func(t *testing.T) { theDailyLimitIsKept(t, by) })
	}
}

func theDailyLimitIsKept(t *testing.T, by mobileid.Charging) {
	t.Helper()
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(100*cost), e.bridge()
	e.exec(`update accounts set daily_limit = $2 where id = $1`, p.binding.Account, 3*cost+cost/2)
	batch := func(n int, key string) (mine int) {
		var ids []mobileid.ID
		for i := range n {
			m := e.notice(p, fmt.Sprint(key, i))
			m.Message.Charging = by
			e.queue(m)
			ids = append(ids, m.Message.ID)
		}
		for _, a := range e.admit(b, ids...) {
			if a.Verdict == mobileid.VerdictMine {
				mine++
				continue
			}
			e.wantMessage(a.ID, mobileid.MessageNoFunds, mobileid.ReasonDailyLimit)
		}
		return mine
	}
	if n := batch(2, "morning") + batch(2, "noon") + batch(1, "evening"); n != 3 {
		t.Errorf("%d on the first day, want 3", n)
	}
	if e.suspended(p) {
		t.Error("SMS are suspended: the money is not out")
	}
	e.clk.ns.Store(time.Date(2026, 11, 23, 18, 59, 59, 0, time.UTC).UnixNano()) // 23:59:59 in Tashkent
	if n := batch(1, "late"); n != 0 {
		t.Error("the day was over early")
	}
	e.clk.advance(time.Second)
	if n := batch(5, "next day"); n != 3 {
		t.Errorf("%d on the next day, want 3", n)
	}
	e.wantBalanced()
}

// An operator who debits each SMS that he takes gets no code twice.
func TestACodeInDoubtIsNotSentTwiceWhereBothAreDebited(t *testing.T) {
	for name, kill := range map[string]bool{"no answer": false, "its bridge died": true} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.priced(ledger.UnitMessage, true)
			p, b := e.bind(cost), e.bridge()
			c := e.challenge(p, "k")
			c.Message.Charging, c.Message.OneSend = mobileid.ChargingOperator, true
			e.issue(c)
			e.admit(b, c.Message.ID)
			if kill {
				e.kill(b)
				e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
			} else {
				e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
			}
			due, err := e.DueRetries(e.ctx(), operator, 10)
			must(t, err)
			if len(due) != 0 {
				t.Errorf("%d are due again", len(due))
			}
			if a := e.admit(e.bridge(), c.Message.ID)[0]; a.Verdict != mobileid.VerdictDrop {
				t.Errorf("admitted again: %s", a.Verdict)
			}
		})
	}
}

// What is posted when nothing is reserved any more may be more than there is: the
// balance says so, and nothing is admitted until money comes.
func TestALatePostingMayOverdrawAndStopsTheRest(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(cost), e.bridge()
	doubtful := e.notice(p, "doubtful")
	e.queue(doubtful)
	e.admit(b, doubtful.Message.ID)
	e.settle(b, e.outcome(doubtful.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	e.clk.advance(2*time.Hour + time.Second)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
	e.wantTransfers(doubtful.Message.ID, "pending admitted 1 0", "unknown doubt -1 0")
	next := e.notice(p, "next") // the money is free again
	e.queue(next)
	e.admit(b, next.Message.ID)
	e.settle(b, e.outcome(next.Message.ID, mobileid.MessageSent, p.binding.Number, "2"))
	// A day later the file says that the operator had taken the first one.
	f := fileOf(1)
	f.Until = e.clk.now().Add(24 * time.Hour)
	if _, n := e.apply(f, lineTo(p, 1, mobileid.MessageDelivered)); n != 1 {
		t.Fatalf("%d settled", n)
	}
	e.wantTransfers(doubtful.Message.ID, "pending admitted 1 0", "unknown doubt -1 0", "posted receipt 0 1")
	if free := query[int64](e, `select granted - posted - pending from accounts where id = $1`, p.binding.Account); mobileid.Money(free) != -cost {
		t.Errorf("%d tiyin are free", free)
	}
	last := e.notice(p, "last")
	e.queue(last)
	e.admit(b, last.Message.ID)
	e.wantMessage(last.Message.ID, mobileid.MessageNoFunds, mobileid.ReasonBalance)
	e.wantBalanced()
}

// Each transfer that the charging system has to hear of is told once, as often as
// it takes; what it answers moves the Charge.
func TestTheChargingSystemIsToldOfEachTransfer(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	make3 := func(key string, state mobileid.MessageState, note mobileid.ChargeNote) mobileid.NewNotification {
		n := e.notice(p, key)
		n.Message.Charging = mobileid.ChargingDiameter
		e.queue(n)
		if a := e.admit(b, n.Message.ID)[0]; a.Verdict != mobileid.VerdictMine || a.Charging != mobileid.ChargingDiameter || a.Units != 1 {
			t.Fatalf("%+v", a)
		}
		o := e.outcome(n.Message.ID, state, p.binding.Number, "id of "+key)
		o.Charge = note
		e.settle(b, o)
		return n
	}
	calls := func() map[mobileid.ID]mobileid.ChargeCall {
		t.Helper()
		list, err := e.ChargeCalls(e.ctx(), operator, 100)
		must(t, err)
		out := map[mobileid.ID]mobileid.ChargeCall{}
		for _, c := range list {
			if c.Number.RevealDigits() != p.binding.MSISDN.RevealDigits() || c.Units != 1 || (c.Moved == 0) != (c.Kind == "voided" || c.Kind == "unknown") || c.TextID == "" || c.Deadline.IsZero() {
				t.Errorf("call without its Message: %+v", c)
			}
			out[c.ID] = c
		}
		return out
	}
	sent, rejected := make3("sent", "sent", ""), make3("rejected", "rejected", "")
	unknown, denied := make3("unknown", "sent", mobileid.ChargeNotKnown), make3("denied", "sent", mobileid.ChargeNotKnown)
	free := make3("free", "sent", mobileid.ChargeFree)
	lapsed := make3("lapsed", "sent", "")
	e.wantTransfers(unknown.Message.ID, "pending admitted 1 0", "unknown charger -1 0")
	e.wantTransfers(free.Message.ID, "pending admitted 1 0", "voided charger -1 0")
	e.receipts(e.receipt(p.binding.Number, "id of unknown", mobileid.MessageDelivered))
	e.wantCharge(unknown.Message.ID, "unknown") // that it came does not say whether it is reserved

	first := calls()
	for _, c := range []struct {
		of    mobileid.NewNotification
		kind  mobileid.ChargeState
		known mobileid.ChargeState
	}{
		{sent, "posted", ""}, {rejected, "voided", ""}, {unknown, "unknown", "posted"}, {denied, "unknown", "voided"}, {lapsed, "posted", "reversed"},
	} {
		call, due := first[c.of.Message.ID]
		if !due || call.Kind != c.kind {
			t.Errorf("call %+v, want %s", call, c.kind)
			continue
		}
		must(t, e.ChargeTold(e.ctx(), call, c.known))
		must(t, e.ChargeTold(e.ctx(), call, c.known)) // a crash between the two would have it told again
	}
	if len(first) != 5 || len(calls()) != 1 {
		t.Errorf("%d calls, then not the one that posts what was unknown", len(first))
	}
	e.wantTransfers(unknown.Message.ID, "pending admitted 1 0", "unknown charger -1 0", "posted charger 0 1")
	e.wantTransfers(denied.Message.ID, "pending admitted 1 0", "unknown charger -1 0", "voided charger 0 0")
	e.wantTransfers(lapsed.Message.ID, "pending admitted 1 0", "posted answer -1 1", "reversed charger 0 -1")

	// Of one that was in doubt to the end a receipt says enough.
	doubtful := make3("doubtful", "in_doubt", "")
	e.clk.advance(3 * time.Hour)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
	e.wantCharge(doubtful.Message.ID, "unknown")
	late := e.outcome(doubtful.Message.ID, mobileid.MessageSent, p.binding.Number, "id of doubtful, late")
	e.settle(b, late)
	e.receipts(e.receipt(p.binding.Number, "id of doubtful, late", mobileid.MessageDelivered))
	e.wantTransfers(doubtful.Message.ID, "pending admitted 1 0", "unknown doubt -1 0", "posted receipt 0 1")

	// A receipt that refuses what was paid is a call of its own.
	e.receipts(e.receipt(p.binding.Number, "id of sent", mobileid.MessageRejected))
	e.clk.advance(time.Minute)
	again := calls()
	maps.Copy(again, calls()) // that of the doubt is withdrawn, and then comes the next
	if again[sent.Message.ID].Kind != "reversed" || again[unknown.Message.ID].Kind != "posted" || again[doubtful.Message.ID].Kind != "posted" || len(again) != 3 {
		t.Errorf("calls %+v", again)
	}
	// Not told, it is due again, later each time, and given up after a day.
	if len(calls()) != 0 {
		t.Error("a call that somebody has is given to another one, too")
	}
	rounds := 0
	for s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil); query[int](e, `select count(*) from charge_calls`) > 0; rounds++ {
		e.clk.advance(10 * time.Minute)
		calls()
		if rounds%10 == 0 {
			e.sweep(s)
		}
	}
	if rounds < 140 || rounds > 170 {
		t.Errorf("given up after %d rounds", rounds)
	}
}

// A reservation in doubt holds nobody's money for ever, at the charging system either.
func TestADoubtToTheEndIsGivenBackToTheChargingSystem(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	n := e.notice(p, "k")
	n.Message.Charging = mobileid.ChargingDiameter
	e.queue(n)
	e.admit(b, n.Message.ID)
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	due := func() []mobileid.ChargeCall {
		t.Helper()
		list, err := e.ChargeCalls(e.ctx(), operator, 10)
		must(t, err)
		return list
	}
	if list := due(); len(list) != 0 {
		t.Fatalf("while it may have come: %+v", list)
	}
	e.clk.advance(3 * time.Hour)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
	e.wantTransfers(n.Message.ID, "pending admitted 1 0", "unknown doubt -1 0")
	list := due()
	if len(list) != 1 || list[0].Kind != mobileid.ChargeVoided || list[0].Moved != 0 || list[0].Units != 1 {
		t.Fatalf("%+v", list)
	}
	must(t, e.ChargeTold(e.ctx(), list[0], ""))
	e.wantCharge(n.Message.ID, "unknown") // reconciliation settles it
	if list := due(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	e.wantBalanced()
}

// What is found out without the operator's answer is told, too: a code that was typed
// in, parts that he had taken when time was over, a Message that his file has not.
func TestTheChargingSystemIsToldOfWhatNobodyAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		lead func(e *env) mobileid.ID
		last string
		kind mobileid.ChargeState
		used int
	}{
		"confirmed": {func(e *env) mobileid.ID {
			e.priced(ledger.UnitMessage, true)
			p, b := e.bind(0), e.bridge()
			c := e.challenge(p, "k")
			c.Message.Charging, c.Message.OneSend = mobileid.ChargingDiameter, true
			e.issue(c)
			e.admit(b, c.Message.ID)
			e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
			_, err := e.confirmCode(c, 1)
			must(e.t, err)
			e.clk.advance(3 * time.Hour)
			e.sweep(sweeperOf(e))
			return c.Message.ID
		}, "posted confirmed -1 1", mobileid.ChargePosted, 1},
		"stopped": {func(e *env) mobileid.ID {
			n, b := e.byParts(mobileid.ChargingDiameter)
			o := e.partly(n, mobileid.MessageRetry, "a", "b", "")
			o.RetryAt = e.clk.now().Add(time.Second)
			e.settle(b, o)
			e.clk.advance(24 * time.Hour)
			e.sweep(sweeperOf(e))
			return n.Message.ID
		}, "posted stopped -3 2", mobileid.ChargePosted, 2},
		"absent": {func(e *env) mobileid.ID {
			e.priced(ledger.UnitMessage, true)
			p, b := e.bind(0), e.bridge()
			n := e.asked(p, b, "k")
			e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
			e.apply(fileOf(1))
			return n.Message.ID
		}, "voided absent -1 0", mobileid.ChargeVoided, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			id := c.lead(e)
			if all := e.transfers(id); all[len(all)-1] != c.last {
				t.Fatalf("transfers %q, want %q last", all, c.last)
			}
			e.wantCall(id, c.kind, c.used)
		})
	}
}

// What is posted late and what is given back of one account in one statement may be the
// same money: it is late all the same.
func TestALatePostingBesideAReversalIsLate(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(10*cost), e.bridge()
	sent, doubted := e.notice(p, "sent"), e.notice(p, "doubted")
	e.queue(sent, doubted)
	e.admit(b, sent.Message.ID, doubted.Message.ID)
	e.settle(b, e.outcome(doubted.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	e.clk.advance(3 * time.Hour)
	e.settle(b, e.outcome(sent.Message.ID, mobileid.MessageSent, p.binding.Number, "sent"))
	e.sweep(sweeperOf(e))
	e.wantCharge(doubted.Message.ID, "unknown")
	e.settle(b, e.outcome(doubted.Message.ID, mobileid.MessageSent, p.binding.Number, "doubted"))
	e.receipts(e.receipt(p.binding.Number, "sent", mobileid.MessageRejected), e.receipt(p.binding.Number, "doubted", mobileid.MessageDelivered))
	e.wantCharge(sent.Message.ID, "reversed")
	e.wantCharge(doubted.Message.ID, "posted")
	e.wantBalanced()
}
