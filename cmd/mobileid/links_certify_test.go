package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
)

// TestAnAccountIsCertifiedFromItsFileAlone has no engine but the operator.
func TestAnAccountIsCertifiedFromItsFileAlone(t *testing.T) {
	dir := t.TempDir()
	if err := sandbox.WriteSecrets(dir); err != nil {
		t.Fatal(err)
	}
	password, err := sandbox.Secret(dir, "smpp")
	if err != nil {
		t.Fatal(err)
	}
	server, err := smsc.Start(smsc.Config{Accounts: map[string]string{sandbox.SystemID: password}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	file, err := sandbox.WriteConfig(dir, sandbox.Addresses{
		Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", DSN: "postgres://127.0.0.1:3/x", Redis: "127.0.0.1:4",
		Kafka: []string{"127.0.0.1:5"}, SMSC: server.Addr(), Issuer: "http://127.0.0.1:7",
	})
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(dir, "report.md")
	args := []string{"links", "certify", sandbox.Operator, "--to", "+998 90 123-45-67", "--config", file, "--out", report}
	code, out, errOut := output(t, args...) // nobody says yes
	if code != exitFailed || !strings.Contains(out, "14 SMS to +998 90 *** ** 67") || !strings.Contains(errOut, "YES=1") || server.Count() != 0 {
		t.Errorf("unasked: exit %d, %d SMS: %s%s", code, server.Count(), out, errOut)
	}
	t.Setenv("YES", "1")
	if out := succeeds(t, args...); server.Count() != 14 || !strings.Contains(out, "ok  receipts: 14 DELIVRD") {
		t.Errorf("%d SMS: %s", server.Count(), out)
	}
	if text, err := os.ReadFile(report); err != nil || !strings.Contains(string(text), "| Signature |") || strings.Contains(string(text), "901234567") {
		t.Errorf("%v: %s", err, text)
	}
	if reason := exits1(t, args...); !strings.Contains(reason, "exists") {
		t.Errorf("over a report: %s", reason)
	}
	if err := server.SetFault(smsc.Fault{Kind: smsc.FaultRefuseBind}); err != nil {
		t.Fatal(err)
	}
	args[len(args)-1] = filepath.Join(dir, "refused.md")
	if reason := exits1(t, args...); !strings.Contains(reason, "not all was as expected") {
		t.Errorf("refused: %s", reason)
	}
	if text, err := os.ReadFile(args[len(args)-1]); err != nil || !strings.Contains(string(text), "bind refused with 0x0e") {
		t.Errorf("%v: %s", err, text)
	}
	args[4] = "12345"
	if code, _, errOut := output(t, args...); code != exitUsage || !strings.Contains(errOut, "--to") {
		t.Errorf("no number: exit %d: %s", code, errOut)
	}
}

// exits1 is fails for a command that prints what it does before it fails.
func exits1(t *testing.T, args ...string) string {
	t.Helper()
	code, _, errOut := output(t, args...)
	if code != exitFailed {
		t.Errorf("%v: exit %d: %s", args, code, errOut)
	}
	return errOut
}
