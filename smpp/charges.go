package smpp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// Charges is where the registry keeps what the charging system has to be told.
type Charges interface {
	// ChargeCalls takes what is due of an operator, for a while: what is not told by
	// then is due again, later each time.
	ChargeCalls(ctx context.Context, operator string, limit int) ([]mobileid.ChargeCall, error)
	// ChargeTold stores that a call was made; known is what it showed of a Charge
	// that nobody knew of, or that was thought to be paid.
	ChargeTold(ctx context.Context, c mobileid.ChargeCall, known mobileid.ChargeState) error
}

// tellCharges tells the Charger what became of Charges, many side by side, until
// ctx ends. No Message waits for it.
func (b *Bridge) tellCharges(ctx context.Context) {
	if b.charging.charger == nil {
		return
	}
	var under sync.WaitGroup
	defer under.Wait()
	places := make(chan struct{}, b.cfg.ChargesAtOnce)
	again := time.NewTicker(b.cfg.RetryEvery)
	defer again.Stop()
	for {
		select {
		case <-b.charging.calls:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		free := cap(places) - len(places)
		if free == 0 {
			continue
		}
		calls, err := b.dueCharges(ctx, free)
		if err != nil && ctx.Err() == nil {
			b.log.Warn("charges to be told not read", "err", err)
		}
		for _, call := range calls {
			places <- struct{}{}
			under.Go(func() {
				b.tellCharge(ctx, call)
				<-places
			})
		}
		if len(calls) == free {
			signal(b.charging.calls)
		}
	}
}

func (b *Bridge) dueCharges(ctx context.Context, n int) ([]mobileid.ChargeCall, error) {
	call, cancel := context.WithTimeout(ctx, b.cfg.StoreTimeout)
	defer cancel()
	return b.store.ChargeCalls(call, b.cfg.Profile.ID, n)
}

// tellCharge makes one call and stores what it showed.
func (b *Bridge) tellCharge(ctx context.Context, c mobileid.ChargeCall) {
	known, err := b.tell(ctx, c)
	if err == nil {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StoreTimeout)
		err = b.store.ChargeTold(call, c, known)
		cancel()
	}
	if err != nil {
		b.metrics.charger.settlements.WithLabelValues("failed").Inc()
		if ctx.Err() == nil {
			b.log.Warn("charge not told yet", "id", c.ID, "kind", string(c.Kind), "err", err)
		}
		return
	}
	if known == "" {
		known = c.Kind
	}
	b.metrics.charger.settlements.WithLabelValues(string(known)).Inc()
}

// tell makes a call; known is what it shows that is not in the registry yet.
func (b *Bridge) tell(ctx context.Context, c mobileid.ChargeCall) (known mobileid.ChargeState, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.ChargeTimeout)
	defer cancel()
	m := Charge{ID: c.ID, Number: c.Number, TextID: c.TextID, Units: c.Units, Deadline: c.Deadline, Step: c.Step, Again: true}
	charger := b.charging.charger
	switch c.Kind {
	case mobileid.ChargeUnknown:
		// The SMS went out on credit. Asked again, the charging system says what it
		// made of it; a yes is settled by the call that follows from it.
		switch answer := charger.Reserve(ctx, m); answer {
		case ChargeYes:
			return mobileid.ChargePosted, nil
		case ChargeFree, ChargeNo, ChargeDenied, ChargeNoUser:
			return mobileid.ChargeVoided, nil
		case ChargeUnknown, ChargeHeld:
		}
		return "", errStillUnknown
	case mobileid.ChargeReversed:
		return "", charger.Refund(ctx, m, c.Moved)
	case mobileid.ChargePosted:
		err := charger.Settle(ctx, m, c.Moved)
		switch {
		case !errors.Is(err, ErrNotReserved):
			return "", err
		case c.Tries > 1:
			// It was told before, and the answer may be what was lost: then it is paid.
			b.log.Error("a charge was told, and the charging system has no reservation of it: compare it with the operator's file", "id", c.ID)
			return "", nil
		}
		return mobileid.ChargeReversed, nil // it has lapsed: nobody paid
	case mobileid.ChargeVoided:
		err := charger.Settle(ctx, m, 0)
		if errors.Is(err, ErrNotReserved) {
			err = nil
		}
		return "", err
	case mobileid.ChargePending:
	}
	return "", errNoCall
}

var (
	errStillUnknown = errors.New("the charging system does not say whether the charge is reserved")
	errNoCall       = errors.New("a charge of that kind is not told")
)

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
	return chargerMetrics{
		answers:     m.vec("answers_total", "Answers of the Charger: yes, no, free, denied, no_user, unknown or held.", "answer"),
		seconds:     m.seconds("seconds", "Time of an answer of the Charger."),
		settlements: m.vec("settlements_total", "Charges that the Charger was told of, by what they are then; failed when they are told again.", "result"),
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
	case ChargeFree:
		return "free"
	case ChargeNo:
		return "no"
	case ChargeDenied:
		return "denied"
	case ChargeNoUser:
		return "no_user"
	case ChargeHeld:
		return "held"
	case ChargeUnknown:
	}
	return "unknown"
}
