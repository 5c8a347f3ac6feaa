// Command govsim is the outside world of Mobile-ID as one HTTP program, for
// tests, demos and trials: govsim --help says what it serves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"mobileid/cmd/govsim/world"
)

const help = `govsim plays the agencies that Mobile-ID talks to. Today: the issuer of access tokens,
and the operators' number-info and SIM Swap services.

  govsim --client oneid=/run/secrets/oneid
  GOVSIM_SECRET_TAX_COMMITTEE=... govsim --client tax-committee

Flags:
  --listen ADDR       where to listen (default 127.0.0.1:8090)
  --issuer URL        "iss" of tokens (default: the URL it listens on)
  --audience NAME     "aud" of tokens (default mobileid)
  --token-life TIME   how long a token is good (default 15m)
  --client ID[=FILE]  a client that may have tokens; may be repeated. The secret is the first line of
                      FILE, else the environment variable GOVSIM_SECRET_<ID>, ID in capitals with _ for
                      every other sign
  --number-info-token FILE
                      the first line is the bearer token of those who may ask number-info; without it,
                      and without the environment variable GOVSIM_NUMBER_INFO_TOKEN, nobody may
  --sim-swap-token FILE
                      the same for SIM Swap, and GOVSIM_SIM_SWAP_TOKEN

Token issuer (OAuth 2.0 client credentials; Basic or client_id and client_secret in the body):
  curl -s -u oneid:SECRET -d grant_type=client_credentials -d scope=challenges http://127.0.0.1:8090/oauth2/token
  GET  /.well-known/jwks.json                     public keys
  GET  /.well-known/oauth-authorization-server    metadata (RFC 8414)
  Without scope a token carries all of them. Tokens are JWT (RFC 9068), ES256.

Number-info (who serves a number; a contract of our own, since none is public):
  POST /number-info/v1/operator, bearer token   {"msisdn": "+998901234567"}
  200 {"status": "known", "operator": "ucell"}  or {"status": "unknown"}
  400 the question is wrong; 401 the token is; 429, 5xx, anything else: no answer, ask again

SIM Swap (whether the SIM of a number was changed; CAMARA SIM Swap 2.1.0):
  POST /sim-swap/v2/check, bearer token   {"phoneNumber": "+998901234567", "maxAge": 72}
  200 {"swapped": true}  or {"swapped": false}; maxAge is in hours, 1 to 2400, without it 240
  A number that it was told nothing of was not swapped. x-correlator comes back.

Control:
  GET  /control/state        issuer, keys, clients, tokens issued, what is left of an outage
  POST /control/rotate-key   sign with a new key; the old one stays published while its tokens live
  POST /control/outage       {"seconds": 30}: everything but /control answers 503; 0 ends it
  POST /control/number-info  {"answers": {"+998901234567": "ucell"}, "fault": "", "delay_ms": 0, "times": 0}
                             answers are added, "" forgets; fault: error, garbage, hang, cut; times: how
                             many questions fault and delay are for, 0 = all until the next order
  POST /control/sim-swap     {"swapped": {"+998901234567": 5}, "refused": {"+998901234568": "SERVICE_NOT_APPLICABLE"},
                             "fault": "", "delay_ms": 0, "times": 0}: swapped so many hours ago, null forgets;
                             refused with IDENTIFIER_NOT_FOUND, SERVICE_NOT_APPLICABLE or OUT_OF_RANGE, ""
                             forgets; the rest as for number-info

Ctrl-C or SIGTERM ends it. It keeps nothing on disk.
`

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	cfg, err := parse(args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, help)
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "govsim:", err, "(govsim --help says more)")
		return exitUsage
	}
	cfg.Log = slog.New(slog.NewJSONHandler(stderr, nil))
	w, err := world.Start(cfg)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "govsim:", err)
		return exitFailed
	}
	_, _ = fmt.Fprintln(stdout, "govsim listens on", w.URL())
	<-ctx.Done()
	err = w.Close()
	if err != nil {
		cfg.Log.Error("not closed cleanly", "error", err)
		return exitFailed
	}
	return 0
}

func parse(args []string, getenv func(string) string) (world.Config, error) {
	cfg := world.Config{Clients: map[string]string{}}
	flags := flag.NewFlagSet("govsim", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.Addr, "listen", "127.0.0.1:8090", "")
	flags.StringVar(&cfg.Issuer, "issuer", "", "")
	flags.StringVar(&cfg.Audience, "audience", "mobileid", "")
	flags.DurationVar(&cfg.TokenLife, "token-life", 0, "")
	cfg.NumberInfoToken = getenv("GOVSIM_NUMBER_INFO_TOKEN")
	flags.Func("number-info-token", "", func(file string) (err error) {
		cfg.NumberInfoToken, err = firstLine(file)
		return err
	})
	cfg.SIMSwapToken = getenv("GOVSIM_SIM_SWAP_TOKEN")
	flags.Func("sim-swap-token", "", func(file string) (err error) {
		cfg.SIMSwapToken, err = firstLine(file)
		return err
	})
	flags.Func("client", "", func(value string) error {
		id, secret, err := client(value, getenv)
		if err != nil {
			return err
		}
		if _, twice := cfg.Clients[id]; twice {
			return fmt.Errorf("client %s is given twice", id)
		}
		cfg.Clients[id] = secret
		return nil
	})
	err := flags.Parse(args)
	if err != nil {
		return cfg, err
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case len(cfg.Clients) == 0:
		return cfg, errors.New("no --client, so nobody could have a token")
	case cfg.TokenLife < 0 || cfg.TokenLife > 0 && cfg.TokenLife < time.Second:
		return cfg, errors.New("--token-life must be a second or more")
	}
	return cfg, nil
}

// client reads one --client value and finds its secret.
func client(value string, getenv func(string) string) (id, secret string, err error) {
	id, file, fromFile := strings.Cut(value, "=")
	if id == "" {
		return "", "", errors.New("a client needs an id")
	}
	if fromFile {
		secret, err = firstLine(file)
		if err != nil {
			return "", "", fmt.Errorf("secret of %s: %w", id, err)
		}
		return id, secret, nil
	}
	name := secretVariable(id)
	secret = getenv(name)
	if secret == "" {
		return "", "", fmt.Errorf("secret of %s: %s is not set", id, name)
	}
	return id, secret, nil
}

// firstLine reads a secret from a file.
func firstLine(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	line = strings.TrimSpace(line)
	if line == "" {
		return "", fmt.Errorf("%s begins with an empty line", file)
	}
	return line, nil
}

// secretVariable names the environment variable of a client's secret.
func secretVariable(id string) string {
	return "GOVSIM_SECRET_" + strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(id))
}
