package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

const other = "ucell" // the operator that numbers move to

// move tells that a number of ours is with an operator from then on.
func (e *env) move(p person, seq, operator string, from time.Time) {
	e.t.Helper()
	_, err := e.ImportPorted(e.ctx(), []mobileid.Ported{{Number: p.binding.Number, Operator: operator, From: from, Source: "mnp", Seq: seq}})
	must(e.t, err)
}

// bound reads a binding as both handlers do, which must see the same.
func (e *env) bound(p person) mobileid.Binding {
	e.t.Helper()
	who := []mobileid.Pseudonym{p.binding.Person}
	active, err := e.ActiveBindings(e.ctx(), who)
	must(e.t, err)
	known, _, err := e.Known(e.ctx(), who, nil)
	must(e.t, err)
	if len(active) != 1 || len(known) != 1 || active[who[0]] != known[who[0]] {
		e.t.Fatalf("%+v is not %+v", active, known)
	}
	return active[who[0]]
}

func TestABindingIsReadWithTheMoveOfItsNumberInForce(t *testing.T) {
	e := newEnv(t)
	type told struct {
		operator string
		from     time.Time
	}
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		moves []told
		want  string
	}{
		"never moved":                      {nil, ""},
		"moved":                            {[]told{{other, now0.Add(-day)}}, other},
		"moves this very microsecond":      {[]told{{other, now0}}, other},
		"moves in a microsecond":           {[]told{{other, now0.Add(time.Microsecond)}}, ""},
		"moved, and again in the future":   {[]told{{other, now0.Add(-day)}, {"mobiuz", now0.Add(day)}}, other},
		"two of one day, the last counts":  {[]told{{"mobiuz", now0.Add(-day)}, {other, now0.Add(-day)}}, other},
		"moved back":                       {[]told{{other, now0.Add(-2 * day)}, {operator, now0.Add(-day)}}, operator},
		"told out of order":                {[]told{{other, now0.Add(-day)}, {"mobiuz", now0.Add(-2 * day)}}, other},
		"moved to one that nobody here is": {[]told{{other, now0.Add(-2 * day)}, {"gone", now0.Add(-day)}}, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			p, beside := e.bind(0), e.bind(0)
			e.move(beside, name+" beside", "humans", now0.Add(-day))
			for i, m := range c.moves {
				e.move(p, name+string(rune('0'+i)), m.operator, m.from)
			}
			b := e.bound(p)
			if b.PortedTo != c.want {
				t.Errorf("it is with %q, want %q", b.PortedTo, c.want)
			}
			b.PortedTo = ""
			if b != p.binding {
				t.Errorf("a move has changed the binding: %+v, was %+v", b, p.binding)
			}
			// One rule: who asks by the number is told the same.
			moves, err := e.Ported(e.ctx(), p.binding.Number)
			must(t, err)
			// And whose news of money make an account.
			for _, by := range []string{other, "mobiuz", "gone"} {
				err := e.Tell(e.ctx(), mobileid.BalanceNews{
					Source: by, Seq: name, Operator: by, Number: p.binding.Number, Kind: mobileid.BalanceTold, Amount: cost, At: e.clk.now(),
				})
				if (err == nil) != (by == c.want) {
					t.Errorf("news of %s: %v", by, err)
				}
			}
			if r := (mobileid.NumberPlan{}).Route(p.binding.MSISDN, moves, e.clk.now()); r.Operator != c.want {
				t.Errorf("Route says %q, want %q", r.Operator, c.want)
			}
		})
	}
}

func TestAMoveCountsFromItsTimeOn(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	e.move(p, "1", other, now0.Add(time.Hour))
	for _, want := range []string{"", other} {
		if b := e.bound(p); b.PortedTo != want {
			t.Fatalf("at %s it is with %q, want %q", e.clk.now(), b.PortedTo, want)
		}
		e.clk.advance(time.Hour)
	}
}

// What was queued before a move stays where it was queued, however often it
// comes back; what is asked for after it goes to the other operator, at his
// price, under the same binding and from the same account.
func TestAMoveLeavesWhatIsQueuedAndRoutesWhatFollows(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	const otherCost = cost + 3_000
	e.price(other, otherCost, now0.AddDate(-1, 0, 0))
	p, ours := e.bind(10*cost), e.bridge()
	theirs, err := e.OpenBridge(e.ctx(), other, "test", time.Hour)
	must(t, err)

	before, notice := e.challenge(p, "before"), e.notice(p, "before, a notice")
	e.issue(before)
	e.queue(notice)
	e.move(p, "1", other, now0.Add(-time.Hour))

	// The request is delivered again, made of what is known by now.
	again, noticeAgain := before, notice
	again.Message, noticeAgain.Message = clone(before.Message), clone(notice.Message)
	again.Message.Operator, noticeAgain.Message.Operator = other, other
	for _, item := range append(e.issue(again), e.queue(noticeAgain)...) {
		if item.Operator != operator {
			t.Errorf("%s is published for %s: it is queued for %s", item.ID, item.Operator, operator)
		}
	}
	wantOf := func(id mobileid.ID, by string, amount mobileid.Money) {
		t.Helper()
		if have := query[string](e, `select operator from messages where id = $1`, id[:]); have != by {
			t.Errorf("the Message is of %s, want %s", have, by)
		}
		if have := query[int64](e, `select amount from messages where id = $1`, id[:]); have != int64(amount) {
			t.Errorf("it costs %d, want %d", have, amount)
		}
	}
	wantOf(before.Message.ID, operator, cost)
	wantOf(notice.Message.ID, operator, cost)

	// The operator asks for later: the retry is of the same operator, too.
	e.admit(ours, before.Message.ID)
	o := e.outcome(before.Message.ID, mobileid.MessageRetry, p.binding.Number, "")
	o.RetryAt = e.clk.now()
	e.settle(ours, o)
	for by, want := range map[string]int{operator: 1, other: 0} {
		due, err := e.DueRetries(e.ctx(), by, 10)
		must(t, err)
		if len(due) != want {
			t.Errorf("%d are due at %s, want %d", len(due), by, want)
		}
	}

	// A second code: the first gives way, wherever it waits.
	e.clk.advance(time.Second)
	after := e.challenge(p, "after")
	after.Message.Operator = e.bound(p).PortedTo
	if items := e.issue(after); len(items) != 1 || items[0].Operator != other {
		t.Fatalf("published %+v", items)
	}
	wantOf(after.Message.ID, other, otherCost)
	e.wantChallenge(before.Request.ID, mobileid.ChallengeSuperseded, "newer")
	if got := e.admit(ours, after.Message.ID); len(got) != 1 || got[0].Verdict == mobileid.VerdictMine {
		t.Errorf("a bridge of %s admits it: %+v", operator, got)
	}
	if got := e.admit(theirs, after.Message.ID); len(got) != 1 || got[0].Verdict != mobileid.VerdictMine {
		t.Fatalf("admitted %+v", got)
	}
	must(t, e.Settle(e.ctx(), theirs, other+"/x", []mobileid.Outcome{
		e.outcome(after.Message.ID, mobileid.MessageSent, p.binding.Number, "op-1"),
	}))
	e.wantCharge(after.Message.ID, "posted")
	if have := query[int64](e, `select posted from accounts where id = $1`, p.binding.Account); have != int64(otherCost) {
		t.Errorf("the binding's account has paid %d, want %d", have, otherCost)
	}
	_, err = e.confirmCode(after, 1)
	must(t, err)

	steps, err := e.Explain(e.ctx(), after.Request.ID)
	must(t, err)
	told := ""
	for _, s := range steps {
		if s.What == "message queued" {
			told = s.Facts["operator"]
		}
	}
	if told != other {
		t.Errorf("explain names %q, want %s", told, other)
	}
}

func clone(m *mobileid.NewMessage) *mobileid.NewMessage {
	c := *m
	return &c
}
