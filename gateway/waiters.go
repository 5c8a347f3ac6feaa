package gateway

import (
	"sync"

	"mobileid/internal/mobileid"
)

// Waiters wakes the long polls of this process. It is fed with every status
// event of the topic message.status, and holds nothing but who waits: an event
// for which nobody waits costs a look into a map.
type Waiters struct {
	mu   sync.Mutex
	byID map[mobileid.ID]map[chan struct{}]struct{}
}

// NewWaiters makes an empty set.
func NewWaiters() *Waiters {
	return &Waiters{byID: map[mobileid.ID]map[chan struct{}]struct{}{}}
}

// Wait registers for changes of id. The channel gets a value after each change
// (several changes may give one); cancel must be called. Register first and
// read the state after: then no change falls between the two.
func (w *Waiters) Wait(id mobileid.ID) (changed <-chan struct{}, cancel func()) {
	// Room for one value: Notify never waits for a reader.
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID[id] == nil {
		w.byID[id] = map[chan struct{}]struct{}{}
	}
	w.byID[id][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byID[id], c)
		if len(w.byID[id]) == 0 {
			delete(w.byID, id)
		}
	}
}

// Notify wakes who waits for the subject of the event, or for the challenge
// that the subject carries the code of. It never blocks.
func (w *Waiters) Notify(e mobileid.StatusChanged) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range [...]mobileid.ID{e.ID, e.Challenge} {
		if id.IsZero() {
			continue
		}
		for c := range w.byID[id] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}

// waiterCount bounds the long polls of each client.
type waiterCount struct {
	max int

	mu sync.Mutex
	n  map[string]int
}

func newWaiterCount(limit int) *waiterCount {
	return &waiterCount{max: limit, n: map[string]int{}}
}

// enter takes a place; leave gives it back. ok = false: the client has all.
func (c *waiterCount) enter(client string) (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[client] >= c.max {
		return nil, false
	}
	c.n[client]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n[client]--; c.n[client] <= 0 {
			delete(c.n, client)
		}
	}, true
}
