package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/smpp"
)

// linksFlags are what every `mobileid links` command that asks a process takes.
type linksFlags struct {
	admin *[]string
}

func linksFlagsOf(cmd *cobra.Command) linksFlags {
	return linksFlags{admin: cmd.Flags().StringSlice("admin", nil,
		"`HOST:PORT` of the admin address of each process to ask, with commas (default: http.admin of the file)")}
}

func (f linksFlags) admins(cfg *config.Config) []string {
	if len(*f.admin) > 0 {
		return *f.admin
	}
	return []string{cfg.HTTP.Admin}
}

func linksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "links",
		Short: "Show the SMPP links live; start, drain or stop one without a restart",
		Long: `links asks running processes with the bridge role, on their admin address, and
prints a line for each bind:

  STATE    up, down (it is tried again), binding, refused (wrong credentials: tried
           again after minutes), draining, stopped (by hand)
  WINDOW   unanswered submit_sm, of how many
  OLDEST   how long the oldest of them waits
  RATE     answers in the last second, of the pace the account is given ("-": not known)
  LAST ERROR  why the link was lost or not bound last, and when, also when it is up again

  mobileid links --watch
  mobileid links drain beeline/a && mobileid links start beeline/a
  mobileid links statuses beeline
  mobileid links trace beeline --for 10m

Exit codes: 0 done; 1 not done, or no process answers; 2 a wrong command line or
configuration.`,
	}
	flags := linksFlagsOf(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print one JSON array (with --watch, one a line)")
	watch := cmd.Flags().Bool("watch", false, "print again every second, until Ctrl-C")
	family(cmd, linkOrderCommand("start", "Bind a link that was stopped or drained, or waits for its next try"),
		linkOrderCommand("drain", "Unbind a link when its window is empty, at the latest after the response timer"),
		linkOrderCommand("stop", "Unbind a link now; what the operator has not answered is in doubt"),
		linkStatusesCommand(), linkTraceCommand(), linkCertifyCommand())
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		show := func() error {
			links, err := app.Links(cmd.Context(), flags.admins(cfg))
			if err != nil {
				return err
			}
			if *asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(links)
			}
			if len(links) == 0 {
				return errors.New("no bridge runs there: say --admin of a process with the bridge role")
			}
			return printLinks(cmd.OutOrStdout(), links, time.Now())
		}
		if !*watch {
			return show()
		}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if !*asJSON {
				fmt.Fprint(cmd.OutOrStdout(), "\x1b[H\x1b[2J") // home, and clear the screen (ECMA-48)
			}
			err := show()
			if cmd.Context().Err() != nil {
				return nil
			}
			if err != nil { // a process that is restarted comes back
				fmt.Fprintln(os.Stderr, "mobileid:", err)
			}
			select {
			case <-tick.C:
			case <-cmd.Context().Done():
				return nil
			}
		}
	})
	return cmd
}

func printLinks(out io.Writer, links []app.ProcessLink, now time.Time) error {
	several := false
	for _, l := range links {
		several = several || l.Process != links[0].Process
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	process := func(text string) string {
		if !several {
			return ""
		}
		return text + "\t"
	}
	fmt.Fprintln(w, process("PROCESS")+"LINK\tTYPE\tSTATE\tSINCE\tHOST\tWINDOW\tOLDEST\tRATE\tLAST ERROR")
	for _, l := range links {
		pace := "-"
		if l.Pace > 0 {
			pace = fmt.Sprintf("%.0f", l.Pace)
		}
		fmt.Fprintf(w, "%s%s/%s\t%s\t%s\t%s\t%s\t%d/%d\t%s\t%d/%s\t%s\n", process(l.Process), l.Operator, l.Name, l.Type,
			l.State, now.Sub(l.Since).Round(time.Second), orDash(l.Host), l.InUse, l.Window,
			l.Oldest.Round(time.Millisecond), l.Rate, pace, lastError(l.LinkView, now))
	}
	return w.Flush()
}

// lastError tells why a link was lost or not bound last, and how long ago.
func lastError(l smpp.LinkView, now time.Time) string {
	if l.Failure == "" {
		return "-"
	}
	return now.Sub(l.FailedAt).Round(time.Second).String() + " ago: " + l.Failure
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// reached tells whether a link is where an order should bring it, and whether
// it will not get there by waiting. before is when it came to the state that it
// had when the order was given.
func reached(order string, l smpp.LinkView, before time.Time) (there, never bool) {
	if order == "start" {
		return l.State == smpp.LinkUp, l.State == smpp.LinkRefused && !l.Since.Equal(before)
	}
	return l.State == smpp.LinkStopped, false
}

func linkOrderCommand(order, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   order + " OPERATOR/BIND",
		Short: short,
		Long: short + `.
It waits until that has happened, in every process that is asked, and exits with 1
if it has not within --wait. An order is forgotten when the process restarts.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || strings.Count(args[0], "/") != 1 {
				return usageError{fmt.Errorf("want OPERATOR/BIND, as `mobileid links` prints them\nSee: %s --help", cmd.CommandPath())}
			}
			return nil
		},
	}
	flags := linksFlagsOf(cmd)
	wait := cmd.Flags().Duration("wait", 30*time.Second, "how long to wait for it; 0s = not at all")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		operator, bind, _ := strings.Cut(args[0], "/")
		admins := flags.admins(cfg)
		links, err := app.Links(cmd.Context(), admins)
		if err != nil {
			return err
		}
		before := map[string]time.Time{}
		for _, l := range links {
			before[l.Process+" "+l.Operator+"/"+l.Name] = l.Since
		}
		if err := app.OrderLink(cmd.Context(), admins, operator, bind, order); err != nil {
			return err
		}
		if *wait > 0 {
			o := linkOrder{order: order, operator: operator, bind: bind, before: before}
			if err := o.await(cmd.Context(), admins, *wait); err != nil {
				return err
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", args[0], order)
		return nil
	})
	return cmd
}

// linkOrder is an order that was given.
type linkOrder struct {
	order, operator, bind string
	before                map[string]time.Time // when each link came to its state before the order
}

// await waits until every process has done it.
func (o linkOrder) await(ctx context.Context, admins []string, wait time.Duration) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(wait); ; {
		links, err := app.Links(ctx, admins)
		if err != nil {
			return err
		}
		done, err := o.done(links, time.Now().After(limit))
		if done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// done reports whether every link is where it should be. The error says that
// one is not, and will not be, or is late.
func (o linkOrder) done(links []app.ProcessLink, late bool) (bool, error) {
	all := true
	for _, l := range links {
		if l.Operator != o.operator || l.Name != o.bind {
			continue
		}
		name := o.operator + "/" + o.bind
		there, never := reached(o.order, l.LinkView, o.before[l.Process+" "+name])
		if !there && (never || late) {
			return false, fmt.Errorf("%s is %s; last error: %s", name, l.State, lastError(l.LinkView, time.Now()))
		}
		all = all && there
	}
	return all, nil
}

func linkStatusesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "statuses OPERATOR",
		Short: "Print what each command_status means at an operator: the common table, with the operator's rows laid over",
		Args:  oneOperator,
	}
	asJSON := cmd.Flags().Bool("json", false, "print one JSON array")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		o, err := operatorOf(cfg, args[0])
		if err != nil {
			return err
		}
		rows := statusRows(o)
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(rows)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "STATUS\tNAME\tCLASS\tAFTER\tTRIES\tFROM")
		for _, r := range rows {
			after, tries := "-", "-"
			if r.After > 0 {
				after = r.After.String()
			}
			if r.Tries > 0 {
				tries = fmt.Sprint(r.Tries)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Status, orDash(r.Name), r.Class, after, tries, r.From)
		}
		return w.Flush()
	})
	return cmd
}

// oneOperator wants the id of an operator.
func oneOperator(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("want the id of an operator\nSee: %s --help", cmd.CommandPath())}
	}
	return nil
}

// operatorOf finds an operator of the file.
func operatorOf(cfg *config.Config, id string) (config.Operator, error) {
	ids := make([]string, 0, len(cfg.Operators))
	for _, o := range cfg.Operators {
		if o.ID == id {
			return o, nil
		}
		ids = append(ids, o.ID)
	}
	return config.Operator{}, usageError{fmt.Errorf("the file has no operator %q; it has %s", id, strings.Join(ids, ", "))}
}

// statusRow is a row of the table as it is printed.
type statusRow struct {
	Status string        `json:"status"` // hexadecimal
	Name   string        `json:"name"`
	Class  string        `json:"class"`
	After  time.Duration `json:"after"`
	Tries  int           `json:"tries"`
	From   string        `json:"from"` // common, or the operator's id
}

func statusRows(o config.Operator) []statusRow {
	own := map[uint32]bool{}
	for _, s := range o.Statuses {
		own[s.Status] = true
	}
	table := o.Profile().Statuses
	var rows []statusRow
	for _, status := range slices.Sorted(maps.Keys(table)) {
		rule, from := table[status], "common"
		if own[status] {
			from = o.ID
		}
		rows = append(rows, statusRow{
			Status: fmt.Sprintf("0x%02x", status), Name: rule.Name, Class: string(rule.Class),
			After: rule.After, Tries: rule.Tries, From: from,
		})
	}
	return rows
}
