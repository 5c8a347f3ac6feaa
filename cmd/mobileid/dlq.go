package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

func dlqCommand() *cobra.Command {
	return family(&cobra.Command{
		Use:   "dlq",
		Short: "Look at records that could not be handled, and put them back",
		Long: `A record that no handler can take is parked in <topic>.dlq: its original bytes
sealed, with the reason and the place it came from. Listing needs no key;
showing and replaying need keys.dlq_private, and showing may print personal data.
A record too large to be kept, or not readable, is parked in part: CUT says why
("-": it is whole). It can be shown and not replayed.

  mobileid dlq list
  mobileid dlq show mobileid.otp.requests.v1 2 17
  mobileid dlq replay mobileid.otp.requests.v1 2 17

Receipts that the bridge could not read are kept apart, in the registry:

  mobileid dlq receipts beeline`,
	}, dlqListCommand(), dlqShowCommand(), dlqReplayCommand(), dlqReceiptsCommand())
}

func dlqListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [TOPIC]",
		Short: "List the parked records of a topic, or of all",
		Args: func(cmd *cobra.Command, args []string) error {
			return noArgs(cmd, args[min(1, len(args)):])
		},
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		parked, err := app.ListParked(cmd.Context(), cfg, args)
		if err != nil {
			return err
		}
		return listParked(cmd.OutOrStdout(), parked)
	})
	return cmd
}

func listParked(out io.Writer, parked []consumers.ParkedRecord) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tPARTITION\tOFFSET\tPARKED\tFROM\tREASON\tCUT")
	for _, p := range parked {
		topic, _ := mobileid.TopicOfDLQ(p.At.Topic)
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d@%d\t%s\t%s\n", topic, p.At.Partition, p.At.Offset,
			p.Parked.UTC().Format(time.RFC3339), p.From.Partition, p.From.Offset, p.Reason, cmp.Or(p.Cut, "-"))
	}
	return w.Flush()
}

func dlqShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show TOPIC PARTITION OFFSET",
		Short: "Open one parked record; it may hold personal data",
		Args:  placeArgs,
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		rec, err := app.ShowParked(cmd.Context(), cfg, place(args))
		if err != nil {
			return err
		}
		showParked(cmd.OutOrStdout(), rec)
		return nil
	})
	return cmd
}

func showParked(out io.Writer, rec consumers.OpenedRecord) {
	fmt.Fprintf(out, "reason:  %s\n", rec.Reason)
	if rec.Cut != "" {
		whole := "an unknown number of"
		if rec.Length > 0 {
			whole = strconv.FormatInt(rec.Length, 10)
		}
		fmt.Fprintf(out, "cut:     %s: %d of %s bytes of the value are kept; it cannot be replayed\n", rec.Cut, len(rec.Value), whole)
	}
	if len(rec.SHA256) > 0 {
		fmt.Fprintf(out, "sha256:  %x (of the whole value)\n", rec.SHA256)
	}
	fmt.Fprintf(out, "written: %s\nkey:     %q\n", rec.Time.UTC().Format(time.RFC3339Nano), rec.Key)
	for _, name := range slices.Sorted(maps.Keys(rec.Headers)) {
		fmt.Fprintf(out, "header:  %s: %q\n", name, rec.Headers[name])
	}
	fmt.Fprintf(out, "value:   %q\n", rec.Value)
}

func dlqReplayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay TOPIC PARTITION OFFSET",
		Short: "Write one parked record back to its topic; doing it twice is harmless where ids are once",
		Long: `Write one parked record back to its topic, after the cause is gone. It stays
parked, too. It makes no request younger: on in.<client>, a request for a code
first written more than two minutes ago, and one for a notice more than 24 hours
ago, is refused with too_late on out.<client>; inside, a request past its
deadline ends expired, unsent, and one that was handled already changes nothing.`,
		Args: placeArgs,
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		topic, err := app.ReplayParked(cmd.Context(), cfg, place(args))
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "written back to %s\n", topic)
		return nil
	})
	return cmd
}

func dlqReceiptsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "receipts [OPERATOR]",
		Short: "Show receipts that the bridge could not read; they may hold personal data",
		Long: `Show the PDUs of receipts that the bridge acknowledged and could not read, the
newest first: the first 200 of each account, for 30 days. What they mean is
said in the operator's file (ids, receipts) or taught to the parser.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return noArgs(cmd, args[min(1, len(args)):])
		},
	}
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		kept, err := app.UnreadReceipts(cmd.Context(), cfg, strings.Join(args, ""))
		for _, r := range kept {
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s  %q\n", r.At.UTC().Format(time.RFC3339), r.Account, r.Why, r.PDU)
		}
		return err
	})
	return cmd
}

func placeArgs(cmd *cobra.Command, args []string) error {
	wrong := usageError{fmt.Errorf("want TOPIC PARTITION OFFSET, as `mobileid dlq list` prints them\nSee: %s --help", cmd.CommandPath())}
	if len(args) != 3 {
		return wrong
	}
	if _, err := strconv.ParseUint(args[1], 10, 31); err != nil {
		return wrong
	}
	if _, err := strconv.ParseUint(args[2], 10, 63); err != nil {
		return wrong
	}
	return nil
}

// place reads what placeArgs has checked.
func place(args []string) mobileid.RecordRef {
	partition, _ := strconv.Atoi(args[1])
	offset, _ := strconv.ParseInt(args[2], 10, 64)
	name := args[0] // as listed, or the dead-letter topic itself
	if _, dead := mobileid.TopicOfDLQ(name); !dead {
		name = mobileid.TopicDLQ(name)
	}
	return mobileid.RecordRef{Topic: name, Partition: partition, Offset: offset}
}
