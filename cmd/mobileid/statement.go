package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/gateway"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
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
but for what it says is unknown still. A line is of one kind of text, version of the
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

// column is one of a statement: its name in CSV and JSON, and its value.
type column[T any] struct {
	name  string
	value func(*T) any
}

// The columns of the two forms. docs/statements.md has the same lists, and a test
// compares them. Columns are added at the end; anything else makes another version.
var (
	dayColumns = []column[registry.OperatorLine]{
		{"contract", func(*registry.OperatorLine) any { return "operator-day/1" }},
		{"day", func(l *registry.OperatorLine) any { return ledger.Day(l.Day) }},
		{"operator", func(l *registry.OperatorLine) any { return l.Operator }},
		{"kind", func(l *registry.OperatorLine) any { return l.Kind }},
		{"tariff_id", func(l *registry.OperatorLine) any { return l.Tariff }},
		{"price_soum", func(l *registry.OperatorLine) any { return l.Price }},
		{"unit", func(l *registry.OperatorLine) any { return l.Unit }},
		{"charging", func(l *registry.OperatorLine) any { return l.Charging }},
		{"posted_messages", func(l *registry.OperatorLine) any { return l.Posted.Messages }},
		{"posted_parts", func(l *registry.OperatorLine) any { return l.Posted.Parts }},
		{"reversed_messages", func(l *registry.OperatorLine) any { return l.Reversed.Messages }},
		{"reversed_parts", func(l *registry.OperatorLine) any { return l.Reversed.Parts }},
		{"voided_messages", func(l *registry.OperatorLine) any { return l.Voided.Messages }},
		{"voided_parts", func(l *registry.OperatorLine) any { return l.Voided.Parts }},
		{"unknown_messages", func(l *registry.OperatorLine) any { return l.Unknown.Messages }},
		{"unknown_parts", func(l *registry.OperatorLine) any { return l.Unknown.Parts }},
		{"posted_tiyin", func(l *registry.OperatorLine) any { return int64(l.PostedAmount) }},
		{"reversed_tiyin", func(l *registry.OperatorLine) any { return int64(l.ReversedAmount) }},
		{"net_tiyin", func(l *registry.OperatorLine) any { return int64(l.Net()) }},
		{"net_soum", func(l *registry.OperatorLine) any { return l.Net() }},
	}
	transferColumns = []column[registry.OperatorTransfer]{
		{"contract", func(*registry.OperatorTransfer) any { return "operator-transfers/1" }},
		{"message_id", func(t *registry.OperatorTransfer) any { return t.Message }},
		{"at", func(t *registry.OperatorTransfer) any { return t.At.In(mobileid.Tashkent).Format(time.RFC3339Nano) }},
		{"number_pseudonym", func(t *registry.OperatorTransfer) any { return t.Number }},
		{"number", func(t *registry.OperatorTransfer) any { return clear998(t.MSISDN) }},
		{"operator_ids", func(t *registry.OperatorTransfer) any { return strings.Join(t.OperatorIDs, " ") }},
		{"step", func(t *registry.OperatorTransfer) any { return t.Step }},
		{"step_kind", func(t *registry.OperatorTransfer) any { return t.Kind }},
		{"step_why", func(t *registry.OperatorTransfer) any { return t.Why }},
		{"kind", func(t *registry.OperatorTransfer) any { return t.TextKind }},
		{"tariff_id", func(t *registry.OperatorTransfer) any { return t.Tariff }},
		{"charging", func(t *registry.OperatorTransfer) any { return t.Charging }},
		{"held_tiyin", func(t *registry.OperatorTransfer) any { return int64(t.Held) }},
		{"taken_tiyin", func(t *registry.OperatorTransfer) any { return int64(t.Taken) }},
	}
)

// clear998 is a number in clear; "" when it was not asked for or is not known.
func clear998(m mobileid.MSISDN) string {
	if m == (mobileid.MSISDN{}) {
		return ""
	}
	return m.Reveal()
}

// cells are the values of a row as text.
func cells[T any](columns []column[T], row *T) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = fmt.Sprint(c.value(row))
	}
	return out
}

func names[T any](columns []column[T]) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name
	}
	return out
}

// rowWriter writes rows one by one, with the names first.
func rowWriter[T any](out io.Writer, columns []column[T], as form) (row func(*T) error, end func() error) {
	switch as {
	case formJSON:
		return func(r *T) error { return writeObject(out, columns, r) }, func() error { return nil }
	case formCSV:
		w := csv.NewWriter(out)
		_ = w.Write(names(columns)) // an error is kept until the end
		return func(r *T) error { return w.Write(cells(columns, r)) }, func() error { w.Flush(); return w.Error() }
	case formTable:
	}
	// The contract is for machines.
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(names(columns[1:]), "\t")))
	n := 0
	return func(r *T) error {
		_, err := fmt.Fprintln(w, strings.Join(cells(columns[1:], r), "\t"))
		if n++; n%1000 == 0 { // what is aligned is kept in memory
			err = errors.Join(err, w.Flush())
		}
		return err
	}, w.Flush
}

// writeObject writes a row as a JSON object with the columns in their order.
func writeObject[T any](out io.Writer, columns []column[T], row *T) error {
	var b strings.Builder
	for i, c := range columns {
		v := c.value(row)
		if m, ok := v.(mobileid.Money); ok {
			v = m.String()
		}
		if p, ok := v.(mobileid.Pseudonym); ok {
			v = p.String()
		}
		value, err := json.Marshal(v)
		if err != nil {
			return err
		}
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(&b, "%s%s:%s", sep, strconv.Quote(c.name), value)
	}
	_, err := io.WriteString(out, b.String()+"}\n")
	return err
}

func printDay(cmd *cobra.Command, cfg *config.Config, out io.Writer, operator string, day time.Time, as form) error {
	lines, err := app.OperatorDay(cmd.Context(), cfg, operator, day, stderrLog())
	if err != nil {
		return err
	}
	row, end := rowWriter(out, dayColumns, as)
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
which the Message was accepted, and the account that pays now comes last.

Exit codes: 0 printed; 1 it could not be; 2 a wrong command line, PINFL or
configuration.`,
		Args: oneArg("one file with a PINFL, or -"),
	}
	from := cmd.Flags().String("from", "", "`DATE` that begins in Asia/Tashkent, or time with its zone: nothing before it")
	until := cmd.Flags().String("until", "", "`DATE` or time: nothing at it or later")
	chosen := formFlags(cmd)
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		as, err := chosen()
		if err != nil {
			return err
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
		return printPerson(cmd, cfg, pinfl, q, as)
	})
	return cmd
}

func printPerson(cmd *cobra.Command, cfg *config.Config, pinfl mobileid.PINFL, q mobileid.StatementQuery, as form) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	first := true
	var account *mobileid.SubscriberView
	err := app.PersonStatement(cmd.Context(), cfg, pinfl, q, func(s mobileid.PersonStatement) error {
		account = s.Account
		head := first
		first = false
		switch as {
		case formCSV:
			return gateway.StatementCSV(out, s, head)
		case formJSON:
			return json.NewEncoder(out).Encode(gateway.NewStatementBody(s))
		case formTable:
		}
		for i := range s.Charges {
			tellCharge(out, &s.Charges[i])
		}
		return nil
	}, stderrLog())
	if err == nil && as == formTable {
		tellAccount(out, account)
	}
	return errors.Join(err, out.Flush())
}

func tellCharge(out io.Writer, c *mobileid.PersonCharge) {
	at := func(t time.Time) string { return t.In(mobileid.Tashkent).Format("2006-01-02 15:04:05") }
	price := "no price was in force"
	if c.Tariff != 0 {
		price = fmt.Sprintf("%s a %s, tariff %d (%s)", c.Price, c.Unit, c.Tariff, c.Act)
	}
	fmt.Fprintf(out, "%s  %s  %s for %s, %s: %s; %s soum\n", at(c.Message.Time()), c.Message, c.TextID, c.Client, c.State, price, c.Net)
	for _, t := range c.Transfers {
		fmt.Fprintf(out, "    %s  %-8s  %s soum: %s\n", at(t.At), t.Kind, t.Taken, mobileid.TransferWords(t.Kind, t.Why))
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
