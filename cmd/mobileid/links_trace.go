package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
)

func linkTraceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace OPERATOR",
		Short: "Write the PDUs of an operator's links to a file, for a ticket: texts, numbers and passwords masked",
		Long: `Write every PDU that the links of an operator carry from now on, in one process, as
a capture for Wireshark and tshark, or as lines of hexadecimal.

In it texts are x, the password of a bind is x, and of a number only the last two
digits are left; lengths are as they were. Of a receipt the operator's message id,
times, stat and err stay. Wireshark knows the packets by port 2775, which stands in
them whatever the port was; the host is in the interface's description. IP and TCP
are made up: retransmissions and windows cannot be seen there.

What this command does not take in time is missing, and counted at the end of the
file; the bridge does not wait for it. At most 4 traces run in a process.

  mobileid links trace beeline --for 10m
  mobileid links trace beeline --for 1m --hex --out -
  tshark -r beeline.pcapng -d tcp.port==2775,smpp

Ctrl-C ends it early; the file is good.`,
		Args: oneOperator,
	}
	flags := linksFlagsOf(cmd)
	long := cmd.Flags().Duration("for", time.Minute, "how long, at most "+app.MaxTrace.String())
	name := cmd.Flags().String("out", "", "`FILE` to write, which must not exist; - = standard output (default OPERATOR-TIME.pcapng)")
	asHex := cmd.Flags().Bool("hex", false, "a line a PDU, instead of a capture")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		o, err := operatorOf(cfg, args[0])
		if err != nil {
			return err
		}
		admins := flags.admins(cfg)
		if len(admins) != 1 || *long <= 0 || *long > app.MaxTrace {
			return usageError{fmt.Errorf("want one process at a time, and --for of at most %s\nSee: %s --help", app.MaxTrace, cmd.CommandPath())}
		}
		form, ending := app.TracePcapng, "pcapng"
		if *asHex {
			form, ending = app.TraceHex, "txt"
		}
		if *name == "-" {
			t, err := app.TraceLinks(cmd.Context(), admins[0], o.ID, form, *long, cmd.OutOrStdout())
			if err == nil {
				fmt.Fprintln(cmd.ErrOrStderr(), caught(t))
			}
			return err
		}
		if *name == "" {
			*name = fmt.Sprintf("%s-%s.%s", o.ID, time.Now().UTC().Format("20060102T150405Z"), ending)
		}
		file, err := os.OpenFile(*name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		written := &counter{to: file}
		t, err := app.TraceLinks(cmd.Context(), admins[0], o.ID, form, *long, written)
		if closed := file.Close(); err == nil {
			err = closed
		}
		if written.n == 0 {
			_ = os.Remove(*name) // an empty file would stand in the way of the next try
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %d octets\n", *name, caught(t), written.n)
		return nil
	})
	return cmd
}

// caught says what a trace has, and lacks.
func caught(t app.Traced) string {
	return fmt.Sprintf("%d PDUs, %d missing", t.PDUs, t.Missing)
}

// counter counts what it passes on.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n += int64(n)
	return n, err
}
