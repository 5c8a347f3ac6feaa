package pace

import (
	"testing"
	"time"
	"unsafe"
)

// 302 a second of a ceiling of 500, 2 of them for one number, for five minutes;
// in one of two runs that number's queue is full for four of them.
func TestAFullQueueOfOneDestinationDoesNotSlowTheOthers(t *testing.T) {
	blocked := number(1_000_000)
	others := func(to Destination) bool { return to != blocked }
	run := func(full bool) (*world, *bridge) {
		w := newWorld(answerFunc(func(at time.Duration, to Destination) Kind {
			if full && to == blocked && at > sec(30) && at < sec(270) {
				return QueueFull
			}
			return Taken
		}), roundTrip)
		b := w.join(500, 100)
		b.demand = append(b.demand, w.poisson(300, everybody), w.poisson(2, []Destination{blocked}))
		w.second = func(at time.Duration) {
			if r := b.pacer.Rate(); r != 500 {
				t.Fatalf("the rate is %.0f after %v", r, at)
			}
		}
		w.run(sec(300))
		return w, b
	}
	_, without := run(false)
	w, with := run(true)
	before, now := without.saw(0.99, others), with.saw(0.99, others)
	t.Logf("p99 of the others: %v without, %v with a full queue; the full one was written to %d times and put off %d times",
		before, now, len(with.full), with.put)
	if now > before+time.Millisecond {
		t.Errorf("p99 of the others went from %v to %v", before, now)
	}
	// Three times at once, then after 3, 6, 12, 24, 30, 30 ... s.
	if n := len(with.full); n > 3+4+7 {
		t.Errorf("written to the full queue %d times in four minutes", n)
	}
	// Its messages arrive when the queue has room again.
	if n := len(with.waited[blocked]); n < 2*60-30 {
		t.Errorf("%d messages arrived at the number with the full queue", n)
	}
	if len(with.queue) > 100 || w.now != sec(300) {
		t.Errorf("%d messages wait at the end", len(with.queue))
	}
}

func TestFullQueuesOfSomeDestinationsAreTheirOwn(t *testing.T) {
	w := newWorld(nil, roundTrip)
	full := map[Destination]bool{}
	for _, to := range everybody[:150] { // 3 %
		full[to] = true
	}
	w.operator = answerFunc(func(_ time.Duration, to Destination) Kind {
		if full[to] {
			return QueueFull
		}
		return Taken
	})
	b := w.join(500, 100)
	w.second = func(at time.Duration) {
		if r := b.pacer.Rate(); r != 500 {
			t.Fatalf("the rate is %.0f after %v", r, at)
		}
	}
	w.run(sec(120))
	row(t, "3 % of the destinations have a full queue", measure(0, w.now, b), 0.95*500, 0)
}

// An operator with one queue for the account, which empties at 300/s.
func TestFullQueuesOfManyAreTheAccounts(t *testing.T) {
	queue := newBucket(constant(300), 1000)
	w := newWorld(answerFunc(func(at time.Duration, to Destination) Kind {
		if queue.answer(at, to) == Throttled {
			return QueueFull
		}
		return Taken
	}), roundTrip)
	b := w.join(Unknown, 20)
	w.run(sec(150))
	row(t, "RMSGQFUL above 300/s, second 20 to 30", measure(sec(20), sec(30), b), 270, 0)
	row(t, "the two minutes after", measure(sec(30), w.now, b), 270, 0)
	if share := float64(between(b.full, sec(30), w.now)) / float64(between(b.written, sec(30), w.now)); share > 0.04 {
		t.Errorf("%.1f %% were answered RMSGQFUL", 100*share)
	}
	if share := float64(b.put) / float64(len(b.taken)); share > 0.01 {
		t.Errorf("%.1f %% were put off for a queue that was not their destination's", 100*share)
	}
}

// Whatever an operator answers, a fixed pace is what was agreed; a destination
// whose queue is full waits all the same, even while many have one.
func TestAFixedPaceIsKeptWhateverIsAnswered(t *testing.T) {
	for name, o := range map[string]operator{
		"everything is throttled": answerFunc(func(time.Duration, Destination) Kind { return Throttled }),
		"each second one is":      &every{n: 2},
		"half of it is too much":  newBucket(constant(250), 20),
		"every queue is full":     answerFunc(func(time.Duration, Destination) Kind { return QueueFull }),
		"half of the queues are":  answerFunc(func(_ time.Duration, to Destination) Kind { return Kind(to[15]%2) * QueueFull }),
	} {
		w := newWorld(o, roundTrip)
		b := w.bridge(Config{Ceiling: 500, Fixed: true}, 100)
		w.second = func(at time.Duration) {
			if r := b.pacer.Rate(); r != 500 {
				t.Fatalf("%s: the rate is %.0f after %v", name, r, at)
			}
		}
		w.run(sec(30))
		if n := len(b.written); n > 500*30+20 || len(b.full) == 0 && n < 480*30 {
			t.Errorf("%s: %d were written in 30 s", name, n)
		}
	}
	p := New(time.Time{}, Config{Ceiling: 500, Fixed: true})
	for n := range 1000 {
		for try := range blameAfter {
			hold := p.Answer(time.Time{}, 0, number(n), QueueFull)
			if waits := hold > 0; waits != (try == blameAfter-1) {
				t.Fatalf("destination %d, refusal %d: hold %v", n, try+1, hold)
			}
		}
	}
}

func TestADestinationWaitsLongerEachTimeAndIsForgottenWhenItTakes(t *testing.T) {
	var d destinations
	to, now := number(1), sec(100)
	for i, want := range []int{0, 0, 3, 6, 12, 24, 30, 30} {
		hold, account := d.refuse(now, to)
		if hold != sec(want) || account {
			t.Fatalf("refusal %d: hold %v, account %v; want %d s, false", i+1, hold, account, want)
		}
		if d.held(now, to) != hold || d.held(now+hold, to) != 0 {
			t.Fatalf("refusal %d: held is not the hold", i+1)
		}
		now += hold
	}
	d.held(now, to)
	if d.held(now, to) != askFor {
		t.Fatal("while one asks whether there is room again, others are written too")
	}
	d.take(now, to)
	if d.used != 0 {
		t.Fatal("it took a message and is remembered")
	}
	for range blameAfter - 1 {
		if hold, _ := d.refuse(now, to); hold != 0 {
			t.Fatalf("after it took a message it is held for %v too soon", hold)
		}
	}
	if hold, _ := d.refuse(now+forgetAfter+1, to); hold != 0 || d.used != 1 {
		t.Fatalf("an old refusal counts: hold %v, %d remembered", hold, d.used)
	}
}

// A window of Messages for one number, all refused at once, is one full queue: the
// wait is the first one, not the longest.
func TestRefusalsThatWereUnderWayDoNotLengthenTheWait(t *testing.T) {
	var d destinations
	to, now := number(1), sec(100)
	refuse := func(n int, want time.Duration) {
		t.Helper()
		for range n {
			if hold, _ := d.refuse(now, to); hold != want {
				t.Errorf("hold %v, want %v", hold, want)
			}
		}
	}
	refuse(blameAfter-1, 0)
	refuse(10, firstHold)
	now += firstHold / 3
	refuse(10, firstHold-firstHold/3)
	now += firstHold
	d.held(now, to) // one asks
	refuse(1, 2*firstHold)
	now += time.Millisecond
	refuse(10, 2*firstHold-time.Millisecond)
}

func TestTheTableKeepsThoseThatWaitLongest(t *testing.T) {
	var d destinations
	if size := unsafe.Sizeof(d); size > 41<<10 {
		t.Errorf("the table takes %d bytes", size)
	}
	var in []Destination // one set
	for n := 0; len(in) < places+1; n++ {
		if to := number(n); d.set(to) == &d.table[0] {
			in = append(in, to)
		}
	}
	for range 50 {
		d.answered(0) // it is not the account's queue
		for range 20 {
			d.answered(0)
		}
	}
	for i, to := range in[:places] {
		now := time.Duration(0)
		for range blameAfter + places - i {
			hold, _ := d.refuse(now, to)
			now += hold
			d.held(now, to)
		}
	}
	d.refuse(sec(1), in[places])
	if d.find(in[places-1]) != nil {
		t.Error("the one whose wait ends first was kept")
	}
	for _, to := range in[:places-1] {
		if d.held(sec(1), to) == 0 {
			t.Error("one that waits longer was forgotten")
		}
	}
	if d.used != places {
		t.Errorf("%d places used, want %d", d.used, places)
	}
}
