package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

func ledgerCommand() *cobra.Command {
	return family(&cobra.Command{
		Use:   "ledger",
		Short: "Check that the money adds up, and archive months of it",
		Long: `Each step of a Message's Charge is a transfer that is never changed. What they add
up to is what the accounts say; check finds whatever does not.

  mobileid ledger check
  mobileid ledger archive 2026-09 --dry-run`,
	}, ledgerCheckCommand(), ledgerArchiveCommand())
}

// errImbalance ends a check that found something.
var errImbalance = errors.New("the ledger does not add up: docs/runbook.md says what to do")

func ledgerCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Compare every balance and every Message with its transfers",
		Long: `check reads every transfer that is not archived, and the opening rows of what is.
It changes nothing and may run beside traffic. The first 100 findings are named, by
account or Message; all are counted. Their rules:

  account  a balance is the sum of its postings
  orphan   the account of a posting exists
  archive  what accounts opened with is what the operators' days of the month say
  message  transfers are of a Message that exists
  payer    they name its account and its operator
  steps    they are numbered from 1, as many as the Message has counted
  pending  one is pending, the first
  state    the last one led to the state of the Charge
  held     a pending Charge holds its price, any other nothing
  taken    what they took is what the Message says
  over     nothing is charged beyond the price, nor below zero
  open     a Message that ended has no pending Charge

Exit codes: 0 all of it is zero; 1 something is not; 2 a wrong command line or
configuration.`,
		Args: noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object; amounts are tiyin")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		r, err := app.CheckLedger(cmd.Context(), cfg, stderrLog())
		if err != nil {
			return err
		}
		if err := printChecked(cmd.OutOrStdout(), r, *asJSON); err != nil {
			return err
		}
		if !r.Balanced() {
			return errImbalance
		}
		return nil
	})
	return cmd
}

// checkedBody is a report as JSON.
type checkedBody struct {
	Balanced bool             `json:"balanced"`
	Accounts int              `json:"accounts"`
	Granted  int64            `json:"granted_tiyin"`
	Pending  int64            `json:"pending_tiyin"`
	Posted   int64            `json:"posted_tiyin"`
	Late     int64            `json:"late_tiyin"`
	Orphans  int              `json:"orphans"`
	Messages int              `json:"messages"`
	Findings []ledger.Finding `json:"findings"`
}

func printChecked(out io.Writer, r ledger.Report, asJSON bool) error {
	if asJSON {
		body := checkedBody{
			r.Balanced(), r.Accounts, int64(r.Granted), int64(r.Pending), int64(r.Posted), int64(r.Late), r.Orphans, r.Messages, r.Findings,
		}
		if body.Findings == nil {
			body.Findings = []ledger.Finding{}
		}
		return json.NewEncoder(out).Encode(body)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(out, "%-8s %s: %s\n", f.Rule, f.Subject, f.What)
	}
	_, err := fmt.Fprintf(out, "accounts that disagree: %d (granted %s, pending %s, posted %s, late %s soum)\npostings of no account: %d\nMessages that contradict their transfers: %d\n",
		r.Accounts, r.Granted, r.Pending, r.Posted, r.Late, r.Orphans, r.Messages)
	return err
}

func ledgerArchiveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive MONTH",
		Short: "Take the transfers of a month out of the books, with opening rows in their place",
		Long: `MONTH is YYYY-MM, UTC, of the time in the ids of Messages. It may be archived when
the month after it is over, each of its Messages has ended, and no Charge of it is
pending or unknown: settle those first (mobileid reconcile --settle). Each account
gets one opening row, each operator and day the lines of his statement; the transfers
stay in the table archived_transfers_YYYY_MM, which statements and explain still read.
One transaction: a command that is killed has done nothing. Run it when little is
sent, since it needs the table of transfers for itself for a moment; beside a check, a
statement or a correction it gives up (ledger_in_use), and is to be run again.

Exit codes: 0 archived; 1 it may not be, with the reason, or not just now, or the
ledger does not add up; 2 a wrong command line or configuration.`,
		Args: oneArg("one month, YYYY-MM"),
	}
	dry := cmd.Flags().Bool("dry-run", false, "say what would be archived, and archive nothing")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		month, err := time.Parse("2006-01", args[0])
		if err != nil {
			return usageError{fmt.Errorf("%q is no month: want YYYY-MM, for example 2026-09", args[0])}
		}
		a, err := app.Archive(cmd.Context(), cfg, month, *dry, stderrLog())
		if err != nil && mobileid.CodeOf(err) == "month_not_settled" {
			return fmt.Errorf("%w%s", err, listUnknown(a))
		}
		if err != nil {
			return err
		}
		verb := "archived"
		if *dry {
			verb = "would be archived; nothing was"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d transfers on %d accounts, %s soum taken, %s\n", args[0], a.Transfers, a.Accounts, a.Taken, verb)
		return err
	})
	return cmd
}

func listUnknown(a registry.Archived) (lines string) {
	for _, id := range a.Unknown {
		lines += "\n  unknown " + id.String()
	}
	return lines
}
