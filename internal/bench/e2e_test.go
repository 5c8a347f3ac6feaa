package bench

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"mobileid/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	partitions   = 4 // of the sandbox's configuration
	persons      = 10_000
	window       = 50
	receiptDelay = time.Second
	pacedRate    = 200
	warmUp       = 10 * time.Second
	paced        = 60 * time.Second
	floorRate    = pacedRate // before the load
	floorFor     = 20 * time.Second
	besideRate   = 20 // of the floor's records among the load
	aimP50       = 3
	aimP99       = 5

	stepFor   = 10 * time.Second
	stepSkip  = 2 * time.Second // of a step, until it has settled
	ceilingAt = 30 * time.Second
	// A step keeps up when at its end less than this much of its load is
	// under way.
	backlogLimit = 500 * time.Millisecond
)

// BenchmarkEndToEnd is `make bench-e2e`. It prints to standard output what
// BENCH.md keeps.
func BenchmarkEndToEnd(b *testing.B) {
	load := loadAverage()
	s := startSystem(b)
	s.loadBefore = load
	f := newFloor(b, s.env.Kafka(), partitions)
	_, err := f.run(b.Context(), floorRate, floorRate*2) // connects
	must(b, err)
	s.load(b, pacedRate, warmUp)
	if err := s.analyze(b).err(); err != nil {
		fmt.Fprintln(os.Stderr, "warm-up, not counted:", err)
	}

	// The tables were empty a moment ago, and plans made then walk them whole.
	// Autovacuum would look within a minute; a system in use has long been there.
	s.exec(b, `analyze`)
	s.load(b, pacedRate, warmUp/2)
	_ = s.analyze(b) // new plans

	quiet, err := f.run(b.Context(), floorRate, int(floorFor.Seconds()*floorRate))
	must(b, err)
	before := s.usages()
	ctx, stop := context.WithCancel(b.Context())
	var beside sample
	var wg sync.WaitGroup
	wg.Go(func() { beside, err = f.run(ctx, besideRate, math.MaxInt) })
	s.load(b, pacedRate, paced)
	stop()
	wg.Wait()
	must(b, err)
	after := s.usages()
	got := s.analyze(b)
	if err := got.err(); err != nil {
		b.Error(err) // the figures of the others are shown all the same
	}

	fmt.Print("\n```\n", s.describe(b), "```\n\n")
	fmt.Printf("Load: %d requests a second for %s, codes and notices in turn, after %s of warm-up, ANALYZE of every\n"+
		"table, and %s more. Both floors are shown: the one before the load had the machine to itself, the other shared it\n"+
		"with the load, so it is the slower the busier we make the machine.\n\n", pacedRate, paced, warmUp, warmUp/2)
	fmt.Printf("%d requests answered 202 and received by the operator; %d not answered 202, %d not matched.\n\n", len(got.trips), got.refused, got.left)
	printLatencies(got, quiet, beside)
	fmt.Printf("\nSeconds of processor and memory during these %s:\n\n", paced)
	s.printUsages(before, after, len(got.trips))
	if os.Getenv("MOBILEID_BENCH_CEILING") == "0" {
		return
	}
	s.ceiling(b)
}

func printLatencies(got analysis, quiet, beside sample) {
	fmt.Println("| milliseconds | samples | p50 | p95 | p99 | max |")
	fmt.Println("|---|---|---|---|---|---|")
	all := got.latency("")
	fmt.Println(all.row("**202 read -> submit_sm received**"))
	fmt.Println(got.latency("otp").row("codes"))
	fmt.Println(got.latency("bulk").row("notices"))
	fmt.Println(got.of(func(t trip) int64 { return t.answered - t.scheduled }).row("scheduled -> 202 read"))
	fmt.Println(got.of(func(t trip) int64 { return t.arrived - t.scheduled }).row("scheduled -> submit_sm received"))
	fmt.Println(quiet.row(fmt.Sprintf("floor: two bare Kafka hops, %d/s for %s directly before the load", floorRate, floorFor)))
	fmt.Println(beside.row(fmt.Sprintf("floor: the same, %d/s while the load ran", besideRate)))
	fmt.Println("\n| ratio | p50 | aim | p99 | aim |\n|---|---|---|---|---|")
	for _, f := range []struct {
		name  string
		floor sample
	}{{"to the floor before the load", quiet}, {"to the floor while the load ran", beside}} {
		fmt.Printf("| %s | %s | %d | %s | %d |\n", f.name, ratio(all, f.floor, .5), aimP50, ratio(all, f.floor, .99), aimP99)
	}
}

func ratio(a, b sample, p float64) string {
	return fmt.Sprintf("%.2f (%s / %s ms)", float64(a.at(p))/float64(max(b.at(p), 1)), ms(a.at(p)), ms(b.at(p)))
}

// analysis is what became of one run.
type analysis struct {
	trips    []trip
	left     int // not matched
	refused  int // not 202
	arrivals []received
}

func (a analysis) err() error {
	if a.left > 0 || a.refused > 0 {
		return fmt.Errorf("of %d requests %d were not answered 202 and %d were not matched with an SMS",
			len(a.trips)+a.left, a.refused, a.left)
	}
	return nil
}

// analyze waits until everything that was accepted has come and nothing more
// comes, and joins it with the requests.
func (s *system) analyze(b *testing.B) analysis {
	b.Helper()
	var a analysis
	statuses := map[int]int{}
	for _, r := range s.pending {
		statuses[r.status]++
	}
	accepted := statuses[http.StatusAccepted]
	if len(statuses) > 1 {
		fmt.Fprintln(os.Stderr, "answers by status:", statuses)
	}
	a.refused = len(s.pending) - accepted
	ended := time.Now()
	// A request whose 503 said "outcome unknown" may be sent as well, and must
	// not be taken for the next run's: a run is over when nothing has come for
	// a while, not when as many came as were accepted. In that while receipts
	// and statuses come to their end, too.
	for last := ended; time.Since(ended) < 2*time.Minute; time.Sleep(50 * time.Millisecond) {
		more, err := s.operator.more()
		must(b, err)
		a.arrivals = append(a.arrivals, more...)
		if len(more) > 0 {
			last = time.Now()
		}
		if quiet := time.Since(last); quiet > 2*receiptDelay && (len(a.arrivals) >= accepted || quiet > time.Minute) {
			break
		}
	}
	a.trips, a.left = match(s.pending, a.arrivals)
	until(b, "the outbox is empty", time.Minute, func() bool { return s.count(b, `select count(*) from outbox`) == 0 })
	return a
}

func (a analysis) of(f func(trip) int64) (out sample) {
	for _, t := range a.trips {
		out = append(out, time.Duration(f(t)))
	}
	return out
}

// latency is from the 202 to the SMS, of one lane or of both.
func (a analysis) latency(lane string) (out sample) {
	for _, t := range a.trips {
		if lane == "" || t.lane == lane {
			out = append(out, time.Duration(t.arrived-t.answered))
		}
	}
	return out
}

// step is one rate of the ramp.
type step struct {
	offered            int
	accepted, received float64 // a second, of the settled part
	backlog            int     // accepted and not received when the load ended
	refused            int
	late               time.Duration // p99 of the generator behind its schedule
	all                sample
	keepsUp            bool
}

// ceiling raises the rate until the system no longer keeps up, halves the
// distance three times, and holds the best rate for longer.
func (s *system) ceiling(b *testing.B) {
	b.Helper()
	fmt.Printf("\nCeiling: %s at each rate. A rate is sustained when every request gets its 202, at the end less than %s\n"+
		"worth of load is under way, and submit_sm arrive at 97 %% of the offered rate or more.\n\n", stepFor, backlogLimit)
	fmt.Println("| offered/s | 202/s | submit_sm/s | under way at the end | not 202 | not matched | p50, ms | p99, ms | generator late p99, ms | sustained |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	good, bad := pacedRate, 0
	for rate := 400; bad == 0 && rate < 20_000; rate = rate * 3 / 2 {
		if s.step(b, rate, stepFor).keepsUp {
			good = rate
		} else {
			bad = rate
		}
	}
	for range 2 {
		rate := (good + bad) / 2
		if s.step(b, rate, stepFor).keepsUp {
			good = rate
		} else {
			bad = rate
		}
	}
	for good >= pacedRate {
		before := s.usages()
		held := s.step(b, good, ceilingAt)
		if !held.keepsUp {
			good = good * 9 / 10
			continue
		}
		fmt.Printf("\n**Sustained: %.0f messages/s** for %s (p50 %s ms, p99 %s ms). In that time and its drain:\n\n",
			held.received, ceilingAt, ms(held.all.at(.5)), ms(held.all.at(.99)))
		s.printUsages(before, s.usages(), len(held.all))
		return
	}
	fmt.Println("\nNo rate was sustained.")
}

func (s *system) step(b *testing.B, rate int, d time.Duration) step {
	b.Helper()
	s.load(b, rate, d)
	list := s.pending
	a := s.analyze(b)
	from := list[0].scheduled + int64(stepSkip)
	end := list[len(list)-1].scheduled
	seconds := float64(end-from) / 1e9
	st := step{offered: rate, refused: a.refused, all: a.latency("")}
	var late sample
	for _, r := range list {
		late = append(late, time.Duration(r.started-r.scheduled))
		if r.status == http.StatusAccepted && r.answered <= end {
			st.backlog++
			if r.answered >= from {
				st.accepted += 1 / seconds
			}
		}
	}
	for _, r := range a.arrivals {
		if at := r.At.UnixNano(); at <= end {
			st.backlog--
			if at >= from {
				st.received += 1 / seconds
			}
		}
	}
	st.late = late.at(.99)
	st.keepsUp = a.refused == 0 && a.left == 0 && st.received >= .97*float64(rate) &&
		float64(st.backlog) < float64(rate)*backlogLimit.Seconds()
	yes := map[bool]string{true: "yes", false: "no"}[st.keepsUp]
	fmt.Printf("| %d | %.0f | %.0f | %d | %d | %d | %s | %s | %s | %s |\n", rate, st.accepted, st.received, st.backlog, st.refused, a.left,
		ms(st.all.at(.5)), ms(st.all.at(.99)), ms(st.late), yes)
	return st
}
