package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

// answered sends a notice to each person, which is answered with an id and has a
// receipt that says how it ended.
func answered(t *testing.T, s *apptest.System, end mobileid.MessageState, people ...apptest.Person) (ids []mobileid.ID) {
	t.Helper()
	ids = doubts(t, s, people...)
	bridge, err := s.Registry.OpenBridge(t.Context(), sandbox.Operator, "test", time.Minute)
	check(t, err)
	for i, p := range people {
		bound, err := s.Registry.ActiveBindings(t.Context(), []mobileid.Pseudonym{p.Who})
		check(t, err)
		dest, id := bound[p.Who].Number, "id-"+p.Number
		account := sandbox.Operator + "/" + sandbox.SystemID
		check(t, s.Registry.Settle(t.Context(), bridge, account, []mobileid.Outcome{{
			ID: ids[i], State: mobileid.MessageSent, Link: "link-1", SubmittedAt: time.Now(),
			Parts: []mobileid.PartOutcome{{Part: 1, Sequence: uint32(i + 1), OperatorID: id, Dest: dest, AnsweredAt: time.Now()}},
		}}))
		n, err := s.Registry.StoreReceipts(t.Context(), []mobileid.Receipt{{Account: account, OperatorID: id, Dest: dest, State: end, Stat: "X", At: time.Now()}})
		check(t, err)
		if n != 1 {
			t.Fatal("the receipt finds no Message")
		}
	}
	return ids
}

// chargedFile is operatorFile with what was debited.
func chargedFile(t *testing.T, rows ...string) string {
	t.Helper()
	return fileOf(t, reconcile.Columns+",charged", rows)
}

func TestDifferencesAreSettledByRuleOrByTwoPersons(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	people := make([]apptest.Person, 8)
	for i := range people {
		people[i] = s.Bind(485001+i, 1000_00)
	}
	ids := answered(t, s, mobileid.MessageDelivered, people[:6]...)
	ids = append(ids, answered(t, s, mobileid.MessageUndeliverable, people[6])...)
	ids = append(ids, doubts(t, s, people[7])...)
	now := time.Now().UTC().Format(time.DateTime)
	row := func(p apptest.Person, status, amount string) string {
		return strings.Join([]string{now, "", "+" + p.Number, "id-" + p.Number, "", status, "", "", amount}, ",")
	}
	rows := []string{
		row(people[0], "DELIVRD", "120.00"), row(people[1], "DELIVRD", "0.00"), row(people[2], "DELIVRD", "100"),
		row(people[3], "DELIVRD", "150.00"), row(people[4], "DELIVRD", "120.00"), row(people[4], "DELIVRD", "120.00"),
		row(people[6], "UNDELIV", "120.00"), row(people[7], "DELIVRD", "120.00"),
		now + ",,+998931234567,x1,,DELIVRD,,,120.00",
	}
	file := chargedFile(t, rows...)

	db, err := pgx.Connect(t.Context(), s.Env.Postgres())
	check(t, err)
	defer func() { _ = db.Close(t.Context()) }()
	count := func(table string) (n int) {
		t.Helper()
		check(t, db.QueryRow(t.Context(), `select count(*) from `+table).Scan(&n))
		return n
	}
	posted := func(i int) (n mobileid.Money) {
		t.Helper()
		check(t, db.QueryRow(t.Context(), `select posted from accounts where id = $1`, people[i].Account).Scan(&n))
		return n
	}
	runs := func(want int, args ...string) (out, errOut string) {
		t.Helper()
		args = append([]string{"reconcile"}, append(args, "--config", s.ConfigFile)...)
		code, out, errOut := output(t, args...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d: %s%s", args, code, want, out, errOut)
		}
		for _, p := range people {
			if strings.Contains(out+errOut, p.Number[3:]) {
				t.Errorf("a number is told: %s%s", out, errOut)
			}
		}
		return out, errOut
	}
	wants := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !regexp.MustCompile(`(?m)` + w).MatchString(out) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
	}
	all := []string{
		"^differs  not_charged  " + ids[1].String() + "  ours 120.00  theirs 0.00  lines 4$",
		"^differs  amount  " + ids[2].String() + "  ours 120.00  theirs 100.00  lines 5$",
		"^differs  amount  " + ids[3].String() + "  ours 120.00  theirs 150.00  lines 6$",
		"^differs  double  " + ids[4].String() + "  ours 120.00  theirs 240.00  lines 7 8$",
		"^differs  missing  " + ids[5].String() + "  ours 120.00  theirs 0.00$",
		"^differs  charged_undelivered  " + ids[6].String() + "  ours 0.00  theirs 120.00  lines 9$",
		"^differs  stranger  -  ours 0.00  theirs 120.00  lines 11$",
	}
	of := []string{"--operator", sandbox.Operator, "--file", file}
	out, _ := runs(exitPeople, of...)
	wants(out, append(all, "^7 differences: a rule would settle 2, 5 are for two persons$")...)
	if count("differences") != 0 || posted(1) != 120_00 {
		t.Fatal("something changed without --settle")
	}
	out, _ = runs(exitPeople, append(of, "--settle")...)
	wants(out, append(all, "settled 1 Messages", "^7 differences: 7 new, 2 of them settled by rule, 5 for two persons$")...)
	for i, want := range []mobileid.Money{120_00, 0, 100_00, 120_00, 120_00, 120_00, 0, 120_00} {
		if have := posted(i); have != want {
			t.Errorf("%d pays %s, want %s", i, have, want)
		}
	}
	// Again, and the same lines in the file of the next day.
	if out, _ = runs(exitPeople, append(of, "--settle")...); !strings.Contains(out, "was applied at") {
		t.Errorf("again:\n%s", out)
	}
	out, _ = runs(exitPeople, "--operator", sandbox.Operator, "--file", chargedFile(t, append(rows, now+",,+998931234568,x2,,DELIVRD,,,0.00")...), "--settle")
	wants(out, "^5 differences: 0 new, 0 of them settled by rule, 5 for two persons$")
	if count("differences") != 7 || count("differences_open") != 5 {
		t.Errorf("%d differences, %d open", count("differences"), count("differences_open"))
	}

	number := func(kind, ours string) string {
		t.Helper()
		var id string
		check(t, db.QueryRow(t.Context(), `select id::text from differences where kind = $1 and ours = $2 and theirs > ours`, kind, ours).Scan(&id))
		return id
	}
	amount, double, stranger := number("amount", "12000"), number("double", "12000"), number("stranger", "0")
	for _, wrong := range [][]string{
		{"propose", amount, "--as", "accept", "--by", "Anvar"},
		{"propose", amount, "--as", "accept", "--why", "x"},
		{"propose", amount, "--as", "accept", "--by", " Rule ", "--why", "x"},
		{"propose", amount, "--as", "forget", "--by", "Anvar", "--why", "x"},
		{"propose", "x", "--as", "accept", "--by", "Anvar", "--why", "x"},
		{"propose", "--as", "accept", "--by", "Anvar", "--why", "x"},
		{"confirm", amount},
		{"differences", "--operator", "nobody"},
		{"difference"},
	} {
		runs(exitUsage, wrong...)
	}
	refused := func(want string, args ...string) {
		t.Helper()
		if _, errOut := runs(exitFailed, args...); !strings.Contains(errOut, want) {
			t.Errorf("%v: no %q in %s", args, want, errOut)
		}
	}
	refused("no difference of that number", "propose", "4711", "--as", "accept", "--by", "Anvar", "--why", "x")
	refused("want operator_owes or write_off", "propose", double, "--as", "accept", "--by", "Anvar", "--why", "x")
	refused("nothing is proposed", "confirm", amount, "--by", "Anvar")
	refused("nothing is proposed", "reject", amount, "--by", "Anvar", "--why", "x")

	runs(0, "propose", amount, "--as", "write_off", "--by", "Anvar Karimov", "--why", "small")
	refused("a proposal of it waits", "propose", amount, "--as", "accept", "--by", "Dilnoza", "--why", "x")
	for _, same := range []string{"Anvar Karimov", " anvar  KARIMOV", "AnvarKarimov", "anvar\u200b\u00a0karimov"} {
		refused("the same person", "confirm", amount, "--by", same)
	}
	runs(0, "reject", amount, "--by", "Dilnoza", "--why", "he sent another price list")
	runs(0, "propose", amount, "--as", "accept", "--by", "Dilnoza", "--why", "price list of November")
	if posted(3) != 120_00 {
		t.Error("a proposal moved money")
	}
	runs(0, "confirm", amount, "--by", "Anvar Karimov")
	if posted(3) != 150_00 {
		t.Errorf("he pays %s", posted(3))
	}
	refused("it is settled already", "confirm", amount, "--by", "Malika")
	runs(0, "propose", double, "--as", "operator_owes", "--by", "Anvar", "--why", "=ticket 17")
	runs(0, "confirm", double, "--by", "Malika")
	runs(0, "propose", stranger, "--as", "operator_owes", "--by", "Anvar", "--why", "not ours")
	if posted(4) != 120_00 {
		t.Errorf("double billing costs the subscriber %s", posted(4))
	}

	out, _ = runs(0, "differences")
	wants(out, `^`+amount+` .* amount .* 120.00  150.00  settled   accept +Dilnoza, Anvar Karimov  price list of November`, ` not_charged .* accept +rule +rule`, ` missing .* open `)
	if out, _ = runs(0, "differences", "--open", "--operator", sandbox.Operator); strings.Contains(out, "settled") || strings.Count(out, "\n") != 4 {
		t.Errorf("open:\n%s", out)
	}
	out, _ = runs(0, "differences", "--csv")
	cells, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	check(t, err)
	if len(cells) != 8 || strings.Join(cells[0], ",") != strings.Join(differenceColumns, ",") || !strings.Contains(out, "'=ticket 17") {
		t.Errorf("csv:\n%s", out)
	}
	told := succeeds(t, "explain", ids[3].String(), "--config", s.ConfigFile)
	wants(told, "posted: reconciled.*taken=30.00", "reconcile +difference open: amount .*lines=6  ours=120.00  theirs=150.00",
		"difference rejected: amount", "difference settled: amount .*as=accept")
	for _, by := range []string{"Anvar", "Dilnoza"} {
		if strings.Contains(told, by) {
			t.Errorf("%s is told to whoever asks for the Message:\n%s", by, told)
		}
	}
	report, err := s.Registry.CheckLedger(t.Context())
	if err != nil || !report.Balanced() {
		t.Errorf("ledger: %+v %v", report, err)
	}
}

// A code in doubt was sent twice and debited twice by an operator who debits himself:
// only where his file says that he gives the second back is it settled by rule.
func TestASecondDebitOfACodeIsOwedWhereTheOperatorRefundsIt(t *testing.T) {
	for duplicates, want := range map[string]string{
		"refunded": "^1 differences: 1 new, 1 of them settled by rule, 0 for two persons$",
		"free":     "^1 differences: 1 new, 0 of them settled by rule, 1 for two persons$",
	} {
		t.Run(duplicates, func(t *testing.T) {
			s := apptest.Start(t, apptest.Options{Roles: []string{}})
			p := s.Bind(486001, 1000_00)
			id := answered(t, s, mobileid.MessageDelivered, p)[0]
			db, err := pgx.Connect(t.Context(), s.Env.Postgres())
			check(t, err)
			defer func() { _ = db.Close(t.Context()) }()
			_, err = db.Exec(t.Context(), `update messages set charging = 'operator', resends = 1 where id = $1`, id[:])
			check(t, err)
			operator := filepath.Join(filepath.Dir(s.ConfigFile), "operator.yaml")
			text, err := os.ReadFile(operator)
			check(t, err)
			check(t, os.WriteFile(operator, append(text, "\ncharging: {by: operator, duplicates: "+duplicates+"}\n"...), 0o600))

			line := time.Now().UTC().Format(time.DateTime) + ",,+" + p.Number + ",id-" + p.Number + ",,DELIVRD,,,120.00"
			code, out, errs := output(t, "reconcile", "--operator", sandbox.Operator, "--file", chargedFile(t, line, line), "--settle", "--config", s.ConfigFile)
			if !regexp.MustCompile("(?m)" + want).MatchString(out) {
				t.Fatalf("exit %d: %s%s", code, out, errs)
			}
			var settled string
			check(t, db.QueryRow(t.Context(), `
select coalesce(string_agg(kind || ' ' || coalesce(way, '') || ' ' || by, ',' order by s.step), '') from difference_steps s join differences d on d.id = s.difference_id
where s.state = 'settled'`).Scan(&settled))
			if wanted := map[string]string{"refunded": "double operator_owes rule"}[duplicates]; settled != wanted {
				t.Errorf("settled %q, want %q", settled, wanted)
			}
		})
	}
}
