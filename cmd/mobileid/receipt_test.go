package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/gateway/receipt"
)

func TestAReceiptIsVerifiedOffline(t *testing.T) {
	code, text, errs := output(t, "keys", "new", "--receipt")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	key, err := receipt.ParseKey("2027", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := receipt.NewSigner([]receipt.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	at := receipt.At(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
	token, err := s.Sign(receipt.Claims{Issuer: "https://mobileid.example.uz", Audience: "oneid", ID: "ch_1", IssuedAt: at, AuthTime: at, Purpose: "sign_in"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	good, keys := file("receipt", token+"\n"), file("jwks.json", string(s.JWKS()))
	for name, c := range map[string]struct {
		args       []string
		code       int
		out, onErr string
	}{
		"good":           {[]string{good, "--keys", keys}, 0, `"aud": "oneid"`, "signed with the key 2027 at 2026-11-23T09:00:00Z"},
		"changed":        {[]string{file("changed", token[:len(token)-4]+"AAAA"), "--keys", keys}, 1, "", "the signature is wrong"},
		"of other keys":  {[]string{good, "--keys", file("none.json", `{"keys":[{"kty":"oct","k":"AA"}]}`)}, 1, "", "not among the published ones"},
		"keys are none":  {[]string{good, "--keys", file("text", "x")}, 1, "", "is no key set"},
		"keys not given": {[]string{good}, 2, "", "--keys"},
		"no file":        {[]string{filepath.Join(dir, "gone"), "--keys", keys}, 1, "", "no such file"},
		"too long":       {[]string{file("long", strings.Repeat("a", 20_000)), "--keys", keys}, 1, "", "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := output(t, append([]string{"receipt", "verify"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.onErr) {
				t.Errorf("exit code %d, want %d\nout %s\nerr %s", code, c.code, out, errs)
			}
		})
	}
}
