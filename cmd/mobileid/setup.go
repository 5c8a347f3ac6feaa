package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
)

func checkConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check-config",
		Short: "Say every mistake of a configuration file at once; exit 2 if there is one",
		Args:  noArgs,
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		fmt.Fprintf(cmd.OutOrStdout(), "the configuration is right: %d clients, %d purposes, %d operators\n",
			len(cfg.Clients), len(cfg.Purposes), len(cfg.Operators))
		return nil
	})
	return cmd
}

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the Postgres schema up to this program's version, and load the file of tariffs",
		Args:  noArgs,
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		if err := app.Migrate(cmd.Context(), cfg, stderrLog()); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), "the schema is current")
		return nil
	})
	return cmd
}

func topicsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Create the Kafka topics that the file asks for, with their partitions, replication, retention and ACLs",
		Args:  noArgs,
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		lines, err := app.Topics(cmd.Context(), cfg)
		for _, l := range lines {
			fmt.Fprintln(cmd.OutOrStdout(), l)
		}
		return err
	})
	return cmd
}

func keysCommand() *cobra.Command {
	fresh := &cobra.Command{
		Use:   "new",
		Short: "Print a new sealing key pair (X25519), for keys.bridge_* or keys.dlq_*, or a key that signs receipts",
		Args:  noArgs,
	}
	signing := fresh.Flags().Bool("receipt", false, "a key that signs receipts (P-256, PEM), for keys.receipts")
	fresh.RunE = func(cmd *cobra.Command, _ []string) error {
		if *signing {
			private, err := receipt.NewKey()
			if err == nil {
				fmt.Fprint(cmd.OutOrStdout(), private)
			}
			return err
		}
		public, private, err := mobileid.NewSealKey()
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "public:  %s\nprivate: %s\n", public, private)
		return nil
	}
	return family(&cobra.Command{Use: "keys", Short: "Make keys"}, fresh)
}

func explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Tell the life of one challenge (ch_...) or Message (ms_...) as one masked timeline",
		Args:  idArg,
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		id, err := mobileid.ParseID(args[0])
		if err != nil {
			return err // idArg has read it
		}
		steps, err := app.Explain(cmd.Context(), cfg, id, stderrLog())
		if err != nil {
			return err
		}
		fmt.Fprint(cmd.OutOrStdout(), timeline(steps))
		return nil
	})
	return cmd
}

// idArg wants one id, before a file is opened for it.
func idArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("want one id of a challenge or a Message\nSee: %s --help", cmd.CommandPath())}
	}
	if _, err := mobileid.ParseID(args[0]); err != nil {
		return usageError{fmt.Errorf("%q is not an id: want ch_... or ms_..., 42 characters", args[0])}
	}
	return nil
}

// timeline prints steps with the time since the first.
func timeline(steps []mobileid.Step) string {
	var b strings.Builder
	for _, s := range steps {
		since := s.At.Sub(steps[0].At)
		fmt.Fprintf(&b, "%s  %+9.1f ms  %-12s  %s", s.At.UTC().Format("2006-01-02 15:04:05.000"),
			float64(since.Microseconds())/1000, s.Hop, s.What)
		if s.Record != nil {
			fmt.Fprintf(&b, "  [%s/%d@%d]", s.Record.Topic, s.Record.Partition, s.Record.Offset)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Facts)) {
			fmt.Fprintf(&b, "  %s=%s", name, s.Facts[name])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// stderrLog is the log of commands that a person runs.
func stderrLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
