package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
	"mobileid/registry/reconcile"
)

// doubts puts a notice to each person in doubt, as a bridge does whose operator
// does not answer.
func doubts(t *testing.T, s *apptest.System, people ...apptest.Person) []mobileid.ID {
	t.Helper()
	key, err := mobileid.NewIDKey([]byte(s.Config.Keys.ID.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := s.Registry.OpenBridge(t.Context(), sandbox.Operator, "test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var ids []mobileid.ID
	for i, p := range people {
		found, err := s.Registry.ActiveBindings(t.Context(), []mobileid.Pseudonym{p.Who})
		if err != nil {
			t.Fatal(err)
		}
		b := found[p.Who]
		now := time.Now()
		id := key.Make(mobileid.KindMessage, sandbox.Client, "doubt-"+p.Number, now)
		ids = append(ids, id)
		deadline := now.Add(time.Minute)
		_, err = s.Registry.QueueNotifications(t.Context(), []mobileid.NewNotification{{
			Request: mobileid.NotificationRequested{
				ID: id, Client: sandbox.Client, Person: b.Person.String(), TextID: "notice.data_access", BodyHash: "body", Deadline: deadline,
			},
			Person: b.Person, Source: mobileid.RecordRef{Topic: mobileid.TopicNotificationRequests},
			Message: &mobileid.NewMessage{
				ID: id, Client: sandbox.Client, Person: b.Person, Lane: mobileid.LaneBulk, Operator: sandbox.Operator, TextID: "notice.data_access",
				Fence:   mobileid.Fence{Kind: "binding", ID: b.ID, Version: b.Version},
				Account: b.Account, Deadline: deadline, Dest: b.Number, Sealed: []byte("sealed"), Parts: 1,
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Registry.Admit(t.Context(), bridge, []mobileid.AdmitItem{{ID: id}}); err != nil {
			t.Fatal(err)
		}
		err = s.Registry.Settle(t.Context(), bridge, sandbox.Operator+"/"+sandbox.SystemID, []mobileid.Outcome{{
			ID: id, State: mobileid.MessageInDoubt, Reason: mobileid.ReasonNoAnswer, Link: "link-1", SubmittedAt: time.Now(),
			Parts: []mobileid.PartOutcome{{Part: 1, Sequence: uint32(i + 1), Dest: b.Number}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// operatorFile writes a file of the last hour, with what it states of itself.
func operatorFile(t *testing.T, rows ...string) string {
	t.Helper()
	return fileOf(t, reconcile.Columns, rows)
}

func fileOf(t *testing.T, columns string, rows []string) string {
	t.Helper()
	now := time.Now().UTC()
	body := columns + "\n" + strings.Join(append(rows, ""), "\n")
	head := fmt.Sprintf("#mobileid-reconcile,1,operator=%s,from=%s,until=%s,zone=UTC,count=%d,sha256=%x\n", sandbox.Operator,
		now.Add(-time.Hour).Format(time.DateTime), now.Add(3*time.Hour).Format(time.DateTime), len(rows), sha256.Sum256([]byte(body)))
	path := filepath.Join(t.TempDir(), "file.csv")
	if err := os.WriteFile(path, []byte(head+body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReconcileListsThenSettlesAndTheSameFileChangesNothing(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	people := []apptest.Person{s.Bind(481001, 1000_00), s.Bind(481002, 1000_00), s.Bind(481003, 1000_00)}
	ids := doubts(t, s, people...)
	now := time.Now().UTC().Format(time.DateTime)
	row := func(p apptest.Person, id, status string) string {
		return strings.Join([]string{now, "", "+" + p.Number, id, "", status, "", ""}, ",")
	}
	file := operatorFile(t, row(people[0], "a1", "DELIVRD"), row(people[1], "a2", "DELIVRD"), row(people[1], "a3", "DELIVRD"))
	state := func(i int) string {
		t.Helper()
		v, err := s.Registry.Message(t.Context(), sandbox.Client, ids[i])
		if err != nil {
			t.Fatal(err)
		}
		return string(v.State)
	}
	reconciles := func(want int, args ...string) string {
		t.Helper()
		args = append([]string{"reconcile", "--config", s.ConfigFile, "--operator", sandbox.Operator}, args...)
		code, out, errOut := output(t, args...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d: %s%s", args, code, want, out, errOut)
		}
		for _, p := range people {
			if strings.Contains(out+errOut, p.Number[3:]) {
				t.Errorf("a number is told: %s%s", out, errOut)
			}
		}
		return out
	}
	for _, dry := range [][]string{{"--file", file}, {"--file", file, "--dry-run"}} {
		out := reconciles(exitPeople, dry...)
		for _, want := range []string{"would settle  " + ids[0].String(), ids[2].String() + "  by absence", "for a person", "line 4", "line 5"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		for i := range ids {
			if got := state(i); got != "in_doubt" {
				t.Fatalf("%d became %s without --settle", i, got)
			}
		}
	}
	if out := reconciles(exitPeople, "--file", file, "--settle"); !strings.Contains(out, "settled 2 Messages") {
		t.Errorf("settled:\n%s", out)
	}
	for i, want := range []string{"delivered", "in_doubt", "failed"} {
		if got := state(i); got != want {
			t.Errorf("%d is %s, want %s", i, got, want)
		}
	}
	if out := reconciles(exitPeople, "--file", file, "--settle"); !strings.Contains(out, "was applied at") {
		t.Errorf("the same file again:\n%s", out)
	}
	// What the operator said when it was asked, a day late.
	if out := reconciles(0, "--file", operatorFile(t, row(people[0], "a1", "DELIVRD"), row(people[1], "a2", "UNDELIV")), "--settle"); !strings.Contains(out, "settled 1 Messages") {
		t.Errorf("the corrected file:\n%s", out)
	}
	if got := state(1); got != "undeliverable" {
		t.Errorf("1 is %s", got)
	}
	report, err := s.Registry.CheckLedger(t.Context())
	if err != nil || !report.Balanced() {
		t.Errorf("ledger: %+v %v", report, err)
	}
	// One mistake, and nothing of the file is applied.
	reconciles(exitUsage, "--file", operatorFile(t, row(people[0], "a1", "DELIVRD"), row(people[1], "a2", "LOST")), "--settle")
	for name, args := range map[string][]string{
		"no file named": {"--settle"}, "both": {"--file", file, "--settle", "--dry-run"}, "another operator's": {"--operator", "nobody", "--file", file},
	} {
		if out := reconciles(exitUsage, args...); out != "" {
			t.Errorf("%s: %s", name, out)
		}
	}
	reconciles(exitFailed, "--file", filepath.Join(t.TempDir(), "none.csv"))
}

// An operator who is told no validity_period tries as long as he likes: what is
// absent from the day's file may still be under way.
func TestAbsenceSettlesNothingWhileTheOperatorMayTryOn(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	operator, err := os.OpenFile(filepath.Join(filepath.Dir(s.ConfigFile), "operator.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = operator.WriteString("\nvalidity: {format: none}\n")
	if err := errors.Join(err, operator.Close()); err != nil {
		t.Fatal(err)
	}
	ids := doubts(t, s, s.Bind(483001, 1000_00))
	code, out, errOut := output(t, "reconcile", "--config", s.ConfigFile, "--operator", sandbox.Operator, "--file", operatorFile(t), "--settle")
	if code != 0 || !strings.Contains(out, "settled 0 Messages") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	v, err := s.Registry.Message(t.Context(), sandbox.Client, ids[0])
	if err != nil || v.State != mobileid.MessageInDoubt {
		t.Errorf("%s, %v", v.State, err)
	}
}

// A long file is compared with few Messages in doubt, and says how far it is.
func TestReconcileTellsHowFarItIsInALongFile(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	p := s.Bind(482001, 1000_00)
	ids := doubts(t, s, p)
	now := time.Now().UTC().Format(time.DateTime)
	rows := make([]string, 100_000)
	for i := range rows {
		rows[i] = fmt.Sprintf("%s,,+99893%07d,x%d,,DELIVRD,,", now, i, i)
	}
	rows[77_777] = fmt.Sprintf("%s,,+%s,y,%d,DELIVRD,,", now, p.Number, reconcile.Reference(ids[0]))
	code, out, errOut := output(t, "reconcile", "--config", s.ConfigFile, "--operator", sandbox.Operator, "--file", operatorFile(t, rows...), "--settle")
	if code != 0 || !strings.Contains(out, "by reference") || !strings.Contains(out, "99999 of nothing we know") || !strings.Contains(errOut, "100000 lines read") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
}
