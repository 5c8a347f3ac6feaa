package bench

import (
	"context"
	"fmt"
	"math"
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
	warmUp       = 30 * time.Second
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
	s := startSystem(b, setup{window: window})
	lasts, floorLasts := s.shorter(b, "the load", paced), s.shorter(b, "the floor", floorFor)
	withCeiling := os.Getenv("MOBILEID_BENCH_CEILING") != "0"
	if !withCeiling {
		s.unusual = append(s.unusual, "no ceiling (MOBILEID_BENCH_CEILING)")
	}
	f := newFloor(b, s.env.Kafka(), partitions)
	_, err := f.run(b.Context(), floorRate, floorRate*2) // connects
	must(b, err)
	s.warmUp(b)

	quiet, err := f.run(b.Context(), floorRate, int(floorLasts.Seconds()*floorRate))
	must(b, err)
	before := s.usages()
	ctx, stop := context.WithCancel(b.Context())
	var beside sample
	var wg sync.WaitGroup
	wg.Go(func() { beside, err = f.run(ctx, besideRate, math.MaxInt) })
	s.load(b, "paced", pacedRate, lasts)
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
		"with the load, so it is the slower the busier we make the machine.\n\n", pacedRate, lasts, warmUp, warmUp/2)
	fmt.Println(got.report())
	printLatencies(got, quiet, floorLasts, beside)
	fmt.Printf("\nSeconds of processor and memory during these %s:\n\n", lasts)
	s.printUsages(before, after, len(got.trips()))
	if withCeiling {
		s.ceiling(b)
	}
}

func printLatencies(got analysis, quiet sample, quietFor time.Duration, beside sample) {
	fmt.Println("| milliseconds | samples | p50 | p95 | p99 | max |")
	fmt.Println("|---|---|---|---|---|---|")
	all := got.latency("")
	fmt.Println(all.row("**202 read -> submit_sm received**"))
	fmt.Println(got.latency("otp").row("codes"))
	fmt.Println(got.latency("bulk").row("notices"))
	fmt.Println(got.of(func(t trip) int64 { return t.answered - t.scheduled }).row("scheduled -> 202 read"))
	fmt.Println(got.of(func(t trip) int64 { return t.arrived - t.scheduled }).row("scheduled -> submit_sm received"))
	fmt.Println(quiet.row(fmt.Sprintf("floor: two bare Kafka hops, %d/s for %s directly before the load", floorRate, quietFor)))
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

// step is one rate of the ramp.
type step struct {
	offered            int
	accepted, received float64 // a second, of the settled part
	backlog            int     // accepted and not received when the load ended
	refused, left      int
	late               time.Duration // p99 of the generator behind its schedule
	all                sample
	keepsUp            bool
	usage              map[string]usage // when it was over
}

// ceiling raises the rate until the system no longer keeps up, halves the
// distance twice, and holds the best rate for longer.
func (s *system) ceiling(b *testing.B) {
	b.Helper()
	fmt.Printf("\nCeiling: %s at each rate. A rate is sustained when every request gets its 202 and its SMS, at the end less than\n"+
		"%s worth of load is under way, and submit_sm arrive at 97 %% of the offered rate or more.\n\n", stepFor, backlogLimit)
	fmt.Println("| offered/s | 202/s | submit_sm/s | under way at the end | not 202 | 202 and no SMS | p50, ms | p99, ms | generator late p99, ms | sustained |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	var accounts []string
	defer func() { // a bench that ends early has them too
		for _, text := range accounts {
			fmt.Println(text)
		}
	}()
	try := func(rate int, d time.Duration) step {
		st, a := s.step(b, rate, d)
		if !a.clean() {
			accounts = append(accounts, fmt.Sprintf("\n%d/s for %s:\n\n%s", rate, d, a.report()))
		}
		return st
	}
	good, bad := pacedRate, 0
	for rate := 400; bad == 0 && rate < 20_000; rate = rate * 3 / 2 {
		if try(rate, stepFor).keepsUp {
			good = rate
		} else {
			bad = rate
		}
	}
	for range 2 {
		rate := (good + bad) / 2
		if try(rate, stepFor).keepsUp {
			good = rate
		} else {
			bad = rate
		}
	}
	for good >= pacedRate {
		before := s.usages()
		held := try(good, ceilingAt)
		if !held.keepsUp {
			good = good * 9 / 10
			continue
		}
		fmt.Printf("\n**Sustained: %.0f messages/s** for %s (p50 %s ms, p99 %s ms). In that time and its drain:\n\n",
			held.received, ceilingAt, ms(held.all.at(.5)), ms(held.all.at(.99)))
		s.printUsages(before, held.usage, len(held.all))
		return
	}
	fmt.Println("\nNo rate was sustained.")
}

// step measures one rate. What was asked in the first moments is loaded and
// accounted for, but not counted in the rates.
func (s *system) step(b *testing.B, rate int, d time.Duration) (step, analysis) {
	b.Helper()
	s.load(b, fmt.Sprint("ceiling-", rate), rate, d)
	a := s.analyze(b)
	from := a.fates[0].scheduled + int64(stepSkip)
	end := a.fates[len(a.fates)-1].scheduled
	seconds := float64(end-from) / 1e9
	st := step{offered: rate, refused: a.refused(), left: a.left(), all: a.latency(""), usage: a.usage}
	var late sample
	for _, f := range a.fates {
		late = append(late, time.Duration(f.started-f.scheduled))
		arrived := len(f.arrived) > 0 && f.arrived[0] <= end
		if arrived && f.arrived[0] >= from {
			st.received += 1 / seconds
		}
		if f.accepted() && f.answered <= end {
			if !arrived {
				st.backlog++
			}
			if f.answered >= from {
				st.accepted += 1 / seconds
			}
		}
	}
	st.late = late.at(.99)
	st.keepsUp = st.refused == 0 && st.left == 0 && st.received >= .97*float64(rate) &&
		float64(st.backlog) < float64(rate)*backlogLimit.Seconds()
	yes := map[bool]string{true: "yes", false: "no"}[st.keepsUp]
	fmt.Printf("| %d | %.0f | %.0f | %d | %d | %d | %s | %s | %s | %s |\n", rate, st.accepted, st.received, st.backlog, st.refused, st.left,
		ms(st.all.at(.5)), ms(st.all.at(.99)), ms(st.late), yes)
	return st, a
}
