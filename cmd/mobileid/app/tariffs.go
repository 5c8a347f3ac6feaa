package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mobileid/cmd/mobileid/config"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// loadConfigured loads the tariffs of the configuration, and makes sure that
// each operator in use has a price. Loaded before, they change nothing.
func loadConfigured(ctx context.Context, db *registry.DB, cfg *config.Config, log *slog.Logger) error {
	steps, err := db.LoadTariffs(ctx, cfg.Tariffs)
	if err != nil {
		return fmt.Errorf("%s: %w\nmobileid tariffs list shows what is loaded", cfg.TariffFile, err)
	}
	for _, s := range steps {
		switch {
		case s.Action.Stores():
			log.Info("tariff loaded", "id", s.ID, "operator", s.Operator, "kind", s.Kind, "price", s.Price.String(), "from", s.From)
		case s.Action == ledger.ActionSkip && s.Other != 0:
			log.Warn("a tariff of the file was superseded since it was loaded: correct the file", "file", cfg.TariffFile,
				"id", s.ID, "by", s.Other, "operator", s.Operator, "kind", s.Kind, "from", s.From)
		}
	}
	for _, o := range cfg.Operators {
		if !o.Enabled {
			continue
		}
		_, priced, err := db.PriceAt(ctx, o.ID, "", time.Now())
		if err != nil {
			return err
		}
		if !priced {
			return fmt.Errorf("operator %s has no price in force: give it a row of kind \"\" with a from that has begun in %s, or enabled: false",
				o.ID, cfg.TariffFile)
		}
	}
	return nil
}

// LoadTariffs loads versions of prices, or with dry says what loading would do.
func LoadTariffs(ctx context.Context, cfg *config.Config, tariffs []ledger.Tariff, dry bool, log *slog.Logger) ([]ledger.Step, error) {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if dry {
		return db.TryTariffs(ctx, tariffs)
	}
	return db.LoadTariffs(ctx, tariffs)
}

// Tariffs returns every version that was loaded, chain by chain.
func Tariffs(ctx context.Context, cfg *config.Config, log *slog.Logger) ([]ledger.Version, error) {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	all, err := db.Tariffs(ctx)
	return ledger.Chains(all), err
}

// PriceAt returns the version that prices Messages of a kind to an operator at
// a time; false when none is in force.
func PriceAt(
	ctx context.Context, cfg *config.Config, operator, kind string, at time.Time, log *slog.Logger,
) (t ledger.Tariff, ok bool, err error) {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return t, false, err
	}
	defer db.Close()
	return db.PriceAt(ctx, operator, kind, at)
}
