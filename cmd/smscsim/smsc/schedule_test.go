package smsc

import (
	"container/heap"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTasksRunByTimeAndThenInTheirOrder(t *testing.T) {
	start := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		var waiting tasks
		seq := 0
		last := &task{}
		take := func() {
			next := heap.Pop(&waiting).(*task)
			if next.at.Before(last.at) || next.at.Equal(last.at) && next.seq < last.seq {
				t.Fatalf("task %d at %s behind task %d at %s", next.seq, next.at.Sub(start), last.seq, last.at.Sub(start))
			}
			last = next
		}
		for _, after := range rapid.SliceOf(rapid.IntRange(-1, 5)).Draw(t, "adds and takes") {
			if after < 0 {
				if len(waiting) > 0 {
					take()
				}
				continue
			}
			seq++
			added := &task{at: start.Add(time.Duration(after)), seq: seq}
			heap.Push(&waiting, added)
			if added.at.Before(last.at) {
				last = &task{} // it comes next, behind later ones
			}
		}
		for len(waiting) > 0 {
			take()
		}
	})
}
