package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// manyDoubts puts n notices to a person in doubt, no two with one reference, and
// returns them in the order of their references.
func manyDoubts(t *testing.T, s *apptest.System, p apptest.Person, n int) []mobileid.ID {
	t.Helper()
	key, err := mobileid.NewIDKey([]byte(s.Config.Keys.ID.Reveal()))
	check(t, err)
	bound, err := s.Registry.ActiveBindings(t.Context(), []mobileid.Pseudonym{p.Who})
	check(t, err)
	bridge, err := s.Registry.OpenBridge(t.Context(), sandbox.Operator, "test", time.Minute)
	check(t, err)
	b, now := bound[p.Who], time.Now()
	deadline := now.Add(time.Minute)
	var ids []mobileid.ID
	taken := map[int]bool{}
	for i := 0; len(ids) < n; i++ {
		id := key.Make(mobileid.KindMessage, sandbox.Client, fmt.Sprint(p.Number, i), now)
		if r := reconcile.Reference(id); !taken[r] {
			taken[r] = true
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b mobileid.ID) int { return cmp.Compare(reconcile.Reference(a), reconcile.Reference(b)) })
	for some := range slices.Chunk(ids, 200) {
		var notices []mobileid.NewNotification
		var items []mobileid.AdmitItem
		var outcomes []mobileid.Outcome
		for _, id := range some {
			notices = append(notices, mobileid.NewNotification{
				Request: mobileid.NotificationRequested{
					ID: id, Client: sandbox.Client, Person: b.Person.String(), TextID: "notice.data_access", BodyHash: "body", Deadline: deadline,
				},
				Person: b.Person, Source: mobileid.RecordRef{Topic: mobileid.TopicNotificationRequests},
				Message: &mobileid.NewMessage{
					ID: id, Client: sandbox.Client, Person: b.Person, Lane: mobileid.LaneBulk, Operator: sandbox.Operator, TextID: "notice.data_access",
					Fence:   mobileid.Fence{Kind: "binding", ID: b.ID, Version: b.Version},
					Account: b.Account, Deadline: deadline, Dest: b.Number, Sealed: []byte("sealed"), Parts: 1,
				},
			})
			items = append(items, mobileid.AdmitItem{ID: id})
			outcomes = append(outcomes, mobileid.Outcome{
				ID: id, State: mobileid.MessageInDoubt, Reason: mobileid.ReasonNoAnswer, Link: "link-1", SubmittedAt: now,
				Parts: []mobileid.PartOutcome{{Part: 1, Sequence: 1, Dest: b.Number}},
			})
		}
		_, err = s.Registry.QueueNotifications(t.Context(), notices)
		check(t, err)
		_, err = s.Registry.Admit(t.Context(), bridge, items)
		check(t, err)
		check(t, s.Registry.Settle(t.Context(), bridge, sandbox.Operator+"/"+sandbox.SystemID, outcomes))
	}
	return ids
}

// killedWaiting runs a command until it waits for a lock that the statement
// takes, and kills it there: what it had committed stays, and the rest was
// never done.
func killedWaiting(t *testing.T, s *apptest.System, look *pgx.Conn, command []string, lock string, args ...any) {
	t.Helper()
	holder, err := pgx.Connect(t.Context(), s.Env.Postgres())
	check(t, err)
	defer func() { _ = holder.Close(t.Context()) }()
	tx, err := holder.Begin(t.Context())
	check(t, err)
	_, err = tx.Exec(t.Context(), lock, args...)
	check(t, err)
	child := apptest.StartChild(t, nil, command...)
	var waiting []uint32
	s.Until("the command waits for the lock", func() bool {
		check(t, look.QueryRow(t.Context(), `
select coalesce(array_agg(pid), '{}') from pg_stat_activity where datname = current_database() and $1 = any(pg_blocking_pids(pid))`,
			holder.PgConn().PID()).Scan(&waiting))
		return len(waiting) > 0
	})
	child.Kill()
	// Postgres hears of it when the lock is given, and would do the statement.
	_, err = look.Exec(t.Context(), `select pg_terminate_backend(pid) from unnest($1::integer[]) as pid`, waiting)
	check(t, err)
	s.Until("its transaction is gone", func() bool {
		var left int
		check(t, look.QueryRow(t.Context(), `select count(*) from pg_stat_activity where pid = any($1::integer[])`, waiting).Scan(&left))
		return left == 0
	})
	check(t, tx.Rollback(t.Context()))
}

// A run is killed before each of its transactions, or within, and the command repeated
// each time: every Message is settled once, as one run would have done it, and each
// difference is stored once, with what its rule does.
func TestAKilledReconcileGoesOnWhereItWas(t *testing.T) {
	const told, absent, perTransaction = 1100, 100, 500
	const differ = told/4 + told/2
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	p, q := s.Bind(483001, 1_000_000_00), s.Bind(483002, 1000_00)
	ids := manyDoubts(t, s, p, told+absent)
	manyDoubts(t, s, q, 2)
	now := time.Now().UTC().Format(time.DateTime)
	var rows []string
	for i, id := range ids[:told] {
		charged := []string{"120.00", "120.00", "0.00", "120.00"}[i%4] // right, undelivered, not debited, undelivered
		rows = append(rows, fmt.Sprintf("%s,,+%s,,%d,%s,,,%s", now, p.Number, reconcile.Reference(id), []string{"DELIVRD", "UNDELIV"}[i%2], charged))
	}
	rows = append(rows, fmt.Sprintf("%s,,+%s,,,DELIVRD,,,120.00", now, q.Number)) // one line, two notices
	file := chargedFile(t, rows...)
	command := []string{"reconcile", "--config", s.ConfigFile, "--operator", sandbox.Operator, "--file", file, "--settle"}

	look, err := pgx.Connect(t.Context(), s.Env.Postgres())
	check(t, err)
	defer func() { _ = look.Close(t.Context()) }()
	_, err = look.Exec(t.Context(), `
create function wait_for_test() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(1); return new; end $$;
create trigger wait_for_test before update of done_at on reconciled_files for each row execute function wait_for_test();
create function wait_within() returns trigger language plpgsql as $$
declare stored integer;
begin
	select count(*) into stored from differences;
	if stored in (250, 500) then perform pg_advisory_xact_lock(stored); end if;
	return new;
end $$;
create trigger wait_within before insert on differences for each row execute function wait_within()`)
	check(t, err)
	const message = `select from messages where id = $1 for update`
	for _, k := range []struct {
		before, lock string
		args         []any
		settled      int
		differ       int
	}{
		{"the file is noted", `lock table reconciled_files in share row exclusive mode`, nil, 0, 0},
		{"the first transaction", message, []any{ids[0][:]}, 0, 0},
		{"the second", message, []any{ids[perTransaction][:]}, perTransaction, 0},
		{"the third", message, []any{ids[2*perTransaction][:]}, 2 * perTransaction, 0},
		{"the first differences", `lock table differences in share row exclusive mode`, nil, told + absent, 0},
		{"half of them", `select pg_advisory_xact_lock(250)`, nil, told + absent, 0},
		{"their transfers", `lock table transfers in share row exclusive mode`, nil, told + absent, 0},
		{"the next differences", `select pg_advisory_xact_lock(500)`, nil, told + absent, perTransaction},
		{"the file is done", `select pg_advisory_xact_lock(1)`, nil, told + absent, differ},
	} {
		killedWaiting(t, s, look, command, k.lock, k.args...)
		var settled int
		check(t, look.QueryRow(t.Context(), `select count(*) from reconciled`).Scan(&settled))
		var differences, steps, moved int
		check(t, look.QueryRow(t.Context(), `
select (select count(*) from differences), (select count(*) from difference_steps where state = 'settled'),
       (select count(*) from transfers where why = 'reconciled')`).Scan(&differences, &steps, &moved))
		if settled != k.settled || differences != k.differ || moved != steps {
			t.Fatalf("killed before %s: %d settled, want %d; %d differences, want %d; %d transfers, %d steps",
				k.before, settled, k.settled, differences, k.differ, moved, steps)
		}
	}
	code, out, errOut := output(t, command...)
	if code != exitPeople || !strings.Contains(out, "settled 0 Messages") || !strings.Contains(out, "1 rows for a person") ||
		!strings.Contains(out, fmt.Sprintf("%d differences: 0 new, 0 of them settled by rule, %[1]d for two persons", told/2)) {
		t.Errorf("the run that came through: exit %d: %s%s", code, out, errOut)
	}
	if code, out, errOut = output(t, command...); code != exitPeople || !strings.Contains(out, "was applied at") {
		t.Errorf("once more: exit %d: %s%s", code, out, errOut)
	}

	found, err := look.Query(t.Context(), `
select m.state || ' ' || m.charge || ' by ' || coalesce(r.rule, 'nobody') || ' announced ' || (select count(*) from outbox o where o.subject = m.id and o.state = m.state)
from messages m left join reconciled r on r.message_id = m.id`)
	check(t, err)
	got, err := pgx.CollectRows(found, pgx.RowTo[string])
	check(t, err)
	counts := map[string]int{}
	for _, line := range got {
		counts[line]++
	}
	want := map[string]int{
		"delivered posted by reference announced 1":     told / 4,
		"delivered reversed by reference announced 1":   told / 4,
		"undeliverable voided by reference announced 1": told / 2,
		"failed voided by absence announced 1":          absent,
		"in_doubt pending by nobody announced 1":        2,
	}
	if fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("%v\nwant\n%v", counts, want)
	}
	found, err = look.Query(t.Context(), `
select d.kind || ' ' || s.state || coalesce(' ' || s.way, '') || case when s.transfer is not null then ' ' || t.kind else '' end
       || ' x' || (select count(*) from differences o where o.message_id = d.message_id)
from differences d join lateral (select * from difference_steps x where x.difference_id = d.id order by step desc limit 1) s on true
left join transfers t on t.message_id = d.message_id and t.step = s.transfer and t.why = 'reconciled'`)
	check(t, err)
	if got, err = pgx.CollectRows(found, pgx.RowTo[string]); err != nil {
		t.Fatal(err)
	}
	clear(counts)
	for _, line := range got {
		counts[line]++
	}
	want = map[string]int{"not_charged settled accept reversed x1": told / 4, "charged_undelivered open x1": told / 2}
	if fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("%v\nwant\n%v", counts, want)
	}
	report, err := s.Registry.CheckLedger(t.Context())
	if err != nil || !report.Balanced() {
		t.Errorf("ledger: %+v %v", report, err)
	}
}
