package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

const tariffHead = "author: pricing office\nact: Decision 14 of 2026-11-12\ntariffs:\n"

// tariffFile writes a file of tariffs and returns its path.
func tariffFile(t *testing.T, rows string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tariffs.yaml")
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTariffsAreLoadedListedAndTold(t *testing.T) {
	_, file := fresh(t)
	succeeds(t, "migrate", "--config", file) // loads the sandbox's price
	prices := tariffFile(t, tariffHead+`
  - {operator: beeline, price: "130.00", from: 2999-01-01}
  - {operator: beeline, kind: otp, price: "70.50", unit: part, refund_undelivered: false, from: 2999-01-01, act: Decision 15 of 2026-11-13}
`)
	load := []string{"tariffs", "load", prices, "--config", file}
	for _, c := range []struct{ more, action, one, two, end string }{
		{"--dry-run", "load", "-", "-", "2 of 2 would be loaded; nothing was"},
		{"--dry-run=false", "load", "2", "3", "2 of 2 were loaded"},
		{"--dry-run=false", "skip", "2", "3", "0 of 2 were loaded"},
	} {
		want := fmt.Sprintf(`ACTION ID OPERATOR KIND FROM PRICE ACT NOTE
%s %s beeline "" 2999-01-01 130.00 a message Decision 14 of 2026-11-12
%s %s beeline "otp" 2999-01-01 70.50 a part Decision 15 of 2026-11-13
%s
`, c.action, c.one, c.action, c.two, c.end)
		if got := columns(succeeds(t, append(load, c.more)...)); got != want {
			t.Errorf("%s, %s:\n%s\nwant\n%s", c.more, c.action, got, want)
		}
	}
	typed(t, tariffHead+`  - {operator: beeline, price: "140.00", from: 2999-01-01}`)
	if got := succeeds(t, "tariffs", "load", "-", "--config", file); !strings.Contains(got, "supersede  4 ") || !strings.Contains(got, "in the place of 2\n") {
		t.Errorf("supersede:\n%s", got)
	}
	if got := succeeds(t, load...); !strings.Contains(got, "superseded by 4\n") || !strings.Contains(got, "\n0 of 2 were loaded\n") {
		t.Errorf("what was superseded:\n%s", got)
	}
	typed(t, tariffHead+`  - {operator: beeline, price: "120.00", from: 2026-02-01}`)
	if got := succeeds(t, "tariffs", "load", "-", "--config", file); !strings.Contains(got, "agree   1 ") || !strings.Contains(got, "of the past; this version is in force\n") {
		t.Errorf("agree:\n%s", got)
	}

	got := succeeds(t, "tariffs", "list", "--config", file)
	for _, want := range []string{
		"ID OPERATOR KIND FROM UNTIL PRICE UNDELIVERED STATE ACT AUTHOR LOADED\n",
		`1 beeline "" 2026-01-01 2999-01-01 120.00 a message refunded in force none, nobody pays here sandbox 20`,
		`2 beeline "" 2999-01-01 - 130.00 a message refunded superseded by 4 Decision 14 of 2026-11-12 pricing office 20`,
		`4 beeline "" 2999-01-01 - 140.00 a message refunded ahead Decision 14 of 2026-11-12 pricing office 20`,
		`3 beeline "otp" 2999-01-01 - 70.50 a part paid ahead Decision 15 of 2026-11-13 pricing office 20`,
	} {
		if !strings.Contains(columns(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(succeeds(t, "tariffs", "list", "--operator", "beeline", "--csv", "--config", file))).ReadAll()
	if err != nil || len(rows) != 5 || strings.Join(rows[0], ",") != strings.Join(tariffColumns, ",") {
		t.Fatalf("%v %q", err, rows)
	}
	if got := strings.Join(rows[2][:12], "|"); got != "2|beeline||2999-01-01T00:00:00+05:00||130.00|message|true|superseded|4|Decision 14 of 2026-11-12|pricing office" {
		t.Errorf("csv: %s", got)
	}
	if loaded, err := time.Parse(time.RFC3339, rows[2][12]); err != nil || time.Since(loaded) > time.Hour {
		t.Errorf("loaded at %q", rows[2][12])
	}
	if got := succeeds(t, "tariffs", "list", "--operator", "ucell", "--csv", "--config", file); got != strings.Join(tariffColumns, ",")+"\n" {
		t.Errorf("of another operator: %s", got)
	}

	for _, c := range []struct{ args, want string }{
		{"beeline", `120.00 soum a message, undelivered refunded: version 1, kind "", from 2026-01-01, none, nobody pays here`},
		{"beeline otp", `120.00 soum a message, undelivered refunded: version 1, kind "", from 2026-01-01, none, nobody pays here`},
		{"beeline otp --at 2999-01-01", `70.50 soum a part, undelivered paid: version 3, kind "otp", from 2999-01-01, Decision 15 of 2026-11-13`},
		{"beeline notice --at 2999-01-01", `140.00 soum a message, undelivered refunded: version 4, kind "", from 2999-01-01, Decision 14 of 2026-11-12`},
		{"beeline otp --at 2998-12-31T18:59:59Z", `120.00 soum a message, undelivered refunded: version 1, kind "", from 2026-01-01, none, nobody pays here`},
	} {
		if got := succeeds(t, append([]string{"tariffs", "price", "--config", file}, strings.Fields(c.args)...)...); got != c.want+"\n" {
			t.Errorf("price %s: %s", c.args, got)
		}
	}
	if got := succeeds(t, "tariffs", "price", "beeline", "--warning", "en", "--config", file); !strings.Contains(got, "soum for each SMS") {
		t.Errorf("the warning is %q", got)
	}
	if got := fails(t, "tariffs", "price", "beeline", "--at", "2025-12-31", "--config", file); !strings.Contains(got, `operator "beeline" has no price in force at 2025-12-31`) {
		t.Errorf("before the first: %s", got)
	}
	for _, args := range []string{"price", "price a b c", "price beeline sms", "price beeline --at soon", "load", "list all"} {
		code, out, errOut := output(t, append([]string{"tariffs"}, strings.Fields(args+" --config "+file)...)...)
		if code != exitUsage || out != "" || errOut == "" {
			t.Errorf("%s: exit %d: %s%s", args, code, out, errOut)
		}
	}
}

// columns reduces what stands between the columns of a table to one space.
func columns(table string) string {
	var out []string
	for line := range strings.Lines(table) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(out, "\n") + "\n"
}

// What each wrong file is refused with is exact, and after each the prices are
// what they were.
func TestAWrongFileOfTariffsLoadsNothing(t *testing.T) {
	_, file := fresh(t)
	succeeds(t, "migrate", "--config", file)
	before := succeeds(t, "tariffs", "list", "--csv", "--config", file)
	today := time.Now().In(mobileid.Tashkent).Format(time.DateOnly)
	const good = "  - {operator: beeline, kind: otp, price: \"1\", from: 2999-01-01}\n"
	const price = `want soum in quotes, not negative, with at most two decimals, for example "120.50" (tariff_price)`
	for name, c := range map[string]struct{ rows, want string }{
		"a negative price":   {good + `  - {operator: beeline, price: "-120.00", from: 2999-01-01}`, "tariffs[1].price: " + price},
		"a fractional price": {good + `  - {operator: beeline, price: "120.005", from: 2999-01-01}`, "tariffs[1].price: " + price},
		"a gap": {
			good + "  - {operator: beeline, price: \"1\", from: 2999-01-01, until: 2999-02-01}\n  - {operator: beeline, price: \"1\", from: 2999-02-02}",
			"tariffs[1].until: no price from 2999-02-01 to 2999-02-02, where tariffs[2] begins (tariff_gap)",
		},
		"an overlap": {
			good + "  - {operator: beeline, price: \"1\", from: 2999-01-01, until: 2999-02-02}\n  - {operator: beeline, price: \"1\", from: 2999-02-01}",
			"tariffs[1].until: two prices from 2999-02-01, where tariffs[2] begins, to 2999-02-02 (tariff_overlap)",
		},
		"a price in force": {
			good + "  - {operator: beeline, price: \"130\", from: 2026-01-01}",
			"tariffs[1].from: 2026-01-01 is not ahead, and a price is in force: let it begin later than now (tariff_in_the_past)",
		},
		"a price of today": {
			good + "  - {operator: beeline, price: \"130\", from: " + today + "}",
			"tariffs[1].from: " + today + " is not ahead, and a price is in force: let it begin later than now (tariff_in_the_past)",
		},
		"a missing act": {
			good + "  - {operator: beeline, price: \"1\", from: 2999-01-01, act: \" \"}",
			"tariffs[1].act: missing: the decision that the price rests on, its number and date (tariff_act)",
		},
		"an unknown operator": {
			good + "  - {operator: ucell, price: \"1\", from: 2999-01-01}", `tariffs[1].operator: no operator "ucell" in operators (tariff_operator)`,
		},
	} {
		got := fails(t, "tariffs", "load", tariffFile(t, tariffHead+c.rows), "--config", file)
		if !strings.Contains(got, "no tariff was loaded, 1 mistake(s):\n  "+c.want+"\n") {
			t.Errorf("%s: %s", name, got)
		}
		if after := succeeds(t, "tariffs", "list", "--csv", "--config", file); after != before {
			t.Errorf("%s: loaded\n%s", name, after)
		}
	}
}

func TestServeRefusesAFileThatContradictsAPriceInForce(t *testing.T) {
	_, file := fresh(t)
	succeeds(t, "migrate", "--config", file)
	at := filepath.Join(filepath.Dir(file), "tariffs.yaml")
	write := func(rows string) {
		t.Helper()
		if err := os.WriteFile(at, []byte(tariffHead+rows), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("  - {operator: beeline, price: \"130.00\", from: 2026-01-01}\n")
	for _, command := range []string{"serve", "migrate"} {
		code, _, errOut := output(t, command, "--config", file)
		for _, want := range []string{"tariffs.yaml: tariff_in_the_past: no tariff was loaded", "tariffs[0].from: 2026-01-01 is not ahead", "mobileid tariffs list"} {
			if code != exitFailed || !strings.Contains(errOut, want) {
				t.Errorf("%s: exit %d, no %q in %s", command, code, want, errOut)
			}
		}
	}
	write("  - {operator: beeline, price: \"130.00\", from: 2999-01-01}\n")
	for _, command := range []string{"check-config", "serve"} {
		code, _, errOut := output(t, command, "--config", file)
		if code != exitUsage || !strings.Contains(errOut, `tariffs: operator "beeline" has no price in force`) {
			t.Errorf("%s: exit %d: %s", command, code, errOut)
		}
	}
}
