package smsc

import (
	"sync"
	"time"
)

// stall is the state of a session that does not read: for a time, or for good.
type stall struct {
	lifted chan struct{} // the time was cut short

	mu       sync.Mutex
	until    time.Time
	halfOpen bool
}

func newStall() stall { return stall{lifted: make(chan struct{}, 1)} }

func (s *stall) begin(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Kind == FaultHalfOpen {
		s.halfOpen = true
		return
	}
	s.until = time.Now().Add(f.For)
}

// lift ends a stall before its time; what is half-open stays so.
func (s *stall) lift() {
	s.mu.Lock()
	s.until = time.Time{}
	s.mu.Unlock()
	select {
	case s.lifted <- struct{}{}:
	default:
	}
}

// wait returns when the session may go on, or is dead.
func (s *stall) wait(dead <-chan struct{}) {
	s.waitHalfOpen(dead)
	for {
		s.mu.Lock()
		left := time.Until(s.until)
		s.mu.Unlock()
		if left <= 0 {
			return
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-s.lifted:
		case <-dead:
			t.Stop()
			return
		}
		t.Stop()
	}
}

// waitHalfOpen returns at once, or when the session is dead.
func (s *stall) waitHalfOpen(dead <-chan struct{}) {
	s.mu.Lock()
	forever := s.halfOpen
	s.mu.Unlock()
	if forever {
		<-dead
	}
}
