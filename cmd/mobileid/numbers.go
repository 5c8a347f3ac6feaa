package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/consumers/agencies"
	"mobileid/internal/mobileid"
)

func numbersCommand() *cobra.Command {
	return family(&cobra.Command{
		Use:   "numbers",
		Short: "Import ported numbers, and say who serves a number",
		Long: `Who serves a number is decided in this order: its newest move that is in force,
numbers of the configuration, the operators' number-info service (number_info).
A number that none of them knows is unknown and asked again, never refused.

  mobileid numbers import ported.csv
  mobileid numbers route +998901234567`,
	}, numbersImportCommand(), numbersRouteCommand())
}

func numbersImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Import a file of ported numbers, whole or not at all; twice is harmless",
		Long: `FILE is UTF-8 text without quotes ("-": standard input). Its first line is the
first of these, and each other line is one move:

  ` + agencies.PortedHeader + `
  mnp,2026-000017,+998901234567,ucell,2026-11-23T10:20:00+05:00
  mnp,2026-000018,+998931234567,beeline,2026-11-24

source and seq name a move for ever: told again it is known, told otherwise the
file is refused. A number that was ported back is one more move. operator has a
file in operators. from is a time with its zone, or a date in Asia/Tashkent; it
may lie ahead. What is queued from then on goes to the operator of the move;
what is queued already stays, and bindings do not change.

Exit codes: 0 imported; 1 refused, with every mistake and its line; 2 a wrong
command line or configuration.`,
		Args: oneArg("one file, or -"),
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		var file io.Reader = cmd.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			file = f
		}
		all, added, wrong, err := app.ImportPorted(cmd.Context(), cfg, file, stderrLog())
		switch {
		case len(wrong) > 0:
			return fmt.Errorf("nothing was imported, %d mistake(s):\n%w", len(wrong), errors.Join(wrong...))
		case err != nil:
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d moves: %d new, %d known already\n", all, added, all-added)
		return nil
	})
	return cmd
}

func numbersRouteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "route NUMBER",
		Short: "Say who serves a number now, and which rule decides",
		Long: `NUMBER is +998 and nine digits. Other users of the machine can see a command
line, and a shell remembers it: "-" reads the number from standard input.

Exit codes: 0 known; 1 unknown, ask again; 2 a wrong command line or configuration.`,
		Args: oneArg("one number, or -"),
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		word := args[0]
		if word == "-" {
			line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			word = strings.TrimSpace(line)
		}
		m, err := mobileid.ParseMSISDN(word)
		if err != nil {
			return usageError{err}
		}
		route, err := app.RouteNumber(cmd.Context(), cfg, m, stderrLog())
		if mobileid.KindOf(err) == mobileid.KindUnavailable {
			return fmt.Errorf("%s: %s", m.Masked(), unanswered(err))
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", m.Masked(), route.Operator, because(route))
		return nil
	})
	return cmd
}

// unanswered tells why nobody knows, as the log would.
func unanswered(err error) string {
	e := mobileid.Ours(err)
	why := e.Code
	for _, a := range e.LogValue().Group() {
		if a.Key == "cause" {
			why = a.Value.String()
		}
	}
	return fmt.Sprintf("unknown now: %s; ask again in %s", why, e.RetryAfter)
}

// because names the rule that has decided.
func because(r mobileid.Route) string {
	at := r.From.In(mobileid.Tashkent).Format(time.RFC3339)
	switch r.Rule {
	case mobileid.RulePorted:
		return fmt.Sprintf("ported: there since %s (source %s, move %s)", at, r.Source, r.Seq)
	case mobileid.RulePlan:
		return fmt.Sprintf("plan: never ported, and numbers gives the code to it since %s", r.From.In(mobileid.Tashkent).Format(time.DateOnly))
	case mobileid.RuleNumberInfo:
		return "number_info: said so at " + at
	case mobileid.RuleUnknown:
	}
	return "unknown"
}

// oneArg wants one word.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("want %s\nSee: %s --help", what, cmd.CommandPath())}
		}
		return nil
	}
}
