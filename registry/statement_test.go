package registry_test

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// TestTheLinesOfADaySayWhatWasChargedForWhat spells the lines of a day out, at
// both its ends.
func TestTheLinesOfADaySayWhatWasChargedForWhat(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, mobileid.Tashkent)
	e.clk.ns.Store(midnight.Add(-2 * time.Second).UnixNano())
	b.live(b.people[0], "notice.access", 1, "posted") // admitted at 23:59:58, posted a second later
	e.clk.ns.Store(midnight.Add(-time.Second).UnixNano())
	b.live(b.people[0], "notice.access", 2, "posted") // posted at 0:00
	b.live(b.people[0], "otp.sign_in", 3, "posted")   // by the part
	b.live(b.people[1], "otp.sign_in", 2, "reversed")
	b.live(b.people[1], "notice.access", 1, "rejected")
	b.live(b.people[1], "notice.access", 2, "unknown")
	want := []mobileid.OperatorLine{
		{
			Day: midnight, Operator: operator, Kind: "notice", Tariff: 1, Price: cost, Unit: "message", Charging: "ledger",
			Posted: mobileid.Counted{Messages: 1, Parts: 2}, Voided: mobileid.Counted{Messages: 1, Parts: 1}, Unknown: mobileid.Counted{Messages: 1, Parts: 2},
			PostedAmount: cost,
		},
		{
			Day: midnight, Operator: operator, Kind: "otp", Tariff: 2, Price: 70_50, Unit: "part", Charging: "ledger",
			Posted: mobileid.Counted{Messages: 2, Parts: 5}, Reversed: mobileid.Counted{Messages: 1, Parts: 2}, PostedAmount: 5 * 70_50, ReversedAmount: 2 * 70_50,
		},
	}
	statement, err := e.OperatorDay(e.ctx(), operator, midnight.Add(13*time.Hour))
	must(t, err)
	lines := statement.Lines
	if !reflect.DeepEqual(lines, want) || !statement.Day.Equal(midnight) || statement.Operator != operator {
		t.Errorf("the day:\n%+v\nwant\n%+v", lines, want)
	}
	statement, err = e.OperatorDay(e.ctx(), operator, midnight.Add(-time.Nanosecond))
	must(t, err)
	if before := statement.Lines; len(before) != 1 || before[0].Posted != (mobileid.Counted{Messages: 1, Parts: 1}) || before[0].Net() != cost {
		t.Errorf("the day before: %+v", before)
	}
	if other, err := e.OperatorDay(e.ctx(), "ucell", midnight); err != nil || len(other.Lines) != 0 {
		t.Errorf("another operator: %+v %v", other, err)
	}
	// A transaction that began before midnight may commit after it.
	for _, c := range []struct {
		after time.Duration
		final bool
	}{{24 * time.Hour, false}, {24*time.Hour + 5*time.Minute - time.Millisecond, false}, {24*time.Hour + 5*time.Minute, true}} {
		e.clk.ns.Store(midnight.Add(c.after).UnixNano())
		d, err := e.OperatorDay(e.ctx(), operator, midnight)
		must(t, err)
		empty, err := e.OperatorDay(e.ctx(), "ucell", midnight)
		must(t, err)
		if d.Final != c.final || d.Lines[0].Final != c.final || d.Lines[1].Final != c.final || empty.Final != c.final {
			t.Errorf("%s after its beginning: final %v, want %v", c.after, d, c.final)
		}
		n := 0
		must(t, e.OperatorTransfers(e.ctx(), operator, midnight, false, func(x *registry.OperatorTransfer) error {
			if n++; x.Final != c.final {
				t.Errorf("%s after its beginning: a transfer is final %v, want %v", c.after, x.Final, c.final)
			}
			return nil
		}))
		if n == 0 {
			t.Error("no transfers")
		}
	}
	// What was unknown and is settled is counted no more; it was posted on another day.
	unknown := b.ids[len(b.ids)-1]
	e.clk.ns.Store(midnight.Add(30 * time.Hour).UnixNano())
	b.lateAnswer(unknown, b.people[1].binding.Number, 2)
	for part := 1; part <= 2; part++ {
		b.receipts(b.receipt(b.people[1].binding.Number, b.partID(unknown, part), mobileid.MessageDelivered))
	}
	statement, err = e.OperatorDay(e.ctx(), operator, midnight)
	must(t, err)
	lines = statement.Lines
	want[0].Final, want[1].Final = true, true
	if want[0].Unknown = (mobileid.Counted{}); !reflect.DeepEqual(lines, want) {
		t.Errorf("the day, settled:\n%+v\nwant\n%+v", lines, want)
	}
}

func TestADetailHasTheNumberOnlyWhenItIsAsked(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	p := b.people[0]
	id := b.live(p, "otp.sign_in", 2, "posted")
	posted := e.clk.now()
	e.clk.advance(time.Minute)
	first := b.receipt(p.binding.Number, b.partID(id, 2), mobileid.MessageDelivered)
	first.Stat, first.Err = "DELIVRD", "000"
	b.receipts(first)
	for _, numbers := range []bool{false, true} {
		var all []registry.OperatorTransfer
		must(t, e.OperatorTransfers(e.ctx(), operator, e.clk.now(), numbers, func(x *registry.OperatorTransfer) error {
			all = append(all, *x)
			return nil
		}))
		want := registry.OperatorTransfer{
			Message: id, At: all[1].At, Number: p.binding.Number, OperatorIDs: []string{b.partID(id, 1), b.partID(id, 2)},
			Step: 2, Kind: "posted", Why: "answer", TextKind: "otp", Tariff: 2, Charging: "ledger", Held: -2 * 70_50, Taken: 2 * 70_50,
			Parts: 2, State: mobileid.MessageSent, Stat: "DELIVRD", Err: "000",
		}
		if numbers {
			want.MSISDN = p.binding.MSISDN
		}
		if len(all) != 2 || !reflect.DeepEqual(all[1], want) || !all[1].At.Equal(posted) {
			t.Errorf("numbers %v:\n%+v\nwant\n%+v", numbers, all, want)
		}
	}
	// The last one counts, of whatever part, and a Message without one has none.
	e.clk.advance(time.Minute)
	last := b.receipt(p.binding.Number, b.partID(id, 1), mobileid.MessageUndeliverable)
	last.Stat, last.Err = "UNDELIV", "1A"
	b.receipts(last)
	e.clk.advance(time.Minute)
	silent := b.live(p, "notice.access", 1, "posted")
	seen := map[string]int{}
	must(t, e.OperatorTransfers(e.ctx(), operator, e.clk.now(), false, func(x *registry.OperatorTransfer) error {
		switch {
		case x.Message == id && x.Stat == "UNDELIV" && x.Err == "1A" && x.Parts == 2 && x.State == mobileid.MessageUndeliverable:
			seen["told"]++
		case x.Message == silent && x.Stat == "" && x.Err == "" && x.Parts == 1 && x.State == mobileid.MessageSent:
			seen["silent"]++
		default:
			t.Errorf("%+v", *x)
		}
		return nil
	}))
	if seen["told"] < 2 || seen["silent"] != 2 {
		t.Errorf("%v", seen)
	}
}

// TestADayIsReadAsAStream reads a day of more transfers than are gathered
// anywhere: what is alive while they pass does not grow with them.
func TestADayIsReadAsAStream(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	const n = 150_000
	e.exec(`
insert into transfers (message_id, step, kind, why, account_id, operator, held, taken, at)
select $1::bytea || int4send(i) || '\x00000000000000000000000000'::bytea, 2, 'posted', 'answer', $2, $3, -1, 1, $4::timestamptz + i * interval '500 ms'
from generate_series(1, $5::integer) i`, idFloor(now0)[:7], b.people[0].binding.Account, operator, tashkentMidnight, n)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	began, most, seen := heap(), uint64(0), 0
	var last time.Time
	must(t, e.OperatorTransfers(e.ctx(), operator, now0, false, func(x *registry.OperatorTransfer) error {
		if x.At.Before(last) {
			t.Fatal("not in order")
		}
		last = x.At
		if seen++; seen%30_000 == 0 {
			most = max(most, heap())
		}
		return nil
	}))
	if seen != n {
		t.Errorf("%d of %d transfers", seen, n)
	}
	if grown := int64(most) - int64(began); grown > 8<<20 {
		t.Errorf("%d bytes more are alive in the middle of it", grown)
	}
	statement, err := e.OperatorDay(e.ctx(), operator, now0)
	must(t, err)
	if lines := statement.Lines; len(lines) != 1 || lines[0].Posted.Messages != n || lines[0].Net() != n {
		t.Errorf("%+v", lines)
	}
}

var tashkentMidnight = time.Date(2026, 11, 23, 0, 0, 0, 0, mobileid.Tashkent)

func TestAPersonIsToldOfEachChargeAndNoOthers(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	p := b.people[0]
	refunded := b.live(p, "notice.access", 1, "reversed")
	e.clk.advance(time.Minute)
	paid := b.live(p, "otp.sign_in", 2, "posted")
	e.clk.advance(time.Minute)
	b.live(b.people[1], "notice.access", 1, "posted")
	ask := func(q mobileid.StatementQuery) mobileid.PersonStatement {
		t.Helper()
		if q.Person == (mobileid.Pseudonym{}) {
			q.Person = p.binding.Person
		}
		q.Limit = max(q.Limit, 1)
		s, err := e.PersonStatement(e.ctx(), q)
		must(t, err)
		return s
	}
	ids := func(s mobileid.PersonStatement) (out []mobileid.ID) {
		for i := range s.Charges {
			out = append(out, s.Charges[i].Message)
		}
		return out
	}
	s := ask(mobileid.StatementQuery{Limit: 2})
	if !slices.Equal(ids(s), []mobileid.ID{paid, refunded}) || s.More || s.Locale != mobileid.LocaleUzLatn {
		t.Fatalf("%+v", s)
	}
	c := s.Charges[1]
	var steps []string
	for _, x := range c.Transfers {
		steps = append(steps, fmt.Sprint(x.Step, " ", x.Kind, " ", x.Why, " ", x.Held, " ", x.Taken))
	}
	if want := []string{"1 pending admitted 120.00 0.00", "2 posted answer -120.00 120.00", "3 reversed receipt 0.00 -120.00"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if c.Transfers = nil; !reflect.DeepEqual(c, mobileid.PersonCharge{
		Message: refunded, Client: client, TextID: "notice.access", Operator: operator, State: "undeliverable", Reason: "receipt", Parts: 1,
		Tariff: 1, Act: "Decision 1 of 2025-11-01", Price: cost, Unit: "message", Amount: cost, Charging: "ledger", Charge: "reversed",
	}) {
		t.Errorf("%+v", c)
	}
	if c := s.Charges[0]; c.Net != 2*70_50 || c.Unit != "part" || c.Charge != "posted" {
		t.Errorf("%+v", c)
	}
	if a := s.Account; a == nil || a.Operator != operator || !a.Known || a.Available != 10_000*cost-2*70_50 || a.Reserved != 0 || a.Ceiling != nil || a.SpentToday != cost+2*70_50 {
		t.Errorf("account %+v", a)
	}

	first := ask(mobileid.StatementQuery{Limit: 1})
	if !slices.Equal(ids(first), []mobileid.ID{paid}) || !first.More {
		t.Errorf("first page %+v", first)
	}
	if second := ask(mobileid.StatementQuery{Limit: 1, Before: paid}); !slices.Equal(ids(second), []mobileid.ID{refunded}) || second.More {
		t.Errorf("second page %+v", second)
	}
	if s := ask(mobileid.StatementQuery{Limit: 9, From: paid.Time(), Until: paid.Time().Add(time.Millisecond)}); !slices.Equal(ids(s), []mobileid.ID{paid}) {
		t.Errorf("of a moment: %+v", s)
	}
	if s := ask(mobileid.StatementQuery{Limit: 9, Until: paid.Time()}); !slices.Equal(ids(s), []mobileid.ID{refunded}) {
		t.Errorf("until: %+v", s)
	}
	if s := ask(mobileid.StatementQuery{Limit: 9, Person: mobileid.Pseudonym{1}}); len(s.Charges) != 0 || s.Account != nil || s.Locale != "" {
		t.Errorf("nobody: %+v", s)
	}
}

// TestWhatThereWasNoMoneyForIsToldAmongTheCharges: it has no transfer, unless the
// operator refused what had been reserved.
func TestWhatThereWasNoMoneyForIsToldAmongTheCharges(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	rich := b.people[0]
	ceiling := 3 * cost
	_, err := e.SetDailyCeiling(e.ctx(), rich.binding.Person, &ceiling)
	must(t, err)
	short := func(p person, key string) mobileid.ID {
		t.Helper()
		n := e.notice(p, key)
		e.queue(n)
		e.admit(b.bridge, n.Message.ID)
		e.wantMessage(n.Message.ID, mobileid.MessageNoFunds, mobileid.ReasonDailyLimit)
		e.clk.advance(time.Minute)
		return n.Message.ID
	}
	want := []mobileid.ID{}
	told := func(id mobileid.ID) { want = append([]mobileid.ID{id}, want...) }
	told(b.live(rich, "notice.access", 1, "posted"))
	e.clk.advance(time.Minute)
	refused := e.notice(rich, "refused")
	e.queue(refused)
	e.admit(b.bridge, refused.Message.ID)
	e.settle(b.bridge, e.outcome(refused.Message.ID, mobileid.MessageNoFunds, rich.binding.Number, ""))
	told(refused.Message.ID)
	// What the operator says stops the rest; the ceiling is what is looked for here.
	e.exec(`update bindings set sms_suspended = false, suspended_at = null, suspended_why = null, probe_at = null where id = $1`, rich.binding.ID)
	e.clk.advance(time.Minute)
	told(b.live(rich, "notice.access", 1, "posted"))
	e.clk.advance(time.Minute)
	told(short(rich, "one"))
	_, err = e.SetDailyCeiling(e.ctx(), rich.binding.Person, nil)
	must(t, err)
	told(b.live(rich, "notice.access", 1, "posted"))
	e.clk.advance(time.Minute)
	_, err = e.SetDailyCeiling(e.ctx(), rich.binding.Person, &ceiling)
	must(t, err)
	told(short(rich, "two"))
	told(short(rich, "three"))
	nothing := mobileid.Money(0)
	_, err = e.SetDailyCeiling(e.ctx(), b.people[1].binding.Person, &nothing)
	must(t, err)
	short(b.people[1], "another person's")

	for _, page := range []int{1, 2, 3, 100} {
		var got []mobileid.ID
		q := mobileid.StatementQuery{Person: rich.binding.Person, Limit: page}
		for {
			s, err := e.PersonStatement(e.ctx(), q)
			must(t, err)
			for i := range s.Charges {
				c := &s.Charges[i]
				got = append(got, c.Message)
				var charge string
				switch c.State {
				case mobileid.MessageNoFunds:
					if charge = ""; c.Message == refused.Message.ID {
						charge = "voided"
					}
				default:
					charge = "posted"
				}
				if string(c.Charge) != charge || (c.Charge == "") != (len(c.Transfers) == 0) || (c.Net == 0) != (c.State == mobileid.MessageNoFunds) ||
					c.Amount != cost || c.Tariff != 1 || c.Operator != operator {
					t.Errorf("%+v", *c)
				}
			}
			if !s.More || len(got) > len(want) {
				break
			}
			q.Before = s.Charges[len(s.Charges)-1].Message
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %v, want %v", page, got, want)
		}
	}
	first := want[len(want)-1]
	s, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: rich.binding.Person, Limit: 100, From: want[1].Time(), Until: want[0].Time()})
	must(t, err)
	if len(s.Charges) != 1 || s.Charges[0].Message != want[1] {
		t.Errorf("of a time: %+v", s.Charges)
	}
	if n := query[int](e, `select count(*) from unpaid where message_id = $1`, first[:]); n != 0 {
		t.Error("what was paid is noted as unpaid")
	}
}

// TestAPersonsStatementIsOfOneMoment changes the account while the Charges are read.
func TestAPersonsStatementIsOfOneMoment(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	p := b.people[0]
	b.live(p, "notice.access", 1, "posted")
	hold, err := e.pool.Begin(e.ctx())
	must(t, err)
	defer func() { _ = hold.Rollback(e.ctx()) }()
	_, err = hold.Exec(e.ctx(), `lock table tariffs in access exclusive mode`)
	must(t, err)
	told := make(chan mobileid.PersonStatement, 1)
	failed := make(chan error, 1)
	go func() {
		s, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: p.binding.Person, Limit: 10})
		if err != nil {
			failed <- err
		}
		told <- s
	}()
	e.blockedBy(1, failed, "the statement does not look at prices")
	_, err = hold.Exec(e.ctx(), `update accounts set daily_limit = 7, posted = posted + 1 where id = $1`, p.binding.Account)
	must(t, err)
	must(t, hold.Commit(e.ctx()))
	s := <-told
	if len(s.Charges) != 1 || s.Account == nil || s.Account.Ceiling != nil || s.Account.Available != 9_999*cost {
		t.Errorf("%+v %+v", s, s.Account)
	}
}

// TestANumberThatHadAnotherOwnerTellsOnlyHisOwn: the account is of the number, and
// goes with it to the next person.
func TestANumberThatHadAnotherOwnerTellsOnlyHisOwn(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	old := b.people[0]
	before := b.live(old, "notice.access", 1, "posted")
	ceiling := cost
	_, err := e.SetDailyCeiling(e.ctx(), old.binding.Person, &ceiling)
	must(t, err)
	must(t, e.Revoke(e.ctx(), old.binding.ID))
	next := b.people[1].asked
	must(t, e.Revoke(e.ctx(), b.people[1].binding.ID))
	next.MSISDN, next.Number = old.asked.MSISDN, old.asked.Number
	_, err = e.Bind(e.ctx(), next)
	must(t, err)
	found, err := e.ActiveBindings(e.ctx(), []mobileid.Pseudonym{next.Person})
	must(t, err)
	e.clk.advance(time.Minute)
	after := b.live(person{found[next.Person], next}, "notice.access", 1, "posted")
	if found[next.Person].Account != old.binding.Account {
		t.Fatal("the number has another account")
	}
	for who, want := range map[mobileid.Pseudonym]mobileid.ID{old.binding.Person: before, next.Person: after} {
		s, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: who, Limit: 10})
		must(t, err)
		if len(s.Charges) != 1 || s.Charges[0].Message != want || (s.Account != nil) != (who == next.Person) {
			t.Errorf("%+v, want %s", s, want)
		}
		if s.Account != nil && s.Account.Ceiling != nil {
			t.Errorf("the next person has the ceiling of the one before: %s", *s.Account.Ceiling)
		}
	}
}

// TestAChargeAtTheNextOperatorIsTold: after a move another account of the number
// pays.
func TestAChargeAtTheNextOperatorIsTold(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	p := b.people[0]
	e.price("ucell", cost, now0.AddDate(-1, 0, 0))
	_, err := e.ImportPorted(e.ctx(), []mobileid.Ported{{Number: p.binding.Number, Operator: "ucell", From: now0, Source: "mnp", Seq: "1"}})
	must(t, err)
	n := e.notice(p, "ported")
	n.Message.Operator, n.Message.Account = "ucell", 0
	e.queue(n)
	other, err := e.OpenBridge(e.ctx(), "ucell", "other", time.Hour)
	must(t, err)
	e.admit(other, n.Message.ID)
	s, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: p.binding.Person, Limit: 10})
	must(t, err)
	if len(s.Charges) != 1 || s.Charges[0].Message != n.Message.ID || s.Charges[0].Charge != "pending" || s.Charges[0].Operator != "ucell" {
		t.Errorf("%+v", s)
	}
}

func TestTheDailyCeilingStopsWhatIsAboveIt(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	p := b.people[0]
	b.live(p, "notice.access", 1, "posted")
	ceiling := 2 * cost
	v, err := e.SetDailyCeiling(e.ctx(), p.binding.Person, &ceiling)
	must(t, err)
	if v.Ceiling == nil || *v.Ceiling != ceiling || v.SpentToday != cost {
		t.Errorf("%+v", v)
	}
	b.live(p, "notice.access", 1, "posted")
	n := e.notice(p, "above")
	e.queue(n)
	e.admit(b.bridge, n.Message.ID)
	e.wantMessage(n.Message.ID, mobileid.MessageNoFunds, "daily_limit")
	v, err = e.SetDailyCeiling(e.ctx(), p.binding.Person, nil)
	must(t, err)
	if v.Ceiling != nil {
		t.Errorf("%+v", v)
	}
	b.live(p, "notice.access", 1, "posted")
	e.clk.advance(24 * time.Hour)
	s, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: p.binding.Person, Limit: 1})
	must(t, err)
	if s.Account.SpentToday != 0 {
		t.Errorf("the day after: %+v", s.Account)
	}
	if _, err := e.SetDailyCeiling(e.ctx(), mobileid.Pseudonym{1}, nil); mobileid.CodeOf(err) != "unbound" {
		t.Errorf("nobody: %v", err)
	}
	less := mobileid.Money(-1)
	if _, err := e.SetDailyCeiling(e.ctx(), p.binding.Person, &less); mobileid.KindOf(err) != mobileid.KindInvalid {
		t.Errorf("below nothing: %v", err)
	}
}

// TestEachReasonOfATransferHasWords reads the closed lists of the schema.
func TestEachReasonOfATransferHasWords(t *testing.T) {
	e := newEnv(t)
	listed := func(column string) []string {
		def := query[string](e, `select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'transfers'::regclass and conname = $1`, "transfers_"+column+"_check")
		var out []string
		for i, word := range strings.Split(def, "'") {
			if i%2 == 1 {
				out = append(out, word)
			}
		}
		return out
	}
	kinds, whys := listed("kind"), listed("why")
	if len(kinds) < 5 || len(whys) < 9 {
		t.Fatalf("the schema lists %q and %q", kinds, whys)
	}
	for _, why := range whys {
		told := slices.ContainsFunc(kinds, func(kind string) bool {
			words := mobileid.TransferWords(mobileid.ChargeState(kind), why, mobileid.LocaleEn)
			return kind == "pending" && why == "admitted" || kind != "pending" && words != "the Charge became "+kind
		})
		if !told {
			t.Errorf("%s has no words: internal/mobileid/statement_words.go, and docs/statements.md", why)
		}
	}
	if got := mobileid.TransferWords("posted", "magic", mobileid.LocaleEn); got != "the Charge became posted" {
		t.Errorf("of no list: %q", got)
	}
}

// TestTheAccountsThatPayAreToldWithWhatIsStopped: when the money is out the next SMS
// after a while tries, when the operator bars nothing does.
func TestTheAccountsThatPayAreToldWithWhatIsStopped(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	rich, poor, barred, b := e.bind(10*cost), e.bind(cost), e.bind(cost), e.bridge()
	e.reserve(rich, b, 1)
	e.reserve(poor, b, 1)
	broke := e.notice(poor, "broke")
	e.queue(broke)
	if a := e.admit(b, broke.Message.ID); a[0].State != mobileid.MessageNoFunds {
		t.Fatalf("%+v", a)
	}
	e.tell(e.news(barred, mobileid.BalanceBarred, 0))
	since := e.clk.now().UTC()
	nobody := mobileid.Pseudonym{1}
	want := map[mobileid.Pseudonym]mobileid.SubscriberView{
		rich.binding.Person: {Operator: operator, Known: true, Available: 9 * cost, Reserved: cost, SpentToday: cost},
		poor.binding.Person: {
			Operator: operator, Known: true, Reserved: cost, SpentToday: cost,
			SuspendedSince: since, SuspendedWhy: mobileid.SuspendedForBalance, ProbeAt: since.Add(time.Minute),
		},
		barred.binding.Person: {Operator: operator, Known: true, Available: cost, SuspendedSince: since, SuspendedWhy: mobileid.SuspendedAsBarred},
	}
	ask := func() map[mobileid.Pseudonym]mobileid.SubscriberView {
		t.Helper()
		got, err := e.Subscribers(e.ctx(), []mobileid.Pseudonym{rich.binding.Person, poor.binding.Person, barred.binding.Person, nobody})
		must(t, err)
		return got
	}
	if got := ask(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	e.tell(e.news(poor, mobileid.BalanceTopUp, 2*cost))
	want[poor.binding.Person] = mobileid.SubscriberView{Operator: operator, Known: true, Available: 2 * cost, Reserved: cost, SpentToday: cost}
	if got := ask(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a top-up %+v, want %+v", got, want)
	}
}
