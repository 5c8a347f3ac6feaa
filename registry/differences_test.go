package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
	"mobileid/registry/reconcile"
)

// paid makes a notice that the operator has taken under an id; change, if not nil,
// makes another Message of it.
func (e *env) paid(p person, id string, change func(*mobileid.NewMessage), note mobileid.ChargeNote) mobileid.NewNotification {
	e.t.Helper()
	n := e.notice(p, id)
	if change != nil {
		change(n.Message)
	}
	e.queue(n)
	b := e.bridge()
	e.admit(b, n.Message.ID)
	o := e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, id)
	o.Charge = note
	e.settle(b, o)
	return n
}

func by(c mobileid.Charging) func(*mobileid.NewMessage) {
	return func(m *mobileid.NewMessage) { m.Charging = c }
}

// debited is a line that says what was debited, of now.
func (e *env) debited(p person, no int, id string, amount mobileid.Money) *reconcile.Line {
	l := lineTo(p, no, mobileid.MessageDelivered)
	l.Submitted, l.ID, l.Priced, l.Charged = e.clk.now(), id, true, amount
	return l
}

// differ does what the command does with the debits of a file.
func (e *env) differ(f reconcile.File, refunds bool, lines ...*reconcile.Line) (found []registry.Found, out registry.DiffersStored) {
	e.t.Helper()
	f.Charges = true
	file, err := e.BeginFile(e.ctx(), operator, f)
	must(e.t, err)
	d, err := e.OpenDebits(e.ctx(), registry.FileOf{Operator: operator, Account: account, Life: time.Hour, Slack: time.Minute}, f, file)
	must(e.t, err)
	defer d.Close()
	for _, l := range lines {
		must(e.t, d.Add(e.ctx(), l))
	}
	_, err = d.Judge(e.ctx(), nil, func(some []registry.Found) error {
		found = append(found, some...)
		stored, err := e.StoreDifferences(e.ctx(), operator, file, refunds, some)
		out.Add(stored)
		return err
	})
	must(e.t, err)
	e.wantBalanced()
	return found, out
}

// steps are those of every difference, "kind state way by transfer".
func (e *env) steps() (out []string) {
	e.t.Helper()
	rows, err := e.pool.Query(e.ctx(), `
select d.kind || ' ' || s.state || ' ' || coalesce(s.way, '-') || ' ' || s.by || ' ' || coalesce(s.transfer, 0)
from differences d join difference_steps s on s.difference_id = d.id order by d.id, s.step`)
	must(e.t, err)
	for rows.Next() {
		var line string
		must(e.t, rows.Scan(&line))
		out = append(out, line)
	}
	must(e.t, rows.Err())
	return out
}

func (e *env) wantSteps(want ...string) {
	e.t.Helper()
	if have := e.steps(); !slices.Equal(have, want) {
		e.t.Errorf("steps %q, want %q", have, want)
	}
}

func (e *env) onlyDifference() int64 {
	e.t.Helper()
	return query[int64](e, `select id from differences`)
}

// One row is a Charge, what the file says of it, and what the rules make of it. The
// charging system is told of none of that.
func TestARuleMovesTheChargeToWhatWasDebited(t *testing.T) {
	const ledgerWay, diameter, debits, payer = mobileid.ChargingLedger, mobileid.ChargingDiameter, mobileid.ChargingOperator, mobileid.ChargingPayer
	for name, c := range map[string]struct {
		charging  mobileid.Charging
		note      mobileid.ChargeNote
		theirs    mobileid.Money
		steps     string // after "open"
		transfers string // the last
	}{
		"posted, not debited":           {ledgerWay, "", 0, "not_charged settled accept rule 3", "reversed reconciled 0 -1"},
		"posted, debited by half":       {ledgerWay, "", cost / 2, "amount settled accept rule 3", "reversed reconciled 0 0"}, // in whole prices
		"posted, debited twice as much": {ledgerWay, "", 2 * cost, "", "posted answer -1 1"},
		"asked, not debited":            {diameter, "", 0, "not_charged settled accept rule 3", "reversed reconciled 0 -1"},
		"asked in vain, debited":        {diameter, mobileid.ChargeNotKnown, cost, "charged_unknown settled accept rule 3", "posted reconciled 0 1"},
		"asked in vain, not debited":    {diameter, mobileid.ChargeNotKnown, 0, "not_charged settled accept rule 3", "voided reconciled 0 0"},
		"asked in vain, above":          {diameter, mobileid.ChargeNotKnown, 2 * cost, "", "unknown charger -1 0"},
		"free there, debited":           {diameter, mobileid.ChargeFree, cost, "", "voided charger -1 0"},
		"debits himself, did not":       {debits, "", 0, "not_charged settled accept rule 3", "reversed reconciled 0 -1"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.priced(ledger.UnitMessage, true)
			p := e.bind(cost)
			n := e.paid(p, "id", by(c.charging), c.note)
			calls := query[int](e, `select count(*) from charge_calls`)
			_, out := e.differ(fileOf(1), false, e.debited(p, 3, "id", c.theirs))
			want := 0
			if c.steps != "" {
				want = 1
				if have := e.steps(); len(have) != 2 || have[1] != c.steps {
					t.Errorf("steps %q", have)
				}
			}
			if out.New != 1 || out.Settled != want || out.Open != 1-want || out.Moved != 0 {
				t.Errorf("%+v", out)
			}
			all := e.transfers(n.Message.ID)
			if all[len(all)-1] != c.transfers {
				t.Errorf("transfers %q", all)
			}
			if c.steps != "" {
				if charged := query[int64](e, `select charged from messages where id = $1`, n.Message.ID[:]); mobileid.Money(charged) != c.theirs {
					t.Errorf("%d is charged, %d was debited", charged, c.theirs)
				}
			}
			if after := query[int](e, `select count(*) from charge_calls`); after != calls {
				t.Errorf("the charging system is told of %d transfers", after-calls)
			}
			// The same file again, and the next one with the same line.
			e.differ(fileOf(1), false, e.debited(p, 3, "id", c.theirs))
			_, out = e.differ(fileOf(2), false, e.debited(p, 9, "id", c.theirs))
			if out.New != 0 || out.Settled != 0 || query[int](e, `select count(*) from differences`) != 1 {
				t.Errorf("told again: %+v", out)
			}
		})
	}
	t.Run("the system pays", func(t *testing.T) {
		e := newEnv(t)
		e.priced(ledger.UnitMessage, true)
		p := e.bind(cost)
		e.paid(p, "free", func(m *mobileid.NewMessage) { m.Payer = "mobileid" }, "")
		e.paid(p, "debited", func(m *mobileid.NewMessage) { m.Payer = "mobileid" }, "")
		_, out := e.differ(fileOf(1), false, e.debited(p, 3, "free", 0), e.debited(p, 4, "debited", cost))
		if out.New != 1 || query[string](e, `select kind || ' ' || charging || ' ' || ours from differences`) != "amount "+string(payer)+" 0" {
			t.Errorf("%+v", out)
		}
		if err := e.ProposeDifference(e.ctx(), e.onlyDifference(), reconcile.Accept, "Anvar", "x"); mobileid.CodeOf(err) != "difference_way" {
			t.Errorf("accepted for the subscriber: %v", err)
		}
	})
}

// Of two Messages to one number at one time the id says which was debited how, also
// when it has come round within three days: then the one nearest in time has it.
func TestAnIdSaysWhichMessageWasDebited(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p := e.bind(10 * cost)
	first := e.paid(p, "a", nil, "")
	second := e.paid(p, "b", func(m *mobileid.NewMessage) { m.Charging = mobileid.ChargingOperator }, "")
	lines := []*reconcile.Line{e.debited(p, 3, "b", 0), e.debited(p, 4, "a", cost)}
	e.clk.advance(40 * time.Hour)
	n := e.notice(p, "c")
	e.queue(n)
	b := e.bridge()
	e.admit(b, n.Message.ID)
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "a"))
	f := fileOf(1)
	f.Until = now0.Add(48 * time.Hour)
	found, _ := e.differ(f, false, append(lines, e.debited(p, 5, "a", 2*cost))...)
	slices.SortFunc(found, func(a, b registry.Found) int { return a.Lines[0] - b.Lines[0] })
	if len(found) != 2 || found[0].Book.ID != second.Message.ID || found[1].Book.ID != n.Message.ID || fmt.Sprint(found[0].Lines, found[1].Lines) != "[3] [5]" {
		t.Errorf("%+v", found)
	}
	e.wantCharge(first.Message.ID, "posted")
	e.wantCharge(second.Message.ID, "reversed")
}

// A code was written twice, and the operator has debited both: double billing, which
// he gives back where that was agreed.
func TestBothSubmissionsOfACodeDebitedAreDoubleBilling(t *testing.T) {
	for _, refunds := range []bool{false, true} {
		e := newEnv(t)
		e.priced(ledger.UnitMessage, true)
		p, b := e.bind(10*cost), e.bridge()
		c := e.challenge(p, "k")
		c.Message.Charging = mobileid.ChargingOperator
		e.issue(c)
		e.admit(b, c.Message.ID)
		e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
		e.admit(b, c.Message.ID)
		e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "second"))
		e.receipts(e.receipt(p.binding.Number, "second", mobileid.MessageDelivered))
		found, out := e.differ(fileOf(1), refunds, e.debited(p, 3, "first", cost), e.debited(p, 4, "second", cost))
		if len(found) != 1 || found[0].Kind != reconcile.KindDouble || fmt.Sprint(found[0].Lines) != "[3 4]" || out.New != 1 {
			t.Fatalf("%+v", found)
		}
		if refunds {
			e.wantSteps("double open -  0", "double settled operator_owes rule 0")
		} else {
			e.wantSteps("double open -  0")
		}
		e.wantTransfers(c.Message.ID, "pending admitted 1 0", "posted answer -1 1")
	}
}

// What was given back is posted again when two persons accept it, even if there is
// less by then; and what was never sent, or was paid for by parts, has its lines.
func TestTwoPersonsMayPostWhatWasVoided(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, absent := e.doubt(e.bridge(), "absent")
	e.apply(fileOf(1)) // he does not have it
	e.wantCharge(absent, "voided")
	next := e.paid(p, "id", nil, "") // all his money
	l := e.debited(p, 3, "", cost)
	l.Reference = reconcile.Reference(absent)
	e.differ(fileOf(2), false, l, e.debited(p, 4, "id", cost))
	if kind := query[string](e, `select kind from differences`); kind != "charged_undelivered" {
		t.Fatalf("%s", kind) // it ended failed
	}
	e.exec(`update messages set state = 'unconfirmed' where id = $1`, absent[:])
	l.No, l.Charged = 5, cost+1
	e.differ(fileOf(3), false, l, e.debited(p, 4, "id", cost))
	id := query[int64](e, `select id from differences where kind = 'charged_unknown'`)
	must(t, e.ProposeDifference(e.ctx(), id, reconcile.Accept, "Anvar", "he has shown it"))
	must(t, e.ConfirmDifference(e.ctx(), id, "Dilnoza"))
	e.wantCharge(absent, "posted")
	e.wantCharge(next.Message.ID, "posted")
	if free := query[int64](e, `select granted - posted - pending from accounts where id = $1`, p.binding.Account); mobileid.Money(free) != -cost-1 {
		t.Errorf("%d tiyin are free", free)
	}
	e.wantBalanced()
}

// However many confirm at once, whoever rejects meanwhile: it ends in one way, and
// the money moves once or not at all.
func TestADifferenceIsSettledOnceWhoeverConfirmsAtTheSameTime(t *testing.T) {
	for round := range 5 {
		e := newEnv(t)
		e.priced(ledger.UnitMessage, true)
		p := e.bind(10 * cost)
		n := e.paid(p, "id", nil, "")
		e.differ(fileOf(1), false, e.debited(p, 3, "id", 2*cost))
		id := e.onlyDifference()
		must(t, e.ProposeDifference(e.ctx(), id, reconcile.Accept, "Anvar", "x"))
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[string]int{}
		for i := range 8 {
			wg.Go(func() {
				var err error
				if i == 0 {
					err = e.RejectDifference(e.ctx(), id, "Anvar", "x")
				} else {
					err = e.ConfirmDifference(e.ctx(), id, fmt.Sprint("person ", i))
				}
				mu.Lock()
				defer mu.Unlock()
				codes[mobileid.CodeOf(err)]++
			})
		}
		wg.Wait()
		e.wantBalanced()
		settled := query[int](e, `select count(*) from difference_steps where state = 'settled'`)
		transfers := query[int](e, `select count(*) from transfers where message_id = $1 and why = 'reconciled'`, n.Message.ID[:])
		if transfers != settled || codes[""] != 1 || codes["difference_settled"] != 7*settled || codes["difference_not_proposed"] != 7*(1-settled) {
			t.Errorf("round %d: settled %d times, %d transfers: %v", round, settled, transfers, codes)
		}
		if charged := query[int64](e, `select charged from messages`); mobileid.Money(charged) != cost*mobileid.Money(1+settled) {
			t.Errorf("round %d: %d is charged", round, charged)
		}
	}
}

func TestAChargeThatMovedMeanwhileIsNotMovedByWhatWasFoundBefore(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, q := e.bind(10*cost), e.bind(10*cost)
	n, m := e.paid(p, "id", nil, ""), e.paid(q, "other", nil, "")
	e.differ(fileOf(1), false, e.debited(p, 3, "id", 2*cost))
	id := e.onlyDifference()
	must(t, e.ProposeDifference(e.ctx(), id, reconcile.Accept, "Anvar", "x"))
	e.receipts(e.receipt(p.binding.Number, "id", mobileid.MessageUndeliverable))
	if err := e.ConfirmDifference(e.ctx(), id, "Dilnoza"); mobileid.CodeOf(err) != "charge_moved" {
		t.Fatalf("err = %v", err)
	}
	e.wantTransfers(n.Message.ID, "pending admitted 1 0", "posted answer -1 1", "reversed receipt 0 -1")
	e.wantSteps("amount open -  0", "amount proposed accept Anvar 0")

	// And what was read before it moved is not stored.
	f := fileOf(2)
	f.Charges = true
	d, err := e.OpenDebits(e.ctx(), registry.FileOf{Operator: operator, Account: account, Life: time.Hour}, f, 0)
	must(t, err)
	defer d.Close()
	must(t, d.Add(e.ctx(), e.debited(q, 3, "other", 0)))
	file, err := e.BeginFile(e.ctx(), operator, f)
	must(t, err)
	_, err = d.Judge(e.ctx(), nil, func(found []registry.Found) error {
		if len(found) == 0 {
			return nil
		}
		e.receipts(e.receipt(q.binding.Number, "other", mobileid.MessageUndeliverable))
		out, err := e.StoreDifferences(e.ctx(), operator, file, false, found)
		if out.Moved != 1 || out.New != 0 {
			t.Errorf("%+v", out)
		}
		return err
	})
	must(t, err)
	e.wantTransfers(m.Message.ID, "pending admitted 1 0", "posted answer -1 1", "reversed receipt 0 -1")
}

// A run that changes nothing leaves out what the file would settle first.
func TestWhatTheFileSettlesIsNotADifferenceYet(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, id := e.doubt(e.bridge(), "k")
	l := e.debited(p, 3, "", cost)
	e.clk.advance(25 * time.Hour)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, &lanes{}, nil))
	e.wantCharge(id, "unknown")
	for _, skip := range []map[mobileid.ID]bool{nil, {id: true}} {
		d, err := e.OpenDebits(e.ctx(), registry.FileOf{Operator: operator, Account: account, Life: time.Hour}, fileOf(1), 0)
		must(t, err)
		must(t, d.Add(e.ctx(), l))
		n := 0
		_, err = d.Judge(e.ctx(), skip, func(found []registry.Found) error {
			n += len(found)
			return nil
		})
		must(t, err)
		d.Close()
		if want := 1 - len(skip); n != want {
			t.Errorf("%d differences, want %d", n, want)
		}
	}
}

// Two lines of nothing we know that say the same are two debits, and the file of the
// next day tells of no others.
func TestStrangersAreKeptLineByLine(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p := e.bind(cost)
	lines := []*reconcile.Line{e.debited(p, 3, "", cost), e.debited(p, 4, "", cost), e.debited(p, 5, "x", 0)}
	for file, want := range []int{2, 0, 0} {
		if _, out := e.differ(fileOf(byte(max(1, file))), false, lines...); out.New != want || out.Open != 2 {
			t.Errorf("run %d: %+v", file, out)
		}
	}
}

func TestFactsAndStepsOfADifferenceAreNeverChanged(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p := e.bind(cost)
	e.differ(fileOf(1), false, e.debited(p, 3, "x", cost))
	for _, sql := range []string{
		`update differences set theirs = 0`, `delete from differences`, `update difference_steps set by = 'x'`, `delete from difference_steps`,
	} {
		if _, err := e.pool.Exec(e.ctx(), sql); err == nil {
			t.Errorf("%s: done", sql)
		}
	}
	// Each month of transfers knows the word.
	if n := query[int](e, `select count(*) from pg_constraint where conname = 'transfers_why_check' and pg_get_constraintdef(oid) not like '%reconciled%'`); n != 0 {
		t.Errorf("%d months refuse a transfer that is reconciled", n)
	}
}

func TestTheSweeperTellsHowManyDifferencesAreOpen(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p := e.bind(cost)
	e.differ(fileOf(1), false, e.debited(p, 3, "x", cost), e.debited(p, 4, "y", cost))
	reg := prometheus.NewRegistry()
	db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name), Now: e.clk.now, Reg: reg})
	must(t, err)
	defer db.Close()
	s := registry.NewSweeper(db, registry.SweepConfig{Grace: time.Second}, &lanes{}, nil)
	want := func(n int) {
		t.Helper()
		must(t, s.Sweep(e.ctx()))
		text := fmt.Sprintf(`# HELP mobileid_registry_differences_open Differences between operators' debits and our Charges that are not settled.
# TYPE mobileid_registry_differences_open gauge
mobileid_registry_differences_open{kind="stranger",operator="beeline"} %d
`, n)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "mobileid_registry_differences_open"); err != nil {
			t.Error(err)
		}
	}
	want(2)
	for _, id := range []int64{1, 2} {
		must(t, e.ProposeDifference(e.ctx(), id, reconcile.OperatorOwes, "Anvar", "x"))
		must(t, e.ConfirmDifference(e.ctx(), id, "Dilnoza"))
	}
	e.clk.advance(time.Minute)
	want(0)
}
