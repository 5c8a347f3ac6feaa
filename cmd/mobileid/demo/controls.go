package demo

import (
	"context"
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

	mu    sync.Mutex
	hangs time.Time // until then
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
		// It takes as long as the dying one needs to notice.
		c.d.kills.Go(func() {
			if err := c.d.bridge.kill(c.d.running, c.d.smsc); err != nil {
				c.d.opts.Log.Error("the bridge was not killed", "err", err)
			}
		})
	}
	return nil
}

// Broken says what is out of order now, in a word for people; "" = nothing.
func (c *controls) Broken(ctx context.Context) string {
	if c.d.bridge.ready(ctx) != nil {
		return "the bridge is down"
	}
	for _, f := range c.d.smsc.Faults() {
		if f.Kind == smsc.FaultStatus {
			return "the operator throttles"
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.hangs) {
		return "the operator hangs"
	}
	return ""
}
