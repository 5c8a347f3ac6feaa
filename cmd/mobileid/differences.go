package main

import (
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/reconcile"
)

func differencesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "differences",
		Short: "List what operators debited and our books do not say",
		Long: `differences prints each difference with its last step. KIND and what may be done
are in docs/reconciliation.md. LINES are those of the file that FILE begins the
SHA-256 of; OURS and THEIRS are soum. With --csv the columns are

  ` + strings.Join(differenceColumns, ",") + `

lines separated by spaces, number as its pseudonym, times as RFC 3339 in
Asia/Tashkent. What does not apply is empty.`,
		Args: noArgs,
	}
	operator := cmd.Flags().String("operator", "", "only of this `OPERATOR`")
	open := cmd.Flags().Bool("open", false, "only what is not settled")
	asCSV := cmd.Flags().Bool("csv", false, "print CSV (RFC 4180)")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		if *operator != "" && !slices.Contains(cfg.OperatorIDs(), *operator) {
			return usageError{fmt.Errorf("--operator: want one of %s", strings.Join(cfg.OperatorIDs(), ", "))}
		}
		list := listDifferences
		if *asCSV {
			list = differencesCSV
		}
		return app.WithDifferences(cmd.Context(), cfg, stderrLog(), func(db *registry.DB) error {
			return list(cmd.OutOrStdout(), func(each func(registry.DifferenceView) error) error {
				return db.Differences(cmd.Context(), *operator, *open, each)
			})
		})
	})
	return cmd
}

// differences gives each of some differences to a function.
type differences func(each func(registry.DifferenceView) error) error

// messageOf names what a difference is of.
func messageOf(v registry.DifferenceView) string {
	if v.Message.IsZero() {
		return ""
	}
	return v.Message.String()
}

func linesOf[N int | int32](lines []N) string {
	out := make([]string, len(lines))
	for i, n := range lines {
		out[i] = strconv.Itoa(int(n))
	}
	return strings.Join(out, " ")
}

func listDifferences(out io.Writer, all differences) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tOPERATOR\tKIND\tMESSAGE\tFILE\tLINES\tOURS\tTHEIRS\tSTATE\tAS\tBY\tWHY")
	err := all(func(v registry.DifferenceView) error {
		way := v.Way
		if v.State == registry.DifferenceRejected {
			way = ""
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, v.Operator, v.Kind, dash(messageOf(v)),
			hex.EncodeToString(v.File[:4]), dash(linesOf(v.Lines)), v.Ours, v.Theirs, v.State, dash(string(way)), dash(people(v)), dash(reasons(v)))
		return nil
	})
	return errors.Join(err, w.Flush())
}

// people names who has settled it: both, when it took two.
func people(v registry.DifferenceView) string {
	if v.State == registry.DifferenceSettled && v.ProposedBy != "" {
		return v.ProposedBy + ", " + v.By
	}
	return v.By
}

// reasons tells why it is settled so: what the proposal said, once that is confirmed.
func reasons(v registry.DifferenceView) string {
	if v.State == registry.DifferenceSettled && v.ProposedWhy != "" {
		return v.ProposedWhy
	}
	return v.Why
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

var differenceColumns = []string{
	"id", "operator", "file", "kind", "message", "lines", "number", "charging", "ours", "theirs", "found_at",
	"state", "as", "proposed_by", "proposed_why", "by", "why", "at", "transfer",
}

func differencesCSV(out io.Writer, all differences) error {
	w := csv.NewWriter(out)
	when := func(t time.Time) string { return t.In(mobileid.Tashkent).Format(time.RFC3339) }
	err := w.Write(differenceColumns)
	if err != nil {
		return err
	}
	err = all(func(v registry.DifferenceView) error {
		transfer := ""
		if v.Transfer != 0 {
			transfer = strconv.Itoa(int(v.Transfer))
		}
		return w.Write([]string{
			strconv.FormatInt(v.ID, 10), v.Operator, hex.EncodeToString(v.File[:]), string(v.Kind), messageOf(v), linesOf(v.Lines), v.Number.String(),
			string(v.Charging), v.Ours.String(), v.Theirs.String(), when(v.FoundAt), string(v.State), string(v.Way), mobileid.TextCell(v.ProposedBy),
			mobileid.TextCell(v.ProposedWhy), mobileid.TextCell(v.By), mobileid.TextCell(v.Why), when(v.At), transfer,
		})
	})
	w.Flush()
	return errors.Join(err, w.Error())
}

// stepCommand is one by which a person moves a difference.
func stepCommand(use, short, long string, flags func(*cobra.Command), do func(cmd *cobra.Command, db *registry.DB, id int64) (string, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: oneArg("the number of a difference")}
	flags(cmd)
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || id <= 0 {
			return usageError{errors.New("want the number of a difference: mobileid reconcile differences lists them")}
		}
		return app.WithDifferences(cmd.Context(), cfg, stderrLog(), func(db *registry.DB) error {
			done, err := do(cmd, db, id)
			switch mobileid.CodeOf(err) {
			case "name_format", "why_format", "way_unknown":
				return usageError{err}
			}
			if err != nil {
				return fmt.Errorf("difference %d: %w", id, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "difference %d: %s\n", id, done)
			return nil
		})
	})
	return cmd
}

func proposeCommand() *cobra.Command {
	var as, by, why string
	return stepCommand("propose ID", "Propose how a difference is settled", `propose notes how a difference is to be settled, and changes nothing else: another
person confirms or rejects it. --as is

  operator_owes  he debited what he may not keep; the Charge stays
  accept         he is right: the Charge becomes what he debited
  write_off      nobody does anything about it; the Charge stays

docs/reconciliation.md says which are for which kind. --by and --why are kept for
ever: write no number and no PINFL there.

Exit codes: 0 proposed; 1 refused, and why; 2 a wrong command line or configuration.`, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&as, "as", "", "operator_owes, accept or write_off")
		cmd.Flags().StringVar(&by, "by", "", "`NAME` of who proposes")
		cmd.Flags().StringVar(&why, "why", "", "`TEXT` that says why, one line")
	}, func(cmd *cobra.Command, db *registry.DB, id int64) (string, error) {
		way := reconcile.Way(as)
		if way != reconcile.OperatorOwes && way != reconcile.Accept && way != reconcile.WriteOff {
			return "", mobileid.Invalid("as", "way_unknown", "--as: want operator_owes, accept or write_off")
		}
		return "proposed as " + as + "; another person has to confirm it", db.ProposeDifference(cmd.Context(), id, way, by, why)
	})
}

func confirmCommand() *cobra.Command {
	var by string
	return stepCommand("confirm ID", "Settle a difference as another person has proposed", `confirm settles a difference as it was proposed, with what this does to the Charge.
--by is another person than who proposed it.

Exit codes: 0 settled; 1 refused, and why; 2 a wrong command line or configuration.`, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&by, "by", "", "`NAME` of who confirms")
	}, func(cmd *cobra.Command, db *registry.DB, id int64) (string, error) {
		return "settled", db.ConfirmDifference(cmd.Context(), id, by)
	})
}

func rejectCommand() *cobra.Command {
	var by, why string
	return stepCommand("reject ID", "Reject how it was proposed to settle a difference", `reject ends a proposal without an effect: another one may follow. Who proposed it
may take it back so.

Exit codes: 0 rejected; 1 refused, and why; 2 a wrong command line or configuration.`, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&by, "by", "", "`NAME` of who rejects")
		cmd.Flags().StringVar(&why, "why", "", "`TEXT` that says why, one line")
	}, func(cmd *cobra.Command, db *registry.DB, id int64) (string, error) {
		return "the proposal is rejected", db.RejectDifference(cmd.Context(), id, by, why)
	})
}
