package bench

import (
	"context"
	"fmt"
	"math"
	"os"
	"testing"
	"time"
)

const (
	kannelFor    = 10 * time.Second // is counted of a row at full speed
	kannelWarmUp = 3 * time.Second
	kannelDrain  = time.Minute
)

// kannelConnections are the numbers of HTTP connections that are tried: which
// one is Kannel's best depends on the machine.
var kannelConnections = []int{32, 64, 128}

// kannelCarried is a row of Kannel at full speed.
type kannelCarried struct {
	kannelSetup
	connections     int
	accepted, calls float64 // a second
	warmed, lasted  time.Duration
	cpu             map[string]float64 // seconds a thousand messages, by process
}

// rate is how many Messages came to their end a second: with receipts, as many
// as had their report called back.
func (k kannelCarried) rate() float64 {
	if k.receipts {
		return min(k.accepted, k.calls)
	}
	return k.accepted
}

// measure measures all rows of Kannel.
func (p kannelPrograms) measure(b *testing.B, r *bridgeReport) {
	n := 0
	for _, receipts := range []bool{false, true} {
		for _, spool := range []bool{false, true} {
			n++
			b.Run(fmt.Sprint("kannel-full-", n), func(b *testing.B) {
				p.fullSpeed(b, r, kannelSetup{spool: spool, receipts: receipts})
			})
		}
	}
	for i, l := range limits {
		b.Run(fmt.Sprint("kannel-limit-", i+1), func(b *testing.B) {
			r.addLimited("Kannel", l, p.hold(b, r, l))
		})
	}
}

// fullSpeed measures one set-up with each number of connections.
func (p kannelPrograms) fullSpeed(b *testing.B, r *bridgeReport, set kannelSetup) {
	var reports callbacks
	reports.listen(b)
	k := p.start(b, set)
	l := k.load(b, reports.url)
	for _, connections := range kannelConnections {
		c := kannelCarried{kannelSetup: set, connections: connections, warmed: shortened(b, kannelWarmUp)}
		k.underLoad(b, l, connections, func() {
			time.Sleep(c.warmed)
			calls, before, from := reports.calls.Load(), k.usages(), k.counts(b)
			time.Sleep(shortened(b, kannelFor))
			to, after := k.counts(b), k.usages()
			f := to.since(from)
			c.accepted, c.lasted = f.accepted, f.lasted
			c.calls = float64(reports.calls.Load()-calls) / f.lasted.Seconds()
			c.cpu = perThousand(before, after, to.accepted()-from.accepted())
		})
		k.drain(b, l, &reports)
		r.addKannel(c)
	}
}

// hold measures Kannel under a limit, without store and receipts and with the
// number of connections that was its best.
func (p kannelPrograms) hold(b *testing.B, r *bridgeReport, l limit) (h held) {
	k := p.start(b, kannelSetup{pace: l.pace})
	if !l.based {
		k.fault(b, l.fault)
	}
	k.underLoad(b, k.load(b, ""), r.bestConnections(), func() { h = l.hold(b, k.simulator, math.MaxInt) })
	return h
}

// bestConnections is the number of connections of Kannel's best row of the kind
// that the limits are measured with, the middle one when there is none.
func (r *bridgeReport) bestConnections() int {
	best, connections := 0.0, kannelConnections[1]
	for _, k := range r.kannels {
		if k.kannelSetup == (kannelSetup{}) && k.rate() > best {
			best, connections = k.rate(), k.connections
		}
	}
	return connections
}

// underLoad calls do while the load asks.
func (k *kannel) underLoad(b *testing.B, l *kannelLoad, connections int, do func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	failed := make(chan error, 1)
	go func() { failed <- l.run(ctx, connections) }()
	defer func() {
		cancel()
		if err := <-failed; err != nil {
			b.Errorf("the load of Kannel: %v", err)
		}
	}()
	do()
}

// drain waits until what one row left behind is gone, so that the next begins
// with nothing. What does not come is Kannel's affair, and said.
func (k *kannel) drain(b *testing.B, l *kannelLoad, reports *callbacks) {
	b.Helper()
	for end := time.Now().Add(kannelDrain); ; time.Sleep(100 * time.Millisecond) {
		taken, arrived, called := int(l.taken.Load()), k.counts(b).accepted(), int(reports.calls.Load())
		l.arrived.Store(int64(arrived))
		if arrived >= taken && (!k.receipts || called >= taken) {
			return
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "Kannel, %s: of %d messages that it took %d came to the operator and %d reports were called back within %s\n",
				k.kannelSetup, taken, arrived, called, kannelDrain)
			return
		}
	}
}
