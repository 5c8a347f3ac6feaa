package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// sample is a set of latencies.
type sample []time.Duration

// at returns the p-th quantile by the nearest rank; 0 for an empty sample.
func (s sample) at(p float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(p*float64(len(sorted))+0.9999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

// row prints a sample as a row of a table.
func (s sample) row(name string) string {
	return fmt.Sprintf("| %s | %d | %s | %s | %s | %s |", name, len(s), ms(s.at(.5)), ms(s.at(.95)), ms(s.at(.99)), ms(s.at(1)))
}

func TestQuantilesAreTheNearestRank(t *testing.T) {
	var s sample
	for i := 100; i >= 1; i-- {
		s = append(s, time.Duration(i))
	}
	for p, want := range map[float64]time.Duration{.5: 50, .95: 95, .99: 99, 1: 100, 0: 1} {
		if got := s.at(p); got != want {
			t.Errorf("quantile %v of 1..100 is %d, want %d", p, got, want)
		}
	}
}

// asked is one line of the load generator.
type asked struct {
	number, lane                 string
	scheduled, started, answered int64 // Unix ns
	status                       int
}

func readAsked(path string) (out []asked, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var a asked
		_, err := fmt.Sscan(s.Text(), &a.number, &a.lane, &a.scheduled, &a.started, &a.answered, &a.status)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// received is one line of the simulated operator's log.
type received struct {
	At   time.Time `json:"at"`
	Dest string    `json:"dest"`
	Part int       `json:"part"`
}

// operatorLog reads what came since it was read last.
type operatorLog struct {
	path   string
	offset int64
}

func (l *operatorLog) more() (out []received, err error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err = f.Seek(l.offset, 0); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return out, nil // the rest of a line is read when it is whole
		}
		l.offset += int64(len(line))
		var m received
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, err
		}
		if m.Part == 1 {
			out = append(out, m)
		}
	}
}

// trip is a request and the SMS that came of it.
type trip struct {
	asked
	arrived int64 // Unix ns
}

// match joins requests and SMS by number, in order of time. A number that got
// more or fewer than were accepted is left out and counted: there the order
// says nothing.
func match(requests []asked, arrivals []received) (trips []trip, left int) {
	sent, got := map[string][]asked{}, map[string][]int64{}
	for _, a := range requests {
		sent[a.number] = append(sent[a.number], a)
	}
	for _, r := range arrivals {
		got[r.Dest] = append(got[r.Dest], r.At.UnixNano())
	}
	for number, list := range sent {
		at := got[number]
		delete(got, number)
		if len(at) != len(list) || slices.ContainsFunc(list, func(a asked) bool { return a.status != 202 }) {
			left += max(len(list), len(at))
			continue
		}
		slices.Sort(at)
		slices.SortFunc(list, func(a, b asked) int { return int(a.answered - b.answered) })
		for i := range list {
			trips = append(trips, trip{list[i], at[i]})
		}
	}
	for _, at := range got {
		left += len(at)
	}
	return trips, left
}

func TestMatchingLeavesOutWhatItCannotTell(t *testing.T) {
	at := func(s int64) received { return received{At: time.Unix(s, 0)} }
	one, two, lost := at(5), at(9), at(7)
	one.Dest, two.Dest, lost.Dest = "a", "a", "c"
	trips, left := match([]asked{
		{number: "a", answered: time.Unix(8, 0).UnixNano(), status: 202},
		{number: "a", answered: time.Unix(4, 0).UnixNano(), status: 202},
		{number: "b", status: 202}, // never came
	}, []received{two, one, lost})
	if len(trips) != 2 || left != 2 {
		t.Fatalf("%d trips and %d left, want 2 and 2", len(trips), left)
	}
	for _, trip := range trips {
		if d := time.Duration(trip.arrived - trip.answered); d != time.Second {
			t.Errorf("a trip of %s, want 1s", d)
		}
	}
}
