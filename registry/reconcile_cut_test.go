package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/reconcile"
)

// part is an answered part of a notice, or one whose answer never came.
func (e *env) part(p person, n int, operatorID string) mobileid.PartOutcome {
	x := e.outcome(mobileid.ID{}, "", p.binding.Number, operatorID).Parts[0]
	x.Part = n
	return x
}

// parts settles a notice of two parts.
func (e *env) parts(bridge int64, p person, key string, state mobileid.MessageState, parts ...mobileid.PartOutcome) mobileid.ID {
	e.t.Helper()
	n := e.notice(p, key)
	n.Message.Parts = 2
	e.queue(n)
	e.admit(bridge, n.Message.ID)
	o := e.outcome(n.Message.ID, state, p.binding.Number, "")
	o.Parts, o.RetryAt = parts, e.clk.now()
	e.settle(bridge, o)
	return n.Message.ID
}

// aDay is a day with something for every rule, and the operator's file of it.
func (e *env) aDay() (reconcile.File, []*reconcile.Line) {
	e.t.Helper()
	e.tariff()
	var lines []*reconcile.Line
	tell := func(p person, id string, state mobileid.MessageState) *reconcile.Line {
		l := lineTo(p, len(lines)+3, state)
		l.Submitted, l.ID = e.clk.now(), id
		lines = append(lines, l)
		return l
	}

	// Charged, and ended without a receipt: by id.
	b, p := e.bridge(), e.bind(cost)
	n := e.notice(p, "unconfirmed")
	e.queue(n)
	e.admit(b, n.Message.ID)
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "id-ended"))
	tell(p, "id-ended", mobileid.MessageUndeliverable)
	e.clk.advance(3 * time.Hour)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, &lanes{}, nil))
	e.wantMessage(n.Message.ID, mobileid.MessageUnconfirmed, mobileid.ReasonNoReceipt)

	// Two answered parts without a receipt: by their ids.
	p = e.bind(cost)
	e.parts(b, p, "two ids", mobileid.MessageSent, e.part(p, 1, "id-1"), e.part(p, 2, "id-2"))
	tell(p, "id-1", mobileid.MessageUndeliverable)
	tell(p, "id-2", mobileid.MessageDelivered)

	// One part was answered before, the other never: by id and by count.
	p = e.bind(cost)
	e.parts(b, p, "half", mobileid.MessageInDoubt, e.part(p, 1, "id-half"), e.part(p, 2, ""))
	tell(p, "id-half", mobileid.MessageDelivered)
	tell(p, "other-half", mobileid.MessageDelivered)

	// A code that was written twice; both were delivered.
	p = e.bind(cost)
	c := e.challenge(p, "twice")
	e.issue(c)
	e.admit(b, c.Message.ID)
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	e.admit(b, c.Message.ID)
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "id-second"))
	tell(p, "id-second", mobileid.MessageDelivered)
	tell(p, "the-first", mobileid.MessageUndeliverable)

	// By reference, beside one that is absent.
	p = e.bind(2 * cost)
	for _, key := range []string{"told", "absent"} {
		n = e.notice(p, key)
		e.queue(n)
		e.admit(b, n.Message.ID)
		e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
		if key == "told" {
			tell(p, "", mobileid.MessageDelivered).Reference = reconcile.Reference(n.Message.ID)
		}
	}

	// Two by count; two of which one has a line; a code that is absent.
	for _, l := range []struct {
		key   string
		lines int
	}{{"pair", 2}, {"one of two", 1}} {
		p = e.bind(2 * cost)
		for i := range 2 {
			n = e.notice(p, fmt.Sprint(l.key, i))
			e.queue(n)
			e.admit(b, n.Message.ID)
			e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
		}
		for range l.lines {
			tell(p, "", mobileid.MessageUndeliverable)
		}
	}
	p = e.bind(cost)
	c = e.challenge(p, "absent code")
	e.issue(c)
	e.admit(b, c.Message.ID)
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))

	// A notice whose second part no row tells of, because the bridge died with
	// it, beside another notice to its number; and one line too few.
	p = e.bind(2 * cost)
	dying := e.bridge()
	half := e.parts(dying, p, "owner died", mobileid.MessageRetry, e.part(p, 1, "id-died"))
	e.admit(dying, half)
	e.kill(dying)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, &lanes{}, nil))
	e.wantMessage(half, mobileid.MessageInDoubt, mobileid.ReasonOwnerLost)
	n = e.notice(p, "beside")
	e.queue(n)
	e.admit(b, n.Message.ID)
	e.settle(b, e.outcome(n.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	tell(p, "id-died", mobileid.MessageUndeliverable)
	tell(p, "", mobileid.MessageDelivered)

	f := fileOf(1)
	f.Lines, f.Count, f.Until, f.Last = len(lines), len(lines), now0.Add(26*time.Hour), e.clk.now()
	return f, lines
}

// compared is what a run finds before it stores anything.
func (e *env) compared(f reconcile.File, lines []*reconcile.Line) reconcile.Result {
	e.t.Helper()
	c, err := e.Compare(e.ctx(), registry.FileOf{Operator: operator, Account: account, Life: 4 * time.Hour, Slack: time.Minute}, f)
	must(e.t, err)
	for _, l := range lines {
		must(e.t, c.Add(e.ctx(), l))
	}
	r, err := c.Match(e.ctx())
	must(e.t, err)
	return r
}

// told is everything that a file may change.
func (e *env) told() []string {
	e.t.Helper()
	rows, err := e.pool.Query(e.ctx(), `
select 'message ' || encode(m.id, 'hex') || ' ' || m.state || ' ' || m.reason || ' v' || m.state_version || ' charge ' || coalesce(m.charge, 'none')
       || coalesce(' settled by ' || r.rule, '') || case when m.sealed is null then ' erased' else '' end
from messages m left join reconciled r on r.message_id = m.id
union all select 'challenge ' || encode(id, 'hex') || ' ' || state || ' ' || reason || ' v' || state_version from challenges
union all select 'part ' || encode(message_id, 'hex') || ' ' || part || ' ' || operator_id || ' ' || receipt from message_parts
union all select 'receipt ' || encode(message_id, 'hex') || ' ' || part || ' ' || state from receipts
union all select 'account ' || id || ' ' || pending || ' ' || posted from accounts
union all select 'announced ' || encode(subject, 'hex') || ' ' || state || ' v' || version || ' x' || count(*) from outbox group by subject, state, version
union all select 'retry ' || encode(message_id, 'hex') from retries`)
	must(e.t, err)
	var out []string
	for rows.Next() {
		var line string
		must(e.t, rows.Scan(&line))
		out = append(out, line)
	}
	must(e.t, rows.Err())
	slices.Sort(out)
	return out
}

// people is what is left to a person. Why may be told in other words when a
// part of it was settled before.
func people(r reconcile.Result) string {
	out := make([]string, 0, len(r.Doubts))
	for _, d := range r.Doubts {
		text := "for a person:"
		for _, l := range d.Lines {
			text += fmt.Sprintf(" line %d", l.No)
		}
		for _, x := range d.Messages {
			text += " " + x.ID.String()
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// A run that dies between two transactions, whatever they hold, is made good by
// the same command, as if it had not died.
func TestARunCutAnywhereAndRepeatedEndsAsAWholeOne(t *testing.T) {
	day := newEnv(t)
	f, lines := day.aDay()
	day.DB.Close()
	day.pool.Close()
	var want []string
	var left string
	for cut := 0; ; cut++ {
		e := newEnvOf(t, day.name, nil)
		e.clk.ns.Store(day.clk.ns.Load())
		r := e.compared(f, lines)
		if want == nil {
			left = people(r)
			if len(r.Groups) < 7 || len(r.Doubts) != 2 {
				t.Fatalf("%d groups and\n%s", len(r.Groups), left)
			}
		}
		file, err := e.BeginFile(e.ctx(), operator, f)
		must(t, err)
		for _, g := range r.Groups[:cut] {
			n, err := e.Reconcile(e.ctx(), account, file, [][]reconcile.Settlement{g})
			must(t, err)
			if n != len(g) {
				t.Fatalf("cut %d: %d settled of %s", cut, n, g[0].Message.ID)
			}
		}
		again := e.compared(f, lines)
		if have := people(again); have != left {
			t.Fatalf("cut %d leaves\n%s\nwant\n%s", cut, have, left)
		}
		same, err := e.BeginFile(e.ctx(), operator, f)
		must(t, err)
		if same != file {
			t.Fatalf("cut %d: another file", cut)
		}
		if _, err := e.Reconcile(e.ctx(), account, file, again.Groups); err != nil {
			t.Fatal(err)
		}
		e.wantBalanced()
		have := e.told()
		if want == nil {
			want = have
		}
		if !slices.Equal(have, want) {
			t.Fatalf("cut %d:\n%s\nwant\n%s", cut, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		if last := e.compared(f, lines); len(last.Groups) != 0 {
			t.Fatalf("cut %d: %d groups are left", cut, len(last.Groups))
		}
		if cut == len(r.Groups) {
			return
		}
	}
}

// A day late the sweeper has ended everything: the file moves no state, and
// settles the charges that nobody knew of.
func TestAFileADayLateMovesNoStateAndSettlesTheCharges(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	b := e.bridge()
	p, told := e.doubt(b, "told")
	_, absent := e.doubt(b, "absent")
	e.clk.advance(25 * time.Hour)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, &lanes{}, nil))
	for _, id := range []mobileid.ID{told, absent} {
		e.wantMessage(id, mobileid.MessageUnconfirmed, mobileid.ReasonNoAnswer)
		e.wantCharge(id, "unknown")
	}
	announced := `select count(*) from outbox`
	before := query[int](e, announced)
	if _, n := e.apply(fileOf(1), lineTo(p, 3, mobileid.MessageDelivered)); n != 2 {
		t.Errorf("%d settled, want the one that has a line and the one that has none", n)
	}
	if _, n := e.apply(fileOf(2), lineTo(p, 3, mobileid.MessageDelivered)); n != 0 {
		t.Errorf("the next file settled %d again", n)
	}
	for id, want := range map[mobileid.ID]string{told: "posted", absent: "voided"} {
		e.wantMessage(id, mobileid.MessageUnconfirmed, mobileid.ReasonNoAnswer)
		e.wantCharge(id, want)
	}
	if after := query[int](e, announced); after != before {
		t.Errorf("%d states were announced", after-before)
	}
}
