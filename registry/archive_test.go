package registry_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// ends are how the Charge of a Message may end.
var ends = []string{"posted", "reversed", "rejected", "expired", "unknown", "late", "delivered"}

// books is a registry with money that moves.
type books struct {
	*env
	bridge  int64
	sweeper *registry.Sweeper
	people  []person
	ids     []mobileid.ID
}

func newBooks(e *env) *books {
	part := tariffOf(operator, "otp", 70_50, now0.AddDate(-1, 0, 0))
	part.Unit = ledger.UnitPart
	_, err := e.LoadTariffs(e.ctx(), []ledger.Tariff{tariffOf(operator, "", cost, now0.AddDate(-1, 0, 0)), part})
	must(e.t, err)
	return &books{
		env: e, bridge: e.bridge(), sweeper: registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil),
		people: []person{e.bind(10_000 * cost), e.bind(10_000 * cost)},
	}
}

// live queues a Message and lets its Charge come to an end. It turns the clock on.
func (b *books) live(p person, text string, parts int, end string) mobileid.ID {
	b.t.Helper()
	n := b.notice(p, fmt.Sprint("life", b.n.Add(1)))
	n.Message.TextID, n.Message.Parts = text, parts
	n.Request.TextID = text
	id, dest := n.Message.ID, n.Message.Dest
	b.ids = append(b.ids, id)
	b.queue(n)
	b.admit(b.bridge, id)
	b.clk.advance(time.Second)
	outcome := func(state mobileid.MessageState) {
		o := b.outcome(id, state, dest, "")
		if state == mobileid.MessageSent {
			o.Parts = nil
			for part := 1; part <= parts; part++ {
				o.Parts = append(o.Parts, mobileid.PartOutcome{
					Part: part, Link: o.Link, Sequence: uint32(b.n.Add(1)), OperatorID: b.partID(id, part), Dest: dest, AnsweredAt: b.clk.now(),
				})
			}
		}
		b.settle(b.bridge, o)
	}
	told := func(state mobileid.MessageState) {
		b.clk.advance(time.Minute)
		for part := 1; part <= parts; part++ {
			b.receipts(b.receipt(dest, b.partID(id, part), state))
		}
	}
	switch end {
	case "posted":
		outcome(mobileid.MessageSent)
	case "delivered":
		outcome(mobileid.MessageSent)
		told(mobileid.MessageDelivered)
	case "reversed":
		outcome(mobileid.MessageSent)
		told(mobileid.MessageUndeliverable)
	case "rejected":
		outcome(mobileid.MessageRejected)
	case "expired":
		outcome(mobileid.MessageExpired)
	case "unknown", "late":
		outcome(mobileid.MessageInDoubt)
		b.clk.advance(3 * time.Hour)
		b.sweep(b.sweeper)
		b.wantCharge(id, "unknown")
		if end == "late" {
			b.lateAnswer(id, dest, parts)
			told(mobileid.MessageDelivered)
			b.wantCharge(id, "posted")
		}
	}
	return id
}

func (b *books) partID(id mobileid.ID, part int) string {
	return fmt.Sprint(id.String()[20:], "/", part)
}

// lateAnswer stores the answers that never came, as an operator's file would.
func (b *books) lateAnswer(id mobileid.ID, dest mobileid.Pseudonym, parts int) {
	b.t.Helper()
	for part := 1; part <= parts; part++ {
		b.exec(`insert into message_parts (message_id, part, account, operator_id, dest, link, sequence, status, answered_at) values ($1, $2, $3, $4, $5, 'late', $6, 0, $7)`,
			id[:], part, account, b.partID(id, part), dest[:], b.n.Add(1), b.clk.now())
	}
}

// rest lets the time run until nothing of the last Messages is open.
func (b *books) rest() {
	b.clk.advance(3 * time.Hour)
	for range 3 {
		b.sweep(b.sweeper)
		b.clk.advance(time.Minute)
	}
}

func (b *books) to(at time.Time) {
	b.clk.ns.Store(at.UnixNano())
	fresh := registry.NewSweeper(b.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	b.sweep(fresh) // makes the months
}

// statements are all of an operator's days from one to another, but for what the
// clock alone changes.
func (b *books) statements(from, until time.Time) (days [][]mobileid.OperatorLine, detail []registry.OperatorTransfer) {
	b.t.Helper()
	for at := from; at.Before(until); at = at.AddDate(0, 0, 1) {
		statement, err := b.OperatorDay(b.ctx(), operator, at)
		must(b.t, err)
		days = append(days, linesOf(statement))
		must(b.t, b.OperatorTransfers(b.ctx(), operator, at, false, func(t *registry.OperatorTransfer) error {
			t.Final = false
			detail = append(detail, *t)
			return nil
		}))
	}
	return days, detail
}

// linesOf are the lines of a day, but for what the clock alone changes.
func linesOf(d mobileid.OperatorDay) []mobileid.OperatorLine {
	for i := range d.Lines {
		d.Lines[i].Final = false
	}
	return d.Lines
}

var november = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// wantDays compares the lines of a day with the transfers, which it adds up
// otherwise.
func (b *books) wantDays(fatalf func(string, ...any), from, until time.Time) {
	b.t.Helper()
	for at := from; at.Before(until); at = at.AddDate(0, 0, 1) {
		day := at.In(mobileid.Tashkent).Format(time.DateOnly)
		statement, err := b.OperatorDay(b.ctx(), operator, at)
		must(b.t, err)
		var sum mobileid.OperatorLine
		for _, l := range statement.Lines {
			if l.Posted == (mobileid.Counted{}) && l.Reversed == l.Posted && l.Voided == l.Posted && l.Unknown == l.Posted && l.Net() != 0 {
				fatalf("%s: a line of nothing: %+v", day, l)
			}
			sum.PostedAmount, sum.ReversedAmount = sum.PostedAmount+l.PostedAmount, sum.ReversedAmount+l.ReversedAmount
			sum.Posted.Messages += l.Posted.Messages
			sum.Posted.Parts += l.Posted.Parts
			sum.Reversed.Messages += l.Reversed.Messages
			sum.Voided.Messages += l.Voided.Messages
		}
		var taken, detailed mobileid.Money
		var transfers, lined int
		must(b.t, b.pool.QueryRow(b.ctx(), `select coalesce(sum(taken), 0)::bigint, count(*) from transfers where operator = $1 and to_char(at at time zone 'Asia/Tashkent', 'YYYY-MM-DD') = $2`,
			operator, day).Scan(&taken, &transfers))
		must(b.t, b.OperatorTransfers(b.ctx(), operator, at, false, func(t *registry.OperatorTransfer) error {
			detailed += t.Taken
			lined++
			return nil
		}))
		if sum.Net() != taken || detailed != taken || lined != transfers {
			fatalf("%s: the lines say %s, the details %s in %d, the transfers %s in %d", day, sum.Net(), detailed, lined, taken, transfers)
		}
		for kind, have := range map[string]int64{"posted": sum.Posted.Messages, "reversed": sum.Reversed.Messages, "voided": sum.Voided.Messages} {
			want := query[int64](b.env, `select count(*) from transfers where operator = $1 and to_char(at at time zone 'Asia/Tashkent', 'YYYY-MM-DD') = $2 and kind = $3`, operator, day, kind)
			if have != want {
				fatalf("%s: %d %s in the lines, %d in the transfers", day, have, kind, want)
			}
		}
	}
}

// TestTheLinesOfADayAreItsTransfers lets random lives pass over some days: what
// each day's statement adds up to is what was transferred on it.
func TestTheLinesOfADayAreItsTransfers(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	rapid.Check(t, func(rt *rapid.T) {
		from := e.clk.now()
		for range rapid.IntRange(1, 6).Draw(rt, "lives") {
			b.live(rapid.SampledFrom(b.people).Draw(rt, "person"), rapid.SampledFrom([]string{"otp.sign_in", "notice.access"}).Draw(rt, "text"),
				rapid.IntRange(1, 3).Draw(rt, "parts"), rapid.SampledFrom(ends).Draw(rt, "end"))
			e.clk.advance(time.Duration(rapid.IntRange(0, 20*3600).Draw(rt, "seconds")) * time.Second)
			if e.clk.now().After(now0.AddDate(0, 0, 60)) { // no partitions after that
				e.clk.ns.Store(now0.UnixNano())
				from = now0
			}
		}
		b.wantDays(rt.Fatalf, from, e.clk.now().AddDate(0, 0, 1))
		e.wantBalanced()
	})
}

// TestAnArchivedMonthLeavesTheBooksBalanced archives the first of two months: the
// check stays zero, and each statement says what it said before.
func TestAnArchivedMonthLeavesTheBooksBalanced(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	for i := range 2 * len(ends) {
		if end := ends[i%len(ends)]; end != "unknown" {
			b.live(b.people[i%2], []string{"otp.sign_in", "notice.access"}[i%2], 1+i%3, end)
		}
	}
	b.rest()
	// The last Message of the month is told of in the next.
	b.to(time.Date(2026, 11, 30, 23, 50, 0, 0, time.UTC))
	last := b.live(b.people[0], "notice.access", 1, "posted")
	b.to(time.Date(2026, 12, 2, 9, 0, 0, 0, time.UTC))
	b.receipts(b.receipt(b.people[0].binding.Number, b.partID(last, 1), mobileid.MessageUndeliverable))
	e.wantCharge(last, "reversed")
	for i, end := range ends {
		b.live(b.people[i%2], "notice.access", 1, end)
	}
	b.rest()
	from, until := now0.AddDate(0, 0, -1), e.clk.now().AddDate(0, 0, 1)
	b.wantDays(t.Fatalf, from, until)
	days, detail := b.statements(from, until)
	person, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: b.people[0].binding.Person, Limit: 100})
	must(t, err)

	if _, err := e.Archive(e.ctx(), november, false); mobileid.CodeOf(err) != "month_not_over" {
		t.Fatalf("in December: %v", err)
	}
	b.to(time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC))
	dry, err := e.Archive(e.ctx(), november, true)
	must(t, err)
	if dry.Done || query[int](e, `select count(*) from openings`)+query[int](e, `select count(*) from archives`) != 0 {
		t.Fatal("a dry run has archived")
	}
	done, err := e.Archive(e.ctx(), november.AddDate(0, 0, 20), false)
	must(t, err)
	if dry.Done = true; !reflect.DeepEqual(done, dry) || done.Accounts != 2 || done.Transfers == 0 {
		t.Fatalf("archived %+v, the dry run said %+v", done, dry)
	}
	if n := query[int](e, `select count(*) from transfers where message_id < $1`, idFloor(november.AddDate(0, 1, 0))); n != 0 {
		t.Errorf("%d transfers of the month are still in the books", n)
	}
	e.wantBalanced()
	daysAfter, detailAfter := b.statements(from, until)
	for i := range days {
		if !reflect.DeepEqual(days[i], daysAfter[i]) {
			t.Errorf("day %d was\n%+v\nand is\n%+v", i, days[i], daysAfter[i])
		}
	}
	if !reflect.DeepEqual(detail, detailAfter) {
		t.Errorf("%d details, and %d after: they differ", len(detail), len(detailAfter))
	}
	personAfter, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: b.people[0].binding.Person, Limit: 100})
	must(t, err)
	if person.Account.SpentToday, personAfter.Account.SpentToday = 0, 0; !reflect.DeepEqual(person, personAfter) {
		t.Errorf("the person's statement was\n%+v\nand is\n%+v", person, personAfter)
	}
	steps, err := e.Explain(e.ctx(), last)
	must(t, err)
	charged := 0
	for _, s := range steps {
		if s.Hop == "charge" {
			charged++
		}
	}
	if charged != 3 {
		t.Errorf("explain tells %d steps of an archived Charge, want 3", charged)
	}
	for _, sql := range []string{
		`update archived_transfers_2026_11 set taken = 0`, `delete from openings`, `update operator_days set posted = 0`, `delete from archives`,
	} {
		if _, err := e.pool.Exec(e.ctx(), sql); err == nil {
			t.Errorf("%s was not refused", sql)
		}
	}
	if _, err := e.Archive(e.ctx(), november, false); mobileid.CodeOf(err) != "month_archived" {
		t.Errorf("again: %v", err)
	}

	// A correction that comes later still is a transfer like any other.
	var posted mobileid.ID
	for _, id := range b.ids {
		if id.Time().Month() == time.November && query[string](e, `select state || ' ' || charge from messages where id = $1`, id[:]) == "unconfirmed posted" {
			posted = id
		}
	}
	r := b.receipt(toPseudonym(query[[]byte](e, `select dest from messages where id = $1`, posted[:])), "", mobileid.MessageRejected)
	for part := 1; part <= query[int](e, `select parts::integer from messages where id = $1`, posted[:]); part++ {
		r.OperatorID = b.partID(posted, part)
		r.At = query[time.Time](e, `select answered_at from message_parts where message_id = $1 and part = $2`, posted[:], part).Add(time.Hour)
		e.exec(`update message_parts set receipt = '' where message_id = $1`, posted[:])
		b.receipts(r)
	}
	e.wantCharge(posted, "reversed")
	b.wantNet(t, posted)

	// The table may be taken away: its days still have their lines.
	e.exec(`drop table archived_transfers_2026_11`)
	statement, err := e.OperatorDay(e.ctx(), operator, now0)
	must(t, err)
	if linesOf(statement); !statement.Final || !reflect.DeepEqual(statement.Lines, daysAfter[1]) {
		t.Errorf("without the table:\n%+v\nwant\n%+v", statement.Lines, daysAfter[1])
	}
	err = e.OperatorTransfers(e.ctx(), operator, now0, false, func(*registry.OperatorTransfer) error { return nil })
	if mobileid.CodeOf(err) != "archive_away" {
		t.Errorf("details without the table: %v", err)
	}
	e.wantBalanced()
}

// wantNet looks for the late correction in the statement of its day.
func (b *books) wantNet(t *testing.T, id mobileid.ID) {
	t.Helper()
	found := mobileid.Money(0)
	must(t, b.OperatorTransfers(b.ctx(), operator, b.clk.now(), false, func(x *registry.OperatorTransfer) error {
		if x.Message == id {
			found += x.Taken
		}
		return nil
	}))
	statement, err := b.OperatorDay(b.ctx(), operator, b.clk.now())
	must(t, err)
	if lines := statement.Lines; len(lines) != 1 || found >= 0 || lines[0].Net() != found {
		t.Errorf("the late correction is %s in the details, and the lines are %+v", found, lines)
	}
}

// TestAMonthIsNotArchivedBeforeItIsSettled tries each thing that keeps it open.
func TestAMonthIsNotArchivedBeforeItIsSettled(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	unknown := b.live(b.people[0], "notice.access", 1, "unknown")
	b.rest()
	b.to(time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC))
	a, err := e.Archive(e.ctx(), november, false)
	if mobileid.CodeOf(err) != "month_not_settled" || len(a.Unknown) != 1 || a.Unknown[0] != unknown || a.Done {
		t.Fatalf("an unknown Charge: %+v %v", a, err)
	}
	b.lateAnswer(unknown, b.people[0].binding.Number, 1)
	b.receipts(b.receipt(b.people[0].binding.Number, b.partID(unknown, 1), mobileid.MessageDelivered))
	if _, err := e.Archive(e.ctx(), november, false); mobileid.CodeOf(err) != "month_young" {
		t.Fatalf("settled just now: %v", err)
	}
	b.to(time.Date(2027, 1, 9, 0, 0, 0, 0, time.UTC))
	e.exec(`update messages set ended_at = null where id = $1`, unknown[:])
	if a, err := e.Archive(e.ctx(), november, false); mobileid.CodeOf(err) != "month_not_settled" || a.Unended != 1 {
		t.Fatalf("a Message without an end: %+v %v", a, err)
	}
	e.exec(`update messages set ended_at = now() where id = $1`, unknown[:])
	if _, err := e.Archive(e.ctx(), november.AddDate(-1, 0, 0), false); mobileid.CodeOf(err) != "month_unknown" {
		t.Fatalf("a month before us: %v", err)
	}
	if err := e.reading(func() {
		if _, err := e.Archive(e.ctx(), november, false); mobileid.CodeOf(err) != "ledger_in_use" {
			t.Fatalf("while a statement is read: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	_, err = e.Archive(e.ctx(), november, false)
	must(t, err)
	e.wantBalanced()
}

// reading calls fn in the middle of a statement.
func (e *env) reading(fn func()) error {
	read := false
	return e.OperatorTransfers(e.ctx(), operator, now0, false, func(*registry.OperatorTransfer) error {
		if !read {
			read = true
			fn()
		}
		return nil
	})
}

// TestArchivingThatIsCutLeavesNothingBehind stops it at each of its statements, by a
// refusal, a kill, a lock and a cancellation, and archives then.
func TestArchivingThatIsCutLeavesNothingBehind(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	b.live(b.people[0], "notice.access", 1, "posted")
	b.rest()
	b.to(time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC))
	state := func() string {
		return query[string](e, `
select concat((select count(*) from transfers), ' ', (select count(*) from openings), ' ', (select count(*) from operator_days), ' ',
	(select count(*) from archives), ' ', to_regclass('transfers_2026_11'), ' ', to_regclass('archived_transfers_2026_11'))`)
	}
	before := state()
	// Each of these stands in the way of one of its statements.
	for _, way := range [][2]string{
		{`alter table archives add constraint cut check (false) not valid`, `alter table archives drop constraint cut`},
		{`alter table openings add constraint cut check (false) not valid`, `alter table openings drop constraint cut`},
		{`alter table operator_days add constraint cut check (false) not valid`, `alter table operator_days drop constraint cut`},
		// Killed in the middle.
		{
			`create function die() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
			create trigger cut before insert on operator_days for each row execute function die()`, `drop trigger cut on operator_days; drop function die`,
		},
		{`create table archived_transfers_2026_11 ()`, `drop table archived_transfers_2026_11`},
	} {
		e.execs(way[0])
		stands := state()
		if _, err := e.Archive(e.ctx(), november, false); err == nil {
			t.Fatalf("%s did not stop it", way[0])
		}
		if got := state(); got != stands {
			t.Errorf("%s: %s, want %s", way[0], got, stands)
		}
		e.execs(way[1])
		e.wantBalanced()
	}
	// A writer that keeps the table open makes it give up, not wait.
	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	defer func() { _ = tx.Rollback(e.ctx()) }()
	_, err = tx.Exec(e.ctx(), `select 1 from transfers_2026_11 for update`)
	must(t, err)
	if a, err := e.Archive(e.ctx(), november, false); mobileid.CodeOf(err) != "ledger_in_use" || mobileid.KindOf(err) != mobileid.KindConflict ||
		!strings.Contains(err.Error(), "try again in a minute") || a.Done {
		t.Errorf("while it is written: %v", err)
	}
	must(t, tx.Rollback(e.ctx()))
	// A correction that comes in between has the table, and wants the month.
	correction, err := e.pool.Begin(e.ctx())
	must(t, err)
	defer func() { _ = correction.Rollback(e.ctx()) }()
	transfer := func(month time.Time) {
		t.Helper()
		_, err := correction.Exec(e.ctx(), `
insert into transfers (message_id, step, kind, why, account_id, operator, held, taken, at) values ($1, 1, 'posted', 'receipt', 0, 'x', 0, 0, $2)`,
			idFloor(month), e.clk.now())
		must(t, err)
	}
	transfer(november.AddDate(0, 1, 0))
	archived := make(chan error, 1)
	go func() {
		_, err := e.Archive(e.ctx(), november, false)
		archived <- err
	}()
	e.blockedBy(1, archived, "the month was archived beside a transaction that has the table")
	transfer(november)
	if err := <-archived; mobileid.CodeOf(err) != "ledger_in_use" || !strings.Contains(fmt.Sprint(cause(err)), "40P01") {
		t.Errorf("in a deadlock: %v (%v)", err, cause(err))
	}
	must(t, correction.Rollback(e.ctx()))
	ctx, cancel := context.WithCancel(e.ctx())
	cancel()
	if _, err := e.Archive(ctx, november, false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := state(); got != before {
		t.Errorf("%s, want %s", got, before)
	}
	_, err = e.Archive(e.ctx(), november, false)
	must(t, err)
	if got, want := state(), "0 1 1 1  archived_transfers_2026_11"; got != want {
		t.Errorf("archived: %s, want %s", got, want)
	}
}

// TestAStatementThatMeetsAnArchiveHasAllOfItsCharges: it begins while a month is about
// to leave the books, and reads when it has left.
func TestAStatementThatMeetsAnArchiveHasAllOfItsCharges(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	p := b.people[0]
	id := b.live(p, "notice.access", 1, "posted")
	b.rest()
	b.to(time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC))
	hold, err := e.pool.Begin(e.ctx())
	must(t, err)
	defer func() { _ = hold.Rollback(e.ctx()) }()
	_, err = hold.Exec(e.ctx(), `lock table only transfers in access share mode`)
	must(t, err)
	archived, told := make(chan error, 1), make(chan error, 1)
	var s mobileid.PersonStatement
	go func() {
		_, err := e.Archive(e.ctx(), november, false)
		archived <- err
	}()
	e.blockedBy(1, archived, "the month left while its table was in use")
	go func() {
		var err error
		s, err = e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: p.binding.Person, Limit: 10})
		told <- err
	}()
	e.blockedBy(2, told, "the statement did not wait for the archive")
	must(t, hold.Rollback(e.ctx()))
	must(t, <-archived)
	must(t, <-told)
	if len(s.Charges) != 1 || s.Charges[0].Message != id || len(s.Charges[0].Transfers) != 2 {
		t.Errorf("%+v", s)
	}
}

func idFloor(at time.Time) []byte {
	id := mobileid.IDFloor(at)
	return id[:]
}

func toPseudonym(b []byte) mobileid.Pseudonym { return mobileid.Pseudonym(b) }
