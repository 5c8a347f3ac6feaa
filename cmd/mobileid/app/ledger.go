package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// CheckLedger compares all balances and Messages with their transfers.
func CheckLedger(ctx context.Context, cfg *config.Config, log *slog.Logger) (ledger.Report, error) {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return ledger.Report{}, err
	}
	defer db.Close()
	return db.CheckLedger(ctx)
}

// Archive archives a month, or with dry says what it would do. The books are checked
// before, so that no mistake is archived, and after.
func Archive(ctx context.Context, cfg *config.Config, month time.Time, dry bool, log *slog.Logger) (registry.Archived, error) {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return registry.Archived{}, err
	}
	defer db.Close()
	if err := balanced(ctx, db, "nothing was archived"); err != nil {
		return registry.Archived{}, err
	}
	a, err := db.Archive(ctx, month, dry)
	if err != nil || dry {
		return a, err
	}
	return a, balanced(ctx, db, "the month is archived")
}

func balanced(ctx context.Context, db *registry.DB, said string) error {
	report, err := db.CheckLedger(ctx)
	if err == nil && !report.Balanced() {
		err = fmt.Errorf("%s: the ledger does not add up; mobileid ledger check says where", said)
	}
	return err
}

// knownOperator refuses an operator that the configuration does not name: a
// mistyped one would have an empty statement.
func knownOperator(cfg *config.Config, operator string) error {
	if ids := cfg.OperatorIDs(); !slices.Contains(ids, operator) {
		return mobileid.Invalid("operator", "operator_unknown", "want one of "+strings.Join(ids, ", "))
	}
	return nil
}

// OperatorDay returns an operator's statement of a day.
func OperatorDay(ctx context.Context, cfg *config.Config, operator string, day time.Time, log *slog.Logger) (mobileid.OperatorDay, error) {
	if err := knownOperator(cfg, operator); err != nil {
		return mobileid.OperatorDay{}, err
	}
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return mobileid.OperatorDay{}, err
	}
	defer db.Close()
	return db.OperatorDay(ctx, operator, day)
}

// OperatorTransfers gives each transfer of an operator's day to each, with numbers
// only where they were asked for, which is a fact for the log.
func OperatorTransfers(
	ctx context.Context, cfg *config.Config, operator string, day time.Time, numbers bool, each func(*registry.OperatorTransfer) error, log *slog.Logger,
) error {
	if err := knownOperator(cfg, operator); err != nil {
		return err
	}
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer db.Close()
	if numbers {
		log.WarnContext(ctx, "numbers are written in clear into an operator's statement", "operator", operator, "day", ledger.Day(day))
	}
	return db.OperatorTransfers(ctx, operator, day, numbers, each)
}

// PersonStatement gives each page of a person's statement to each, newest first.
func PersonStatement(
	ctx context.Context, cfg *config.Config, pinfl mobileid.PINFL, q mobileid.StatementQuery, each func(mobileid.PersonStatement) error, log *slog.Logger,
) error {
	keys, err := mobileid.NewPseudonymKey([]byte(cfg.Keys.Pseudonym.Reveal()))
	if err != nil {
		return err
	}
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer db.Close()
	q.Person = keys.Person(pinfl)
	for {
		page, err := db.PersonStatement(ctx, q)
		if err != nil {
			return err
		}
		if err := each(page); err != nil || !page.More {
			return err
		}
		q.Before = page.Charges[len(page.Charges)-1].Message
	}
}
