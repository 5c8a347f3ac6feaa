package registry_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// told is a log that gives its lines to a channel.
type told struct {
	slog.Handler
	lines chan string
}

func (l told) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.Value.String(); return true })
	l.lines <- line
	return nil
}

func (l told) Enabled(context.Context, slog.Level) bool { return true }

func TestTheLedgerIsWatched(t *testing.T) {
	e := newEnv(t)
	b := newBooks(e)
	b.live(b.people[0], "notice.access", 1, "posted")
	reg := prometheus.NewRegistry()
	log := told{slog.DiscardHandler, make(chan string, 10)}
	db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name), Now: e.clk.now, Reg: reg, Log: slog.New(log)})
	must(t, err)
	defer db.Close()
	watch := registry.NewLedgerWatch(db, registry.LedgerWatchConfig{First: time.Millisecond, Every: time.Millisecond})
	want := func(metrics string) {
		t.Helper()
		families, err := reg.Gather()
		must(t, err)
		have := map[string]string{}
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "mobileid_ledger_") {
				have[f.GetName()] = fmt.Sprint(f.GetMetric()[0].GetGauge().GetValue())
			}
		}
		var all []string
		for _, name := range []string{"imbalance_tiyin", "imbalance_accounts", "imbalance_messages", "checked_timestamp_seconds"} {
			if v, ok := have["mobileid_ledger_"+name]; ok {
				all = append(all, v)
			}
		}
		if got := strings.Join(all, " "); got != metrics {
			t.Fatalf("the metrics are %q, want %q", got, metrics)
		}
	}
	want("")

	// Another process checks just then.
	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	defer func() { _ = tx.Rollback(e.ctx()) }()
	_, err = tx.Exec(e.ctx(), `select pg_advisory_xact_lock(x'6d6f62696c656964'::bigint + 2)`)
	must(t, err)
	must(t, watch.Once(e.ctx()))
	want("")
	must(t, tx.Rollback(e.ctx()))

	must(t, watch.Once(e.ctx()))
	want(fmt.Sprintf("0 0 0 %v", float64(e.clk.now().Unix())))
	e.exec(`update accounts set posted = posted + 7, granted = granted + 3 where id = $1`, b.people[0].binding.Account)
	e.exec(`update messages set amount = amount - 1`)
	ctx, cancel := context.WithCancel(e.ctx())
	done := make(chan error)
	go func() { done <- watch.Run(ctx) }()
	account := <-log.lines
	message := <-log.lines
	cancel()
	must(t, <-done)
	want(fmt.Sprintf("10 1 1 %v", float64(e.clk.now().Unix())))
	if wantLine := fmt.Sprintf("the ledger does not add up %s account %d granted is off by 0.03 soum, posted is off by 0.07 soum", ledger.RuleAccount, b.people[0].binding.Account); account != wantLine {
		t.Errorf("logged %q, want %q", account, wantLine)
	}
	if !strings.HasPrefix(message, "the ledger does not add up over "+b.ids[0].String()+" ") {
		t.Errorf("logged %q", message)
	}
	if strings.Contains(account+message, b.people[0].binding.Person.String()) || mobileid.HoldsPersonal(strings.ReplaceAll(account+message, b.ids[0].String(), "")) {
		t.Errorf("personal data in %q %q", account, message)
	}
}
