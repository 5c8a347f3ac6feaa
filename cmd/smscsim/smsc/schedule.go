package smsc

import (
	"container/heap"
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

// tasks is a heap by time, of pointers: container/heap would put each task into an
// interface twice.
type tasks []*task //nolint:recvcheck // container/heap wants both kinds of receiver

func (t tasks) Len() int { return len(t) }
func (t tasks) Less(i, j int) bool {
	return t[i].at.Before(t[j].at) || (t[i].at.Equal(t[j].at) && t[i].seq < t[j].seq)
}
func (t tasks) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push is heap's.
func (t *tasks) Push(x any) { *t = append(*t, x.(*task)) } //nolint:errcheck,forcetypeassert // heap gives back what it was given

// Pop is heap's.
func (t *tasks) Pop() any {
	last := (*t)[len(*t)-1]
	(*t)[len(*t)-1] = nil
	*t = (*t)[:len(*t)-1]
	return last
}

func newSchedule() *schedule { return &schedule{wake: make(chan struct{}, 1)} }

func (s *schedule) at(when time.Time, run func()) {
	s.mu.Lock()
	s.seq++
	heap.Push(&s.tasks, &task{when, s.seq, run})
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
			next := heap.Pop(&s.tasks).(*task) //nolint:errcheck,forcetypeassert // only tasks are in it
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
