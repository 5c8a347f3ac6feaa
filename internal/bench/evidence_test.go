package bench

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// evidence is a folder of what a failed bench leaves behind: its database, its
// topics and its processes are gone when somebody asks why. It is made when
// there is something to keep. Numbers, texts and codes are not in it.
type evidence struct {
	at   string // the folder
	made bool
	runs int
}

func newEvidence(began time.Time) *evidence {
	return &evidence{at: filepath.Join("..", "..", ".run", "bench", "failed", began.UTC().Format("20060102T150405Z"))}
}

// path returns where a file of the evidence is.
func (e *evidence) path(name string) (string, error) {
	e.made = true
	return filepath.Join(e.at, name), os.MkdirAll(e.at, 0o700)
}

// String names the folder as somebody at the root of the repository does.
func (e *evidence) String() string { return strings.TrimPrefix(e.at, "../../") }

// keep writes what became of a run: its tables to summary.md, the requests
// that are not in order to a file of their own.
func (e *evidence) keep(run, header string, a analysis) error {
	if !e.made {
		if err := e.add("```\n" + header + "```\n"); err != nil {
			return err
		}
	}
	e.runs++
	name := fmt.Sprintf("%02d-%s.csv", e.runs, run)
	err := e.add(fmt.Sprintf("\n## %s, %s\n\n%s\nThe requests that are not in order: %s\n",
		run, a.at.UTC().Format(time.RFC3339), a.report(), name))
	if err != nil {
		return err
	}
	path, err := e.path(name)
	if err != nil {
		return err
	}
	return os.WriteFile(path, a.table(), 0o600)
}

func (e *evidence) add(text string) error {
	path, err := e.path("summary.md")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// copyLogs copies the logs of the processes.
func (e *evidence) copyLogs(from string) error {
	logs, err := filepath.Glob(filepath.Join(from, "*.log"))
	if err != nil {
		return err
	}
	for _, log := range logs {
		path, err := e.path(filepath.Base(log))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// table lists the requests that are not in order, and the SMS without one.
func (a analysis) table() []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write([]string{
		"run", "key", "lane", "answer", "id", "scheduled", "started", "answered", "challenge", "challenge_reason",
		"message", "state", "reason", "deadline", "queued", "published", "admitted", "submitted", "ended", "sms_received", "operator_id",
	})
	ns := func(at int64) string { return clock(time.Unix(0, at)) }
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return clock(*t)
	}
	for i := range a.fates {
		f := &a.fates[i]
		if f.inOrder() {
			continue
		}
		answer, row := "202", stored{}
		if !f.accepted() {
			answer = f.refusal()
		}
		if f.row != nil {
			row = *f.row
		}
		var sms []string
		for _, at := range f.arrived {
			sms = append(sms, ns(at))
		}
		id := f.id
		if id.IsZero() {
			id = row.id
		}
		_ = w.Write([]string{
			f.run, f.key, f.lane, answer, id.String(), ns(f.scheduled), ns(f.started), ns(f.answered), row.challenge, row.challengeReason,
			row.message.String(), row.state, row.reason, at(row.deadline), at(row.queued), at(row.published), at(row.admitted),
			at(row.submitted), at(row.ended), strings.Join(sms, " "), "",
		})
	}
	for _, s := range a.strays {
		line := make([]string, 21)
		line[10], line[19], line[20] = s.message.String(), clock(s.At), s.OperatorID
		_ = w.Write(line)
	}
	w.Flush()
	return out.Bytes()
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func TestTheEvidenceListsWhatIsNotInOrder(t *testing.T) {
	l := newLedger(t)
	l.sms(l.store(l.ask(202, "", 1), mobileid.MessageDelivered, "").message, "o1", 2)
	deadline := time.Unix(60, 0)
	l.store(l.ask(202, "", 1), mobileid.MessageExpired, "deadline").deadline = &deadline
	l.ask(503, "outcome_unknown", 1)
	l.sms(mobileid.ID{}, "o9", 7)
	e := &evidence{at: filepath.Join(t.TempDir(), "failed")}
	must(t, e.keep("paced", "the header\n", l.account()))
	must(t, e.keep("ceiling-400", "the header\n", l.account()))
	raw, err := os.ReadFile(filepath.Join(e.at, "01-paced.csv"))
	must(t, err)
	lines, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	must(t, err)
	if len(lines) != 4 {
		t.Fatalf("%d lines, want the names, two requests and an SMS:\n%s", len(lines), raw)
	}
	for i, want := range []map[string]string{
		{"key": "k-1", "answer": "202", "id": l.requests[1].id.String(), "state": "expired", "reason": "deadline", "deadline": "1970-01-01T00:01:00.000Z"},
		{"key": "k-2", "answer": "503 outcome_unknown", "id": "", "message": ""},
		{"key": "", "sms_received": "1970-01-01T00:00:07.000Z", "operator_id": "o9"},
	} {
		for at, name := range lines[0] {
			if w, asked := want[name]; asked && lines[i+1][at] != w {
				t.Errorf("line %d: %s is %q, want %q", i+1, name, lines[i+1][at], w)
			}
		}
	}
	summary, err := os.ReadFile(filepath.Join(e.at, "summary.md"))
	must(t, err)
	if n := strings.Count(string(summary), "the header"); n != 1 {
		t.Errorf("the header stands %d times", n)
	}
	for _, want := range []string{"## paced", "01-paced.csv", "## ceiling-400", "02-ceiling-400.csv", "503 outcome_unknown"} {
		if !strings.Contains(string(summary), want) {
			t.Errorf("the summary does not say %q", want)
		}
	}
}
