package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/gateway"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
)

// sent has a notice delivered to each person, and returns the ids.
func sent(t *testing.T, s *apptest.System, people ...apptest.Person) (ids []string) {
	t.Helper()
	for _, p := range people {
		a := s.Call("POST", "/v1/notifications", s.NewKey(), apptest.NoticeBody(p.PINFL))
		s.Await(a.JSON("id"), "delivered")
		ids = append(ids, a.JSON("id"))
	}
	return ids
}

func sql(t *testing.T, s *apptest.System, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Env.Postgres())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestTheLedgerIsCheckedAndStatementsArePrinted(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	people := []apptest.Person{s.Bind(1, 1000_00), s.Bind(2, 1000_00)}
	ids := sent(t, s, people[0], people[1], people[0])
	config := []string{"--config", s.ConfigFile}
	run := func(args ...string) string { t.Helper(); return succeeds(t, append(args, config...)...) }

	if got, want := run("ledger", "check"), "accounts that disagree: 0 (granted 0.00, pending 0.00, posted 0.00, late 0.00 soum)\npostings of no account: 0\nMessages that contradict their transfers: 0\n"; got != want {
		t.Errorf("check: %s", got)
	}
	if got, want := run("ledger", "check", "--json"), `{"balanced":true,"accounts":0,"granted_tiyin":0,"pending_tiyin":0,"posted_tiyin":0,"late_tiyin":0,"orphans":0,"messages":0,"findings":[]}`+"\n"; got != want {
		t.Errorf("check: %s", got)
	}

	// The day is that of the transfers; the test may run over its end.
	days := map[string]bool{}
	for _, id := range ids {
		parsed, err := mobileid.ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		days[parsed.Time().In(mobileid.Tashkent).Format(time.DateOnly)] = true
	}
	days[time.Now().In(mobileid.Tashkent).Format(time.DateOnly)] = true
	posted, transfers, numbers := 0, 0, 0
	for day := range days {
		printed := func(more ...string) string {
			t.Helper()
			code, out, errOut := output(t, slices.Concat([]string{"statement", "operator", "beeline", "--day", day}, more, config)...)
			if code != 0 || errOut != "the day is not over: these lines will change\n" {
				t.Fatalf("%v: exit %d: %s%s", more, code, out, errOut)
			}
			return out
		}
		statement := func(more ...string) []map[string]string {
			t.Helper()
			return table(t, printed(append([]string{"--csv"}, more...)...))
		}
		for _, l := range statement() {
			if l["final"] != "false" || l["contract"] != "operator-day/1" || l["day"] != day || l["operator"] != "beeline" || l["kind"] != "notice" || l["price_soum"] != "120.00" ||
				l["unit"] != "message" || l["charging"] != "ledger" || l["posted_tiyin"] != l["net_tiyin"] {
				t.Errorf("%v", l)
			}
			n := 0
			if _, err := fmt.Sscan(l["posted_messages"], &n); err != nil || l["posted_tiyin"] != fmt.Sprint(n*120_00) || l["net_soum"] != fmt.Sprintf("%d.00", n*120) {
				t.Errorf("%v %v", l, err)
			}
			posted += n
		}
		for _, l := range statement("--detail") {
			transfers++
			if l["contract"] != "operator-transfers/2" || l["number"] != "" || len(l["number_pseudonym"]) != 26 || !slices.Contains(ids, l["message_id"]) || l["operator_ids"] == "" {
				t.Errorf("%v", l)
			}
		}
		code, out, errOut := output(t, append([]string{"statement", "operator", "beeline", "--day", day, "--detail", "--numbers", "--csv"}, config...)...)
		if code != 0 || !strings.Contains(errOut, "the day is not over: these lines will change\n") || !strings.Contains(errOut, "numbers are written in clear") || strings.Contains(errOut, people[0].Number) {
			t.Errorf("exit %d: %s", code, errOut)
		}
		for _, l := range table(t, out) {
			if l["number"] == "+"+people[0].Number || l["number"] == "+"+people[1].Number {
				numbers++
			}
		}
		for line := range strings.Lines(printed("--json")) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil || row["price_soum"] != "120.00" || row["tariff_id"] != 1.0 || len(row) != len(mobileid.OperatorDayColumns) {
				t.Errorf("%v %s", err, line)
			}
		}
		for line := range strings.Lines(printed("--json", "--detail")) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil || !slices.Contains(ids, fmt.Sprint(row["message_id"])) || len(row) != len(transferColumns) {
				t.Errorf("%v %s", err, line)
			}
		}
		if got := printed(); !strings.Contains(got, "NET_SOUM") || !strings.Contains(got, " soum\n") {
			t.Errorf("%s", got)
		}
	}
	code, _, errOut := output(t, append([]string{"statement", "operator", "beeline", "--day", "2026-01-01", "--csv"}, config...)...)
	if code != 0 || strings.Contains(errOut, "the day is not over") {
		t.Errorf("a day that is over: exit %d: %s", code, errOut)
	}
	if posted != 3 || transfers != 6 || numbers != 6 {
		t.Errorf("%d posted, %d transfers, %d with numbers; want 3, 6, 6", posted, transfers, numbers)
	}

	file := filepath.Join(t.TempDir(), "pinfl")
	if err := os.WriteFile(file, []byte(people[0].PINFL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run("statement", "person", file)
	for _, want := range []string{ids[0], ids[2], "the operator accepted the SMS", "the price was reserved", "account at beeline: 760.00 soum can be spent, 0.00 reserved; no daily ceiling, 240.00 spent today"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, ids[1]) || strings.Contains(got, people[0].PINFL) || strings.Index(got, ids[2]) > strings.Index(got, ids[0]) {
		t.Errorf("another person's, or not newest first:\n%s", got)
	}
	typed(t, people[1].PINFL)
	var body gateway.StatementBody
	if err := json.Unmarshal([]byte(run("statement", "person", "-", "--json")), &body); err != nil || len(body.Charges) != 1 || body.Charges[0].MessageID.String() != ids[1] {
		t.Errorf("%v %+v", err, body)
	}
	if rows := table(t, run("statement", "person", file, "--csv", "--from", "2026-01-01")); len(rows) != 4 || rows[0]["contract"] != gateway.StatementContract {
		t.Errorf("%v", rows)
	}
	if got := run("statement", "person", file, "--locale", "uz-Latn"); !strings.Contains(got, "operator SMSni qabul qildi\n") {
		t.Errorf("in Uzbek:\n%s", got)
	}
	if rows := table(t, run("statement", "person", file, "--csv", "--locale", "ru")); len(rows) == 0 || rows[0]["step_words"] != "стоимость SMS зарезервирована до его отправки" {
		t.Errorf("in Russian: %v", rows)
	}
	if rows := table(t, run("statement", "person", file, "--csv", "--until", "2026-01-01")); len(rows) != 0 {
		t.Errorf("%v", rows)
	}

	sql(t, s, `update accounts set posted = posted + 1 where id = $1`, people[0].Account)
	code, out, errOut := output(t, append([]string{"ledger", "check"}, config...)...)
	if code != exitFailed || !strings.Contains(out, fmt.Sprintf("%-8s account %d: posted is off by 0.01 soum\n", ledger.RuleAccount, people[0].Account)) || !strings.Contains(errOut, "does not add up") {
		t.Errorf("a tiyin too many: exit %d: %s%s", code, out, errOut)
	}
	code, out, _ = output(t, append([]string{"ledger", "check", "--json"}, config...)...)
	if code != exitFailed || !strings.Contains(out, `"balanced":false,"accounts":1,"granted_tiyin":0,"pending_tiyin":0,"posted_tiyin":1`) ||
		!strings.Contains(out, fmt.Sprintf(`{"rule":"account","subject":"account %d","what":"posted is off by 0.01 soum"}`, people[0].Account)) {
		t.Errorf("a tiyin too many: exit %d: %s", code, out)
	}
	if got := fails(t, append([]string{"ledger", "archive", "2026-01"}, config...)...); !strings.Contains(got, "nothing was archived: the ledger does not add up") {
		t.Errorf("archive: %s", got)
	}
	sql(t, s, `update accounts set posted = posted - 1 where id = $1`, people[0].Account)
	if got := fails(t, append([]string{"ledger", "archive", time.Now().UTC().Format("2006-01")}, config...)...); !strings.Contains(got, "month_not_over") {
		t.Errorf("archive: %s", got)
	}
	if got := fails(t, append([]string{"ledger", "archive", "2020-01"}, config...)...); !strings.Contains(got, "month_unknown") {
		t.Errorf("archive: %s", got)
	}
	sql(t, s, `create table transfers_2020_01 partition of transfers for values from ('\x016f5e66e800000000000000000000000000000000000000') to ('\x016ffe0c0c00000000000000000000000000000000000000')`)
	if got, want := run("ledger", "archive", "2020-01", "--dry-run"), "2020-01: 0 transfers on 0 accounts, 0.00 soum taken, would be archived; nothing was\n"; got != want {
		t.Errorf("archive: %s", got)
	}
	if got, want := run("ledger", "archive", "2020-01"), "2020-01: 0 transfers on 0 accounts, 0.00 soum taken, archived\n"; got != want {
		t.Errorf("archive: %s", got)
	}
	if got := fails(t, append([]string{"ledger", "archive", "2020-01"}, config...)...); !strings.Contains(got, "month_archived") {
		t.Errorf("archive: %s", got)
	}

	for _, c := range []struct{ args, want string }{
		{"statement operator beeline", "--day"},
		{"statement operator beeline --day today", "--day"},
		{"statement operator --day 2026-11-30", "one operator"},
		{"statement operator nobody --day 2026-11-30", "want one of beeline"},
		{"statement operator beeline --day 2026-11-30 --csv --json", "exclude each other"},
		{"statement operator beeline --day 2026-11-30 --numbers", "--detail"},
		{"statement person", "PINFL"},
		{"statement person " + people[0].PINFL, "not on the command line"},
		{"statement person " + s.ConfigFile, "pinfl"},
		{"statement person - --from yesterday", "--from"},
		{"statement person - --locale de", "--locale"},
		{"ledger archive", "YYYY-MM"},
		{"ledger archive 2026", "no month"},
		{"ledger check now", `"now"`},
	} {
		code, out, errOut := output(t, append(strings.Fields(c.args), config...)...)
		if code != exitUsage || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: exit %d, no %q: %s%s", c.args, code, c.want, out, errOut)
		}
	}
}

// table reads CSV as rows by the names of its header line.
func table(t *testing.T, text string) (rows []map[string]string) {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("%v in %q", err, text)
	}
	for _, r := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// TestADetailHoldsNoFormula: the operator's ids come from outside, and an accountant
// opens the file in a spreadsheet. For a machine, and for people, they are as they are.
func TestADetailHoldsNoFormula(t *testing.T) {
	number, err := mobileid.ParseMSISDN("+998901234567")
	if err != nil {
		t.Fatal(err)
	}
	row := registry.OperatorTransfer{
		OperatorIDs: []string{"=cmd|' /C calc'!A0", "+2"}, MSISDN: number, Kind: "posted", Held: -120_00, Taken: 120_00, Stat: "@SUM(1)", Err: "-1",
	}
	printed := func(as form) string {
		var out strings.Builder
		write, end := rowWriter(&out, transferColumns, as)
		if err := errors.Join(write(&row), end()); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	have := table(t, printed(formCSV))[0]
	for name, want := range map[string]string{
		"operator_ids": "'=cmd|' /C calc'!A0 +2", "number": "+998901234567", "held_tiyin": "-12000", "stat": "'@SUM(1)", "err": "'-1", "step_kind": "posted",
	} {
		if have[name] != want {
			t.Errorf("%s is %q, want %q", name, have[name], want)
		}
	}
	if got := printed(formJSON); !strings.Contains(got, `"operator_ids":"=cmd|' /C calc'!A0 +2"`) || !strings.Contains(got, `"number":"+998901234567"`) {
		t.Error(got)
	}
	if got := printed(formTable); !strings.Contains(got, "  =cmd|") {
		t.Error(got)
	}
}

// TestTheContractOfTheColumnsIsThatOfTheProgram compares docs/statements.md.
func TestTheContractOfTheColumnsIsThatOfTheProgram(t *testing.T) {
	raw, err := os.ReadFile("../../docs/statements.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, want := range map[string][]string{
		"## The lines of an operator's day, `" + mobileid.OperatorDayContract + "`": mobileid.ColumnNames(mobileid.OperatorDayColumns),
		"## The transfers of an operator's day, `operator-transfers/2`":             mobileid.ColumnNames(transferColumns),
		"## A person's charges, `" + gateway.StatementContract + "`":                gateway.StatementColumns,
	} {
		_, section, found := strings.Cut(string(raw), "\n"+heading+"\n")
		if !found {
			t.Errorf("no heading %q", heading)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		var have []string
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(section, -1) {
			have = append(have, m[1])
		}
		if !slices.Equal(have, want) {
			t.Errorf("%s:\nhave %q\nwant %q", heading, have, want)
		}
	}
}
