package smpp

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// maxUnsettled is how many settlements wait for the Charger; of more the oldest
// are lost.
const maxUnsettled = 100_000

// A settlement that the Charger does not confirm is told again after settleAgain,
// doubling up to settleAgainMax.
const (
	settleAgain    = time.Second
	settleAgainMax = time.Minute
)

// settlement is a charge whose Message has ended.
type settlement struct {
	charge Charge
	used   bool
}

// ended queues the settlement of a Message that was answered yes for.
func (c *charging) ended(id mobileid.ID, used bool) {
	if c.charger == nil {
		return
	}
	c.mu.Lock()
	m, paid := c.paid[id]
	if paid {
		delete(c.paid, id)
		c.queue = append(c.queue, settlement{m, used})
		c.open++
	}
	if len(c.queue) > maxUnsettled {
		c.queue = c.queue[1:]
		c.open--
		c.lost++
	}
	c.mu.Unlock()
	signal(c.wake)
}

// next returns the settlement that waits longest, and how many were lost before
// it.
func (c *charging) next() (s settlement, lost int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost, c.lost = c.lost, 0
	if len(c.queue) == 0 {
		return settlement{}, lost, false
	}
	s, c.queue = c.queue[0], c.queue[1:]
	return s, lost, true
}

func (c *charging) settled() {
	c.mu.Lock()
	c.open--
	c.mu.Unlock()
	signal(c.fewer)
}

func (c *charging) unsettled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// awaitSettled waits until nothing is left to settle, at most d.
func (c *charging) awaitSettled(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for c.unsettled() > 0 {
		select {
		case <-c.fewer:
		case <-t.C:
			return
		}
	}
}

// settleCharges tells the Charger what became of the Messages that it said yes
// for, many side by side, until ctx ends. No Message waits for it.
func (b *Bridge) settleCharges(ctx context.Context) {
	c := &b.charging
	var under sync.WaitGroup
	defer under.Wait()
	places := make(chan struct{}, b.cfg.ChargesAtOnce)
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		for {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			s, lost, ok := c.next()
			b.metrics.charger.settlements.WithLabelValues("lost").Add(float64(lost))
			if !ok {
				<-places
				break
			}
			under.Go(func() {
				b.metrics.charger.settlements.WithLabelValues(b.settleCharge(ctx, s)).Inc()
				c.settled()
				<-places
			})
		}
	}
}

// settleCharge settles a charge and returns the result: a metric label.
func (b *Bridge) settleCharge(ctx context.Context, s settlement) string {
	until := s.charge.Deadline.Add(SettleWithin)
	for pause := settleAgain; ; pause = min(2*pause, settleAgainMax) {
		call, cancel := context.WithTimeout(ctx, b.cfg.ChargeTimeout)
		err := b.charging.charger.Settle(call, s.charge, s.used)
		cancel()
		switch {
		case err == nil && s.used:
			return "used"
		case err == nil:
			return "given_back"
		case b.now().After(until):
			b.log.Error("charge not settled in time; its reservation lapses", "id", s.charge.ID, "used", s.used)
			return "lost"
		}
		b.metrics.charger.settlements.WithLabelValues("failed").Inc()
		if !sleep(ctx, jitter(pause)) {
			return "lost"
		}
	}
}

// chargerMetrics are those of the Charger.
type chargerMetrics struct {
	answers     *prometheus.CounterVec
	seconds     prometheus.Histogram
	settlements *prometheus.CounterVec
}

func newChargerMetrics(m maker, c *charging) chargerMetrics {
	m.gauge("in_flight", "Messages that the Charger is asked about.", func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(len(c.asking))
	})
	m.gauge("unsettled", "Charges whose Message has ended and that are not settled.", func() float64 { return float64(c.unsettled()) })
	return chargerMetrics{
		answers:     m.vec("answers_total", "Answers of the Charger: yes, no or unknown.", "answer"),
		seconds:     m.seconds("seconds", "Time of an answer of the Charger."),
		settlements: m.vec("settlements_total", "Charges by how they were settled: used or given_back; failed when told again; lost when not any more.", "result"),
	}
}

// told counts an answer.
func (m *chargerMetrics) told(a ChargeAnswer, took time.Duration) {
	m.answers.WithLabelValues(a.String()).Inc()
	m.seconds.Observe(took.Seconds())
}

// String names an answer: a metric label.
func (a ChargeAnswer) String() string {
	switch a {
	case ChargeYes:
		return "yes"
	case ChargeNo:
		return "no"
	case ChargeUnknown:
	}
	return "unknown"
}
