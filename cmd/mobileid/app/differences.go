package app

import (
	"context"
	"log/slog"

	"mobileid/cmd/mobileid/config"
	"mobileid/registry"
)

// WithDifferences gives do the registry, in which differences with operators' files
// are listed and settled (registry.DB.Differences and what follows it).
func WithDifferences(ctx context.Context, cfg *config.Config, log *slog.Logger, do func(*registry.DB) error) error {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.CheckSchema(ctx); err != nil {
		return err
	}
	return do(db)
}
