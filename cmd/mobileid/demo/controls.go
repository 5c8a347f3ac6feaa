package demo

import (
	"context"
	"slices"
	"sync"
	"time"

	"mobileid/cmd/mobileid/demo/page"
	"mobileid/cmd/smscsim/smsc"
)

const (
	throttleFor = 6 * time.Second
	// hangFor is longer than the response timer of the demo's operator (5 s):
	// what is written into the hang is in doubt, and codes go once more.
	hangFor = 7 * time.Second
)

// controls are the page's buttons that break things.
type controls struct {
	d *demo

	mu      sync.Mutex
	hangs   time.Time // until then
	killing bool      // it is dying, or not started again yet
}

// Break does what a button says.
func (c *controls) Break(_ context.Context, what page.Breakage) error {
	switch what {
	case page.OperatorThrottles:
		return c.d.smsc.SetFault(smsc.Fault{Kind: smsc.FaultStatus, Status: 0x58, For: throttleFor})
	case page.OperatorHangs:
		c.mu.Lock()
		c.hangs = time.Now().Add(hangFor)
		c.mu.Unlock()
		return c.d.smsc.SetFault(smsc.Fault{Kind: smsc.FaultStall, For: hangFor})
	case page.BridgeKilled:
		c.setKilling(true)
		// It takes as long as the dying one needs to notice.
		c.d.kills.Go(func() {
			defer c.setKilling(false)
			if err := c.d.bridge.kill(c.d.running, c.d.smsc); err != nil {
				c.d.opts.Log.Error("the bridge was not killed", "err", err)
			}
		})
	case page.Recovering: // comes by itself
	}
	return nil
}

func (c *controls) setKilling(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killing = yes
}

// Broken says what is out of order now; "" = nothing.
func (c *controls) Broken(ctx context.Context) page.Breakage {
	c.mu.Lock()
	hangs, killing := time.Now().Before(c.hangs), c.killing
	c.mu.Unlock()
	throttles := slices.ContainsFunc(c.d.smsc.Faults(), func(f smsc.Fault) bool { return f.Kind == smsc.FaultStatus })
	switch {
	case killing:
		return page.BridgeKilled
	case hangs: // the bridge may have given the operator up meanwhile
		return page.OperatorHangs
	case throttles:
		return page.OperatorThrottles
	case c.d.bridge.ready(ctx) != nil:
		return page.Recovering
	}
	return ""
}
