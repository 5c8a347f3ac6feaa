package bench

import (
	"fmt"
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
