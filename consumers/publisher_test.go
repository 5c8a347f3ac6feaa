package consumers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"mobileid/internal/mobileid"
)

// logOf reads a whole topic.
func logOf(t testing.TB, kc KafkaConfig, topic string) []kafka.Message {
	t.Helper()
	f := newKafkaFetcher(kc)
	defer f.close()
	partitions, err := partitionsOf(t.Context(), f.current(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var all []kafka.Message
	for _, p := range partitions {
		first, end, err := f.bounds(t.Context(), topic, p)
		if err != nil {
			t.Fatal(err)
		}
		for offset := first; offset < end; {
			got, err := f.fetch(t.Context(), topic, p, offset)
			if err != nil {
				t.Fatal(err)
			}
			all, offset = append(all, got.messages...), got.next
		}
	}
	return all
}

func TestPublishIsInTheLogWhenItReturns(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(4, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 700)...)
	byKey := map[string]int{}
	for _, m := range logOf(t, kc, topic) {
		e, err := decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if at, ok := byKey[e.Key]; ok && at != m.Partition {
			t.Fatalf("key %s is in two partitions", e.Key)
		}
		byKey[e.Key] = m.Partition
	}
	if len(byKey) != 97 {
		t.Fatalf("%d keys in the log, want 97", len(byKey))
	}
}

func TestManyCallersShareOneWriter(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(4, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := p.Publish(t.Context(), topic, event(i)); err != nil {
				t.Errorf("publish %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := len(logOf(t, kc, topic)); n != 200 {
		t.Fatalf("%d records, want 200", n)
	}
	if n := p.pending.Load(); n != 0 {
		t.Fatalf("%d records still count as pending", n)
	}
}

// What Publish says after each answer of the broker, and what then stands in
// the log: "unavailable" must never be said of a record that is there.
func TestPublishSaysWhetherARecordMayBeWritten(t *testing.T) {
	tests := []struct {
		name    string
		err     *kerr.Error
		count   int // answers; -1 = all
		want    mobileid.Kind
		inLog   bool
		written bool // Publish succeeds
	}{
		{"too few replicas, for good", kerr.NotEnoughReplicas, -1, mobileid.KindUnavailable, false, false},
		{"too few replicas, once", kerr.NotEnoughReplicas, 1, "", true, true},
		{"not leader, twice", kerr.NotLeaderForPartition, 2, "", true, true},
		{"too few replicas after the append, for good", kerr.NotEnoughReplicasAfterAppend, -1, mobileid.KindUnknown, true, false},
		{"timed out after the append, for good", kerr.RequestTimedOut, -1, mobileid.KindUnknown, true, false},
		{"forbidden", kerr.TopicAuthorizationFailed, -1, mobileid.KindUnavailable, false, false},
		{"too large", kerr.MessageTooLarge, -1, mobileid.KindTooLarge, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, kc := startKafka(t, kfake.SeedTopics(1, topic))
			p := newTestPublisher(t, kc, PublisherConfig{})
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: tt.err, Count: tt.count})
			started := time.Now()
			err := p.Publish(t.Context(), topic, event(1))
			if d := time.Since(started); d > 1500*time.Millisecond {
				t.Errorf("took %v", d)
			}
			switch {
			case tt.written && err != nil:
				t.Errorf("have %v, want success", err)
			case !tt.written && mobileid.KindOf(err) != tt.want:
				t.Errorf("have %v, want %s", err, tt.want)
			}
			if have := len(logOf(t, kc, topic)) > 0; have != tt.inLog {
				t.Errorf("in the log: %v, want %v", have, tt.inLog)
			}
		})
	}
}

func TestPublishIsQuickWhenThereIsNoBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	p := newTestPublisher(t, KafkaConfig{Brokers: []string{addr}}, PublisherConfig{})
	started := time.Now()
	err = p.Publish(t.Context(), topic, event(1))
	if d := time.Since(started); d > 1200*time.Millisecond {
		t.Errorf("took %v", d)
	}
	if mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Errorf("have %v", err)
	}
}

// A broker that takes connections and never answers: the worst kind of away.
func TestPublishIsQuickWhenTheBrokerIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	var mu sync.Mutex
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
	}()
	defer func() {
		_ = l.Close()
		<-accepting
		for _, c := range open {
			_ = c.Close()
		}
	}()
	p := newTestPublisher(t, KafkaConfig{Brokers: []string{l.Addr().String()}}, PublisherConfig{})
	for range 2 {
		started := time.Now()
		err = p.Publish(t.Context(), topic, event(1))
		if d := time.Since(started); d > 1200*time.Millisecond {
			t.Errorf("took %v", d)
		}
		if mobileid.KindOf(err) != mobileid.KindUnavailable {
			t.Errorf("have %v", err)
		}
	}
}

// hold makes produce requests hang until the function it returns is called. The
// channel has a value for each that has come.
func hold(c *kfake.Cluster) (came chan struct{}, release func()) {
	came, held := make(chan struct{}, 1000), make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		came <- struct{}{}
		c.SleepControl(func() { <-held })
		return nil, nil, false //nolint:nilnil // kfake: not handled here
	})
	return came, sync.OnceFunc(func() { close(held) })
}

// awaitLine waits until n parcels wait for the call that is out.
func awaitLine(t testing.TB, p *Publisher, n int) {
	t.Helper()
	waiting := func() int {
		p.mu.Lock()
		l := &p.lines[topic].of[0]
		p.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.waiting)
	}
	for end := time.Now().Add(patience); waiting() != n; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d parcels wait, want %d", waiting(), n)
		}
	}
}

// While a produce request hangs, callers get their answer in time, what waits is
// bounded, and what was only waiting is surely not written.
func TestWhatWaitsForAHangingBrokerIsBounded(t *testing.T) {
	c, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{MaxPending: 10, Timeout: 200 * time.Millisecond})
	mustPublish(t, p, topic, event(0)) // knows the topic now
	came, release := hold(c)
	defer release()
	errs := make(chan error, 15)
	publish := func(i int) { errs <- p.Publish(t.Context(), topic, event(i)) }
	go publish(1)
	<-came
	for i := range 14 {
		go publish(2 + i)
	}
	kinds, refused := map[mobileid.Kind]int{}, 0
	for range 15 {
		err := <-errs
		kinds[mobileid.KindOf(err)]++
		if errors.Is(err, errBacklog) {
			refused++
		}
	}
	if kinds[mobileid.KindUnknown] != 1 || kinds[mobileid.KindUnavailable] != 14 || refused != 5 {
		t.Fatalf("have %v, %d of them at once, want 1 unknown and 14 unavailable, 5 of them at once", kinds, refused)
	}
	release()
	mustPublish(t, p, topic, event(20)) // goes after what is out
	if n := len(logOf(t, kc, topic)); n != 3 {
		t.Fatalf("%d records, want 0, 1 and 20: the others were told as not written", n)
	}
	if n := p.pending.Load(); n != 0 {
		t.Fatalf("%d records still count as pending", n)
	}
}

// What comes while the broker has not answered waits for the answer, and goes in
// one request then: requests do not queue one by one.
func TestWhatWaitsForASlowBrokerGoesTogether(t *testing.T) {
	c, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{Timeout: patience})
	mustPublish(t, p, topic, event(0))
	came, release := hold(c)
	var wg sync.WaitGroup
	publish := func(i int) {
		wg.Go(func() {
			if err := p.Publish(t.Context(), topic, event(i)); err != nil {
				t.Errorf("publish %d: %v", i, err)
			}
		})
	}
	publish(1)
	<-came
	for i := range 100 {
		publish(2 + i)
	}
	awaitLine(t, p, 100)
	release()
	wg.Wait()
	if n := len(came); n != 1 {
		t.Errorf("100 records that waited went in %d requests, want 1", n)
	}
	if n := len(logOf(t, kc, topic)); n != 102 {
		t.Errorf("%d records, want 102", n)
	}
}

// An answer that comes at the moment when the caller's time is over is believed.
func TestAnAnswerAtTheLastMomentIsNotUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	written := &parcel{messages: make([]kafka.Message, 1), done: make(chan struct{}), outcomes: make([]outcome, 1)}
	close(written.done)
	for range 100 { // both are ready, and select takes either
		if o := new(Publisher).await(ctx, &line{}, written)[0]; o.err != nil {
			t.Fatalf("a written record is told as %v, unsure %v", o.err, o.unsure)
		}
	}
}

// One record over the limit fails the batch it is in; those that waited with it
// are written all the same.
func TestARecordOverTheLimitFailsAlone(t *testing.T) {
	for name, size := range map[string]int{"of the writer": batchBytes, "of the broker": batchBytes / 2} {
		t.Run(name, func(t *testing.T) {
			c, kc := startKafka(t)
			if err := c.CreateTopic(topic, 1, map[string]string{"max.message.bytes": fmt.Sprint(batchBytes / 4)}); err != nil {
				t.Fatal(err)
			}
			p := newTestPublisher(t, kc, PublisherConfig{Timeout: patience})
			mustPublish(t, p, topic, event(0))
			came, release := hold(c)
			errs := make([]error, 4)
			var wg sync.WaitGroup
			publish := func(i, size int) {
				wg.Go(func() {
					e := event(i)
					e.Value = fmt.Appendf(nil, "%q", strings.Repeat("x", size))
					errs[i] = p.Publish(t.Context(), topic, e)
				})
			}
			publish(1, 1)
			<-came
			publish(2, size)
			publish(3, 1)
			awaitLine(t, p, 2)
			release()
			wg.Wait()
			if errs[1] != nil || errs[3] != nil || mobileid.KindOf(errs[2]) != mobileid.KindTooLarge {
				t.Fatalf("have %v, want only the second to be too large", errs[1:])
			}
			if n := len(logOf(t, kc, topic)); n != 3 {
				t.Errorf("%d records, want 3", n)
			}
			if n := p.pending.Load(); n != 0 {
				t.Errorf("%d records still count as pending", n)
			}
		})
	}
}

func TestAnUnknownTopicIsToldAsUnavailable(t *testing.T) {
	_, kc := startKafka(t)
	p := newTestPublisher(t, kc, PublisherConfig{})
	err := p.Publish(t.Context(), "nowhere", event(1))
	if mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("have %v", err)
	}
	if text := fmt.Sprint(mobileid.Ours(err).LogValue()); !strings.Contains(text, "ACL") {
		t.Fatalf("the log would say %q", text)
	}
}

func TestARecordOverTheLimitIsTooLarge(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	e := event(1)
	e.Value = fmt.Appendf(nil, "%q", strings.Repeat("x", batchBytes))
	if err := p.Publish(t.Context(), topic, e); mobileid.KindOf(err) != mobileid.KindTooLarge {
		t.Fatalf("have %v", err)
	}
}

func TestPublishAfterCloseIsUnavailable(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, event(1))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), topic, event(2)); mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("have %v", err)
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	c, kc := startKafka(t, kfake.SeedTopics(1, topic))
	p := newTestPublisher(t, kc, PublisherConfig{Timeout: 100 * time.Millisecond, CloseTimeout: 50 * time.Millisecond})
	mustPublish(t, p, topic, event(0))
	release := make(chan struct{})
	defer close(release)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { <-release })
		return nil, nil, false //nolint:nilnil // kfake: not handled here
	})
	if err := p.Publish(t.Context(), topic, event(1)); mobileid.KindOf(err) != mobileid.KindUnknown {
		t.Fatalf("have %v", err)
	}
	if err := p.Close(); err == nil {
		t.Fatal("Close claims that nothing waits")
	}
}

func TestPerhapsWritten(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for err, want := range map[error]bool{
		refused: false,
		&net.OpError{Op: "dial", Err: context.DeadlineExceeded}: false,
		&net.OpError{Op: "read", Err: syscall.ECONNRESET}:       true,
		io.ErrUnexpectedEOF:                                       true,
		context.DeadlineExceeded:                                  true,
		kafka.NotLeaderForPartition:                               false,
		protocol.NewErrNoLeader(topic, 1):                         false,
		kafka.NotEnoughReplicas:                                   false,
		kafka.NotEnoughReplicasAfterAppend:                        true,
		kafka.RequestTimedOut:                                     true,
		fmt.Errorf("wrapped: %w", kafka.TopicAuthorizationFailed): false,
	} {
		if got := perhapsWritten(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
