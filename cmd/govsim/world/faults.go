package world

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The ways in which a service can fail by order.
const (
	FaultNone    = ""
	FaultError   = "error"   // 500
	FaultGarbage = "garbage" // 200 with what is no JSON
	FaultHang    = "hang"    // no answer until the asker goes away
	FaultCut     = "cut"     // half an answer, then the connection is closed
)

// maxDelay leaves time to write the answer.
const maxDelay = requestLimit - time.Second

// faultOrder is how a service behaves.
type faultOrder struct {
	Fault string `json:"fault"`
	Delay int    `json:"delay_ms"` // before each answer
	Times int    `json:"times"`    // how many requests suffer; 0 = all until the next order
}

func (o faultOrder) check() error {
	switch o.Fault {
	case FaultNone, FaultError, FaultGarbage, FaultHang, FaultCut:
	default:
		return fmt.Errorf("fault %q: want error, garbage, hang, cut or nothing", o.Fault)
	}
	if o.Delay < 0 || o.Delay > int(maxDelay/time.Millisecond) || o.Times < 0 {
		return fmt.Errorf("delay_ms: 0 to %d; times: 0 or more", maxDelay/time.Millisecond)
	}
	return nil
}

// faults makes a service behave as ordered, and counts what it is asked.
type faults struct {
	mu      sync.Mutex
	order   faultOrder
	asked   int
	closing chan struct{}
}

func newFaults() *faults { return &faults{closing: make(chan struct{})} }

// obey replaces how the service behaves.
func (f *faults) obey(order faultOrder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = order
}

// state is the order in force, and how often the service was asked.
func (f *faults) state() (faultOrder, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.order, f.asked
}

// next counts a question and says how it is to be answered.
func (f *faults) next() faultOrder {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	order := f.order
	if order.Times > 0 {
		f.order.Times--
		if f.order.Times == 0 {
			f.order = faultOrder{}
		}
	}
	return order
}

// play counts a question and does what is ordered; true: nothing else is to be
// answered.
func (f *faults) play(w http.ResponseWriter, r *http.Request) bool {
	order := f.next()
	if !f.wait(r, order) {
		return true
	}
	switch order.Fault {
	case FaultError:
		answer(w, http.StatusInternalServerError, map[string]string{"error": "by order of the control API"})
	case FaultGarbage:
		_, _ = io.WriteString(w, "<html>by order of the control API")
	case FaultCut:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"status":`)
		panic(http.ErrAbortHandler) // closes the connection
	default:
		return false
	}
	return true
}

// wait is the delay of an order; false if the asker went away, or the world ends.
func (f *faults) wait(r *http.Request, order faultOrder) bool {
	delay := time.Duration(order.Delay) * time.Millisecond
	if order.Fault == FaultHang {
		delay = 24 * time.Hour
	}
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-f.closing:
	}
	return false
}

// bearer is the hash of the token of those who may ask a service. That of ""
// lets in nobody: no header carries an empty token.
type bearer [sha256.Size]byte

func newBearer(token string) bearer { return sha256.Sum256([]byte(token)) }

func (b bearer) admits(r *http.Request) bool {
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got := sha256.Sum256([]byte(token))
	return given && subtle.ConstantTimeCompare(b[:], got[:]) == 1
}
