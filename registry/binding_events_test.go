package registry_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// bindingTopic is a topic of binding events in memory.
type bindingTopic struct {
	got  []mobileid.BindingEvent
	away error
}

func (p *bindingTopic) PublishBindingEvents(_ context.Context, events []mobileid.BindingEvent) error {
	p.got = append(p.got, events...) // perhaps written, whatever is answered
	return p.away
}

// events relays what is to be told and returns it, in words.
func (e *env) events(p person) []string {
	e.t.Helper()
	topic := &bindingTopic{}
	_, err := registry.NewBindingRelay(e.DB, topic, nil).Once(e.ctx())
	must(e.t, err)
	out := []string{}
	for _, ev := range topic.got {
		if ev.Binding != p.binding.ID {
			continue
		}
		if ev.Person != p.binding.Person || ev.Number != p.binding.Number || ev.Operator != operator || ev.At.IsZero() {
			e.t.Errorf("event %+v", ev)
		}
		word := fmt.Sprintf("%d %s", ev.Version, ev.Change)
		if ev.Why != "" {
			word += " " + ev.Why
		}
		out = append(out, word)
	}
	return out
}

func (e *env) wantEvents(p person, want ...string) {
	e.t.Helper()
	if have := e.events(p); !slices.Equal(have, want) {
		e.t.Fatalf("told %q, want %q", have, want)
	}
}

// refuse has a bridge find out that a person's money is out.
func (e *env) refuse(p person, bridge int64) {
	e.t.Helper()
	n := e.notice(p, fmt.Sprint("refuse-", e.n.Add(1)))
	e.queue(n)
	if a := e.admit(bridge, n.Message.ID); a[0].State != mobileid.MessageNoFunds {
		e.t.Fatalf("state %s", a[0].State)
	}
}

func TestASuspensionIsToldOnceAndMoneyTakesItBack(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(cost/2), e.bridge()
	e.refuse(p, b)
	e.refuse(p, b)
	e.wantEvents(p, "1 suspended balance")
	// A probe in vain is no news.
	e.clk.advance(2 * time.Minute)
	e.refuse(p, b)
	e.wantEvents(p)
	topUp := e.news(p, mobileid.BalanceTopUp, cost)
	e.tell(topUp, topUp)
	if e.suspended(p) {
		t.Fatal("money came and the SMS are suspended")
	}
	e.wantEvents(p, "2 resumed")
	e.reserve(p, b, 1)
	e.refuse(p, b)
	e.wantEvents(p, "3 suspended balance")
	e.tell(topUp) // Kafka gives it again: no money came by that
	if !e.suspended(p) {
		t.Error("a top-up that was told before has brought the SMS back")
	}
	e.wantEvents(p)
}

func TestNewsThatLeaveNothingBringNothingBack(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(cost), e.bridge()
	e.reserve(p, b, 1)
	e.refuse(p, b)
	e.wantEvents(p, "1 suspended balance")
	late := e.news(p, mobileid.BalanceTopUp, 5*cost)
	e.clk.advance(time.Minute)
	e.tell(e.news(p, mobileid.BalanceTold, cost)) // which is reserved
	e.tell(late)                                  // which is in that
	if !e.suspended(p) {
		t.Error("nothing is left, and the SMS are back")
	}
	e.wantEvents(p)
}

func TestAProbeThatIsPaidTakesASuspensionBack(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(0), e.bridge()
	e.refuse(p, b)
	must(t, e.Credit(e.ctx(), p.binding.Account, "test", "money", cost))
	e.clk.advance(2 * time.Minute)
	e.reserve(p, b, 1)
	e.wantEvents(p, "1 suspended balance", "2 resumed")
}

// Money that comes between the refusal and the suspension is not overlooked.
func TestMoneyThatOvertakesASuspensionPreventsIt(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(0), e.bridge()
	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	_, err = tx.Exec(e.ctx(), `select from bindings where id = $1 for no key update`, p.binding.ID)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.refuse(p, b)
	}()
	e.blocked()
	must(t, e.Credit(e.ctx(), p.binding.Account, "test", "money", cost))
	must(t, tx.Rollback(e.ctx()))
	<-done
	if e.suspended(p) {
		t.Error("the money has come, and the SMS are suspended")
	}
	e.wantEvents(p)
}

func TestABarIsObeyedInTheOperatorsOrder(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	barred := e.news(p, mobileid.BalanceBarred, 0)
	e.clk.advance(time.Minute)
	unbarred := e.news(p, mobileid.BalanceUnbarred, 0)
	e.tell(barred, barred)
	e.refuse(p, b)
	e.tell(e.news(p, mobileid.BalanceTopUp, cost)) // no money lifts a bar
	if !e.suspended(p) {
		t.Fatal("barred, and SMS go out")
	}
	e.wantEvents(p, "1 suspended barred")
	e.tell(unbarred, unbarred, barred) // the last one from a replay
	older := e.news(p, mobileid.BalanceBarred, 0)
	older.At = unbarred.At.Add(-time.Second)
	e.tell(older)
	if e.suspended(p) {
		t.Fatal("an old bar has suspended")
	}
	e.wantEvents(p, "2 resumed")
	e.reserve(p, b, 1)
	e.tell(e.news(p, mobileid.BalanceBarred, 0)) // of the same second as unbarred: the later word
	e.wantEvents(p, "3 suspended barred")
}

func TestABarTakesThePlaceOfWantOfMoney(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(0), e.bridge()
	e.refuse(p, b)
	e.tell(e.news(p, mobileid.BalanceBarred, 0), e.news(p, mobileid.BalanceTopUp, cost))
	e.wantEvents(p, "1 suspended balance", "2 suspended barred")
	e.clk.advance(time.Second)
	e.tell(e.news(p, mobileid.BalanceUnbarred, 0))
	e.wantEvents(p, "3 resumed")
}

func TestNewsOfAnAccountThatABindingDoesNotUseLeaveItAlone(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	moved := p.asked
	moved.Operator = "ucell"
	id, err := e.Bind(e.ctx(), moved)
	must(t, err)
	e.tell(e.news(p, mobileid.BalanceBarred, 0))
	if query[bool](e, `select sms_suspended from bindings where id = $1`, id) {
		t.Error("the operator that he left bars him")
	}
}

func TestABarOutlivesTheBindingThatItWasToldOf(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	e.tell(e.news(p, mobileid.BalanceBarred, 0))
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	id, err := e.Bind(e.ctx(), p.asked)
	must(t, err)
	found, err := e.ActiveBindings(e.ctx(), []mobileid.Pseudonym{p.asked.Person})
	must(t, err)
	p.binding = found[p.asked.Person]
	if p.binding.ID != id || !p.binding.Suspended {
		t.Fatalf("bound as %+v", p.binding)
	}
	e.refuse(p, b)
	e.clk.advance(time.Second)
	e.tell(e.news(p, mobileid.BalanceUnbarred, 0))
	e.reserve(p, b, 1)
	e.wantEvents(p, "1 resumed")
}

func TestBindingEventsLeaveAtLeastOnce(t *testing.T) {
	e := newEnv(t)
	p, q := e.bind(0), e.bind(0)
	e.tell(e.news(p, mobileid.BalanceBarred, 0), e.news(q, mobileid.BalanceBarred, 0))
	e.clk.advance(time.Second)
	e.tell(e.news(p, mobileid.BalanceUnbarred, 0))
	topic := &bindingTopic{away: mobileid.Unavailable("kafka_away", time.Second, nil)}
	relay := registry.NewBindingRelay(e.DB, topic, nil)
	if _, err := relay.Once(e.ctx()); mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("err = %v", err)
	}
	topic.away = nil
	for i, want := range []int{3, 0} {
		if n, err := relay.Once(e.ctx()); err != nil || n != want {
			t.Fatalf("look %d: %d, %v; want %d", i, n, err, want)
		}
	}
	if len(topic.got) != 6 {
		t.Fatalf("%d published, want all three before and after the broker's fault", len(topic.got))
	}
	for i, want := range []struct {
		id, version int64
	}{{p.binding.ID, 1}, {q.binding.ID, 1}, {p.binding.ID, 2}} {
		if got := topic.got[3+i]; got.Binding != want.id || got.Version != want.version {
			t.Errorf("event %d: %+v, want %+v", i, got, want)
		}
	}
}

// A change that is undone tells nothing.
func TestAnEventIsOfTheTransactionThatMadeIt(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	e.exec(`alter table binding_events add constraint full_up check (false) not valid`)
	n := e.news(p, mobileid.BalanceBarred, 0)
	if err := e.Tell(e.ctx(), n); err == nil {
		t.Fatal("stored although its event could not be")
	}
	if e.suspended(p) || query[int](e, `select count(*) from credits where seq = $1`, n.Seq) != 0 {
		t.Error("half of it is stored")
	}
	e.exec(`alter table binding_events drop constraint full_up`)
	e.tell(n)
	e.wantEvents(p, "1 suspended barred")
}
