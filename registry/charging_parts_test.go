package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// byParts is a Message of three parts at a tariff by the part, which a bridge has.
func (e *env) byParts(charging mobileid.Charging) (mobileid.NewNotification, int64) {
	e.t.Helper()
	e.priced(ledger.UnitPart, true)
	p, b := e.bind(10*cost), e.bridge()
	n := e.notice(p, "k")
	n.Message.Parts, n.Message.Charging = 3, charging
	e.queue(n)
	e.admit(b, n.Message.ID)
	return n, b
}

// However a Message ends that the operator has taken a part of: what he took is
// paid for, and given back when a receipt refuses it.
func TestPartsThatWereTakenArePaidHoweverTheMessageEnds(t *testing.T) {
	for _, state := range []mobileid.MessageState{mobileid.MessageRejected, mobileid.MessageExpired, mobileid.MessageFailed, mobileid.MessageNoFunds} {
		t.Run(string(state), func(t *testing.T) {
			e := newEnv(t)
			n, b := e.byParts(mobileid.ChargingLedger)
			e.settle(b, e.partly(n, state, "a", "b", ""))
			e.clk.advance(time.Second)
			e.receipts(e.receipt(n.Message.Dest, "a", mobileid.MessageRejected))
			e.receipts(e.receipt(n.Message.Dest, "b", mobileid.MessageDelivered))
			e.wantTransfers(n.Message.ID, "pending admitted 3 0", "posted answer -3 2", "reversed receipt 0 -1")
		})
	}
	for name, end := range map[string]func(e *env, n mobileid.NewNotification, b int64){
		"found by admission":   func(e *env, n mobileid.NewNotification, b int64) { e.admit(b, n.Message.ID) },
		"found by the sweeper": func(e *env, _ mobileid.NewNotification, _ int64) { e.sweep(sweeperOf(e)) },
	} {
		t.Run("waiting for its retry, "+name, func(t *testing.T) {
			e := newEnv(t)
			n, b := e.byParts(mobileid.ChargingLedger)
			o := e.partly(n, mobileid.MessageRetry, "a", "b", "")
			o.RetryAt = e.clk.now().Add(time.Second)
			e.settle(b, o)
			e.clk.advance(24 * time.Hour)
			end(e, n, b)
			e.wantMessage(n.Message.ID, mobileid.MessageExpired, mobileid.ReasonDeadline)
			e.wantTransfers(n.Message.ID, "pending admitted 3 0", "posted stopped -3 2")
		})
	}
	t.Run("waiting for its retry, superseded", func(t *testing.T) {
		e := newEnv(t)
		e.priced(ledger.UnitPart, true)
		p, b := e.bind(10*cost), e.bridge()
		c := e.challenge(p, "k")
		c.Message.Parts = 3
		e.issue(c)
		e.admit(b, c.Message.ID)
		o := e.partly(mobileid.NewNotification{Message: c.Message}, mobileid.MessageRetry, "a", "", "")
		o.RetryAt = e.clk.now().Add(time.Hour)
		e.settle(b, o)
		must(t, e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeExhausted, mobileid.ReasonWrongCodes))
		e.wantTransfers(c.Message.ID, "pending admitted 3 0", "posted stopped -3 1")
	})
}

func sweeperOf(e *env) *registry.Sweeper {
	return registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
}

// What the charging system did not answer for goes, once it has, by the parts that
// were taken and by the receipts that came meanwhile.
func TestAnUnknownChargeGoesByItsPartsOnceItIsKnown(t *testing.T) {
	known := func(e *env) {
		e.t.Helper()
		calls, err := e.ChargeCalls(e.ctx(), operator, 100)
		must(e.t, err)
		if len(calls) != 1 || calls[0].Kind != mobileid.ChargeUnknown {
			e.t.Fatalf("calls %+v", calls)
		}
		must(e.t, e.ChargeTold(e.ctx(), calls[0], mobileid.ChargePosted))
	}
	for said, reversed := range map[mobileid.MessageState]string{mobileid.MessageRejected: "reversed receipt 0 -1", mobileid.MessageUndeliverable: "reversed receipt 0 -1", mobileid.MessageDelivered: ""} {
		t.Run("a receipt said "+string(said), func(t *testing.T) {
			e := newEnv(t)
			n, b := e.byParts(mobileid.ChargingDiameter)
			o := e.partly(n, mobileid.MessageSent, "a", "b", "c")
			o.Charge = mobileid.ChargeNotKnown
			e.settle(b, o)
			e.clk.advance(time.Second)
			e.receipts(e.receipt(n.Message.Dest, "a", "delivered"), e.receipt(n.Message.Dest, "b", said), e.receipt(n.Message.Dest, "c", "delivered"))
			known(e)
			want := []string{"pending admitted 3 0", "unknown charger -3 0", "posted charger 0 3"}
			if reversed != "" {
				want = append(want, reversed)
			}
			e.wantTransfers(n.Message.ID, want...)
		})
	}
	t.Run("a part was refused at once", func(t *testing.T) {
		e := newEnv(t)
		n, b := e.byParts(mobileid.ChargingDiameter)
		o := e.partly(n, mobileid.MessageRejected, "a", "b", "")
		o.Charge = mobileid.ChargeNotKnown
		e.settle(b, o)
		e.wantTransfers(n.Message.ID, "pending admitted 3 0", "unknown charger -3 0")
		known(e)
		e.wantTransfers(n.Message.ID, "pending admitted 3 0", "unknown charger -3 0", "posted charger 0 2")
	})
}

// The calls of one Message go one after the other: a later one may only be true
// when the one before it was.
func TestTheChargingSystemIsToldOneStepAfterTheOther(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(0), e.bridge()
	sent := func(key string, note mobileid.ChargeNote) mobileid.NewNotification {
		n := e.notice(p, key)
		n.Message.Charging = mobileid.ChargingDiameter
		e.queue(n)
		e.admit(b, n.Message.ID)
		o := e.outcome(n.Message.ID, mobileid.MessageSent, n.Message.Dest, key)
		o.Charge = note
		e.settle(b, o)
		e.clk.advance(time.Second)
		e.receipts(e.receipt(n.Message.Dest, key, mobileid.MessageRejected))
		return n
	}
	due := func() []mobileid.ChargeCall {
		t.Helper()
		e.clk.advance(time.Hour)
		calls, err := e.ChargeCalls(e.ctx(), operator, 100)
		must(t, err)
		return calls
	}
	only := func(n mobileid.NewNotification, kind mobileid.ChargeState) mobileid.ChargeCall {
		t.Helper()
		calls := due()
		if len(calls) != 1 || calls[0].ID != n.Message.ID || calls[0].Kind != kind {
			t.Fatalf("calls %+v, want %s", calls, kind)
		}
		return calls[0]
	}
	none := func() {
		t.Helper()
		if calls := due(); len(calls) != 0 {
			t.Fatalf("calls %+v", calls)
		}
	}

	paid := sent("paid", "")
	must(t, e.ChargeTold(e.ctx(), only(paid, "posted"), ""))
	must(t, e.ChargeTold(e.ctx(), only(paid, "reversed"), ""))
	none()

	// It was not told, and is due later; a late answer makes it due at once.
	late := sent("late", mobileid.ChargeAsReserved)
	only(late, "posted")
	if calls, err := e.ChargeCalls(e.ctx(), operator, 100); err != nil || len(calls) != 0 {
		t.Fatalf("due already: %+v %v", calls, err)
	}
	must(t, e.HastenCharge(e.ctx(), late.Message.ID))
	if calls, err := e.ChargeCalls(e.ctx(), operator, 100); err != nil || len(calls) != 1 {
		t.Fatalf("not due: %+v %v", calls, err)
	}
	must(t, e.ChargeTold(e.ctx(), only(late, "posted"), ""))
	must(t, e.ChargeTold(e.ctx(), only(late, "reversed"), ""))

	// It had lapsed: nobody paid, so nothing is refunded.
	lapsed := sent("lapsed", "")
	must(t, e.ChargeTold(e.ctx(), only(lapsed, "posted"), "reversed"))
	none()

	// A receipt has refused it before anybody knew whether it is reserved: it is not
	// reserved again, and given back.
	refused := sent("refused", mobileid.ChargeNotKnown)
	e.wantTransfers(refused.Message.ID, "pending admitted 1 0", "unknown charger -1 0", "voided receipt 0 0")
	due() // the question is withdrawn
	must(t, e.ChargeTold(e.ctx(), only(refused, "voided"), ""))
	none()
}

// The ledger's own belts hold without its statements: the table refuses an overdraft
// that no statement has seen, and what is written once is not changed.
func TestTheTablesRefuseWhatTheStatementsNeverDo(t *testing.T) {
	e := newEnv(t)
	n, b := e.byParts(mobileid.ChargingLedger)
	e.settle(b, e.partly(n, mobileid.MessageSent, "a", "b", "c"))
	for _, sql := range []string{
		`update accounts set pending = granted - posted + late + 1`,
		`update accounts set posted = granted + late + 1`,
		`update transfers set taken = 0`,
		`update transfers_2026_11 set taken = 0`,
		`delete from transfers`,
		`delete from transfers_2026_11`,
		`update credits set amount = 0`,
		`delete from credits`,
		`truncate transfers cascade`, `truncate transfers_2026_11`, `truncate credits cascade`, `truncate consents`, `truncate openings`,
		`truncate archives cascade`, `truncate operator_days`, `truncate differences cascade`, `truncate difference_steps cascade`,
		`insert into transfers select * from transfers where step = 1`,
	} {
		if _, err := e.pool.Exec(e.ctx(), sql); err == nil {
			t.Errorf("%s: done", sql)
		}
	}
	e.wantBalanced()
}
