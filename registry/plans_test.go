package registry

import (
	"testing"
	"time"
)

func TestPlansAreMadeAnewWhileAMonthIsYoung(t *testing.T) {
	month := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	made := month.Add(-time.Hour)
	plans := 0
	for now := made; now.Before(month.Add(2 * time.Hour)); now = now.Add(100 * time.Millisecond) {
		if outgrown(made, now) {
			made = now
			plans++
		}
	}
	// Doubling from 2 s to 2 h.
	if plans < 10 || plans > 14 {
		t.Fatalf("plans were made %d times", plans)
	}
	for age, want := range map[time.Duration]bool{
		time.Second: false, 3 * time.Second: true,
	} {
		if got := outgrown(month.Add(-500*time.Millisecond), month.Add(age-500*time.Millisecond)); got != want {
			t.Errorf("plans made before the month, %s old: outgrown %v", age, got)
		}
	}
	if outgrown(month.Add(20*24*time.Hour), month.Add(21*24*time.Hour)) {
		t.Error("late in a month a day makes no difference")
	}
}
