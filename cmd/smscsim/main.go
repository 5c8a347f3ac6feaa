// Command smscsim is a mobile operator's message centre (SMPP 3.4) that
// delivers to nobody: for demos, tests and benches.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"mobileid/cmd/smscsim/smsc"
)

const usage = `smscsim - a message centre (SMPP 3.4) that delivers to nobody

usage: smscsim [flags]

  --listen ADDR          SMPP, default 127.0.0.1:2775
  --control ADDR         HTTP control API, default 127.0.0.1:8775, "" = none
  --system-id NAME       account that may bind, default mobileid
  --charset NAME         what data_coding 0 means: gsm7 (default), latin1 or ascii
  --fault JSON           a fault from the start, as below; may be given again
  --receipt-delay D      from submit_sm to its delivery receipt, default 1s
  --enquire-link D       enquire_link after this silence, default 30s, 0 = never
  --log FILE             append every submit_sm as a JSON line (texts in clear)
  --state FILE           keep owed receipts, and send them after a restart
  --quiet                no log of binds on standard error

The password is read from SMSCSIM_PASSWORD; without it, it is "secret".

Try it:
  smscsim &
  curl -s http://127.0.0.1:8775/messages
  curl -s -d '{"kind":"status","count":3,"status":88}' http://127.0.0.1:8775/faults
  curl -s -d '{"from":"998901234567","to":"MobileID","text":"STOP"}' http://127.0.0.1:8775/inbound
  curl -s -X DELETE 'http://127.0.0.1:8775/faults?kind=status'
  curl -sN http://127.0.0.1:8775/events

`

// defaultPassword is documented above; nothing outside a trial uses it.
const defaultPassword = "secret"

func main() {
	beFrugal()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv("SMSCSIM_PASSWORD"), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// gcPercent is as that of the service: the log in memory is some ten MB, which
// would be gone through several times a second.
const gcPercent = 400

// beFrugal leaves the machine to what runs beside the simulator, unless whoever
// started the process chose. One processor carries some hundred thousand
// submit_sm a second; with more of them the runtime spends most of its time on
// waking one for each PDU.
func beFrugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// run is main without the process: it returns the exit code, 2 for a wrong
// command line.
func run(ctx context.Context, args []string, password string, out, errOut io.Writer) int {
	fs := flag.NewFlagSet("smscsim", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() {} // said below, where it is known whether it was asked for
	listen := fs.String("listen", "127.0.0.1:2775", "")
	control := fs.String("control", "127.0.0.1:8775", "")
	systemID := fs.String("system-id", "mobileid", "")
	delay := fs.Duration("receipt-delay", time.Second, "")
	enquire := fs.Duration("enquire-link", 30*time.Second, "")
	logFile := fs.String("log", "", "")
	state := fs.String("state", "", "")
	charset := fs.String("charset", smsc.CharsetGSM7, "")
	var faults []smsc.Fault
	fs.Func("fault", "", func(raw string) error {
		var f smsc.Fault
		if err := json.Unmarshal([]byte(raw), &f); err != nil {
			return err
		}
		faults = append(faults, f)
		return nil
	})
	quiet := fs.Bool("quiet", false, "")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = io.WriteString(out, usage+smsc.Help())
			return 0
		}
		_, _ = io.WriteString(errOut, "smscsim --help says more\n")
		return 2
	}
	if fs.NArg() > 0 {
		_, _ = fmt.Fprintf(errOut, "smscsim: unexpected argument %q; see --help\n", fs.Arg(0))
		return 2
	}
	if !slices.Contains(smsc.Charsets(), *charset) {
		_, _ = fmt.Fprintf(errOut, "smscsim: --charset: want one of %s\n", strings.Join(smsc.Charsets(), ", "))
		return 2
	}
	if password == "" {
		password = defaultPassword
	}
	log := slog.New(slog.DiscardHandler)
	if !*quiet {
		log = slog.New(slog.NewTextHandler(errOut, nil))
	}
	s, err := smsc.Start(smsc.Config{
		Addr: *listen, ControlAddr: *control, Accounts: map[string]string{*systemID: password},
		Charsets: map[string]string{*systemID: *charset}, Faults: faults,
		ReceiptDelay: *delay, Enquire: *enquire, LogFile: *logFile, StateFile: *state, Log: log,
	})
	if err != nil {
		_, _ = fmt.Fprintln(errOut, "smscsim:", err)
		return 1
	}
	where := "no control API"
	if s.ControlAddr() != "" {
		where = "control http://" + s.ControlAddr()
	}
	_, _ = fmt.Fprintf(out, "smscsim: smpp %s, account %s, %s, receipts after %s; Ctrl-C stops it\n", s.Addr(), *systemID, where, *delay)
	<-ctx.Done()
	n := s.Count()
	if err := s.Close(); err != nil {
		_, _ = fmt.Fprintln(errOut, "smscsim:", err)
		return 1
	}
	_, _ = fmt.Fprintf(out, "smscsim: stopped after %d submit_sm\n", n)
	return 0
}
