package bench

import (
	"fmt"
	"math"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

const (
	limitRate   = 500 // submit_sm a second
	limitBurst  = 50
	limitEvery  = 10 // submit_sm, of which one is throttled
	limitAnswer = 20 * time.Millisecond

	aimAccepted  = 480  // submit_sm a second
	aimThrottled = 0.01 // share
	aimEvery     = 0.85 // of the rate without throttling
	aimSlow      = 0.95 // of window / round trip

	limitFor    = 30 * time.Second // is counted
	limitStart  = 3 * time.Second  // passes before the base is counted
	limitBase   = 5 * time.Second  // is counted before the fault
	limitSettle = 5 * time.Second  // is not counted
	limitSearch = 30 * time.Second // the same, where the limit has to be found
	// limitBacklog bounds what is preloaded for a row at full speed.
	limitBacklog = 5 * bridgeMessages
	// limitGuess is what a bridge is taken to carry a second when the row of
	// full speed was left out.
	limitGuess = 5000
)

// limit is how an operator holds back who sends.
type limit struct {
	name  string
	fault smsc.Fault
	pace  int  // that the operator has named
	based bool // the rate without the fault is measured directly before
	// settle is how long the fault is in force before it is counted.
	settle time.Duration
	aims   func(held) []aim
}

var limits = []limit{
	{
		name: "500/s, burst 50, known to the sender", pace: limitRate, settle: limitSettle, aims: aimsOfRate,
		fault: smsc.Fault{Kind: smsc.FaultThrottle, Rate: limitRate, Burst: limitBurst},
	},
	{
		name: "500/s, burst 50, unknown to the sender", settle: limitSearch, aims: aimsOfRate,
		fault: smsc.Fault{Kind: smsc.FaultThrottle, Rate: limitRate, Burst: limitBurst},
	},
	{
		name: "every 10th submit_sm throttled", based: true, settle: limitSettle, aims: aimsOfEvery,
		fault: smsc.Fault{Kind: smsc.FaultEvery, N: limitEvery},
	},
	{
		name: "answers after 20 ms", settle: limitSettle, aims: aimsOfSlow,
		fault: smsc.Fault{Kind: smsc.FaultDelay, Delay: limitAnswer},
	},
}

// held is what came through under a limit, and in base directly before it.
type held struct {
	base, limited flow
	settled       time.Duration
}

func aimsOfRate(h held) []aim {
	return []aim{
		{fmt.Sprintf("%d/s", aimAccepted), h.limited.accepted >= aimAccepted},
		{fmt.Sprintf("under %.0f %% throttled", 100*aimThrottled), h.limited.throttled < aimThrottled},
	}
}

func aimsOfEvery(h held) []aim {
	got := over(h.limited.accepted, h.base.accepted)
	return []aim{{fmt.Sprintf("%.0f %% of without (%.0f %%)", 100*aimEvery, 100*got), got >= aimEvery}}
}

func aimsOfSlow(h held) []aim {
	most := bridgeWindow / limitAnswer.Seconds()
	got := h.limited.accepted / most
	return []aim{{fmt.Sprintf("%.0f %% of %.0f/s (%.0f %%)", 100*aimSlow, most, 100*got), got >= aimSlow}}
}

// hold measures who sends to the simulator, from its first submit_sm on.
// Before that the fault is set, unless the limit is a based one. Counting ends
// early when the operator has accepted enough: a backlog that runs dry is no
// measure.
func (l limit) hold(b *testing.B, s simulator, enough int) (h held) {
	b.Helper()
	until(b, "the first submit_sm", bridgeLimit, func() bool { return s.counts(b).submits > 0 })
	if l.based {
		time.Sleep(shortened(b, limitStart))
		h.base = s.flow(b, shortened(b, limitBase), enough)
		s.fault(b, l.fault)
	}
	h.settled = shortened(b, l.settle)
	time.Sleep(h.settled)
	h.limited = s.flow(b, shortened(b, limitFor), enough)
	return h
}

// carry measures a bridge of ours under the limit. When the counting is over
// the limit is lifted, and what was held back must come: once each.
func (l limit) carry(b *testing.B, r *bridgeReport) held {
	s := r.prepare(b, setup{pace: l.pace})
	s.fault(b, smsc.Fault{Kind: smsc.FaultNoReceipt})
	if !l.based {
		s.fault(b, l.fault)
	}
	row := bridgeRow{lane: mobileid.LaneBulk, charged: true}
	messages := l.backlog(b, r.rateOf(bridgeRows[0]))
	s.preload(b, row, messages)
	r.keepHeader(b, s)
	s.startRole(b, "bridge", "bridge 1")
	h := l.hold(b, s.simulator, messages*19/20)
	s.lift(b, l.fault.Kind)
	s.awaitCarried(b, row, messages)
	s.checkCarried(b, row, messages)
	return h
}

// backlog is how many Messages wait, so that there are some to the end;
// without is the rate of a row of the same kind that nothing held back, 0 when
// it was not measured.
func (l limit) backlog(b *testing.B, without float64) int {
	b.Helper()
	lasts := shortened(b, l.settle) + shortened(b, limitFor)
	most := without
	switch l.fault.Kind {
	case smsc.FaultThrottle:
		most = limitRate
	case smsc.FaultDelay:
		most = bridgeWindow / limitAnswer.Seconds()
	default:
		lasts += shortened(b, limitStart) + shortened(b, limitBase)
		if without == 0 {
			most = limitGuess
		}
	}
	return min(int(math.Ceil(1.3*most*lasts.Seconds())), limitBacklog)
}

// over is a / b, and 0 when b was not measured.
func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func TestAnAimUnderALimitIsMetOrMissed(t *testing.T) {
	flowOf := func(accepted, throttled float64) flow { return flow{accepted, throttled, time.Second} }
	for _, c := range []struct {
		limit limit
		held  held
		want  string
	}{
		{limits[0], held{limited: flowOf(480, .0099)}, "480/s: met; under 1 % throttled: met"},
		{limits[1], held{limited: flowOf(479, .01)}, "480/s: missed; under 1 % throttled: missed"},
		{limits[2], held{base: flowOf(1000, 0), limited: flowOf(851, .1)}, "85 % of without (85 %): met"},
		{limits[2], held{base: flowOf(1000, 0), limited: flowOf(840, .1)}, "85 % of without (84 %): missed"},
		{limits[2], held{limited: flowOf(840, .1)}, "85 % of without (0 %): missed"},
		{limits[3], held{limited: flowOf(4751, 0)}, "95 % of 5000/s (95 %): met"},
		{limits[3], held{limited: flowOf(4700, 0)}, "95 % of 5000/s (94 %): missed"},
	} {
		if got := words(c.limit.aims(c.held)); got != c.want {
			t.Errorf("%s: %q, want %q", c.limit.name, got, c.want)
		}
	}
}
