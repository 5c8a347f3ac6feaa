package smsc

import (
	"context"
	"sync"
	"time"
)

// schedule runs functions at their times, in one goroutine: delayed answers
// and receipts, thousands a second, need no timer each.
type schedule struct {
	wake chan struct{}

	mu    sync.Mutex
	tasks tasks
	seq   int
}

type task struct {
	at  time.Time
	seq int // keeps the order of tasks of one time
	run func()
}

func (t task) before(o task) bool { return t.at.Before(o.at) || (t.at.Equal(o.at) && t.seq < o.seq) }

// tasks is a binary heap, the first task at its top; container/heap would
// allocate for each task twice.
type tasks []task

func (h *tasks) push(t task) {
	*h = append(*h, t)
	all := *h
	for i := len(all) - 1; i > 0; {
		parent := (i - 1) / 2
		if !all[i].before(all[parent]) {
			return
		}
		all[i], all[parent] = all[parent], all[i]
		i = parent
	}
}

func (h *tasks) pop() task {
	all := *h
	first, last := all[0], len(all)-1
	all[0], all[last] = all[last], task{}
	all = all[:last]
	*h = all
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < last && all[child].before(all[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		all[i], all[least] = all[least], all[i]
		i = least
	}
}

func newSchedule() *schedule { return &schedule{wake: make(chan struct{}, 1)} }

func (s *schedule) at(when time.Time, run func()) {
	s.mu.Lock()
	s.seq++
	s.tasks.push(task{when, s.seq, run})
	first := s.tasks[0].seq == s.seq
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *schedule) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = nil
}

func (s *schedule) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		for {
			s.mu.Lock()
			if len(s.tasks) == 0 {
				s.mu.Unlock()
				break
			}
			if wait = time.Until(s.tasks[0].at); wait > 0 {
				s.mu.Unlock()
				break
			}
			next := s.tasks.pop()
			s.mu.Unlock()
			next.run()
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}
