package mobileid

import "sync/atomic"

// Loop is what a long-running loop tells of itself, so that its process can
// say which loop does not come on. The loop calls Step and Rest from one
// goroutine at a time; each costs one atomic store. A nil Loop is told nothing.
type Loop struct {
	count atomic.Uint64 // odd while a step is under way; each step has its own
}

// Step says that a step begins, and that the one before has ended. A step ends
// by itself: whatever it asks has a timeout, so that an engine that is away
// makes many steps and not one without an end.
func (l *Loop) Step() {
	if l != nil {
		l.count.Store((l.count.Load() + 1) | 1)
	}
}

// Rest says that no step is under way: the loop has ended, or waits for
// something that may never come.
func (l *Loop) Rest() {
	if l != nil {
		l.count.Store((l.count.Load() + 1) &^ 1)
	}
}

// UnderWay returns the number of the step under way; false means that the loop
// rests.
func (l *Loop) UnderWay() (step uint64, yes bool) {
	n := l.count.Load()
	return n, n%2 == 1
}

// Watch gives a loop that begins its Loop, by a name for people; the same name
// is the same Loop, for loops that follow each other. The nil Watch watches
// nothing.
type Watch func(name string) *Loop

// Loop calls w, if there is one.
func (w Watch) Loop(name string) *Loop {
	if w == nil {
		return nil
	}
	return w(name)
}
