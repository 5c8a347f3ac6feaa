package smpp

import (
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// A process that is bound and carries nothing is not ready: readiness looks at
// what comes on, not at what is connected.
func TestReadinessWatchesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, func(c *sessionConfig) { c.response = time.Hour; c.enquire = time.Hour })
		b := bridgeOn(nil)
		l := &lease{}
		until := time.Now().Add(time.Hour)
		l.until.Store(&until)
		b.lease = l
		b.links[0].session, b.links[0].state = p.s, LinkUp
		ready := func(want string) {
			t.Helper()
			if err := b.Ready(); mobileid.CodeOf(err) != want {
				t.Errorf("after %v: %v, want %q", time.Since(until.Add(-time.Hour)), err, want)
			}
		}
		accept := func(status wire.Status) {
			f := p.read()
			p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), status, f.Sequence))
			synctest.Wait()
		}
		ready("")
		time.Sleep(10 * time.Minute) // nothing to do is no standstill
		ready("")

		// Throttled without end: each answer is in time, and nothing comes on.
		b.outgoing.put(&job{asked: time.Now()})
		ready("")
		for range 4 {
			p.submit(nil)
			accept(0x58)
			time.Sleep(5 * time.Second)
		}
		ready("standstill")
		p.submit(nil)
		accept(wire.StatusOK)
		ready("")
		time.Sleep(14 * time.Second)
		ready("")
		time.Sleep(2 * time.Second)
		ready("standstill")
		b.outgoing.pop()
		ready("")

		// The response timer has let one be: whatever else is accepted.
		p.submit(nil)
		p.read()
		for range 4 {
			time.Sleep(4 * time.Second)
			p.submit(nil)
			accept(wire.StatusOK)
		}
		ready("unanswered")
		b.links[0].session = nil
		ready("link_down")
		p.end()
	})
}
