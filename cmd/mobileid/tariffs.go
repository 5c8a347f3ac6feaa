package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

func tariffsCommand() *cobra.Command {
	return family(&cobra.Command{
		Use:   "tariffs",
		Short: "Load prices of Messages, list them, and say what one costs",
		Long: `A Message costs what is in force when it is queued: the version of its operator
and kind (the first word of its text's id: otp, notice), else the one of the
operator's common chain, kind "". Versions are never edited: to change a price,
load one that begins later than now. The configuration names the file of tariffs
that serve loads at its start; tariffs.sample.yaml is its manual.

  mobileid tariffs load tariffs.yaml --dry-run
  mobileid tariffs list --operator beeline
  mobileid tariffs price beeline otp --at 2027-01-01`,
	}, tariffsLoadCommand(), tariffsListCommand(), tariffsPriceCommand())
}

func tariffsLoadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: "Load a file of tariffs, whole or not at all; twice is harmless",
		Long: `FILE is of the form of tariffs.sample.yaml ("-": standard input). A line is
printed for each of its rows:

  load       it is new
  supersede  it is new, and takes the place of a version that is not in force yet
  skip       it is loaded already
  agree      it is of the past and contradicts no price that was in force: nothing to load

Refused are, among others, a gap or an overlap, and a row that does not begin
later than now where a price is in force (tariff_in_the_past). What is queued
already keeps its price. Put the rows into the file that tariffs of the
configuration names, too: an installation that is made anew loads that one.

Exit codes: 0 loaded; 1 refused, with every mistake; 2 a wrong command line or
configuration.`,
		Args: oneArg("one file, or -"),
	}
	dry := cmd.Flags().Bool("dry-run", false, "say what would be loaded, and load nothing")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		raw, err := fileOrInput(cmd, args[0])
		if err != nil {
			return err
		}
		tariffs, wrong := config.ReadTariffs(raw, cfg.OperatorIDs(), cfg.Texts.Kinds())
		if len(wrong) > 0 {
			// Not as Mistakes: the configuration is right.
			return fmt.Errorf("no tariff was loaded, %d mistake(s):\n  %s", len(wrong), strings.Join(wrong, "\n  "))
		}
		steps, err := app.LoadTariffs(cmd.Context(), cfg, tariffs, *dry, stderrLog())
		if err != nil {
			return err
		}
		return printLoaded(cmd.OutOrStdout(), steps, *dry)
	})
	return cmd
}

// fileOrInput reads what a command's one argument names.
func fileOrInput(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

func printLoaded(out io.Writer, steps []ledger.Step, dry bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTION\tID\tOPERATOR\tKIND\tFROM\tPRICE\tACT\tNOTE")
	loaded := 0
	for _, s := range steps {
		id, note := "-", ""
		if s.ID != 0 {
			id = strconv.FormatInt(s.ID, 10)
		}
		switch {
		case s.Action == ledger.ActionSupersede:
			note = fmt.Sprintf("in the place of %d", s.Other)
		case s.Other != 0:
			note = fmt.Sprintf("superseded by %d", s.Other)
		case s.Action == ledger.ActionAgree:
			note = "of the past; this version is in force"
		}
		if s.Action.Stores() {
			loaded++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%q\t%s\t%s\t%s\t%s\n", s.Action, id, s.Operator, s.Kind, ledger.Day(s.From), priceOf(s.Tariff), s.Act, note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if dry {
		fmt.Fprintf(out, "%d of %d would be loaded; nothing was\n", loaded, len(steps))
	} else {
		fmt.Fprintf(out, "%d of %d were loaded\n", loaded, len(steps))
	}
	return nil
}

// priceOf names the amount and what it is of.
func priceOf(t ledger.Tariff) string { return t.Price.String() + " a " + string(t.Unit) }

func tariffsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List every version of a price that was loaded",
		Long: `list prints the versions of each operator and kind by their dates. STATE is
"in force", "ended", "ahead", or "superseded by" the version that was loaded
later for the same date. With --csv the columns are

  ` + strings.Join(tariffColumns, ",") + `

price in soum, unit message or part, refund_undelivered true or false, state and
superseded_by apart, times as RFC 3339 in Asia/Tashkent; until is empty where
none follows.`,
		Args: noArgs,
	}
	operator := cmd.Flags().String("operator", "", "only of this `OPERATOR`")
	asCSV := cmd.Flags().Bool("csv", false, "print CSV (RFC 4180)")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		versions, err := app.Tariffs(cmd.Context(), cfg, stderrLog())
		if err != nil {
			return err
		}
		if *operator != "" {
			versions = slices.DeleteFunc(versions, func(v ledger.Version) bool { return v.Operator != *operator })
		}
		if *asCSV {
			return tariffsCSV(cmd.OutOrStdout(), versions, time.Now())
		}
		return listTariffs(cmd.OutOrStdout(), versions, time.Now())
	})
	return cmd
}

// stateOf names what a version is at a time; "superseded" says by which itself.
func stateOf(v ledger.Version, at time.Time) string {
	switch {
	case v.SupersededBy != 0:
		return "superseded"
	case v.InForce(at):
		return "in force"
	case v.From.After(at):
		return "ahead"
	}
	return "ended"
}

func listTariffs(out io.Writer, versions []ledger.Version, at time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tOPERATOR\tKIND\tFROM\tUNTIL\tPRICE\tUNDELIVERED\tSTATE\tACT\tAUTHOR\tLOADED")
	for _, v := range versions {
		until, refund, state := "-", "refunded", stateOf(v, at)
		if !v.Next.IsZero() {
			until = ledger.Day(v.Next)
		}
		if !v.RefundUndelivered {
			refund = "paid"
		}
		if v.SupersededBy != 0 {
			state = fmt.Sprintf("%s by %d", state, v.SupersededBy)
		}
		fmt.Fprintf(w, "%d\t%s\t%q\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, v.Operator, v.Kind, ledger.Day(v.From), until, priceOf(v.Tariff),
			refund, state, v.Act, v.Author, v.LoadedAt.In(mobileid.Tashkent).Format(time.RFC3339))
	}
	return w.Flush()
}

var tariffColumns = []string{
	"id", "operator", "kind", "from", "until", "price", "unit", "refund_undelivered", "state", "superseded_by", "act", "author", "loaded_at",
}

func tariffsCSV(out io.Writer, versions []ledger.Version, at time.Time) error {
	w := csv.NewWriter(out)
	rows := [][]string{tariffColumns}
	when := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.In(mobileid.Tashkent).Format(time.RFC3339)
	}
	for _, v := range versions {
		by := ""
		if v.SupersededBy != 0 {
			by = strconv.FormatInt(v.SupersededBy, 10)
		}
		rows = append(rows, []string{
			strconv.FormatInt(v.ID, 10), v.Operator, v.Kind, when(v.From), when(v.Next), v.Price.String(), string(v.Unit),
			strconv.FormatBool(v.RefundUndelivered), stateOf(v, at), by, mobileid.TextCell(v.Act), mobileid.TextCell(v.Author), when(v.LoadedAt),
		})
	}
	return w.WriteAll(rows)
}

func tariffsPriceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "price OPERATOR [KIND]",
		Short: "Say what a Message to an operator costs, and by which version",
		Long: `KIND is the first word of a text's id (otp, notice); without it the common price
is told. What is printed is what a Message costs that is queued at that time, or
with --warning the words that a person is shown before he agrees to pay it.

Exit codes: 0 there is a price; 1 none is in force, such a Message costs nothing;
2 a wrong command line or configuration.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{fmt.Errorf("want an operator, and a kind of text if you like\nSee: %s --help", cmd.CommandPath())}
			}
			return nil
		},
	}
	day := cmd.Flags().String("at", "", "`DATE` that begins in Asia/Tashkent, or time with its zone (default: now)")
	warning := cmd.Flags().String("warning", "", "print the warning of charges in that `LOCALE`: uz-Latn, ru or en")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		at, err := timeOf(*day)
		if err != nil {
			return usageError{err}
		}
		kind := ""
		if len(args) == 2 {
			kind = args[1]
		}
		if known := cfg.Texts.Kinds(); kind != "" && !slices.Contains(known, kind) {
			return usageError{fmt.Errorf("no text is of kind %q; known: %s", kind, strings.Join(known, ", "))}
		}
		t, ok, err := app.PriceAt(cmd.Context(), cfg, args[0], kind, at, stderrLog())
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("operator %q has no price in force at %s: such a Message costs nothing", args[0], ledger.Day(at))
		}
		if *warning != "" {
			w, err := cfg.Texts.WarnOfCharges(mobileid.Locale(*warning), t.Price, string(t.Unit))
			if err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), w.Text)
			return err
		}
		undelivered := "refunded"
		if !t.RefundUndelivered {
			undelivered = "paid"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s soum a %s, undelivered %s: version %d, kind %q, from %s, %s\n",
			t.Price, t.Unit, undelivered, t.ID, t.Kind, ledger.Day(t.From), t.Act)
		return nil
	})
	return cmd
}

// timeOf reads a date, which begins in Asia/Tashkent, or a time; "" is now.
func timeOf(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, text, mobileid.Tashkent); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("--at: want a date, 2027-01-01, or a time with its zone, 2027-01-01T09:00:00+05:00")
	}
	return at, nil
}
