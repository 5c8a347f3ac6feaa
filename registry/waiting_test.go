package registry_test

import (
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/registry"
)

func TestReceiptsThatStayWithoutTheirPartAreShownByAccount(t *testing.T) {
	e := newEnv(t)
	reg := prometheus.NewRegistry()
	db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name), Now: e.clk.now, Reg: reg})
	must(t, err)
	defer db.Close()
	s := registry.NewSweeper(db, registry.SweepConfig{Grace: time.Second}, nil, nil)
	store := func(account string, n int) {
		t.Helper()
		e.exec(`insert into receipts_unmatched (account, operator_id, dest, state, stat, err, received_at)
			select $1, 'waits ' || gen_random_uuid(), '\x01', 'delivered', 'DELIVRD', '', $3 from generate_series(1, $2)`,
			account, n, e.clk.now())
	}
	show := func(when string, after time.Duration, want map[string]float64) {
		t.Helper()
		e.clk.advance(after)
		e.sweep(s)
		families, err := reg.Gather()
		must(t, err)
		shown := map[string]float64{}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "mobileid_registry_receipts_waiting" {
					shown[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		if !maps.Equal(shown, want) {
			t.Errorf("%s: %v, want %v", when, shown, want)
		}
	}
	store("beeline/a", 3)
	store("ucell/b", 1)
	show("just come", 0, map[string]float64{})
	show("within the minute", time.Minute-time.Second, map[string]float64{})
	store("beeline/a", 2)
	show("the first have waited", 16*time.Second, map[string]float64{"beeline/a": 3, "ucell/b": 1})
	show("the others have not", 35*time.Second, map[string]float64{"beeline/a": 3, "ucell/b": 1})
	show("they have, and it is not the time to count", 10*time.Second, map[string]float64{"beeline/a": 3, "ucell/b": 1})
	show("all have waited", 6*time.Second, map[string]float64{"beeline/a": 5, "ucell/b": 1})
	e.exec(`delete from receipts_unmatched where account = 'beeline/a'`)
	show("found", 16*time.Second, map[string]float64{"beeline/a": 0, "ucell/b": 1})
	store("ucell/b", 10_500)
	show("more than are counted", time.Minute+time.Second, map[string]float64{"beeline/a": 0, "ucell/b": 10_000})
}
