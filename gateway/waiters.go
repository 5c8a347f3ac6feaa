package gateway

import (
	"sync"

	"mobileid/internal/mobileid"
)

// Waiters wakes the long polls of this process. It is fed with every status
// event of the topic message.status, and holds nothing but who waits: an event
// for which nobody waits costs two looks into a map.
type Waiters struct {
	mu   sync.Mutex
	byID map[string]map[chan struct{}]struct{} // ids as they are printed
}

// NewWaiters makes an empty set.
func NewWaiters() *Waiters {
	return &Waiters{byID: map[string]map[chan struct{}]struct{}{}}
}

// Wait registers for changes of id. The channel gets a value after each change
// (several changes may give one); cancel must be called. Register first and
// read the state after: then no change falls between the two.
func (w *Waiters) Wait(id mobileid.ID) (changed <-chan struct{}, cancel func()) {
	// Room for one value: Notify never waits for a reader.
	c, printed := make(chan struct{}, 1), id.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID[printed] == nil {
		w.byID[printed] = map[chan struct{}]struct{}{}
	}
	w.byID[printed][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byID[printed], c)
		if len(w.byID[printed]) == 0 {
			delete(w.byID, printed)
		}
	}
}

// Notify wakes who waits for the subject of a status event, and for the request
// that is its key: the challenge, when the subject is the Message that carries
// its code. It never blocks, and does not read the value: most events are of
// requests for which another process waits, or nobody.
func (w *Waiters) Notify(e mobileid.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake(e.Subject)
	if e.Key != e.Subject {
		w.wake(e.Key)
	}
}

// NotifyAll wakes everybody who waits: changes may have been missed.
func (w *Waiters) NotifyAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.byID {
		w.wake(id)
	}
}

// wake tells who waits for an id. The caller holds mu.
func (w *Waiters) wake(id string) {
	for c := range w.byID[id] {
		select {
		case c <- struct{}{}:
		default:
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
