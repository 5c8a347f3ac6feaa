package registry_test

import (
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// movedPerson is a person whose number has gone to the other operator.
type movedPerson struct {
	*env
	person

	bridge int64 // of the other operator
	seq    int
}

func newMoved(t *testing.T) *movedPerson {
	t.Helper()
	e := newEnv(t)
	e.tariff()
	e.price(other, cost, now0.AddDate(-1, 0, 0))
	m := &movedPerson{env: e, person: e.bind(100 * cost)}
	e.move(m.person, "1", other, now0)
	var err error
	m.bridge, err = e.OpenBridge(e.ctx(), other, "test", 1000*time.Hour)
	must(t, err)
	return m
}

// send queues a notice with the operator who has the number now.
func (m *movedPerson) send() mobileid.NewNotification {
	m.t.Helper()
	m.seq++
	n := m.notice(m.person, fmt.Sprint(m.seq))
	n.Message.Operator, n.Message.Account = other, 0
	m.queue(n)
	return n
}

func (m *movedPerson) wantSent(want bool) {
	m.t.Helper()
	if a := m.admit(m.bridge, m.send().Message.ID)[0]; (a.Verdict == mobileid.VerdictMine) != want {
		m.t.Errorf("%s %s, sent should be %v", a.Verdict, a.State, want)
	}
}

func (m *movedPerson) told(operator string, kind mobileid.BalanceKind, amount mobileid.Money) {
	m.t.Helper()
	m.seq++
	m.clk.advance(time.Second)
	must(m.t, m.Tell(m.ctx(), mobileid.BalanceNews{
		Source: "operator:" + operator, Seq: fmt.Sprint(m.seq), Operator: operator, Number: m.binding.Number, Kind: kind, Amount: amount, At: m.clk.now(),
	}))
}

func (m *movedPerson) view() mobileid.SubscriberView {
	m.t.Helper()
	views, err := m.Subscribers(m.ctx(), []mobileid.Pseudonym{m.binding.Person})
	must(m.t, err)
	return views[m.binding.Person]
}

func TestTheMoneyOfAMovedNumberIsAtItsNewOperator(t *testing.T) {
	t.Run("news before any Message", func(t *testing.T) {
		m := newMoved(t)
		if v := m.view(); v.Operator != operator {
			t.Errorf("with no account at the other it is seen at %s", v.Operator)
		}
		m.told(other, mobileid.BalanceTold, cost)
		if v := m.view(); v.Operator != other || v.Available != cost {
			t.Errorf("%+v", v)
		}
		m.wantSent(true)
		m.wantSent(false)
	})
	t.Run("news of an operator who never had it", func(t *testing.T) {
		m := newMoved(t)
		err := m.Tell(m.ctx(), mobileid.BalanceNews{
			Source: "operator:mobiuz", Seq: "1", Operator: "mobiuz", Number: m.binding.Number, Kind: mobileid.BalanceTold, Amount: cost, At: m.clk.now(),
		})
		if mobileid.KindOf(err) != mobileid.KindNotFound {
			t.Errorf("%v", err)
		}
	})
	t.Run("his top-up resumes", func(t *testing.T) {
		m := newMoved(t)
		m.told(other, mobileid.BalanceTold, 0)
		m.wantSent(false)
		if v := m.view(); v.SuspendedWhy != mobileid.SuspendedForBalance {
			t.Errorf("%+v", v)
		}
		m.told(operator, mobileid.BalanceTopUp, cost)
		if !m.suspended(m.person) {
			t.Error("money at the operator that he left brings SMS back")
		}
		m.told(other, mobileid.BalanceTopUp, cost)
		if m.suspended(m.person) {
			t.Error("money at his operator does not bring SMS back")
		}
		m.wantEvents(m.person, "1 suspended balance", "2 resumed")
		m.wantSent(true)
	})
	t.Run("his bar counts", func(t *testing.T) {
		m := newMoved(t)
		m.told(other, mobileid.BalanceBarred, 0)
		m.wantSent(false)
		m.told(operator, mobileid.BalanceUnbarred, 0)
		m.wantSent(false)
		m.told(other, mobileid.BalanceUnbarred, 0)
		m.wantSent(true)
	})
	t.Run("the bar of the one it has left does not", func(t *testing.T) {
		m := newMoved(t)
		m.told(other, mobileid.BalanceTold, 10*cost)
		m.told(operator, mobileid.BalanceBarred, 0)
		if m.suspended(m.person) {
			t.Error("it suspends")
		}
		m.wantSent(true)
	})
	t.Run("he warns", func(t *testing.T) {
		m := newMoved(t)
		m.told(other, mobileid.BalanceTold, 10*cost)
		m.told(operator, mobileid.BalanceTold, 0)
		m.warn()
		m.wantEvents(m.person)
		m.told(other, mobileid.BalanceTold, warnBelow*cost-1)
		m.warn()
		m.wantEvents(m.person, "1 funds_low")
	})
}

func TestASuspensionIsOfTheAccountThatHadNoMoney(t *testing.T) {
	for why, suspend := range map[string]func(*env, person){
		"balance": func(e *env, p person) { e.refuse(p, e.bridge()) },
		"barred": func(e *env, p person) {
			e.clk.advance(time.Second)
			e.tell(e.news(p, mobileid.BalanceBarred, 0))
		},
	} {
		t.Run(why, func(t *testing.T) {
			m := newMoved(t)
			m.exec(`delete from ported_numbers`)
			m.told(operator, mobileid.BalanceTold, 0)
			suspend(m.env, m.person)
			m.events(m.person)
			m.move(m.person, "2", other, m.clk.now())
			if !m.suspended(m.person) {
				t.Fatal("not suspended")
			}
			// Nobody knows his balance there. Nothing is a probe, so two go at once.
			a, b := m.send(), m.send()
			if v := m.view(); !v.SuspendedSince.IsZero() || v.SuspendedWhy != "" {
				t.Errorf("the person is told of a suspension where he is not any more: %+v", v)
			}
			for _, got := range m.admit(m.bridge, a.Message.ID, b.Message.ID) {
				if got.Verdict != mobileid.VerdictMine {
					t.Errorf("%s %s", got.Verdict, got.State)
				}
			}
			if m.suspended(m.person) {
				t.Error("still suspended")
			}
			m.wantEvents(m.person, "2 resumed")
			m.wantBalanced()
		})
	}
	t.Run("the other has none either", func(t *testing.T) {
		m := newMoved(t)
		m.exec(`delete from ported_numbers`)
		m.told(operator, mobileid.BalanceBarred, 0)
		m.move(m.person, "2", other, m.clk.now())
		m.told(other, mobileid.BalanceTold, 0)
		m.wantSent(false)
		if v := m.view(); v.SuspendedWhy != mobileid.SuspendedForBalance || v.ProbeAt.IsZero() {
			t.Errorf("%+v", v)
		}
		m.told(other, mobileid.BalanceTopUp, cost)
		m.wantSent(true)
	})
}

// What was queued before the move pays where the number was. What that account says
// is nothing about the one that pays now.
func TestAMessageOfBeforeTheMoveSaysNothingOfTheNewAccount(t *testing.T) {
	for name, left := range map[string]mobileid.Money{"it is paid": 10 * cost, "it is not paid": 0} {
		t.Run(name, func(t *testing.T) {
			m := newMoved(t)
			m.told(operator, mobileid.BalanceTold, left)
			before := m.notice(m.person, "before")
			m.queue(before)
			m.told(other, mobileid.BalanceBarred, 0)
			m.admit(m.env.bridge(), before.Message.ID)
			if v := m.view(); v.SuspendedWhy != mobileid.SuspendedAsBarred {
				t.Errorf("%+v", v)
			}
			m.wantSent(false)
			m.wantEvents(m.person, "1 suspended barred")
			m.wantBalanced()
		})
	}
	t.Run("it finds no money while the new one has some", func(t *testing.T) {
		m := newMoved(t)
		m.told(operator, mobileid.BalanceTold, 0)
		m.told(other, mobileid.BalanceTold, cost)
		m.refuse(m.person, m.env.bridge())
		if m.suspended(m.person) {
			t.Error("suspended")
		}
		m.wantEvents(m.person)
	})
}

// A Message that the system pays for is written whatever the subscriber's account
// says, and says nothing of it.
func TestAMessageOfAPayerDoesNotResume(t *testing.T) {
	for why, suspend := range map[string]func(*env, person, int64){
		"balance": func(e *env, p person, b int64) { e.refuse(p, b); e.clk.advance(2 * time.Minute) },
		"barred": func(e *env, p person, _ int64) {
			e.clk.advance(time.Second)
			e.tell(e.news(p, mobileid.BalanceBarred, 0))
		},
	} {
		t.Run(why, func(t *testing.T) {
			e := newEnv(t)
			e.tariff()
			p, b := e.bind(0), e.bridge()
			n := e.notice(p, "free")
			n.Message.Account, n.Message.Payer = 0, "state"
			e.queue(n)
			e.admit(b, n.Message.ID)
			o := e.outcome(n.Message.ID, mobileid.MessageRetry, p.binding.Number, "")
			o.RetryAt = e.clk.now()
			e.settle(b, o)
			suspend(e, p, b)
			e.events(p)
			again, err := e.Admit(e.ctx(), b, []mobileid.AdmitItem{{ID: n.Message.ID}})
			must(t, err)
			if again[0].Verdict != mobileid.VerdictMine {
				t.Fatalf("%s %s", again[0].Verdict, again[0].State)
			}
			o = e.outcome(n.Message.ID, mobileid.MessageSent, p.binding.Number, "x")
			o.Probe = again[0].Probe
			e.settle(b, o)
			if !e.suspended(p) {
				t.Error("it has brought the SMS back that the subscriber pays for")
			}
			e.wantBalanced()
		})
	}
}

func TestACeilingGoesWithTheNumber(t *testing.T) {
	limit, none := cost, mobileid.Money(0)
	t.Run("set before the move", func(t *testing.T) {
		m := newMoved(t)
		m.exec(`delete from ported_numbers`)
		_, err := m.SetDailyCeiling(m.ctx(), m.binding.Person, &limit)
		must(t, err)
		m.move(m.person, "2", other, m.clk.now())
		m.wantSent(true)
		m.wantSent(false)
	})
	t.Run("set after it", func(t *testing.T) {
		m := newMoved(t)
		m.wantSent(true)
		v, err := m.SetDailyCeiling(m.ctx(), m.binding.Person, &none)
		must(t, err)
		if v.Operator != other || v.Ceiling == nil || *v.Ceiling != 0 {
			t.Errorf("%+v", v)
		}
		m.wantSent(false)
		_, err = m.SetDailyCeiling(m.ctx(), m.binding.Person, nil)
		must(t, err)
		m.wantSent(true)
	})
	t.Run("not to the next person", func(t *testing.T) {
		m := newMoved(t)
		m.wantSent(true)
		_, err := m.SetDailyCeiling(m.ctx(), m.binding.Person, &none)
		must(t, err)
		must(t, m.Revoke(m.ctx(), m.binding.ID))
		m.rebind(&m.person)
		m.wantSent(true)
	})
}

// rebind gives a person's number to somebody else.
func (e *env) rebind(p *person) {
	e.t.Helper()
	p.asked.Person[0] ^= 0xff
	_, err := e.Bind(e.ctx(), p.asked)
	must(e.t, err)
	found, err := e.ActiveBindings(e.ctx(), []mobileid.Pseudonym{p.asked.Person})
	must(e.t, err)
	p.binding = found[p.asked.Person]
}

func TestABarIsNotOfTheNextSubscriber(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	e.clk.advance(time.Minute)
	e.tell(e.news(p, mobileid.BalanceBarred, 0))
	e.clk.advance(time.Minute)
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	e.rebind(&p)
	if e.suspended(p) {
		t.Error("whoever had the number before was barred")
	}
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	e.clk.advance(time.Minute)
	e.tell(e.news(p, mobileid.BalanceBarred, 0))
	e.rebind(&p)
	if !e.suspended(p) {
		t.Error("a number that is barred when it is bound is not suspended")
	}
}

func TestWhatIsSpentTodayIsNotOfTheNextSubscriber(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	send := func(key string, want mobileid.Verdict) {
		t.Helper()
		n := e.notice(p, key)
		e.queue(n)
		if a := e.admit(b, n.Message.ID)[0]; a.Verdict != want {
			t.Errorf("%s %s, want %s", a.Verdict, a.State, want)
		}
	}
	send("of the first", mobileid.VerdictMine)
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	e.rebind(&p)
	limit := cost
	v, err := e.SetDailyCeiling(e.ctx(), p.binding.Person, &limit)
	must(t, err)
	if v.SpentToday != 0 {
		t.Errorf("he has spent %s of another one's", v.SpentToday)
	}
	send("of the next", mobileid.VerdictMine)
	send("over his ceiling", mobileid.VerdictRefused)
	e.wantBalanced()
}

func TestAMovedNumberIsBoundSuspendedWhenItsOperatorBarsIt(t *testing.T) {
	for by, want := range map[string]string{other: mobileid.SuspendedAsBarred, operator: ""} {
		t.Run(by, func(t *testing.T) {
			m := newMoved(t)
			m.told(other, mobileid.BalanceTold, 10*cost)
			must(t, m.Revoke(m.ctx(), m.binding.ID))
			m.told(by, mobileid.BalanceBarred, 0)
			_, err := m.Bind(m.ctx(), m.person.asked)
			must(t, err)
			if v := m.view(); v.SuspendedWhy != want {
				t.Errorf("suspended for %q, want %q", v.SuspendedWhy, want)
			}
			found, err := m.ActiveBindings(m.ctx(), []mobileid.Pseudonym{m.person.asked.Person})
			must(t, err)
			m.binding = found[m.person.asked.Person]
			m.wantSent(want == "")
			if want == "" && m.suspended(m.person) {
				t.Error("the bar of the one that it has left suspends")
			}
		})
	}
}

func TestOneMessageOfABatchProbes(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(0), e.bridge()
	e.refuse(p, b)
	e.clk.advance(2 * time.Minute)
	gone, first, second := e.notice(p, "gone"), e.notice(p, "1"), e.notice(p, "2")
	for _, n := range []*mobileid.NewNotification{&gone, &first, &second} {
		n.Message.Charging = mobileid.ChargingOperator
	}
	gone.Message.Deadline = e.clk.now().Add(time.Second)
	e.queue(gone, first, second)
	e.clk.advance(2 * time.Second)
	got := e.admit(b, gone.Message.ID, first.Message.ID, second.Message.ID)
	if got[0].State != mobileid.MessageExpired || got[1].Verdict != mobileid.VerdictMine || !got[1].Probe {
		t.Errorf("%+v", got[:2])
	}
	if got[2].Verdict == mobileid.VerdictMine {
		t.Error("a second probe in one batch")
	}
	e.wantMessage(second.Message.ID, mobileid.MessageNoFunds, "suspended")
}
