package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"mobileid/internal/mobileid"
)

const topic = "t"

func lagNow(t testing.TB, kc KafkaConfig, group string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, release := kc.client()
	defer release()
	l, unknown := lag(ctx, client, GroupTopics{Group: group, Topics: []string{topic}})
	if len(unknown) > 0 {
		t.Fatal(unknown)
	}
	return l[topic]
}

func TestEveryRecordIsHandledOnceAndCommitted(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(4, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 1000)...)
	s := newSeen()
	m := startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		last := map[int]int64{}
		for _, r := range recs {
			if before, ok := last[r.Ref.Partition]; ok && r.Ref.Offset <= before {
				t.Error("records of a partition are out of order")
			}
			last[r.Ref.Partition] = r.Ref.Offset
		}
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 1000)
	m.stop(t)
	for id, n := range s.count {
		if n != 1 {
			t.Errorf("record %s came %d times", id, n)
		}
	}
	if l := lagNow(t, kc, "g"); l != 0 {
		t.Errorf("lag %d after a clean stop", l)
	}
}

// workOn runs the worker of a topic over what is put into arrive, of a
// partition and offset, until handle stops it.
func workOn(t *testing.T, timeout time.Duration, handle func(ctx context.Context, recs []*Record, stop func()) error) (
	arrive func(partition, offset int), run func(),
) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	arrived := make(chan kafka.Message, 100)
	g := NewGroup(GroupConfig{Group: "g", Handler: HandlerFunc(func(ctx context.Context, recs []*Record) error {
		return handle(ctx, recs, stop)
	})})
	arrive = func(partition, offset int) {
		m, err := encode(topic, event(offset))
		if err != nil {
			t.Fatal(err)
		}
		m.Partition, m.Offset = partition, int64(offset)
		arrived <- m
	}
	return arrive, func() {
		newGeneration(g, nil, nil).work(ctx, t.Context(), arrived, &deliverer{
			group: "g", topic: topic, handler: g.cfg.Handler, timeout: timeout, log: testLog(t), metrics: g.metrics, commit: func() {},
		})
	}
}

// A batch that takes longer than a handler may would take as long the next
// time: it is halved until it fits, and nothing of it is parked.
func TestABatchThatIsTooSlowIsHalved(t *testing.T) {
	const all = 16
	handled := 0
	arrive, run := workOn(t, 20*time.Millisecond, func(ctx context.Context, recs []*Record, stop func()) error {
		if len(recs) > 2 {
			<-ctx.Done()
			return mobileid.Unavailable("slow", 0, ctx.Err())
		}
		if handled += len(recs); handled == all {
			stop()
		}
		return nil
	})
	for i := range all {
		arrive(0, i)
	}
	run()
	if handled != all {
		t.Fatalf("%d records were handled", handled)
	}
}

// What arrives on any partition while a call runs is the next call's batch.
func TestThePartitionsOfATopicShareABatch(t *testing.T) {
	var calls [][]*Record
	var arrive func(partition, offset int)
	arrive, run := workOn(t, patience, func(_ context.Context, recs []*Record, stop func()) error {
		calls = append(calls, recs)
		if len(calls) == 1 {
			for i := range 80 {
				arrive(i%4, 1+i/4)
			}
		} else {
			stop()
		}
		return nil
	})
	arrive(0, 0)
	run()
	if len(calls) != 2 || len(calls[0]) != 1 || len(calls[1]) != 80 {
		t.Fatalf("%d calls", len(calls))
	}
}

func TestOnlyRecordsThatAreNotDoneComeAgain(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 10)...)
	s := newSeen()
	// How many records a call gets depends on when they arrive; what each one
	// meets does not.
	m := startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		var err error
		for _, r := range slices.Backward(recs) {
			switch {
			case r.Ref.Offset%2 == 1 || s.times(r.Event.ID) > 1:
				r.Done()
			default:
				err = mobileid.Unavailable("test", 0, nil)
			}
		}
		return err
	})})
	s.waitFor(t, "the even ones again", func(c map[string]int) bool { return c["8"] == 2 })
	m.stop(t)
	for i := range 10 {
		if want := 2 - i%2; s.times(fmt.Sprint(i)) != want {
			t.Errorf("record %d came %d times, want %d", i, s.times(fmt.Sprint(i)), want)
		}
	}
}

// What is committed never passes a record that is open, and what was done
// behind it comes again to the next member: at least once, and never lost.
func TestAnOpenRecordHoldsTheCommitBack(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 10)...)
	first := make(chan struct{})
	var once sync.Once
	m := startGroup(t, GroupConfig{
		Kafka: kc, Group: "g", Topics: []string{topic}, Grace: 50 * time.Millisecond,
		Handler: HandlerFunc(func(ctx context.Context, recs []*Record) error {
			stuck := false
			for _, r := range recs {
				if r.Ref.Offset == 4 {
					stuck = true
					continue
				}
				r.Done()
			}
			if !stuck {
				return nil // they came in more than one call
			}
			once.Do(func() { close(first) })
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), errDraining) {
				t.Errorf("the context ended by %v", context.Cause(ctx))
			}
			return ctx.Err()
		}),
	})
	<-first
	m.stop(t)
	if l := lagNow(t, kc, "g"); l != 6 {
		t.Fatalf("lag %d, want 6: the commit stands at the open record", l)
	}
	s := newSeen()
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 6)
	if s.times("3") != 0 || s.times("4") != 1 {
		t.Fatalf("the second member met %v", s.count)
	}
}

func TestABadRecordIsHalvedOutAndParked(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 100)...)
	s, dlq, reg := newSeen(), &memory{}, prometheus.NewRegistry()
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, DLQ: dlq, Reg: reg, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		for _, r := range recs {
			switch r.Event.ID {
			case "13", "77":
				return mobileid.Invalid("", "bad_luck", "no")
			case "50":
				panic("record 50")
			}
		}
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 97)
	want := map[string]string{"13": "bad_luck", "50": "handler_panic", "77": "bad_luck"}
	mustPublish(t, p, topic, event(100)) // behind everything
	s.waitDistinct(t, 98)
	if got := dlq.has(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("parked %v, want %v", got, want)
	}
	for id, n := range s.count {
		if n != 1 {
			t.Errorf("good record %s was done %d times", id, n)
		}
	}
	if n := metric(t, reg, "mobileid_consumer_records_total", map[string]string{"outcome": "parked"}); n != 3 {
		t.Errorf("metric says %v parked", n)
	}
}

func TestAnUndecodableRecordIsParkedAndThePartitionGoesOn(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	bad, err := encode(topic, event(0))
	if err != nil {
		t.Fatal(err)
	}
	bad.Value = []byte("not JSON")
	if err := p.write(t.Context(), append(headless(bad), bad)); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, p, topic, event(1))
	s, dlq := newSeen(), &memory{}
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, DLQ: dlq, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		for _, r := range recs {
			if r.Err != nil {
				t.Error("a handler met an undecodable record")
			}
		}
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 1)
	if got := dlq.has(); got["0"] != "envelope_value" || got["offset 0"] != "envelope_id" {
		t.Fatalf("parked %v", got)
	}
}

// A dead-letter topic that is away keeps the bad record where it is.
func TestARecordIsNotDoneBeforeItIsParked(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, event(0))
	dlq, tried := &memory{fail: mobileid.Unavailable("away", 0, nil)}, newSeen()
	m := startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, DLQ: dlq, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		tried.add(recs...)
		return mobileid.Invalid("", "bad", "no")
	})})
	tried.waitDistinct(t, 1)
	m.stop(t)
	if l := lagNow(t, kc, "g"); l != 1 {
		t.Fatalf("lag %d: the record was committed and is parked nowhere", l)
	}
}

func TestARetryNeitherLosesNorSpins(t *testing.T) {
	for _, kind := range []mobileid.Kind{mobileid.KindUnavailable, mobileid.KindUnknown, mobileid.KindInternal} {
		t.Run(string(kind), func(t *testing.T) {
			_, kc := startKafka(t, kfake.SeedTopics(1, topic))
			p := newTestPublisher(t, kc, PublisherConfig{})
			mustPublish(t, p, topic, events(0, 5)...)
			s, reg := newSeen(), prometheus.NewRegistry()
			var mu sync.Mutex
			var at []time.Time
			startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Reg: reg, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
				mu.Lock()
				at = append(at, time.Now())
				n := len(at)
				mu.Unlock()
				if n < 4 {
					return &mobileid.Error{Kind: kind, Code: "test"}
				}
				s.add(recs...)
				return nil
			})})
			s.waitDistinct(t, 5)
			for i := 1; i < 4; i++ {
				if d := at[i].Sub(at[i-1]); d < retryFirst/2<<(i-1) {
					t.Errorf("try %d came %v after the one before: pauses must grow", i, d)
				}
			}
			if n := metric(t, reg, "mobileid_consumer_retries_total", map[string]string{"kind": string(kind)}); n != 3 {
				t.Errorf("metric says %v retries", n)
			}
		})
	}
}

func TestAHandlerThatHangsIsCutOffAndTriedAgain(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, event(0))
	s := newSeen()
	var calls atomic.Int32
	startGroup(t, GroupConfig{
		Kafka: kc, Group: "g", Topics: []string{topic}, HandlerTimeout: 30 * time.Millisecond,
		Handler: HandlerFunc(func(ctx context.Context, recs []*Record) error {
			if calls.Add(1) == 1 {
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), errHandlerDeadline) {
					t.Errorf("the context ended by %v", context.Cause(ctx))
				}
				return ctx.Err()
			}
			s.add(recs...)
			return nil
		}),
	})
	s.waitDistinct(t, 1)
}

func TestTheRunningBatchMayFinishWhenTheProcessStops(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 3)...)
	begun := make(chan struct{})
	var once sync.Once
	m := startGroup(t, GroupConfig{
		Kafka: kc, Group: "g", Topics: []string{topic}, MaxBatch: 3, Grace: patience,
		Handler: HandlerFunc(func(ctx context.Context, _ []*Record) error {
			once.Do(func() { close(begun) })
			select {
			case <-ctx.Done():
				t.Errorf("cut off by %v", context.Cause(ctx))
			case <-time.After(200 * time.Millisecond): // long after the stop, well inside the grace
			}
			return ctx.Err()
		}),
	})
	<-begun
	m.stop(t)
	if l := lagNow(t, kc, "g"); l >= 3 {
		t.Fatalf("lag %d: the batch under way was not committed", l)
	}
}

// Members come and go under load. Nothing is lost, and all that comes twice is
// what a member had begun when it lost the partition.
func TestMembersComeAndGoUnderLoad(t *testing.T) {
	const n = 6000
	_, kc := startKafka(t, kfake.SeedTopics(6, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	s := newSeen()
	handler := HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		return nil
	})
	join := func() *member {
		return startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: handler, MaxBatch: 50})
	}
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := 0; i < n; i += 20 {
			if err := p.Publish(context.Background(), topic, events(i, i+20)...); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			time.Sleep(5 * time.Millisecond) // the load's pace, not a wait
		}
	}()
	a := join()
	s.waitDistinct(t, n/6)
	b := join()
	s.waitDistinct(t, 2*n/6)
	c := join()
	s.waitDistinct(t, 3*n/6)
	a.stop(t)
	s.waitDistinct(t, 4*n/6)
	b.stop(t)
	<-published
	s.waitDistinct(t, n)
	c.stop(t)
	twice := 0
	for _, k := range s.count {
		twice += k - 1
	}
	if twice > 0 {
		t.Errorf("%d records came twice although every member left in order", twice)
	}
	if l := lagNow(t, kc, "g"); l != 0 {
		t.Errorf("lag %d", l)
	}
}

func TestTheGroupOutlivesTheBroker(t *testing.T) {
	dir := t.TempDir()
	port := 0
	start := func() *kfake.Cluster {
		opts := []kfake.Opt{kfake.NumBrokers(1), kfake.DataDir(dir)}
		if port == 0 {
			opts = append(opts, kfake.SeedTopics(2, topic))
		} else {
			opts = append(opts, kfake.Ports(port))
		}
		c, err := kfake.NewCluster(opts...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := start()
	addr := c.ListenAddrs()[0]
	if _, err := fmt.Sscanf(addr[len("127.0.0.1:"):], "%d", &port); err != nil {
		t.Fatal(err)
	}
	kc := KafkaConfig{Brokers: []string{addr}}
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 50)...)
	s := newSeen()
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 50)
	c.Close()
	// The first meets a connection that was cut while idle and cannot know.
	_ = p.Publish(t.Context(), topic, event(50))
	if err := p.Publish(t.Context(), topic, event(50)); mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Errorf("publish to nobody: %v", err)
	}
	c = start()
	defer c.Close()
	publishUntil(t, p, topic, event(51))
	s.waitFor(t, "the record after the restart", func(c map[string]int) bool { return c["51"] > 0 })
}

// publishUntil repeats like a client that was told to.
func publishUntil(t testing.TB, p *Publisher, topic string, e mobileid.Event) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		err := p.Publish(t.Context(), topic, e)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("publish: %v", err)
		}
	}
}

// The first group of a fresh broker meets error 15, a member in a rebalance
// error 27. Both are ordinary.
func TestJoiningSurvivesAnUnreadyCoordinator(t *testing.T) {
	c, kc := startKafka(t, kfake.SeedTopics(1, topic))
	c.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Group: "g", Err: kerr.CoordinatorNotAvailable, Count: 2},
		kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Group: "g", TopLevel: true, Err: kerr.RebalanceInProgress, Count: 1},
	)
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, event(0))
	s := newSeen()
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 1)
}

func TestRecordsLostToRetentionAreCountedAndAlarmed(t *testing.T) {
	c, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	run := func(reg *prometheus.Registry, s *seen) *member {
		return startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Reg: reg, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
			s.add(recs...)
			return nil
		})})
	}
	mustPublish(t, p, topic, events(0, 5)...)
	s := newSeen()
	m := run(prometheus.NewRegistry(), s)
	s.waitDistinct(t, 5)
	m.stop(t)
	mustPublish(t, p, topic, events(5, 25)...)
	if err := c.DeleteRecords(topic, 0, 12); err != nil {
		t.Fatal(err)
	}
	s, reg := newSeen(), prometheus.NewRegistry()
	run(reg, s)
	s.waitDistinct(t, 13)
	if n := metric(t, reg, "mobileid_consumer_lost_records_total", nil); n != 7 {
		t.Fatalf("metric says %v lost, want 7", n)
	}
}

func TestATopicThatAppearsOrGrowsIsRead(t *testing.T) {
	c, kc := startKafka(t)
	p := newTestPublisher(t, kc, PublisherConfig{})
	s := newSeen()
	startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		return nil
	})})
	if _, err := c.WaitGroupStable(t.Context(), "g", 1); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	publishUntil(t, p, topic, event(0))
	s.waitDistinct(t, 1)
}

// headless is a record without any header.
func headless(m kafka.Message) []kafka.Message {
	return []kafka.Message{{Topic: m.Topic, Value: []byte(`{}`)}}
}

// A member that is thrown out is told so by the context's cause, and what it
// had not finished comes again.
func TestAHandlerIsToldThatItsPartitionIsLost(t *testing.T) {
	c, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, event(0))
	s := newSeen()
	var calls atomic.Int32
	startGroup(t, GroupConfig{
		Kafka: kc, Group: "g", Topics: []string{topic}, Grace: 20 * time.Millisecond,
		Handler: HandlerFunc(func(ctx context.Context, recs []*Record) error {
			if calls.Add(1) > 1 {
				s.add(recs...)
				return nil
			}
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: "g", TopLevel: true, Err: kerr.UnknownMemberID})
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, errPartitionLost) {
				t.Errorf("the context ended by %v", cause)
			}
			return ctx.Err()
		}),
	})
	s.waitDistinct(t, 1)
}
