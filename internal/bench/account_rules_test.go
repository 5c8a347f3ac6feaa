package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

// ledger makes what a run leaves behind, for the tests of the accounting.
type ledger struct {
	t        *testing.T
	ids      mobileid.IDKey
	requests []asked
	rows     []stored
	owners   map[string]mobileid.ID
	arrivals []received
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	ids, err := mobileid.NewIDKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return &ledger{t: t, ids: ids, owners: map[string]mobileid.ID{}}
}

const second = int64(time.Second)

// ask makes a request for a code, answered at a second of the epoch.
func (l *ledger) ask(status int, code string, answered int64) *asked {
	key := fmt.Sprint("k-", len(l.requests))
	a := asked{key: key, lane: "otp", answered: answered * second, status: status, code: code, part: l.ids.KeyPart("c", key)}
	if status == 202 {
		a.id = l.ids.Make(mobileid.KindChallenge, "c", key, time.Unix(answered, 0))
	}
	l.requests = append(l.requests, a)
	return &l.requests[len(l.requests)-1]
}

// store writes the row of a request, whatever the request was answered.
func (l *ledger) store(a *asked, state mobileid.MessageState, reason string) *stored {
	id := l.ids.Make(mobileid.KindChallenge, "c", a.key, time.Unix(0, a.answered))
	l.rows = append(l.rows, stored{
		id: id, challenge: "pending", message: l.ids.Derive(mobileid.KindMessage, "c", id, 1), state: string(state), reason: reason,
	})
	return &l.rows[len(l.rows)-1]
}

// sms lets the operator receive a Message under an id of its own.
func (l *ledger) sms(message mobileid.ID, operatorID string, at int64) {
	if !message.IsZero() {
		l.owners[operatorID] = message
	}
	l.arrivals = append(l.arrivals, received{At: time.Unix(at, 0), OperatorID: operatorID, Part: 1})
}

func (l *ledger) account() analysis { return account(l.requests, l.rows, l.owners, l.arrivals) }

func (l *ledger) trips() string {
	var out []string
	for _, t := range l.account().trips() {
		out = append(out, fmt.Sprintf("%s %d->%d", t.key, t.answered/second, t.arrived/second))
	}
	return strings.Join(out, ", ")
}

func TestAnSMSGoesToTheRequestThatItWasSentFor(t *testing.T) {
	l := newLedger(t)
	// The SMS come in another order than the requests were answered in, and one
	// of the requests between was refused and sent all the same.
	first, refused, last := l.ask(202, "", 1).key, l.ask(503, "outcome_unknown", 2).key, l.ask(202, "", 3).key
	for i := range l.requests {
		row := l.store(&l.requests[i], mobileid.MessageDelivered, "")
		l.sms(row.message, fmt.Sprint("o", i), int64(20-i))
	}
	if got, want := l.trips(), fmt.Sprintf("%s 1->20, %s 3->18", first, last); got != want {
		t.Errorf("trips %s, want %s", got, want)
	}
	a := l.account()
	if f := a.fates[1]; f.key != refused || f.row == nil || len(f.arrived) != 1 {
		t.Errorf("the refused request was taken and received: %+v", f)
	}
	if a.refused() != 1 || a.left() != 0 || len(a.strays) != 0 || !a.settled() || a.clean() {
		t.Errorf("%d refused, %d left, %d strays, settled %v, clean %v", a.refused(), a.left(), len(a.strays), a.settled(), a.clean())
	}
}

func TestAnSMSOfAnotherRunIsNotTakenForOneOfThis(t *testing.T) {
	l := newLedger(t)
	here := l.ask(202, "", 5)
	l.sms(l.store(here, mobileid.MessageDelivered, "").message, "o1", 6)
	earlier := l.ids.Make(mobileid.KindMessage, "c", "earlier", time.Unix(1, 0))
	l.sms(earlier, "o2", 5)
	l.sms(mobileid.ID{}, "o3", 5) // the registry has no such id of the operator
	a := l.account()
	if got := l.trips(); got != "k-0 5->6" || len(a.strays) != 2 || a.err() == nil {
		t.Errorf("trips %s, %d strays, %v", got, len(a.strays), a.err())
	}
	if report := a.report(); !strings.Contains(report, "2 SMS belong to no request of this run: 1 to one of an earlier run, 1 to none") {
		t.Error(report)
	}
}

func TestARunWithoutFaultsIsClean(t *testing.T) {
	l := newLedger(t)
	l.sms(l.store(l.ask(202, "", 1), mobileid.MessageDelivered, "").message, "o1", 2)
	a := l.account()
	if !a.clean() || !a.settled() || a.err() != nil || len(a.broken()) != 0 {
		t.Errorf("clean %v, settled %v, %v, %q", a.clean(), a.settled(), a.err(), a.broken())
	}
}

func TestEachBrokenPromiseIsALoudLine(t *testing.T) {
	now := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		make func(l *ledger)
		want string
	}{
		"answered 202 and not stored": {func(l *ledger) { l.ask(202, "", 1) }, "PROMISE P1/P2 BROKEN"},
		// Another id of the same key is not the one that was promised.
		"stored under another id": {func(l *ledger) {
			a := l.ask(202, "", 1)
			other := *a
			other.answered = 2 * second
			l.store(&other, mobileid.MessageDelivered, "")
		}, "PROMISE P1/P2 BROKEN"},
		"queued after its deadline and the grace": {func(l *ledger) {
			deadline := now.Add(-16 * time.Second)
			l.store(l.ask(202, "", 1), mobileid.MessageQueued, "").deadline = &deadline
		}, "PROMISE P1 BROKEN"},
		"queued, in the grace": {func(l *ledger) {
			deadline := now.Add(-9 * time.Second)
			l.store(l.ask(202, "", 1), mobileid.MessageQueued, "").deadline = &deadline
		}, ""},
		"received twice": {func(l *ledger) {
			row := l.store(l.ask(202, "", 1), mobileid.MessageDelivered, "")
			l.sms(row.message, "o1", 2)
			l.sms(row.message, "o2", 3)
		}, "PROMISE P5 BROKEN"},
		"nothing was done, it said": {func(l *ledger) {
			l.store(l.ask(503, "kafka_away", 1), mobileid.MessageDelivered, "")
		}, "A REFUSAL WAS WRONG"},
		"perhaps it was done, it said": {func(l *ledger) {
			l.store(l.ask(503, "outcome_unknown", 1), mobileid.MessageDelivered, "")
		}, ""},
		"refused and not taken": {func(l *ledger) { l.ask(503, "kafka_away", 1) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			c.make(l)
			a := l.account()
			a.at, a.grace = now, 10*time.Second
			got := strings.Join(a.broken(), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if c.want != "" && !strings.Contains(a.report(), got) {
				t.Error("the report does not say it")
			}
		})
	}
}

func TestTheReportAccountsForEveryRequest(t *testing.T) {
	l := newLedger(t)
	l.sms(l.store(l.ask(202, "", 1), mobileid.MessageDelivered, "").message, "o1", 2)
	l.sms(l.store(l.ask(503, "outcome_unknown", 1), mobileid.MessageDelivered, "").message, "o2", 2)
	l.store(l.ask(202, "", 1), mobileid.MessageExpired, "deadline")
	l.ask(503, "outcome_unknown", 1)
	l.ask(0, "timeout", 1)
	*l.store(l.ask(202, "", 1), "", "") = stored{id: l.requests[5].id, challenge: "expired", challengeReason: "deadline"}
	want := `| what became of the requests | answered 202 | not answered 202 |
|---|---|---|
| code, challenge expired (deadline), no Message, no SMS | 1 | 0 |
| code, challenge pending, Message delivered, SMS received | 1 | 1 |
| code, challenge pending, Message expired (deadline), no SMS | 1 | 0 |
| code, not in the registry, no SMS | 0 | 2 |

| answer | requests | taken all the same | and received by the operator |
|---|---|---|---|
| 503 outcome_unknown | 2 | 1 | 1 |
| no answer, timeout | 1 | 0 | 0 |
`
	if got := l.account().report(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestALineOfTheGeneratorIsRead(t *testing.T) {
	l := newLedger(t)
	id := l.ids.Make(mobileid.KindMessage, "c", "bench-1", time.Unix(9, 0))
	path := filepath.Join(t.TempDir(), "load")
	lines := "bench-1 bulk 10 11 12 202 " + id.String() + " -\nbench-2 otp 20 21 22 503 - outcome_unknown\nbench-3 otp 30 31 32 0 - timeout\n"
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readAsked(path, "paced", func(key string) mobileid.KeyPart { return l.ids.KeyPart("c", key) })
	if err != nil || len(got) != 3 {
		t.Fatalf("%d lines, %v", len(got), err)
	}
	if a := got[0]; !a.accepted() || a.id != id || a.part != id.KeyPart() || a.lane != "bulk" || a.scheduled != 10 || a.started != 11 || a.answered != 12 || a.run != "paced" {
		t.Errorf("%+v", a)
	}
	if a, b := got[1].refusal(), got[2].refusal(); a != "503 outcome_unknown" || b != "no answer, timeout" {
		t.Errorf("%q, %q", a, b)
	}
	if err := os.WriteFile(path, []byte("bench-1 bulk 10 11 12 202 - -\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readAsked(path, "paced", func(string) mobileid.KeyPart { return mobileid.KeyPart{} }); err == nil {
		t.Error("a 202 without an id was read")
	}
}

// TestTheOperatorsLogIsReadByItsOwnNames compares what is read of the
// operator's log with what it says, and that a line is read once and whole.
func TestTheOperatorsLogIsReadByItsOwnNames(t *testing.T) {
	line := func(id string, part int) string {
		raw, err := json.Marshal(smsc.Submit{At: time.Unix(5, 0), MessageID: id, Part: part, Parts: 2})
		must(t, err)
		return string(raw) + "\n"
	}
	log := operatorLog{path: filepath.Join(t.TempDir(), "log")}
	second := line("b", 1)
	write := func(text string) { must(t, os.WriteFile(log.path, []byte(text), 0o600)) }
	write(line("a", 1) + line("x", 2) + second[:10])
	got, err := log.more()
	must(t, err)
	if len(got) != 1 || got[0].OperatorID != "a" || got[0].At.Unix() != 5 {
		t.Errorf("%+v", got)
	}
	write(line("a", 1) + line("x", 2) + second)
	got, err = log.more()
	must(t, err)
	if len(got) != 1 || got[0].OperatorID != "b" {
		t.Errorf("%+v", got)
	}
}
