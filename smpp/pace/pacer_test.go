package pace

import (
	"math"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Unix(1_800_000_000, 0)

func after(d time.Duration) time.Time { return epoch.Add(d) }

// Whatever is called, in whatever order, on a clock that also runs backwards.
func TestWhateverHappensThePaceIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := rapid.SampledFrom([]float64{
			0, 0.3, 1, 7, 50, 500, 20_000, Unknown, math.Inf(1), math.Inf(-1), math.NaN(), -5,
		})
		c := Config{
			Ceiling: rates.Draw(t, "ceiling"),
			Floor:   rates.Draw(t, "floor"),
			Burst:   rapid.IntRange(-1, 20).Draw(t, "burst"),
		}
		p := New(epoch, c)
		floor := c.Floor
		if !(floor > 0) {
			floor = defaultFloor
		}
		ceiling := ceilingOf(c.Ceiling)

		now, newest := time.Duration(0), time.Duration(0)
		var stamps []Stamp
		// The writes and the tokens that came, over time, for any two moments.
		type moment struct{ wrote, came, burst float64 }
		var history []moment
		wrote, came, most := 0.0, 0.0, 1.0
		moveTo := func(at time.Duration) {
			if at <= newest {
				return
			}
			if p.Rate() == Unknown {
				history = nil // nothing bounds what is written
			} else {
				came += p.Rate() * (at - newest).Seconds()
			}
			newest = at
		}

		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				now += time.Duration(rapid.Int64Range(-int64(time.Second), int64(3*time.Second)).Draw(t, "step"))
				if rapid.IntRange(0, 20).Draw(t, "idle") == 0 {
					now += time.Hour
				}
				moveTo(now)
				for range rapid.IntRange(0, 30).Draw(t, "writes") {
					wait := p.Wait(after(now))
					if wait < 0 || wait > maxWait {
						t.Fatalf("wait %v", wait)
					}
					history = append(history, moment{wrote, came, p.bucket()})
					if wait > 0 {
						now = max(now, newest) + wait
						moveTo(now)
						continue
					}
					if p.Rate() == Unknown {
						history = nil
					}
					n := rapid.IntRange(1, 3).Draw(t, "parts")
					s := p.Spend(after(now), n)
					if len(stamps) > 0 && s < stamps[len(stamps)-1] {
						t.Fatal("stamps run backwards")
					}
					stamps = append(stamps, s)
					wrote += float64(n)
					most = max(most, float64(n))
				}
			},
			"answer": func(t *rapid.T) {
				if len(stamps) == 0 {
					t.Skip("nothing is written")
				}
				kind := rapid.SampledFrom([]Kind{Taken, Throttled, QueueFull, 77}).Draw(t, "kind")
				stamp := rapid.SampledFrom(stamps).Draw(t, "stamp")
				for range rapid.IntRange(1, 80).Draw(t, "answers") {
					to := number(rapid.IntRange(0, 3000).Draw(t, "number"))
					if hold := p.Answer(after(now), stamp, to, kind); hold < 0 || hold > longestHold {
						t.Fatalf("hold %v", hold)
					}
					if hold := p.Held(after(now), to); hold < 0 || hold > longestHold {
						t.Fatalf("held %v", hold)
					}
					stamp = max(stamp, stamps[len(stamps)-1])
				}
			},
			"ceiling": func(t *rapid.T) {
				v := rates.Draw(t, "ceiling")
				p.SetCeiling(after(now), v)
				ceiling = ceilingOf(v)
			},
			"": func(t *rapid.T) {
				rate := p.Rate()
				if math.IsNaN(rate) || rate > ceiling || rate < min(floor, ceiling) {
					t.Fatalf("rate %v is not within %v and %v", rate, min(floor, ceiling), ceiling)
				}
				if per, _ := p.Demand(after(now)); math.IsNaN(per) || per < 0 {
					t.Fatalf("demand %v", per)
				}
				for _, m := range history {
					if allowed := m.burst + came - m.came + most - 1 + 1e-6 + 1e-12*came; wrote-m.wrote > allowed {
						t.Fatalf("%v were written, %v allowed", wrote-m.wrote, allowed)
					}
				}
				if len(history) > 200 {
					history = history[100:]
				}
			},
		})
	})
}

func TestOneThrottledAnswerChangesNothing(t *testing.T) {
	p := New(epoch, Config{Ceiling: 500})
	now := time.Duration(0)
	for i := range 5000 {
		now += 2 * time.Millisecond
		if wait := p.Wait(after(now)); wait != 0 {
			t.Fatalf("submit %d waits %v", i, wait)
		}
		kind := Taken
		if i%1000 == 0 {
			kind = Throttled
		}
		if hold := p.Answer(after(now), p.Spend(after(now), 1), number(1), kind); hold != 0 {
			t.Fatalf("the throttled message is held for %v", hold)
		}
	}
	if r := p.Rate(); r != 500 {
		t.Fatalf("the rate is %v", r)
	}
}

func TestWaitIsUntilTheNextTokenAndShortEnoughToLearnOfANewRate(t *testing.T) {
	p := New(epoch, Config{Ceiling: 50, Burst: 1})
	p.Spend(epoch, 1)
	if wait := p.Wait(epoch); wait < 20*time.Millisecond || wait > 20*time.Millisecond+2 {
		t.Fatalf("wait %v, want 20 ms", wait)
	}
	if wait := p.Wait(after(20*time.Millisecond + 1)); wait != 0 {
		t.Fatalf("wait %v when the token is there", wait)
	}
	p.Spend(after(20*time.Millisecond+1), 3) // two are owed
	if wait := p.Wait(after(20 * time.Millisecond)); wait < 59*time.Millisecond || wait > 61*time.Millisecond {
		t.Fatalf("wait %v after three parts, want 60 ms", wait)
	}
	p.SetCeiling(after(20*time.Millisecond), 1)
	if wait := p.Wait(after(20 * time.Millisecond)); wait != maxWait {
		t.Fatalf("wait %v at 1/s, want %v", wait, maxWait)
	}
}

func TestACeilingOfZeroStopsAndOthersAreFollowed(t *testing.T) {
	p := New(epoch, Config{Ceiling: 500})
	p.SetCeiling(epoch, 0)
	for d := time.Duration(0); d < time.Minute; d += 7 * time.Millisecond {
		if p.Wait(after(d)) != maxWait {
			t.Fatal("written without a share")
		}
	}
	at := after(time.Minute)
	for _, ceiling := range []float64{250, 1000, Unknown, 500} {
		p.SetCeiling(at, ceiling)
		if r := p.Rate(); r != ceiling {
			t.Fatalf("the rate is %v at a ceiling of %v", r, ceiling)
		}
	}
	p.control.trying = true
	p.SetCeiling(at, 600)
	if p.SetCeiling(at, 500); p.control.trying {
		t.Fatal("a cut is judged when there is none")
	}
	p.control.rate = 400 // as a cut would
	p.SetCeiling(at, 250)
	if r := p.Rate(); math.Abs(r-200) > 1e-9 {
		t.Fatalf("a rate of 400 of 500 became %v of 250", r)
	}
}

// Bridges that share a ceiling write no more at once than one that has it alone.
func TestTheBurstIsSharedWithTheCeiling(t *testing.T) {
	const burst = 12
	for members, want := range map[int]int{1: 12, 2: 12, 3: 12, 6: 12, 12: 12, 20: 20} { // one each is the least
		atOnce := 0
		for range members {
			p := New(epoch, Config{Ceiling: 600, Burst: burst})
			p.SetCeiling(epoch, 0) // until its share is known
			p.SetCeiling(epoch, 600/float64(members))
			for p.Wait(after(time.Minute)) == 0 {
				p.Spend(after(time.Minute), 1)
				atOnce++
			}
		}
		if atOnce != want {
			t.Errorf("%d bridges write %d at once, want %d", members, atOnce, want)
		}
	}
}

func TestTheStampStandsStillWhileThereIsNothingToWrite(t *testing.T) {
	p := New(epoch, Config{Ceiling: 500})
	first := p.Spend(epoch, 1)
	second := p.Spend(after(100*time.Millisecond), 1)
	third := p.Spend(after(time.Hour), 1)
	if second-first != Stamp(100*time.Millisecond) || third-second != Stamp(idleAfter) {
		t.Fatalf("100 ms are %v, an hour is %v", time.Duration(second-first), time.Duration(third-second))
	}
	slow := New(epoch, Config{Ceiling: 1})
	if gap := slow.Spend(after(2*time.Second), 1); gap != Stamp(2*time.Second) {
		t.Fatalf("at 1/s 2 s are %v", time.Duration(gap))
	}
}

func TestDemandTellsWhatIsWrittenAndWhetherMoreIsWanted(t *testing.T) {
	p := New(epoch, Config{Ceiling: 100})
	spend := func(from, to, each time.Duration) {
		for d := from; d < to; d += each {
			if p.Wait(after(d)) == 0 {
				p.Spend(after(d), 1)
			}
		}
	}
	spend(0, 3*time.Second, 20*time.Millisecond)
	if per, more := p.Demand(after(3 * time.Second)); per < 48 || per > 52 || more {
		t.Fatalf("demand %v, more %v; want 50 and no more", per, more)
	}
	spend(3*time.Second, 6*time.Second, time.Millisecond)
	if per, more := p.Demand(after(6 * time.Second)); per < 98 || per > 102 || !more {
		t.Fatalf("demand %v, more %v; want 100 and more", per, more)
	}
	if per, more := p.Demand(after(9 * time.Second)); per != 0 || more {
		t.Fatalf("demand %v, more %v after silence", per, more)
	}
}

func TestTheHotPathAllocatesNothing(t *testing.T) {
	p := New(epoch, Config{Ceiling: 500})
	now := time.Duration(0)
	n := 0
	if a := testing.AllocsPerRun(20_000, func() {
		now += 2 * time.Millisecond
		n++
		if p.Wait(after(now)) == 0 && p.Held(after(now), everybody[n%5000]) == 0 {
			kind := Taken
			switch {
			case n%1000 == 0:
				kind = Throttled
			case n%500 == 0:
				kind = QueueFull
			}
			p.Answer(after(now), p.Spend(after(now), 1), everybody[n%5000], kind)
		}
	}); a != 0 {
		t.Fatalf("%v allocations a submit", a)
	}
}

func BenchmarkSubmit(b *testing.B) {
	p := New(epoch, Config{Ceiling: Unknown})
	now := epoch
	for n := 0; b.Loop(); n++ {
		now = now.Add(time.Microsecond)
		p.Wait(now)
		p.Held(now, everybody[n%5000])
		p.Answer(now, p.Spend(now, 1), everybody[n%5000], Taken)
	}
}

func TestManyMayAskAtOnce(t *testing.T) {
	p := New(epoch, Config{Ceiling: 500})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 2000 {
				now := after(time.Duration(i) * time.Millisecond)
				to := everybody[g*1000+i%1000]
				if p.Wait(now) == 0 && p.Held(now, to) == 0 {
					p.Answer(now, p.Spend(now, 1), to, Kind(i)%3)
				}
				if i%100 == 0 {
					p.SetCeiling(now, float64(100+i))
					p.Demand(now)
					p.Rate()
				}
			}
		})
	}
	all.Wait()
}
