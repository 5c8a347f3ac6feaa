package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/gateway"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

func statementCommand() *cobra.Command {
	return family(&cobra.Command{
		Use:   "statement",
		Short: "Print what an operator is owed for a day, and what a person was charged",
		Long: `docs/statements.md is the contract of every column.

  mobileid statement operator beeline --day 2026-11-30 --csv
  mobileid statement operator beeline --day 2026-11-30 --detail --csv
  mobileid statement person pinfl.txt`,
	}, statementOperatorCommand(), statementPersonCommand())
}

// form is how a statement is printed.
type form string

const (
	formTable form = "table"
	formCSV   form = "csv"
	formJSON  form = "json"
)

// formFlags adds --csv and --json, and returns what was chosen.
func formFlags(cmd *cobra.Command) func() (form, error) {
	asCSV := cmd.Flags().Bool("csv", false, "print CSV (RFC 4180)")
	asJSON := cmd.Flags().Bool("json", false, "print JSON, an object a line")
	return func() (form, error) {
		switch {
		case *asCSV && *asJSON:
			return "", usageError{errors.New("--csv and --json exclude each other")}
		case *asCSV:
			return formCSV, nil
		case *asJSON:
			return formJSON, nil
		}
		return formTable, nil
	}
}

func statementOperatorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "operator OPERATOR",
		Short: "Print the statement of an operator's day",
		Long: `A day is one of Asia/Tashkent, and a transfer is of the day on which it was made,
however old its Message is. So the statement of a day that is over changes no more,
but for what it says is unknown still; a day is over five minutes after midnight, and
of one that is not the command warns on standard error. A line is of one kind of text, version of the
price and way of charging; --detail has a line a transfer, with the pseudonym of the
number, and with --numbers the number itself, in clear: such a file is personal data.

Exit codes: 0 printed; 1 it could not be; 2 a wrong command line or configuration.`,
		Args: oneArg("one operator"),
	}
	day := cmd.Flags().String("day", "", "`DATE` in Asia/Tashkent, for example 2026-11-30")
	detail := cmd.Flags().Bool("detail", false, "a line a transfer")
	numbers := cmd.Flags().Bool("numbers", false, "with --detail: the numbers in clear")
	chosen := formFlags(cmd)
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		at, err := time.ParseInLocation(time.DateOnly, *day, mobileid.Tashkent)
		if err != nil {
			return usageError{errors.New("--day: want a date, for example 2026-11-30")}
		}
		if *numbers && !*detail {
			return usageError{errors.New("--numbers wants --detail: lines of a day have no numbers")}
		}
		as, err := chosen()
		if err != nil {
			return err
		}
		if !mobileid.DayFinal(at, time.Now()) {
			fmt.Fprintln(cmd.ErrOrStderr(), "the day is not over: these lines will change")
		}
		out := bufio.NewWriter(cmd.OutOrStdout())
		if *detail {
			err = printTransfers(cmd, cfg, out, args[0], at, *numbers, as)
		} else {
			err = printDay(cmd, cfg, out, args[0], at, as)
		}
		if mobileid.CodeOf(err) == "operator_unknown" {
			return usageError{err}
		}
		return errors.Join(err, out.Flush())
	})
	return cmd
}

// transferColumns are those of the detail. docs/statements.md has the same list, and
// a test compares them. Columns are added at the end; anything else makes another
// version.
var transferColumns = []mobileid.Column[registry.OperatorTransfer]{
	{Name: "contract", Value: func(*registry.OperatorTransfer) any { return "operator-transfers/2" }},
	{Name: "message_id", Value: func(t *registry.OperatorTransfer) any { return t.Message.String() }},
	{Name: "at", Value: func(t *registry.OperatorTransfer) any { return t.At.In(mobileid.Tashkent).Format(time.RFC3339Nano) }},
	{Name: "number_pseudonym", Value: func(t *registry.OperatorTransfer) any { return t.Number }},
	{Name: "number", Value: func(t *registry.OperatorTransfer) any { return mobileid.NumberCell(clear998(t.MSISDN)) }},
	{Name: "operator_ids", Value: func(t *registry.OperatorTransfer) any { return strings.Join(t.OperatorIDs, " ") }},
	{Name: "step", Value: func(t *registry.OperatorTransfer) any { return t.Step }},
	{Name: "step_kind", Value: func(t *registry.OperatorTransfer) any { return t.Kind }},
	{Name: "step_why", Value: func(t *registry.OperatorTransfer) any { return t.Why }},
	{Name: "kind", Value: func(t *registry.OperatorTransfer) any { return t.TextKind }},
	{Name: "tariff_id", Value: func(t *registry.OperatorTransfer) any { return t.Tariff }},
	{Name: "charging", Value: func(t *registry.OperatorTransfer) any { return string(t.Charging) }},
	{Name: "held_tiyin", Value: func(t *registry.OperatorTransfer) any { return int64(t.Held) }},
	{Name: "taken_tiyin", Value: func(t *registry.OperatorTransfer) any { return int64(t.Taken) }},
	{Name: "parts", Value: func(t *registry.OperatorTransfer) any { return t.Parts }},
	{Name: "state", Value: func(t *registry.OperatorTransfer) any { return string(t.State) }},
	{Name: "stat", Value: func(t *registry.OperatorTransfer) any { return t.Stat }},
	{Name: "err", Value: func(t *registry.OperatorTransfer) any { return t.Err }},
	{Name: "final", Value: func(t *registry.OperatorTransfer) any { return t.Final }},
}

// clear998 is a number in clear; "" when it was not asked for or is not known.
func clear998(m mobileid.MSISDN) string {
	if m == (mobileid.MSISDN{}) {
		return ""
	}
	return m.Reveal()
}

// rowWriter writes rows one by one, with the names first.
func rowWriter[T any](out io.Writer, columns []mobileid.Column[T], as form) (row func(*T) error, end func() error) {
	switch as {
	case formJSON:
		return func(r *T) error { return writeObject(out, columns, r) }, func() error { return nil }
	case formCSV:
		w := csv.NewWriter(out)
		_ = w.Write(mobileid.ColumnNames(columns)) // an error is kept until the end
		return func(r *T) error { return w.Write(mobileid.CSVCells(columns, r)) }, func() error { w.Flush(); return w.Error() }
	case formTable:
	}
	// The contract is for machines.
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(mobileid.ColumnNames(columns[1:]), "\t")))
	n := 0
	return func(r *T) error {
		_, err := fmt.Fprintln(w, strings.Join(mobileid.Cells(columns[1:], r), "\t"))
		if n++; n%1000 == 0 { // what is aligned is kept in memory
			err = errors.Join(err, w.Flush())
		}
		return err
	}, w.Flush
}

// writeObject writes a row as a JSON object on a line of its own.
func writeObject[T any](out io.Writer, columns []mobileid.Column[T], row *T) error {
	object, err := mobileid.Object(columns, row)
	if err == nil {
		_, err = out.Write(append(object, '\n'))
	}
	return err
}

func printDay(cmd *cobra.Command, cfg *config.Config, out io.Writer, operator string, day time.Time, as form) error {
	statement, err := app.OperatorDay(cmd.Context(), cfg, operator, day, stderrLog())
	if err != nil {
		return err
	}
	lines := statement.Lines
	row, end := rowWriter(out, mobileid.OperatorDayColumns, as)
	var posted, reversed mobileid.Money
	for i := range lines {
		posted, reversed = posted+lines[i].PostedAmount, reversed+lines[i].ReversedAmount
		if err := row(&lines[i]); err != nil {
			return err
		}
	}
	if err := end(); err != nil || as != formTable {
		return err
	}
	_, err = fmt.Fprintf(out, "posted %s, reversed %s, net %s soum\n", posted, reversed, posted-reversed)
	return err
}

func printTransfers(cmd *cobra.Command, cfg *config.Config, out io.Writer, operator string, day time.Time, numbers bool, as form) error {
	row, end := rowWriter(out, transferColumns, as)
	return errors.Join(app.OperatorTransfers(cmd.Context(), cfg, operator, day, numbers, row, stderrLog()), end())
}

func statementPersonCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "person FILE",
		Short: "Print what a person was charged, and why",
		Long: `FILE holds the person's PINFL and nothing else ("-": standard input); a command
line is seen by everybody on the machine. Charges are newest first, by the time at
which the Message was accepted, with the Messages among them that there was no money
for, and the account that pays now comes last.

Exit codes: 0 printed; 1 it could not be; 2 a wrong command line, PINFL or
configuration.`,
		Args: oneArg("one file with a PINFL, or -"),
	}
	from := cmd.Flags().String("from", "", "`DATE` that begins in Asia/Tashkent, or time with its zone: nothing before it")
	until := cmd.Flags().String("until", "", "`DATE` or time: nothing at it or later")
	locale := cmd.Flags().String("locale", string(mobileid.LocaleEn), "language of the reasons: uz-Latn, ru or en")
	chosen := formFlags(cmd)
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		as, err := chosen()
		if err != nil {
			return err
		}
		words := mobileid.Locale(*locale)
		if words != mobileid.LocaleUzLatn && words != mobileid.LocaleRu && words != mobileid.LocaleEn {
			return usageError{errors.New("--locale: want uz-Latn, ru or en")}
		}
		q := mobileid.StatementQuery{Limit: gateway.StatementPage}
		for _, f := range []struct {
			name, text string
			to         *time.Time
		}{{"--from", *from, &q.From}, {"--until", *until, &q.Until}} {
			if f.text == "" {
				continue
			}
			if *f.to, err = timeOf(f.text); err != nil {
				return usageError{fmt.Errorf("%s: want a date, 2026-11-01, or a time with its zone, 2026-11-01T09:00:00+05:00", f.name)}
			}
		}
		if len(args[0]) == 14 && strings.Trim(args[0], "0123456789") == "" {
			return usageError{errors.New("give the PINFL in a file or on standard input (-), not on the command line")}
		}
		raw, err := fileOrInput(cmd, args[0])
		if err != nil {
			return err
		}
		pinfl, err := mobileid.ParsePINFL(strings.TrimSpace(string(raw)))
		if err != nil {
			return usageError{err}
		}
		return printPerson(cmd, cfg, pinfl, q, words, as)
	})
	return cmd
}

func printPerson(cmd *cobra.Command, cfg *config.Config, pinfl mobileid.PINFL, q mobileid.StatementQuery, words mobileid.Locale, as form) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	first := true
	var account *mobileid.SubscriberView
	err := app.PersonStatement(cmd.Context(), cfg, pinfl, q, func(s mobileid.PersonStatement) error {
		account = s.Account
		head := first
		first = false
		switch as {
		case formCSV:
			return gateway.StatementCSV(out, s, words, head)
		case formJSON:
			return json.NewEncoder(out).Encode(gateway.NewStatementBody(s, words))
		case formTable:
		}
		for i := range s.Charges {
			tellCharge(out, &s.Charges[i], words)
		}
		return nil
	}, stderrLog())
	if err == nil && as == formTable {
		tellAccount(out, account)
	}
	return errors.Join(err, out.Flush())
}

func tellCharge(out io.Writer, c *mobileid.PersonCharge, words mobileid.Locale) {
	at := func(t time.Time) string { return t.In(mobileid.Tashkent).Format("2006-01-02 15:04:05") }
	price := "no price was in force"
	if c.Tariff != 0 {
		price = fmt.Sprintf("%s a %s, tariff %d (%s)", c.Price, c.Unit, c.Tariff, c.Act)
	}
	fmt.Fprintf(out, "%s  %s  %s for %s, %s: %s; %s soum\n", at(c.Message.Time()), c.Message, c.TextID, c.Client, c.State, price, c.Net)
	if len(c.Transfers) == 0 {
		fmt.Fprintf(out, "    not sent and not charged: %s\n", c.Reason)
	}
	for _, t := range c.Transfers {
		fmt.Fprintf(out, "    %s  %-8s  %s soum: %s\n", at(t.At), t.Kind, t.Taken, mobileid.TransferWords(t.Kind, t.Why, words))
	}
}

func tellAccount(out io.Writer, a *mobileid.SubscriberView) {
	if a == nil {
		fmt.Fprintln(out, "no active binding, so no account that pays")
		return
	}
	balance := "the balance is not known"
	if a.Known {
		balance = a.Available.String() + " soum can be spent"
	}
	ceiling := "no daily ceiling"
	if a.Ceiling != nil {
		ceiling = "daily ceiling " + a.Ceiling.String() + " soum"
	}
	fmt.Fprintf(out, "account at %s: %s, %s reserved; %s, %s spent today\n", a.Operator, balance, a.Reserved, ceiling, a.SpentToday)
	if !a.SuspendedSince.IsZero() {
		fmt.Fprintf(out, "SMS are suspended since %s: %s\n", a.SuspendedSince.In(mobileid.Tashkent).Format(time.RFC3339), a.SuspendedWhy)
	}
}
