package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
)

// TestATraceShowsWhatALinkCarriesAndNothingPersonal sends a code through the
// whole system while two traces run, and looks for it in their files.
func TestATraceShowsWhatALinkCarriesAndNothingPersonal(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	p := s.Bind(471181, 1000_00)
	ctx, cancel := context.WithCancel(t.Context())
	codes := make(chan int, 2)
	said := captureStdout(t)
	dir := t.TempDir()
	capture, lines := filepath.Join(dir, "a.pcapng"), filepath.Join(dir, "a.txt")
	for _, more := range [][]string{{"--out", capture}, {"--hex", "--out", lines}} {
		args := append([]string{"links", "trace", sandbox.Operator, "--for", "1h", "--config", s.ConfigFile}, more...)
		go func() { codes <- run(ctx, args) }()
	}
	read := func(path string) []byte {
		text, _ := os.ReadFile(path) // not there yet
		return text
	}
	s.Until("the capture has begun", func() bool { return len(read(capture)) > 0 })
	s.Until("a PDU is in the lines", func() bool {
		// The first code may go before that trace has begun.
		id := s.Ask(p, "sign_in")
		s.Until("the receipt is in", func() bool {
			return s.Call(http.MethodGet, "/v1/challenges/"+id, "", "").JSON("message.state") == "delivered"
		})
		return strings.Contains(string(read(lines)), " deliver_sm_resp ")
	})
	s.Until("the capture has them", func() bool { return bytes.Contains(read(capture), []byte("stat:DELIVRD")) })
	cancel()
	for range 2 {
		if code := <-codes; code != 0 {
			t.Errorf("Ctrl-C: exit %d", code)
		}
	}
	// The file is whole, and what it has is told.
	text, ended := strings.CutSuffix(string(read(lines)), "# 0 PDUs are missing: the reader was slow\n")
	if !ended {
		t.Errorf("the lines end without a count:\n%s", text)
	}
	summary := fmt.Sprintf("%s: %d PDUs, 0 missing, %d octets\n", lines, strings.Count(text, "\n"), len(read(lines)))
	if out := said(); !strings.Contains(out, summary) || !strings.Contains(out, capture+": ") || strings.Contains(out, ": 0 PDUs") {
		t.Errorf("no %q in %q", summary, out)
	}
	var octets []byte
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		pdu, err := hex.DecodeString(words[len(words)-1])
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		octets = append(octets, pdu...)
	}
	for _, want := range []string{" us submit_sm ", " operator submit_sm_resp ", " operator deliver_sm ", " us deliver_sm_resp ", " " + sandbox.Operator + "/" + sandbox.SystemID + "/a "} {
		if !strings.Contains(string(read(lines)), want) {
			t.Errorf("no %q in\n%s", want, read(lines))
		}
	}
	for name, file := range map[string][]byte{"capture": read(capture), "lines": octets} {
		secrets := append([]string{p.PINFL, p.Number, strings.TrimPrefix(p.Number, "998")}, s.SMS(p.Number)...)
		for _, text := range s.SMS(p.Number) {
			secrets = append(secrets, strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })...)
		}
		for _, secret := range secrets {
			if len(secret) > 4 && bytes.Contains(file, []byte(secret)) {
				t.Errorf("%q is in the %s", secret, name)
			}
		}
		if !bytes.Contains(file, []byte("MobileID")) {
			t.Errorf("no PDU in the %s", name)
		}
	}
	// What exists is not written over, and an hour is the most.
	if reason := fails(t, "links", "trace", sandbox.Operator, "--config", s.ConfigFile, "--out", capture); !strings.Contains(reason, "exists") {
		t.Errorf("over a file: %s", reason)
	}
	if code, _, _ := output(t, "links", "trace", sandbox.Operator, "--config", s.ConfigFile, "--for", "2h"); code != exitUsage {
		t.Errorf("for two hours: exit %d", code)
	}
}

// captureStdout takes what the program prints until the test's end, and returns
// what it has printed so far.
func captureStdout(t *testing.T) func() string {
	t.Helper()
	stdout, name := os.Stdout, filepath.Join(t.TempDir(), "out")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = f
	t.Cleanup(func() { os.Stdout = stdout; _ = f.Close() })
	return func() string {
		out, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
}
