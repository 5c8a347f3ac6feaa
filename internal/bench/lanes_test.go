package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
)

const (
	lanesFor    = 60 * time.Second // each of the two parts
	lanesCodes  = 20               // a second
	lanesWindow = 10
	lanesAnswer = 100 * time.Millisecond // of the operator: with the window, 100 submit_sm a second
	// lanesReaders are who the notices go to: many, because rows of one
	// account are locked one after the other.
	lanesReaders = 200
	// lanesNotice is the deadline of a notice, longer than any waits here.
	lanesNotice = 10 * time.Minute
	// lanesSlack is how much more backlog is piled up than the operator can
	// take while it is needed.
	lanesSlack = 15 * time.Second
	aimLanes   = 3
)

// BenchmarkLanes is `make bench-lanes`, the figure of promise P8: how long a
// code takes from its 202 to submit_sm when nothing else is under way, and
// when a backlog of notices waits for the operator. The operator answers late
// in both, so that behind the backlog its window is full and nothing else of
// the system is.
func BenchmarkLanes(b *testing.B) {
	s := startSystem(b, setup{window: lanesWindow, environ: []string{"MOBILEID_DEADLINES__NOTICE=" + lanesNotice.String()}})
	lasts := s.shorter(b, "each part", lanesFor)
	pace := float64(lanesWindow) / lanesAnswer.Seconds()
	pileUp := pileUpFor(lasts, pace)
	s.warmUp(b)
	s.answerLate(b)

	s.load(b, "idle", lanesCodes, lasts, "--only", "otp")
	idle := s.analyze(b)
	if err := idle.err(); err != nil {
		b.Error("idle:", err)
	}

	s.load(b, "pile-up", pacedRate, pileUp, "--only", "bulk", "--persons", s.readers(b))
	s.awaitNotices(b)
	before := s.usages()
	s.load(b, "behind", lanesCodes, lasts, "--only", "otp")
	after := s.usages()
	all := s.analyze(b)
	behind := all.only("behind")
	if err := behind.err(); err != nil {
		b.Error("behind notices:", err)
	}
	if n := all.only("pile-up").left(); n > 0 {
		b.Errorf("%d notices were answered 202 and had no SMS", n)
	}

	fmt.Print("\n```\n", s.describe(b), "```\n\n")
	fmt.Printf("Load: %d codes a second for %s and nothing else, then the same behind notices that were asked before, %d a second\n"+
		"for %s. Operator, in both: answers come %s after submit_sm, those of notices %s to %s, so that they do not come in step;\n"+
		"that is %.0f submit_sm a second at most. Behind the backlog the window is full, and a code also waits for the next answer,\n"+
		"on average about %s ms.\n\n", lanesCodes, lasts, pacedRate, pileUp, lanesAnswer, spread(0), spread(lanesReaders-1),
		pace, ms(lanesAnswer/(lanesWindow+1)))
	a, z := idle.latency("otp"), behind.latency("otp")
	fmt.Println("| codes, 202 read -> submit_sm received, ms | samples | p50 | p95 | p99 | max |\n|---|---|---|---|---|---|")
	fmt.Println(a.row("idle: nothing on the lane of notices"))
	fmt.Println(z.row("behind a backlog of notices"))
	piled := all.only("pile-up")
	from, to := behind.span()
	first, last, took := piled.waiting(from), piled.waiting(to), all.receivedIn(from, to)
	verdict := "missed"
	switch {
	case last == 0 || len(a) == 0 || len(z) == 0:
		verdict = "void"
	case z.at(.99) <= aimLanes*a.at(.99):
		verdict = "met"
	}
	fmt.Printf("\n| ratio to idle | p50 | p95 | p99 | aim of p99 |\n|---|---|---|---|---|\n| behind a backlog of notices | %s | %s | %s | %d: %s |\n\n",
		ratio(z, a, .5), ratio(z, a, .95), ratio(z, a, .99), aimLanes, verdict)
	// No notice was accepted meanwhile, so it was never less than at the end.
	fmt.Printf("Backlog, notices accepted and not received by the operator: %d at the first code, %d at the last. Meanwhile the operator\n"+
		"received %.0f submit_sm a second of %.0f at most.\n", first, last, float64(took)/time.Duration(to-from).Seconds(), pace)
	if verdict == "void" {
		fmt.Println("\n!!! THE FIGURE IS VOID: the backlog was gone before the last code, or there were no codes")
		b.Error("void: the backlog was gone before the last code, or there were no codes")
	}
	fmt.Printf("\nSeconds of processor and memory during these %s:\n\n", lasts)
	s.printUsages(before, after, took)
	fmt.Printf("\nIdle:\n\n%s\nBehind the backlog, and the notices of it:\n\n%s", idle.report(), all.report())
}

// pileUpFor is how long notices have to be offered, so that the operator, who
// takes them at a pace, is behind by more than it can take in a time.
func pileUpFor(lasts time.Duration, pace float64) time.Duration {
	seconds := (lasts + lanesSlack).Seconds() * pace / (pacedRate - pace)
	return time.Duration(math.Ceil(seconds)) * time.Second
}

// spread is the time after which the operator answers what goes to the i-th
// reader: from half to one and a half of lanesAnswer. Neighbours in the list
// of readers, who are asked for one after the other, are far apart in it.
func spread(i int) time.Duration {
	return lanesAnswer/2 + lanesAnswer*time.Duration(i)/(lanesReaders-1)
}

// stride has no divisor in common with lanesReaders.
const stride = 73

// answerLate has the operator answer late: the readers of the notices at
// different times, everybody else after lanesAnswer. Answers of one delay
// would come in step, a whole window at once, and a code would wait for the
// step.
func (s *system) answerLate(b *testing.B) {
	b.Helper()
	for i := range lanesReaders {
		s.fault(b, smsc.Fault{Kind: smsc.FaultDelay, To: strings.TrimPrefix(number(i), "+"), Delay: spread(i * stride % lanesReaders)})
	}
	s.fault(b, smsc.Fault{Kind: smsc.FaultDelay, Delay: lanesAnswer})
}

// readers writes the file of those whom the notices go to.
func (s *system) readers(b *testing.B) string {
	b.Helper()
	all, err := os.ReadFile(s.personsFile())
	must(b, err)
	path := filepath.Join(s.dir, "readers")
	must(b, os.WriteFile(path, []byte(strings.Join(strings.Fields(string(all))[:lanesReaders], "\n")), 0o600))
	return path
}

// awaitNotices waits until every notice that was accepted is in the registry:
// what is not there is no backlog of the lane. Should some never come, the
// analysis says so.
func (s *system) awaitNotices(b *testing.B) {
	b.Helper()
	accepted := 0
	for i := range s.pending {
		if s.pending[i].accepted() {
			accepted++
		}
	}
	began := time.Unix(0, s.pending[0].started).Add(-time.Second)
	for end := time.Now().Add(lanesSlack / 2); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		rows, err := readStored(b.Context(), s.sql, began)
		must(b, err)
		if len(rows) >= accepted {
			return
		}
	}
}

// span is from the first request to the last SMS, in Unix ns.
func (a analysis) span() (from, to int64) {
	for i := range a.fates {
		f := &a.fates[i]
		if from == 0 || f.scheduled < from {
			from = f.scheduled
		}
		if len(f.arrived) > 0 {
			to = max(to, f.arrived[0])
		}
	}
	return from, max(from, to)
}

// waiting counts what had been accepted at an instant and not received by the
// operator.
func (a analysis) waiting(at int64) int {
	return a.count(func(f *fate) bool {
		return f.accepted() && f.answered <= at && (len(f.arrived) == 0 || f.arrived[0] > at)
	})
}

func (a analysis) receivedIn(from, to int64) int {
	return a.count(func(f *fate) bool { return len(f.arrived) > 0 && f.arrived[0] >= from && f.arrived[0] <= to })
}

func TestTheBacklogLastsLongerThanItIsNeeded(t *testing.T) {
	const pace = 100.0
	for _, lasts := range []time.Duration{10 * time.Second, lanesFor} {
		piled := (pacedRate - pace) * pileUpFor(lasts, pace).Seconds()
		if left := piled - lasts.Seconds()*pace; left < pace*lanesSlack.Seconds() || left > 2*pace*lanesSlack.Seconds() {
			t.Errorf("%s: %.0f left of %.0f", lasts, left, piled)
		}
	}
}

func TestTheAnswersOfTheReadersAreSpreadEvenly(t *testing.T) {
	seen := map[time.Duration]bool{}
	var sum time.Duration
	for i := range lanesReaders {
		d := spread(i * stride % lanesReaders)
		seen[d] = true
		sum += d
		if d < lanesAnswer/2 || d > lanesAnswer*3/2 {
			t.Errorf("reader %d: %s", i, d)
		}
	}
	if len(seen) != lanesReaders {
		t.Errorf("%d different answers of %d readers", len(seen), lanesReaders)
	}
	if mean := sum / lanesReaders; (mean - lanesAnswer).Abs() > time.Millisecond {
		t.Errorf("mean %s, want %s", mean, lanesAnswer)
	}
}

func TestTheBacklogIsWhatWasAcceptedAndNotReceived(t *testing.T) {
	l := newLedger(t)
	for i := range 4 { // answered at 1 to 4, received at 11 to 13; the last never
		a := l.ask(202, "", int64(i+1))
		a.run, a.scheduled = "pile-up", a.answered
		row := l.store(a, "sent", "")
		if i < 3 {
			l.sms(row.message, fmt.Sprint("o", i), int64(11+i))
		}
	}
	l.ask(503, "outcome_unknown", 1).run = "pile-up"
	l.ask(202, "", 1).run = "behind"
	a := l.account().only("pile-up")
	for at, want := range map[int64]int{0: 0, 2: 2, 4: 4, 11: 3, 12: 2, 20: 1} {
		if got := a.waiting(at * second); got != want {
			t.Errorf("at %d: %d wait, want %d", at, got, want)
		}
	}
	if from, to := a.span(); from != 0 || to != 13*second {
		t.Errorf("span %d to %d", from, to)
	}
	if n := a.receivedIn(12*second, 13*second); n != 2 {
		t.Errorf("%d received, want 2", n)
	}
}
