package registry_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

// load loads versions and returns what was done with each.
func (e *env) load(ts ...ledger.Tariff) string {
	e.t.Helper()
	steps, err := e.LoadTariffs(e.ctx(), ts)
	must(e.t, err)
	return actions(steps)
}

func actions(steps []ledger.Step) string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = string(s.Action)
	}
	return strings.Join(out, ",")
}

// costOf queues a notice in so many parts and returns its price.
func (e *env) costOf(p person, textID string, parts int) (amount int64, tariff *int64) {
	e.t.Helper()
	n := e.notice(p, fmt.Sprint("cost-", e.n.Add(1)))
	n.Message.TextID, n.Message.Parts = textID, parts
	e.queue(n)
	must(e.t, e.pool.QueryRow(e.ctx(), `select amount, tariff_id from messages where id = $1`, n.Message.ID[:]).Scan(&amount, &tariff))
	return amount, tariff
}

func TestAMessageIsPricedByItsKindElseByTheCommonPriceAndByTheUnit(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	if amount, tariff := e.costOf(p, "notice.data_access", 2); amount != 0 || tariff != nil {
		t.Errorf("without a tariff: %d of tariff %v", amount, tariff)
	}
	perPart := tariffOf(operator, "otp", 70, now0.Add(time.Minute))
	perPart.Unit = ledger.UnitPart
	if got := e.load(
		tariffOf(operator, "", 100, now0.AddDate(-1, 0, 0)), tariffOf(operator, "", 110, now0.Add(2*time.Minute)),
		perPart, tariffOf(operator, "otp", 90, now0.Add(2*time.Minute)),
		tariffOf("ucell", "", 500, now0.AddDate(-1, 0, 0)), tariffOf("ucell", "notice", 600, now0.AddDate(-1, 0, 0)),
	); got != "load,load,load,load,load,load" {
		t.Fatal(got)
	}
	for minute, want := range []map[string]int64{
		{"otp.sign_in": 100, "notice.data_access": 100, "otp": 100},
		{"otp.sign_in": 210, "notice.data_access": 100, "otp": 210},
		{"otp.sign_in": 90, "notice.data_access": 110, "otp": 90},
	} {
		for textID, want := range want {
			amount, tariff := e.costOf(p, textID, 3)
			if amount != want {
				t.Errorf("%s in minute %d costs %d, want %d", textID, minute, amount, want)
			}
			at, ok, err := e.PriceAt(e.ctx(), operator, mobileid.TextKind(textID), e.clk.now())
			must(t, err)
			told, _ := at.Amount(3)
			if !ok || tariff == nil || at.ID != *tariff || int64(told) != want || at.Author != "tests" || at.Act == "" {
				t.Errorf("%s in minute %d: told %+v, queued with tariff %v", textID, minute, at, tariff)
			}
		}
		e.clk.advance(time.Minute)
	}
}

// The look-up of Postgres and the rule of ledger are one.
func TestThePriceThatIsToldIsThatOfTheRule(t *testing.T) {
	e := newEnv(t)
	hour := func(n int) time.Time { return now0.Add(time.Duration(n) * time.Hour) }
	e.load(tariffOf(operator, "", 1, hour(-3)), tariffOf(operator, "", 2, hour(-1)), tariffOf(operator, "", 3, hour(2)),
		tariffOf(operator, "otp", 4, hour(3)), tariffOf("ucell", "otp", 5, hour(-2)))
	e.load(tariffOf(operator, "", 6, hour(2)), tariffOf(operator, "otp", 7, hour(5)))
	e.load(tariffOf(operator, "", 8, hour(2)))
	loaded, err := e.Tariffs(e.ctx())
	must(t, err)
	chains := ledger.Chains(loaded)
	for _, by := range []string{operator, "ucell", "nobody"} {
		for _, kind := range []string{"", "otp", "notice"} {
			for n := -5; n <= 6; n++ {
				want, wanted := ledger.InForce(chains, by, kind, hour(n))
				got, ok, err := e.PriceAt(e.ctx(), by, kind, hour(n))
				must(t, err)
				if ok != wanted || got != want.Tariff {
					t.Errorf("%s %q at hour %d: %+v (%t), want %+v (%t)", by, kind, n, got, ok, want.Tariff, wanted)
				}
			}
		}
	}
}

func TestTariffsAreLoadedWholeOrNotAtAllAndOnce(t *testing.T) {
	e := newEnv(t)
	first, next := tariffOf(operator, "", 100, now0.AddDate(-1, 0, 0)), tariffOf(operator, "", 200, now0.AddDate(0, 0, 1))
	if steps, err := e.TryTariffs(e.ctx(), []ledger.Tariff{first}); err != nil || actions(steps) != "load" || steps[0].ID != 0 {
		t.Errorf("tried: %v %v", steps, err)
	}
	past := tariffOf(operator, "", 300, now0.Add(-time.Second))
	for _, want := range []string{"load,load", "skip,skip"} {
		if got := e.load(first, next); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		_, err := e.LoadTariffs(e.ctx(), []ledger.Tariff{tariffOf(operator, "otp", 1, now0.AddDate(0, 0, 2)), past, past})
		if mobileid.CodeOf(err) != "tariff_in_the_past" || mobileid.KindOf(err) != mobileid.KindInvalid {
			t.Errorf("err = %v", err)
		}
		for _, m := range []string{"no tariff was loaded, 3 mistake(s):", "\n  tariffs[1].from:", "\n  tariffs[2].from:", "(tariff_twice)"} {
			if err != nil && !strings.Contains(err.Error(), m) {
				t.Errorf("no %q in %v", m, err)
			}
		}
		if n := query[int](e, `select count(*) from tariffs`); n != 2 {
			t.Fatalf("%d tariffs are stored", n)
		}
	}
	next.Price = 250
	if got := e.load(first, next); got != "skip,supersede" {
		t.Error(got)
	}
	e.clk.advance(36 * time.Hour)
	if v, _, err := e.PriceAt(e.ctx(), operator, "", e.clk.now()); err != nil || v.Price != 250 {
		t.Errorf("%+v %v", v, err)
	}
}

func TestTwoLoadsAtOnceMakeOneVersion(t *testing.T) {
	e := newEnv(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := e.LoadTariffs(e.ctx(), []ledger.Tariff{
				tariffOf(operator, "", 100, now0.AddDate(-1, 0, 0)), tariffOf(operator, "", mobileid.Money(200+i%2), now0.AddDate(0, 0, 1)),
			})
			if err != nil {
				t.Error(err, cause(err))
			}
		})
	}
	wg.Wait()
	if n := query[int](e, `select count(*) from tariffs`); n != 3 {
		t.Errorf("%d tariffs are stored, want the first and two of one date", n)
	}
}

func TestALoadedTariffIsNeverChanged(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	for _, sql := range []string{
		`update tariffs set amount = 1`, `update tariffs set author = author where false`, `delete from tariffs`, `truncate tariffs cascade`,
	} {
		_, err := e.pool.Exec(e.ctx(), sql)
		if err == nil || !strings.Contains(err.Error(), "a tariff is never changed: load a version that takes its place (SQLSTATE 23001)") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if got := query[int64](e, `select amount from tariffs`); got != int64(cost) {
		t.Errorf("%d", got)
	}
}

// A schema that has prices of before goes on with them, and what the file says
// of the same price is no contradiction.
func TestTariffsOfBeforeVersionsStay(t *testing.T) {
	e := newEnv(t)
	e.exec(`
drop trigger tariffs_kept on tariffs;
drop function tariffs_are_kept;
drop index tariffs_in_force;
alter table tariffs drop column kind, drop column unit, drop column refund_undelivered, drop column author, drop column act,
	drop column loaded_at, add constraint tariffs_operator_valid_from_key unique (operator, valid_from);
insert into tariffs (operator, amount, valid_from) values ('beeline', 100, '2026-01-01 10:20:30Z'), ('beeline', 120, '2026-11-01Z');
delete from schema_migrations where name = '0011_tariffs.sql'`)
	must(t, e.Migrate(e.ctx()))
	v, ok, err := e.PriceAt(e.ctx(), operator, "otp", now0)
	must(t, err)
	if !ok || v.Price != 120 || v.Unit != ledger.UnitMessage || !v.RefundUndelivered || v.Author != "before versions" || v.Act != "before versions" {
		t.Errorf("%+v", v)
	}
	if got := e.load(tariffOf(operator, "", 120, now0.AddDate(0, 0, -1)), tariffOf(operator, "", 130, now0.AddDate(0, 0, 1))); got != "agree,load" {
		t.Error(got)
	}
}
