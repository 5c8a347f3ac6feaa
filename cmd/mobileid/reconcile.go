package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

// forPeopleError ends a command that did its work and leaves rows to a person.
type forPeopleError struct{ rows int }

func (e forPeopleError) Error() string {
	return fmt.Sprintf("%d rows are left to a person: docs/reconciliation.md says what to do", e.rows)
}

func reconcileCommand() *cobra.Command {
	var o app.Reconciliation
	var dry bool
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Settle Messages that are in doubt from an operator's daily file",
		Long: `Compare an operator's daily file (docs/reconciliation.md) with the Messages whose
end we do not know, by the operator's message id, then by the echoed
user_message_reference, then by number and time where the counts agree. Without
--settle nothing is changed. What is not certain is listed and left to a person.

If the file says what the operator debited, that is compared with the Charges:
each difference is listed by its kind, and with --settle it is stored, and settled
where a rule can. The others are settled by two persons:

  mobileid reconcile differences --open
  mobileid reconcile propose 17 --as operator_owes --by NAME --why TEXT
  mobileid reconcile confirm 17 --by OTHERNAME

Exit 0: nothing is left. 2: the file or the command line is wrong, nothing was
applied. 3: done, and the listed rows are for a person.`,
		Args: noArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.Operator, "operator", "", "`ID` of the operator whose file it is")
	f.StringVar(&o.File, "file", "", "the operator's `FILE`")
	f.StringVar(&o.Zone, "zone", "", "`ZONE` of the file's times, when the file does not say, for example Asia/Tashkent")
	f.BoolVar(&o.Settle, "settle", false, "store what is certain")
	f.BoolVar(&dry, "dry-run", false, "change nothing, which is so without --settle, too")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		switch {
		case o.Operator == "" || o.File == "":
			return usageError{fmt.Errorf("want --operator and --file\nSee: %s --help", cmd.CommandPath())}
		case dry && o.Settle:
			return usageError{errors.New("--dry-run and --settle exclude each other")}
		}
		o.Progress = func(lines int) { fmt.Fprintf(cmd.ErrOrStderr(), "%d lines read\n", lines) }
		r, err := app.Reconcile(cmd.Context(), cfg, o, stderrLog())
		var mistakes *reconcile.FileError
		if errors.As(err, &mistakes) || mobileid.CodeOf(err) == "operator_unknown" {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		printReconciled(cmd.OutOrStdout(), r, o.Settle)
		if n := r.People(); n > 0 {
			return forPeopleError{n}
		}
		return nil
	})
	cmd.AddCommand(differencesCommand(), proposeCommand(), confirmCommand(), rejectCommand())
	return cmd
}

// printReconciled tells what became of a file. Numbers are masked; a line is
// named by its place.
func printReconciled(out io.Writer, r app.Reconciled, settle bool) {
	if !r.Seen.Done.IsZero() {
		fmt.Fprintf(out, "this file was applied at %s: nothing to do\n", r.Seen.Done.Format("2006-01-02 15:04:05Z"))
		return
	}
	for _, x := range r.Listed {
		fmt.Fprintf(out, "in doubt  %s  %s\n", x.ID, x.State)
	}
	verb := "would settle"
	if settle {
		verb = "settled"
	}
	found := 0
	for _, g := range r.Result.Groups {
		found += len(g)
		for _, s := range g {
			as := "never taken"
			if len(s.Hits) > 0 {
				as = string(s.Hits[0].Line.State)
			}
			fmt.Fprintf(out, "%s  %s  by %s  %s\n", verb, s.Message.ID, s.Rule, as)
		}
	}
	for _, d := range r.Result.Doubts {
		fmt.Fprintf(out, "for a person  %s:", d.Why)
		for _, l := range d.Lines {
			fmt.Fprintf(out, " line %d (%s)", l.No, l.Masked)
		}
		for _, x := range d.Messages {
			fmt.Fprintf(out, " %s", x.ID)
		}
		fmt.Fprintln(out)
	}
	complete := ""
	if !r.File.Complete() {
		complete = "; absence settles nothing: the file does not state " + missing(r.File)
	}
	if settle {
		found = r.Settled
	}
	fmt.Fprintf(out, "%d lines: %s %d Messages, %d still open at the operator, %d rows for a person, %d lines of others, %d of nothing we know%s\n",
		r.File.Lines, verb, found, len(r.Result.Waiting), len(r.Result.Doubts), r.Result.Known, r.Unknown, complete)
	if r.File.Charges {
		printDiffers(out, r, settle)
	}
}

// printDiffers tells what was debited and is not in our books.
func printDiffers(out io.Writer, r app.Reconciled, settle bool) {
	for i := range r.Differences {
		d := &r.Differences[i]
		of := "-"
		if d.Book != nil {
			of = d.Book.ID.String()
		}
		fmt.Fprintf(out, "differs  %s  %s  ours %s  theirs %s", d.Kind, of, d.Ours, d.Theirs)
		if len(d.Lines) > 0 {
			fmt.Fprintf(out, "  lines %s", linesOf(d.Lines))
		}
		fmt.Fprintln(out)
	}
	if n := r.Differ - len(r.Differences); n > 0 {
		fmt.Fprintf(out, "differs  and %d more\n", n)
	}
	if r.Unsure > 0 {
		fmt.Fprintf(out, "for a person  %d lines may be of several Messages that do not cost the same\n", r.Unsure)
	}
	if settle {
		fmt.Fprintf(out, "%d differences: %d new, %d of them settled by rule, %d for two persons\n", r.Differ, r.Stored.New, r.Stored.Settled, r.ByHand)
	} else {
		fmt.Fprintf(out, "%d differences: a rule would settle %d, %d are for two persons\n", r.Differ, r.Differ-r.ByHand, r.ByHand)
	}
}

func missing(f reconcile.File) string {
	var names []string
	for _, x := range []struct {
		name  string
		lacks bool
	}{{"period", f.From.IsZero()}, {"count", f.Count < 0}, {"checksum", f.Checksum == ""}} {
		if x.lacks {
			names = append(names, x.name)
		}
	}
	return strings.Join(names, ", ")
}
