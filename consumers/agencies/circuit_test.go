package agencies

import (
	"testing"
	"time"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func TestTheCircuitLetsOneTryWhenThePauseIsOver(t *testing.T) {
	clk := &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	c := &circuit{now: clk.now}
	enter := func(want bool) pass {
		t.Helper()
		p, wait, ok := c.enter()
		if ok != want || !ok && wait <= 0 {
			t.Fatalf("entered %v after %s, want %v", ok, wait, want)
		}
		return p
	}
	// Failures that are not in a row do not open it.
	for range 3 {
		for range opensAfter - 1 {
			c.failure(enter(true), 0)
		}
		enter(true)
		c.success()
	}
	early := enter(true)
	for range opensAfter {
		c.failure(enter(true), 0)
	}
	if !c.open() {
		t.Fatal("closed after enough failures")
	}
	// He had entered before: the pause goes on as it was.
	clk.at = clk.at.Add(firstPause / 2)
	c.failure(early, 0)
	clk.at = clk.at.Add(-firstPause / 2)
	for pause := firstPause; pause <= maxPause; pause *= 2 {
		clk.at = clk.at.Add(pause - 1)
		enter(false)
		clk.at = clk.at.Add(pause/4 + 1)
		alone := enter(true)
		enter(false) // while he asks
		c.abandoned(early)
		enter(false) // another who leaves takes nothing from him
		c.abandoned(alone)
		c.failure(enter(true), 0)
		enter(false)
	}
	for range 3 { // the pause grows no further
		clk.at = clk.at.Add(maxPause + maxPause/4)
		c.failure(enter(true), 0)
	}
	clk.at = clk.at.Add(maxPause + maxPause/4)
	enter(true)
	c.success()
	for range 3 {
		enter(true)
	}
}

func TestThePauseThatTheServiceAsksForIsKeptUpToABound(t *testing.T) {
	clk := &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	for asked, kept := range map[time.Duration]time.Duration{7 * time.Second: 7 * time.Second, time.Hour: maxPause} {
		c := &circuit{now: clk.now}
		p, _, _ := c.enter()
		c.failure(p, asked)
		if _, wait, ok := c.enter(); ok || wait < kept || wait > kept+kept/4 {
			t.Errorf("asked for %s: entered %v, wait %s", asked, ok, wait)
		}
	}
}
