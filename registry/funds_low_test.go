package registry_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

const warnBelow = 5

func (e *env) warner() *registry.Sweeper {
	return registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, WarnBelow: warnBelow}, nil, nil)
}

func (e *env) warn() {
	e.t.Helper()
	must(e.t, e.warner().Sweep(e.ctx()))
}

// spend sends one Message that the person pays for.
func (e *env) spend(p person, bridge int64) {
	e.t.Helper()
	e.post(p, bridge, e.reserve(p, bridge, 1))
}

func TestAWarningComesOnceBeforeTheMoneyEnds(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b, s := e.bind(7*cost), e.bridge(), e.warner()
	told := []string{}
	for n := range 7 {
		e.spend(p, b)
		must(t, s.Sweep(e.ctx()))
		for range e.events(p) {
			told = append(told, fmt.Sprint(6-n))
		}
	}
	if len(told) != 1 || told[0] != "4" {
		t.Fatalf("warned with money for %q Messages left, want once, with money for 4", told)
	}
	e.refuse(p, b)
	must(t, s.Sweep(e.ctx()))
	e.wantEvents(p, "2 suspended balance")
}

func TestAWarningComesAgainWhenMoneyHasCome(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b, s := e.bind(4*cost), e.bridge(), e.warner()
	must(t, s.Sweep(e.ctx()))
	e.wantEvents(p, "1 funds_low")
	e.spend(p, b)
	e.clk.advance(time.Minute)
	e.tell(e.news(p, mobileid.BalanceTold, 3*cost)) // as we have it
	must(t, s.Sweep(e.ctx()))
	e.wantEvents(p)
	e.clk.advance(time.Minute)
	topUp := e.news(p, mobileid.BalanceTopUp, cost/2)
	e.tell(topUp)
	must(t, s.Sweep(e.ctx()))
	e.wantEvents(p, "2 funds_low") // some came, and it is still little
	e.tell(topUp)
	must(t, s.Sweep(e.ctx()))
	e.wantEvents(p)
	e.clk.advance(time.Minute)
	e.tell(e.news(p, mobileid.BalanceTold, 6*cost))
	must(t, s.Sweep(e.ctx()))
	e.wantEvents(p)
	e.spend(p, b)
	e.spend(p, b)
	must(t, s.Sweep(e.ctx()))
	e.wantEvents(p, "3 funds_low")
}

func TestNobodyIsWarnedOfWhatIsNotKnownOrCostsNothing(t *testing.T) {
	e := newEnv(t)
	poor := e.bind(1)
	e.warn()
	e.wantEvents(poor) // SMS are free
	e.tariff()
	unknown, rich := e.untold(), e.bind(warnBelow*cost)
	gone := e.bind(cost)
	must(t, e.Revoke(e.ctx(), gone.binding.ID))
	out := e.bind(0)
	e.refuse(out, e.bridge())
	e.wantEvents(out, "1 suspended balance")
	silent := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	must(t, silent.Sweep(e.ctx()))
	e.wantEvents(poor) // it is switched off
	e.warn()
	for what, c := range map[string]struct {
		person
		want int
	}{"little": {poor, 1}, "unknown": {unknown, 0}, "enough": {rich, 0}, "not bound": {gone, 0}, "told that it is out": {out, 0}} {
		have := query[int](e, `select count(*) from binding_events where binding_id = $1 and change = 'funds_low'`, c.binding.ID)
		if have != c.want {
			t.Errorf("%s: warned %d times, want %d", what, have, c.want)
		}
	}
}

// The dearest kind counts, because which one comes next is not known.
func TestTheDearestPriceInForceDecides(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(5 * cost)
	e.warn()
	e.wantEvents(p)
	_, err := e.LoadTariffs(e.ctx(), []ledger.Tariff{tariffOf(operator, "notice", 2*cost, now0.Add(24*time.Hour))})
	must(t, err)
	e.warn()
	e.wantEvents(p) // not yet
	e.clk.advance(25 * time.Hour)
	e.warn()
	e.wantEvents(p, "1 funds_low")
}

// Sweepers of several processes find the same accounts, page by page.
func TestManySweepersWarnEachOnce(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	var persons []person
	for i := range 40 {
		persons = append(persons, e.bind(mobileid.Money(i%8)*cost))
	}
	var wg sync.WaitGroup
	for range 4 {
		s := e.warner()
		s.LookAt(7)
		wg.Go(func() {
			for range 8 {
				if err := s.Sweep(e.ctx()); err != nil {
					t.Error(err, cause(err))
				}
			}
		})
	}
	wg.Wait()
	for i, p := range persons {
		want := 0
		if i%8 < warnBelow {
			want = 1
		}
		if have := query[int](e, `select count(*) from binding_events where binding_id = $1 and change = 'funds_low'`, p.binding.ID); have != want {
			t.Errorf("with money for %d Messages: warned %d times, want %d", i%8, have, want)
		}
	}
}

// The index of who may be warned costs a Message nothing: an account's update stays
// on its page.
func TestMoneyThatIsSpentStaysOnItsPage(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(20*cost), e.bridge()
	for range 10 {
		e.spend(p, b)
	}
	e.DB.Close() // sessions report their counters when they end, which we are not told
	updates := 0
	for limit := time.Now().Add(20 * time.Second); updates < 21 && time.Now().Before(limit); <-time.After(20 * time.Millisecond) {
		updates = query[int](e, `select n_tup_upd from pg_stat_user_tables where relname = 'accounts'`)
	}
	hot := query[int](e, `select n_tup_hot_upd from pg_stat_user_tables where relname = 'accounts'`)
	// The first news, which put the account into the index, are not hot.
	if updates < 21 || hot < updates-1 {
		t.Errorf("%d of %d updates of an account stayed on their page", hot, updates)
	}
}
