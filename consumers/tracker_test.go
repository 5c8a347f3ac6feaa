package consumers

import (
	"testing"

	"pgregory.net/rapid"
)

// The committed offset never passes a record that is not done, and reaches the
// end when all are, whatever the order and the holes between offsets.
func TestTrackerCommitsTheContiguousPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1000).Draw(t, "start")
		tr := newTracker(start)
		next := start
		done := map[int64]bool{}
		var open []int64
		want := func() int64 {
			out := start
			for o := start; o < next; o++ {
				d, handedOut := done[o]
				if handedOut && !d {
					return out
				}
				if d {
					out = o + 1
				}
			}
			return out
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				next += rapid.Int64Range(0, 3).Draw(t, "hole")
				tr.add(next)
				done[next] = false
				open = append(open, next)
				next++
			},
			"finish": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("nothing is open")
				}
				o := rapid.SampledFrom(open).Draw(t, "offset") // also a second time
				tr.finish(o)
				done[o] = true
				if !tr.isDone(o) {
					t.Fatalf("%d is finished and not done", o)
				}
			},
			"commit": func(t *rapid.T) {
				if o, due := tr.due(); due {
					tr.settled(o)
				}
				if _, due := tr.due(); due {
					t.Fatal("due again after it was settled")
				}
			},
			"": func(t *rapid.T) {
				if got, _ := tr.due(); got != want() {
					t.Fatalf("would commit %d, want %d", got, want())
				}
			},
		})
	})
}

func TestTrackerIsNotDueBeforeAnythingIsDone(t *testing.T) {
	tr := newTracker(7)
	tr.add(7)
	tr.add(8)
	tr.finish(8)
	if o, due := tr.due(); due || o != 7 {
		t.Fatalf("due %d %v with the first record open", o, due)
	}
	if tr.isDone(7) || !tr.isDone(8) {
		t.Fatal("done is mixed up")
	}
}
