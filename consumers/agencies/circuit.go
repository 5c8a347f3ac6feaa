package agencies

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	opensAfter = 5 // failures in a row
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// circuit keeps askers away from a service that does not answer. After some
// failures in a row it opens: nobody asks until a pause is over, and then one
// does, alone. His failure doubles the pause, his success closes the circuit.
type circuit struct {
	now func() time.Time

	mu       sync.Mutex
	failures int
	pause    time.Duration // 0 = closed
	until    time.Time
	trying   bool // the one who asks alone
}

// pass is leave to ask. Whoever has one gives it back by success, failure or
// abandoned.
type pass struct{ alone bool }

// enter says whether one may ask, and if not, how long nobody may.
func (c *circuit) enter() (p pass, wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pause == 0 {
		return pass{}, 0, true
	}
	if wait = c.until.Sub(c.now()); wait > 0 {
		return pass{}, wait, false
	}
	if c.trying {
		return pass{}, firstPause, false
	}
	c.trying = true
	return pass{alone: true}, 0, true
}

func (c *circuit) success() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.pause, c.trying = 0, 0, false
}

// failure counts one. atLeast is a pause that the service itself has asked for;
// it opens the circuit at once.
func (c *circuit) failure(p pass, atLeast time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	switch {
	case p.alone && c.trying:
		c.trying = false
		c.pause = min(2*c.pause, maxPause)
	case c.pause > 0: // entered before it opened
		return
	case c.failures < opensAfter && atLeast == 0:
		return
	default:
		c.pause = firstPause
	}
	c.pause = max(c.pause, min(atLeast, maxPause))
	c.until = c.now().Add(c.pause + rand.N(c.pause/4)) // so that processes do not come back together
}

// abandoned is for who went away before there was an answer.
func (c *circuit) abandoned(p pass) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.alone {
		c.trying = false
	}
}

// open reports whether the circuit is.
func (c *circuit) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pause > 0
}
