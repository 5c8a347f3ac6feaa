package consumers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

// books stands in for the registry's accounts: it answers by the name that the
// operator gave.
type books struct {
	mu   sync.Mutex
	told []string // seq
	news map[string]mobileid.BalanceNews
	errs map[string][]error // by seq, one a call
}

func (b *books) Tell(_ context.Context, n mobileid.BalanceNews) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if left := b.errs[n.Seq]; len(left) > 0 {
		if b.errs[n.Seq] = left[1:]; left[0] != nil {
			return left[0]
		}
	}
	if b.news == nil {
		b.news = map[string]mobileid.BalanceNews{}
	}
	b.told, b.news[n.Seq] = append(b.told, n.Seq), n
	return nil
}

func balanceOf(number byte, seq string) mobileid.BalanceChanged {
	return mobileid.BalanceChanged{
		Source: "operator:beeline", Seq: seq, Operator: "beeline", Number: mobileid.Pseudonym{number}.String(),
		Kind: mobileid.BalanceTopUp, Amount: 500, At: noon,
	}
}

func TestAnOperatorsNewsAreToldNumberByNumberInTheirOrder(t *testing.T) {
	b := &books{}
	h := NewBalanceEvents(BalanceDeps{Registry: b})
	recs := tracked(
		message(t, mobileid.TypeBalanceChanged, "1", balanceOf(1, "a1")), message(t, mobileid.TypeBalanceChanged, "2", balanceOf(2, "b1")),
		message(t, mobileid.TypeBalanceChanged, "3", balanceOf(1, "a2")), message(t, mobileid.TypeBalanceChanged, "4", balanceOf(1, "a3")),
	)
	if err := h.Handle(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
	want := mobileid.BalanceNews{
		Source: "operator:beeline", Seq: "a1", Operator: "beeline", Number: mobileid.Pseudonym{1}, Kind: mobileid.BalanceTopUp, Amount: 500, At: noon,
	}
	if got := b.news["a1"]; got != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
	var many []kafka.Message
	for n := range 10 * tellers {
		many = append(many, message(t, mobileid.TypeBalanceChanged, fmt.Sprint("m", n), balanceOf(byte(n), fmt.Sprint("m", n))))
	}
	recs = tracked(many...)
	if err := h.Handle(t.Context(), recs); err != nil || len(b.news) != 4+len(many) {
		t.Fatalf("%d of %d were told: %v", len(b.news)-4, len(many), err)
	}
	b.told = b.told[:4]
	order := slices.DeleteFunc(slices.Clone(b.told), func(seq string) bool { return seq[0] != 'a' })
	if !slices.Equal(order, []string{"a1", "a2", "a3"}) || len(b.told) != 4 {
		t.Errorf("told in the order %v", b.told)
	}
}

// parkedAndSeen is a DLQ that says when it has parked something.
type parkedAndSeen struct {
	*memory
	met *seen
}

func (p parkedAndSeen) Park(ctx context.Context, r *Record, reason string) error {
	err := p.memory.Park(ctx, r, reason)
	p.met.add(r)
	return err
}

// TestWhatCannotBeToldParksAloneAndTheRestGoesOn runs a whole group: a number that
// is not here is done with, what contradicts and what is wrong is parked with its
// reason, and the registry's absence is waited out.
func TestWhatCannotBeToldParksAloneAndTheRestGoesOn(t *testing.T) {
	const topic = mobileid.TopicBalanceEvents
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	differs := &mobileid.Error{Kind: mobileid.KindConflict, Code: "credit_differs"}
	missing := &mobileid.Error{Kind: mobileid.KindNotFound, Code: "not_found"}
	away := mobileid.Unavailable("database_away", 0, nil)
	b := &books{errs: map[string][]error{
		"contradicts": slices.Repeat([]error{differs}, 20), "stranger": slices.Repeat([]error{missing}, 20), "later": {away, away},
	}}
	foreign := balanceOf(4, "foreign")
	foreign.Source = "operator:ucell"
	negative := balanceOf(4, "negative")
	negative.Amount = -1
	kindless := balanceOf(4, "kindless")
	kindless.Kind = "gift"
	numberless := balanceOf(4, "numberless")
	numberless.Number = strings.Repeat("v", 26) // spare bits set
	list := []mobileid.BalanceChanged{
		balanceOf(1, "first"), balanceOf(2, "contradicts"), balanceOf(3, "stranger"), foreign, negative, kindless, numberless,
		balanceOf(1, "later"), balanceOf(2, "last"),
	}
	var events []mobileid.Event
	for _, v := range list {
		e, err := NewEvent(mobileid.TypeBalanceChanged, v.Seq, v)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if err := p.Publish(t.Context(), topic, events...); err != nil {
		t.Fatal(err)
	}
	reg, dead, met := prometheus.NewRegistry(), &memory{}, newSeen()
	h := NewBalanceEvents(BalanceDeps{Registry: b, Reg: reg, Now: func() time.Time { return noon }})
	m := startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, DLQ: parkedAndSeen{dead, met}, Handler: HandlerFunc(func(ctx context.Context, recs []*Record) error {
		err := h.Handle(ctx, recs)
		for _, r := range recs {
			if err == nil || r.isDone() {
				met.add(r)
			}
		}
		return err
	})})
	met.waitDistinct(t, len(list))
	m.stop(t)
	want := map[string]string{
		"contradicts": "credit_differs", "foreign": "event_source", "negative": "event_schema", "kindless": "event_schema", "numberless": "event_number",
	}
	if got := dead.has(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("parked %v, want %v", got, want)
	}
	for _, seq := range []string{"first", "later", "last"} {
		if _, ok := b.news[seq]; !ok {
			t.Errorf("%s was not told", seq)
		}
	}
	for result, n := range map[string]float64{balanceUnknown: 1, balanceParked: 1} {
		if got := metric(t, reg, "mobileid_consumer_balance_events_total", map[string]string{"operator": "beeline", "result": result}); got != n {
			t.Errorf("%s: counted %v, want %v", result, got, n)
		}
	}
	if got := metric(t, reg, "mobileid_consumer_balance_last_timestamp_seconds", map[string]string{"operator": "beeline"}); got != float64(noon.Unix()) {
		t.Errorf("last heard of at %v", got)
	}
}
