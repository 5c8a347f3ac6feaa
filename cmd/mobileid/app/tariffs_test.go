package app_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/registry/ledger"
)

// A file that has got another row since `mobileid migrate` is loaded by the next
// process that starts; a row that was superseded since is told and not loaded.
func TestAProcessLoadsTheTariffsOfItsFileWhenItStarts(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	next := s.Config.Tariffs[0]
	next.Price, next.From = 130_00, time.Now().Add(24*time.Hour)
	s.Config.Tariffs = append(slices.Clone(s.Config.Tariffs), next)
	s.Run(app.RoleConsumers)
	loaded := func() []ledger.Tariff {
		all, err := s.Registry.Tariffs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	s.Until("it is loaded", func() bool { return len(loaded()) == 2 })
	if got := loaded()[1]; got.Price != 130_00 || got.Operator != sandbox.Operator || !got.From.Equal(next.From.Truncate(time.Microsecond)) {
		t.Errorf("%+v", got)
	}
	s.Stop()

	later := next
	later.Price = 140_00
	if _, err := s.Registry.LoadTariffs(t.Context(), []ledger.Tariff{later}); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := app.Migrate(t.Context(), s.Config, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if got := len(loaded()); got != 3 || !strings.Contains(log.String(), "superseded since it was loaded: correct the file") {
		t.Errorf("%d tariffs are loaded; said: %s", got, &log)
	}
}

func TestAnOperatorWithoutAPriceEndsTheStart(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	second := s.Config.Operators[0]
	second.ID = secondOperator
	cfg := *s.Config
	cfg.Operators = append(slices.Clone(cfg.Operators), second)
	discard := slog.New(slog.DiscardHandler)
	err := app.Migrate(t.Context(), &cfg, discard)
	const want = `operator ucell has no price in force: give it a row of kind "" with a from that has begun in tariffs.yaml`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("err = %v", err)
	}
	cfg.Operators[1].Enabled = false
	if err := app.Migrate(t.Context(), &cfg, discard); err != nil {
		t.Errorf("one that is not in use: %v", err)
	}
}
