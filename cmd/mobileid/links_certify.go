package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/smpp"
)

func linkCertifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certify OPERATOR --to NUMBER",
		Short: "Try an operator's account and write a report for both sides to sign; it sends SMS, and asks before",
		Long: `Bind to an operator with his file alone (no Kafka, Redis or Postgres), and try what
we need of him: bind, TLS, enquire_link, a text in GSM 7-bit (or what else the file says
data_coding 0 is), one in UCS-2, one of several parts, many at once, receipts, unbind. The report (Markdown) has a line for
each, with what was expected and observed, and the PDUs masked as in a trace.

The SMS are real and are charged by the operator: it says how many and asks. YES=1
answers yes. The operator may allow few binds: stop the bridge's link first.

  mobileid links certify beeline --to +998901234567
  YES=1 mobileid links certify beeline --to 901234567 --burst 0 --out beeline.md

Exit codes: 0 all as expected; 1 not all (the report says what) or not sent; 2 a wrong
command line or configuration.`,
		Args: oneOperator,
	}
	to := cmd.Flags().String("to", "", "`NUMBER` that the SMS go to, of somebody who watches the handset")
	bind := cmd.Flags().String("bind", "", "`NAME` of the bind (default: the first that submit_sm go on)")
	burst := cmd.Flags().Int("burst", 10, "submit_sm at once, to see how the operator throttles; 0 = leave that out")
	wait := cmd.Flags().Duration("receipt-wait", 2*time.Minute, "for receipts")
	name := cmd.Flags().String("out", "", "`FILE` of the report, which must not exist (default OPERATOR-TIME.md)")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		o, err := operatorOf(cfg, args[0])
		if err != nil {
			return err
		}
		number, err := mobileid.ParseMSISDN(*to)
		if err != nil || *burst < 0 || *burst > 1000 {
			return usageError{fmt.Errorf("want --to with a number of Uzbekistan, and --burst of at most 1000\nSee: %s --help", cmd.CommandPath())}
		}
		c := smpp.Certification{Profile: o.Profile(), Bind: *bind, To: number, Burst: *burst, ReceiptWait: *wait}
		count, err := c.Messages()
		if err != nil {
			return err
		}
		if err := agreed(cmd, fmt.Sprintf("This sends %d SMS to %s on the account %s of %s.", count, number.Masked(), o.Account.SystemID, o.ID)); err != nil {
			return err
		}
		if *name == "" {
			*name = fmt.Sprintf("%s-%s.md", o.ID, time.Now().UTC().Format("20060102T150405Z"))
		}
		file, err := os.OpenFile(*name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		steps, err := c.Run(cmd.Context())
		if err != nil {
			return err
		}
		for _, s := range steps {
			verdict := "ok "
			if s.LeftOut {
				verdict = "-  "
			}
			if !s.OK {
				verdict, err = "NOT", errors.New("not all was as expected")
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", verdict, s.Name, s.Observed)
		}
		if written := c.WriteReport(file, steps); written != nil {
			return written
		}
		fmt.Fprintf(cmd.OutOrStdout(), "the report is %s\n", *name)
		return err
	})
	return cmd
}

// agreed asks before something that cannot be undone.
func agreed(cmd *cobra.Command, what string) error {
	if os.Getenv("YES") == "1" {
		fmt.Fprintln(cmd.OutOrStdout(), what)
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s Go on? [y/N] ", what)
	var answer string
	if _, err := fmt.Fscanln(cmd.InOrStdin(), &answer); err != nil || (answer != "y" && answer != "yes") {
		return errors.New("nothing was sent; YES=1 answers yes")
	}
	return nil
}
