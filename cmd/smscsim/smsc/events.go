package smsc

import (
	"sync"
	"time"
)

// EventKind is what happened.
type EventKind string

// The kinds of events.
const (
	EventBind       EventKind = "bind"
	EventUnbind     EventKind = "unbind" // the session ended, however
	EventSubmit     EventKind = "submit"
	EventReceipt    EventKind = "receipt"     // a deliver_sm was written
	EventReceiptAck EventKind = "receipt_ack" // its answer was read
	EventInbound    EventKind = "inbound"     // a message from a handset was written
	EventInboundAck EventKind = "inbound_ack" // its answer was read
)

// Event is something that happened, as it happened.
type Event struct {
	At      time.Time `json:"at"`
	Kind    EventKind `json:"kind"`
	Account string    `json:"account"`
	Submit  *Submit   `json:"submit,omitempty"`
	Receipt *Receipt  `json:"receipt,omitempty"`
	Inbound *Inbound  `json:"inbound,omitempty"`
}

// subscriberQueue is how many events wait for a subscriber.
const subscriberQueue = 4096

// hub hands events to subscribers. One that does not keep up loses events; the
// log does not.
type hub struct {
	mu     sync.Mutex
	subs   map[chan Event]struct{}
	closed bool
}

func (h *hub) any() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs) > 0
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		select {
		case c <- e:
		default:
		}
	}
}

func (h *hub) subscribe() (<-chan Event, func()) {
	c := make(chan Event, subscriberQueue)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(c)
		return c, func() {}
	}
	if h.subs == nil {
		h.subs = map[chan Event]struct{}{}
	}
	h.subs[c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subs[c]; ok {
			delete(h.subs, c)
			close(c)
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.subs {
		close(c)
	}
	h.subs = nil
}
