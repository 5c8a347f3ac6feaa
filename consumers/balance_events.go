package consumers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// BalanceDeps are the ports of the handler of balance.events. Now and Reg may be
// missing.
type BalanceDeps struct {
	Registry BalanceRegistry
	Now      func() time.Time
	Reg      prometheus.Registerer
}

type balanceEvents struct {
	BalanceDeps
	results *prometheus.CounterVec
	last    *prometheus.GaugeVec
}

// The results of a record of balance.events.
const (
	balanceTold    = "told"    // stored, or known already
	balanceUnknown = "unknown" // no account of the number at that operator
	balanceParked  = "parked"  // contradicts what was told under the same name
)

// NewBalanceEvents handles mobileid.balance.events: each is told to the registry,
// which knows what it has been told and what is older than that. An operator tells
// of all its subscribers, and most of them are not here: a number without an
// account is counted and done with. What was told before under the same name and
// otherwise parks the record, "credit_differs": one of the two is wrong, and only
// the operator knows which.
func NewBalanceEvents(d BalanceDeps) Handler {
	d.Now = clock(d.Now)
	return &balanceEvents{
		d,
		register(d.Reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_consumer_balance_events_total",
			Help: "What operators told of prepaid accounts, by what became of it (told, unknown: no such account, parked: it contradicts).",
		}, []string{"operator", "kind", "result"})),
		register(d.Reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mobileid_consumer_balance_last_timestamp_seconds",
			Help: "When this process last handled something that an operator told. Take the newest of all processes.",
		}, []string{"operator"})),
	}
}

// Handle tells those of one number one after the other, as they were written, and
// numbers side by side. It answers with an error of one of them.
func (h *balanceEvents) Handle(ctx context.Context, recs []*Record) error {
	var bad error
	var numbers [][]balanceRecord
	place := map[mobileid.Pseudonym]int{}
	for _, rec := range recs {
		r, err := readBalance(rec)
		if err != nil {
			if bad == nil {
				bad = err
			}
			continue
		}
		i, known := place[r.news.Number]
		if !known {
			i = len(numbers)
			place[r.news.Number], numbers = i, append(numbers, nil)
		}
		numbers[i] = append(numbers[i], r)
	}
	err := each(min(tellers, len(numbers)), func(i int) error {
		var first error
		for ; i < len(numbers); i += tellers {
			for _, r := range numbers[i] {
				err := h.tell(ctx, r, len(recs) == 1)
				switch {
				case err == nil:
				case mobileid.KindOf(err).Retryable():
					return err
				case first == nil:
					first = err
				}
			}
		}
		return first
	})
	if err != nil {
		return err
	}
	return bad
}

// tellers tell at once: each takes a connection of the registry, and a feed that
// catches up must leave some for codes.
const tellers = 4

// balanceRecord is a record that was read.
type balanceRecord struct {
	rec  *Record
	news mobileid.BalanceNews
}

func readBalance(rec *Record) (balanceRecord, error) {
	v, err := DecodeValue[mobileid.BalanceChanged](rec.Event, mobileid.TypeBalanceChanged)
	if err != nil {
		return balanceRecord{}, err
	}
	number, err := mobileid.ParsePseudonym(v.Number)
	if err != nil {
		return balanceRecord{}, mobileid.Invalid("/number", "event_number", "not a pseudonym")
	}
	if v.Source != mobileid.SourceOfOperator(v.Operator) {
		return balanceRecord{}, mobileid.Invalid("/source", "event_source", "an operator tells of its own accounts only")
	}
	return balanceRecord{rec, mobileid.BalanceNews{
		Source: v.Source, Seq: v.Seq, Operator: v.Operator, Number: number, Kind: v.Kind, Amount: v.Amount, At: v.At,
	}}, nil
}

// tell tells one. What contradicts is counted when it stands alone: before that
// its batch was only halved.
func (h *balanceEvents) tell(ctx context.Context, r balanceRecord, alone bool) error {
	err := h.Registry.Tell(ctx, r.news)
	result := balanceTold
	switch kind := mobileid.KindOf(err); {
	case kind == mobileid.KindNotFound:
		result, err = balanceUnknown, nil
	case kind.Retryable():
		return err
	case err != nil && !alone:
		return err
	case err != nil:
		result = balanceParked
	}
	h.results.WithLabelValues(r.news.Operator, string(r.news.Kind), result).Inc()
	h.last.WithLabelValues(r.news.Operator).Set(float64(h.Now().Unix()))
	if err == nil {
		r.rec.Done()
	}
	return err
}
