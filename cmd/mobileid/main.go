// Command mobileid runs the national phone-number identity and its SMS/OTP
// gateway, and everything a person does around it. This package wires; what
// is worth testing lives in the rooms it wires.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/config"
)

// Exit codes, the same for every command.
const (
	exitFailed = 1
	exitUsage  = 2 // wrong flags or configuration: nothing was opened
	exitPeople = 3 // done, and something is left to a person
)

func main() {
	// Never undone: a second Ctrl-C must not cut short what the first began.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	os.Exit(run(ctx, os.Args[1:]))
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "mobileid:", err)
	var usage usageError
	var mistakes config.Mistakes
	if errors.As(err, &usage) || errors.As(err, &mistakes) {
		return exitUsage
	}
	if _, people := errors.AsType[forPeopleError](err); people {
		return exitPeople
	}
	return exitFailed
}

// usageError is a wrong command line.
type usageError struct{ error }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mobileid",
		Short: "National phone-number identity: an SMS/OTP gateway around message queues",
		Long: `mobileid binds a person to a phone number and sends one-time codes and notices
over SMPP, charged by message. Start with:

  mobileid demo            the whole system in one process, with a page
  mobileid check-config    what a configuration file gets wrong
  mobileid serve           the system, or a part of it, on real engines`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nSee: %s --help", err, cmd.CommandPath())}
	})
	return family(root,
		demoCommand(), serveCommand(), checkConfigCommand(), migrateCommand(), topicsCommand(),
		keysCommand(), receiptCommand(), explainCommand(), dlqCommand(), reconcileCommand(), linksCommand(), numbersCommand(),
		tariffsCommand(), ledgerCommand(), statementCommand(),
	)
}

// family puts commands under one that does nothing itself: alone it prints its
// help, and a word that names none of them is a mistake.
func family(parent *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	parent.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("there is no command %q\nSee: %s --help", args[0], cmd.CommandPath())}
		}
		return nil
	}
	parent.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	parent.AddCommand(commands...)
	return parent
}

// noArgs refuses words after a command that takes none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%q is one word too many\nSee: %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

// withConfig gives a command --config, and runs it with the file that it names.
func withConfig(cmd *cobra.Command, run func(cmd *cobra.Command, cfg *config.Config, args []string) error) {
	path := cmd.Flags().String("config", "mobileid.yaml", "configuration `FILE`; config.sample.yaml is its manual")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(*path, os.Environ())
		var mistakes config.Mistakes
		switch {
		case errors.As(err, &mistakes):
			return mistakes
		case err != nil:
			return usageError{err}
		}
		return run(cmd, cfg, args)
	}
}
