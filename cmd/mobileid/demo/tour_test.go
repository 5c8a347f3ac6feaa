package demo

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// A tour that is cut short has not passed.
func TestACutTourHasNotPassed(t *testing.T) {
	p := launch(t, "--tour")
	p.await("tour  1/")
	p.signal(syscall.SIGINT)
	if code := p.end(); code != 1 || !strings.Contains(p.errs.String(), "the tour was stopped before its end") {
		t.Errorf("exit code %d, and on standard error %q", code, &p.errs)
	}
	if left := p.left(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// In the kept folder the person who should have no number has one, and no
// money: what the tour asks for him ends otherwise than it must.
func TestAStepOfTheTourThatFailsIsNamedAndTheExitCodeSaysSo(t *testing.T) {
	data := t.TempDir()
	kept := launch(t, "--data", data)
	kept.ready()
	bindPenniless(t, data, persons()[3].pinfl)
	kept.signal(syscall.SIGINT)
	if code := kept.end(); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	p := launch(t, "--data", data, "--tour")
	failed := p.await("FAILED")
	if code := p.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	const step, why = "a person without a number ends as unbound", `state "no_funds", want "unbound"`
	for where, text := range map[string]string{"the step's line": failed, "standard error": p.errs.String()} {
		if !strings.Contains(text, step) || !strings.Contains(text, why) {
			t.Errorf("%s is %q, want %s: %s", where, text, step, why)
		}
	}
	if last := p.seen[len(p.seen)-1]; last == failed || !strings.Contains(last, "stopped: in this run") {
		t.Errorf("the last line is %q", last)
	}
}

func bindPenniless(t *testing.T, data, pinfl string) {
	t.Helper()
	dsn, err := sandbox.Secret(data, "dsn")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := sandbox.Secret(data, "pseudonym")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := mobileid.NewPseudonymKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	db, err := registry.Open(t.Context(), registry.Config{DSN: dsn, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	who, err := mobileid.ParsePINFL(pinfl)
	if err != nil {
		t.Fatal(err)
	}
	number, err := mobileid.ParseMSISDN("+998901000004")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Bind(t.Context(), mobileid.NewBinding{
		PINFL: who, MSISDN: number, Person: keys.Person(who), Number: keys.Number(number), Operator: sandbox.Operator,
	})
	if err == nil {
		err = db.Tell(t.Context(), mobileid.BalanceNews{
			Source: "test", Seq: "none", Operator: sandbox.Operator, Number: keys.Number(number), Kind: mobileid.BalanceTold, At: time.Now(),
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
