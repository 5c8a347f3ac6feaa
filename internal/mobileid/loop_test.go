package mobileid

import "testing"

func TestEachStepOfALoopHasItsOwnNumber(t *testing.T) {
	var l Loop
	under := func(want bool) uint64 {
		t.Helper()
		n, yes := l.UnderWay()
		if yes != want {
			t.Errorf("under way: %v, want %v", yes, want)
		}
		return n
	}
	under(false)
	l.Rest()
	under(false)
	seen := map[uint64]bool{}
	for i := range 6 {
		l.Step()
		seen[under(true)] = true
		if i%2 == 1 { // a step may follow a step
			l.Rest()
			l.Rest()
			under(false)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d numbers for 6 steps", len(seen))
	}
	var nobody *Loop
	nobody.Step()
	nobody.Rest()
	var none Watch
	none.Loop("x").Step()
}
