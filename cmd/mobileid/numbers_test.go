package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/govsim/world"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/consumers/agencies"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// typed gives a command its standard input.
func typed(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = f
	t.Cleanup(func() { os.Stdin = before; f.Close() })
}

func TestWhoServesANumberIsSaidWithTheRuleThatDecides(t *testing.T) {
	env, file := fresh(t)
	succeeds(t, "migrate", "--config", file)
	w, err := world.Start(world.Config{
		Clients: map[string]string{"a": "b"}, NumberInfoToken: "asker", Log: slog.New(slog.DiscardHandler),
		// It would say otherwise of a number that the tables know.
		Numbers: map[string]string{"+998971234567": "beeline", "+998931234567": "ucell", "+998901234567": "ucell", "+998911234567": "ucell"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	ported := filepath.Join(dir, "ported.csv")
	for path, text := range map[string]string{
		token: "asker\n", ported: agencies.PortedHeader + "\n" +
			"mnp,1,+998911234567,beeline,2026-01-15\n" + "mnp,2,+998911234567,beeline,2999-01-01T00:00:00Z\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A year of another century is a mistake, and nothing of the file is taken.
	if got := fails(t, "numbers", "import", ported, "--config", file); !strings.Contains(got, "1 mistake(s):\nline 3: from:") {
		t.Errorf("import: %s", got)
	}
	text := agencies.PortedHeader + "\nmnp,1,+998911234567,beeline,2026-01-15\nmnp,2,+998911234567,beeline,2099-01-01T00:00:00Z\n"
	if err := os.WriteFile(ported, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 moves: 2 new, 0 known already\n", "2 moves: 0 new, 2 known already\n"} {
		if got := succeeds(t, "numbers", "import", ported, "--config", file); got != want {
			t.Errorf("import: %q, want %q", got, want)
		}
	}
	typed(t, strings.Replace(text, "2026-01-15", "2026-01-16", 1))
	if got := fails(t, "numbers", "import", "-", "--config", file); !strings.Contains(got, "source mnp has told its move 1 before") {
		t.Errorf("a move told otherwise: %s", got)
	}

	movedAway(t, env.Postgres(), filepath.Dir(file), "+998921234567")
	for name, c := range map[string]struct{ number, out, err string }{
		"ported":      {"+998911234567", "+998 91 *** ** 67  beeline  ported: there since 2026-01-15T00:00:00+05:00 (source mnp, move 1)\n", ""},
		"plan":        {"+998 90 123-45-67", "+998 90 *** ** 67  beeline  plan: never ported, and numbers gives the code to it since 2000-01-01\n", ""},
		"no file now": {"+998921234567", "", "+998 92 *** ** 67: unknown now: the number is with gone, which operators has no file of; ask again"},
		"nobody asks": {"+998971234567", "", "+998 97 *** ** 67: unknown now: neither moves nor numbers know it, and number_info has no url"},
	} {
		if c.err != "" {
			if got := fails(t, "numbers", "route", c.number, "--config", file); !strings.Contains(got, c.err) {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if got := succeeds(t, "numbers", "route", c.number, "--config", file); got != c.out {
			t.Errorf("%s: %s", name, got)
		}
	}
	if w.NumberInfoAsked() != 0 {
		t.Errorf("number-info was asked %d times", w.NumberInfoAsked())
	}

	t.Setenv("MOBILEID_NUMBER_INFO__URL", w.NumberInfoURL())
	t.Setenv("MOBILEID_NUMBER_INFO__TOKEN", "file:"+token)
	t.Setenv("MOBILEID_NUMBER_INFO__BUDGET", "5s")
	succeeds(t, "numbers", "route", "+998911234567", "--config", file)
	if w.NumberInfoAsked() != 0 {
		t.Error("number-info was asked about a number that was ported")
	}
	typed(t, "+998971234567\n")
	if got := succeeds(t, "numbers", "route", "-", "--config", file); !strings.HasPrefix(got, "+998 97 *** ** 67  beeline  number_info: said so at 20") {
		t.Errorf("number_info: %s", got)
	}
	for number, want := range map[string]string{
		"+998961234567": "number-info does not know", "+998931234567": `an operator that operators has no file of: "ucell"`,
	} {
		got := fails(t, "numbers", "route", number, "--config", file)
		if !strings.Contains(got, want) || !strings.Contains(got, "; ask again in 1m0s") || strings.Contains(got, "1234567") {
			t.Errorf("%s: %s", want, got)
		}
	}
	if w.NumberInfoAsked() != 3 {
		t.Errorf("number-info was asked %d times", w.NumberInfoAsked())
	}
	for _, args := range [][]string{{"route"}, {"route", "1", "2"}, {"route", "12"}, {"import"}} {
		code, _, errOut := output(t, append(append([]string{"numbers"}, args...), "--config", file)...)
		if code != exitUsage || errOut == "" {
			t.Errorf("%v: exit %d: %s", args, code, errOut)
		}
	}
}

// movedAway stores a move to an operator whose file is gone since.
func movedAway(t *testing.T, dsn, dir, number string) {
	t.Helper()
	secret, err := sandbox.Secret(dir, "pseudonym")
	if err != nil {
		t.Fatal(err)
	}
	key, err := mobileid.NewPseudonymKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	m, err := mobileid.ParseMSISDN(number)
	if err != nil {
		t.Fatal(err)
	}
	db, err := registry.Open(t.Context(), registry.Config{DSN: dsn, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.ImportPorted(t.Context(), []mobileid.Ported{{
		Number: key.Number(m), Operator: "gone", From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Source: "mnp", Seq: "gone",
	}})
	if err != nil {
		t.Fatal(err)
	}
}
