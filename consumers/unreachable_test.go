package consumers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"mobileid/internal/mobileid"
)

// The relay rolls back what failed: one client without its topic would stop
// everybody's statuses.
func TestAMissingOutTopicStopsNobodysStatuses(t *testing.T) {
	there, forbidden := mobileid.TopicOut("there"), mobileid.TopicOut("forbidden")
	c, kc := startKafka(t, kfake.SeedTopics(1, mobileid.TopicMessageStatus, there, forbidden))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: forbidden, Err: kerr.TopicAuthorizationFailed, Count: -1})
	reg := prometheus.NewRegistry()
	clients := map[string]mobileid.Client{}
	for _, id := range []string{"gone", "forbidden", "there"} {
		clients[id] = mobileid.Client{ID: id, Kafka: true, Disclosure: mobileid.DisclosureFull}
	}
	p := newTestPublisher(t, kc, PublisherConfig{Clients: clients, Reg: reg})
	change := func(client string) mobileid.StatusChanged {
		id := testIDKey(t).Make(mobileid.KindChallenge, client, "k", time.Now())
		return mobileid.StatusChanged{ID: id, Client: client, State: string(mobileid.ChallengePending), Version: 1, At: time.Now()}
	}
	changes := []mobileid.StatusChanged{change("gone"), change("forbidden"), change("there")}
	if left, err := p.PublishStatuses(t.Context(), changes); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	if all, out := len(logOf(t, kc, mobileid.TopicMessageStatus)), len(logOf(t, kc, there)); all != 3 || out != 1 {
		t.Errorf("%d statuses and %d copies, want 3 and 1", all, out)
	}
	for _, client := range []string{"gone", "forbidden"} {
		if n := metric(t, reg, "mobileid_publish_skipped_total", map[string]string{"topic": mobileid.TopicOut(client)}); n != 1 {
			t.Errorf("%v skipped for %s", n, client)
		}
	}
}

// What passes by itself is waited for, by the client that it concerns.
func TestAnOutTopicThatFailsForNowLeavesTheOthersAlone(t *testing.T) {
	fails, fine := mobileid.TopicOut("fails"), mobileid.TopicOut("fine")
	c, kc := startKafka(t, kfake.SeedTopics(1, mobileid.TopicMessageStatus, fails, fine))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: fails, Err: kerr.NotEnoughReplicas, Count: -1})
	clients := map[string]mobileid.Client{}
	var changes []mobileid.StatusChanged
	for _, id := range []string{"fails", "fine"} {
		clients[id] = mobileid.Client{ID: id, Kafka: true, Disclosure: mobileid.DisclosureFull}
		changes = append(changes, mobileid.StatusChanged{
			ID: testIDKey(t).Make(mobileid.KindChallenge, id, "k", time.Now()), Client: id,
			State: string(mobileid.ChallengePending), Version: 1, At: time.Now(),
		})
	}
	p := newTestPublisher(t, kc, PublisherConfig{Clients: clients})
	left, err := p.PublishStatuses(t.Context(), changes)
	if err != nil || len(left) != 1 || !left["fails"] {
		t.Errorf("left %v, err %v", left, err)
	}
	if all, out := len(logOf(t, kc, mobileid.TopicMessageStatus)), len(logOf(t, kc, fine)); all != 2 || out != 1 {
		t.Errorf("%d statuses and %d copies, want 2 and 1", all, out)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: mobileid.TopicMessageStatus, Err: kerr.NotEnoughReplicas, Count: -1})
	if _, err := p.PublishStatuses(t.Context(), changes[1:]); mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Errorf("message.status has too few replicas: %v", err)
	}
	if out := len(logOf(t, kc, fine)); out != 1 {
		t.Errorf("%d copies: one was written before its status", out)
	}
}

func TestStatusesFailWithoutTheirTopic(t *testing.T) {
	_, kc := startKafka(t)
	p := newTestPublisher(t, kc, PublisherConfig{})
	id := testIDKey(t).Make(mobileid.KindChallenge, "c", "k", time.Now())
	_, err := p.PublishStatuses(t.Context(), []mobileid.StatusChanged{{ID: id, Client: "c", State: "pending", Version: 1, At: time.Now()}})
	if mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Errorf("have %v", err)
	}
}

// A binding may name an operator without lanes here; its Message must not stop
// the codes of everybody behind it.
func TestAMissingLaneStopsNoOtherItem(t *testing.T) {
	lane := mobileid.TopicSMS("beeline", mobileid.LaneOTP)
	_, kc := startKafka(t, kfake.SeedTopics(1, lane))
	reg := prometheus.NewRegistry()
	p := newTestPublisher(t, kc, PublisherConfig{Reg: reg})
	r := newRoom()
	r.bind(t, 1)
	b := r.bind(t, 2)
	b.Operator = "nowhere"
	r.bindings[b.Person] = b
	var opener *mobileid.Opener
	h, ok := otpHandler(t, r, &opener).(*otpRequests)
	if !ok {
		t.Fatal("another handler")
	}
	h.Lanes = p
	recs := tracked(challengeMessage(t, challengeRequest(t, "a", 2)), challengeMessage(t, challengeRequest(t, "b", 1)))
	if err := h.Handle(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
	if !recs[0].isDone() || !recs[1].isDone() || len(logOf(t, kc, lane)) != 1 {
		t.Errorf("done %v %v, %d on the lane", recs[0].isDone(), recs[1].isDone(), len(logOf(t, kc, lane)))
	}
	if n := metric(t, reg, "mobileid_publish_skipped_total", nil); n != 1 {
		t.Errorf("%v skipped", n)
	}
}

// lanesTo is a handler of codes for persons 1 to n of one operator that writes
// to Kafka, with their requests and the ids of their Messages.
func lanesTo(t *testing.T, p *Publisher, n int) (h *otpRequests, requests []kafka.Message, items []mobileid.LaneItem) {
	t.Helper()
	r := newRoom()
	var opener *mobileid.Opener
	h, ok := otpHandler(t, r, &opener).(*otpRequests)
	if !ok {
		t.Fatal("another handler")
	}
	h.Lanes = p
	for person := range n {
		b := r.bind(t, byte(person+1))
		req := challengeRequest(t, b.Person.String(), byte(person+1))
		requests = append(requests, challengeMessage(t, req))
		items = append(items, mobileid.LaneItem{
			ID:       testIDKey(t).Derive(mobileid.KindMessage, req.Client, req.ID, firstSend),
			Operator: b.Operator, Lane: mobileid.LaneOTP, Person: b.Person,
		})
	}
	return h, requests, items
}

// onLane counts what stands on a lane, by id.
func onLane(t *testing.T, kc KafkaConfig, lane string) map[mobileid.ID]int {
	t.Helper()
	have := map[mobileid.ID]int{}
	for _, m := range logOf(t, kc, lane) {
		have[idOf(m)]++
	}
	return have
}

// The row of a Message is stored, and the sweeper finds it: its lane must not
// hold up the codes of everybody behind it.
func TestAPartitionWithoutALeaderHoldsUpNoOtherCode(t *testing.T) {
	lane := mobileid.TopicSMS("beeline", mobileid.LaneOTP)
	c, kc := startKafka(t, kfake.SeedTopics(1, topic), kfake.SeedTopics(3, lane))
	reg := prometheus.NewRegistry()
	p := newTestPublisher(t, kc, PublisherConfig{Reg: reg})
	h, requests, items := lanesTo(t, p, 40)
	broken := c.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: lane, Partitions: []int32{1}, Err: kerr.LeaderNotAvailable, Count: -1,
	})
	s := newSeen()
	m := startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: &counted{h, s}})
	healthy := map[mobileid.ID]bool{}
	for i, item := range items {
		healthy[item.ID] = (&kafka.Hash{}).Balance(kafka.Message{Key: []byte(item.Person.String())}, 0, 1, 2) != 1
		if i%20 == 19 { // two batches at least, the second after the first
			if err := p.write(t.Context(), requests[i-19:i+1]); err != nil {
				t.Fatal(err)
			}
			s.waitDistinct(t, i+1)
		}
	}
	m.stop(t)
	if n := lagNow(t, kc, "g"); n != 0 {
		t.Errorf("%d records are held", n)
	}
	var due []mobileid.LaneItem
	have := onLane(t, kc, lane)
	for _, item := range items {
		if want := healthy[item.ID]; (have[item.ID] == 1) != want {
			t.Errorf("%d times on its lane, and it can be written: %v", have[item.ID], want)
		}
		if !healthy[item.ID] {
			due = append(due, item)
		}
	}
	if len(due) == 0 || len(due) == len(items) {
		t.Fatalf("%d of %d on the broken partition: the test shows nothing", len(due), len(items))
	}
	of := func(outcome string) int {
		return int(metric(t, reg, "mobileid_publish_records_total", map[string]string{"topic": lane, "outcome": outcome}))
	}
	if written, left := of("written"), of("unavailable")+of("unknown_outcome"); written != len(items)-len(due) || left != len(due) {
		t.Errorf("counted %d written and %d left, want %d and %d", written, left, len(items)-len(due), len(due))
	}

	// As the sweeper asks, before and after.
	if left, err := p.PublishLane(t.Context(), items); err != nil || len(left) != len(due) || !left[due[0].ID] {
		t.Errorf("left %d of %d: %v", len(left), len(due), err)
	}
	broken.Remove()
	if left, err := p.PublishLane(t.Context(), due); err != nil || len(left) != 0 {
		t.Errorf("after it healed left %d: %v", len(left), err)
	}
	have = onLane(t, kc, lane)
	for _, item := range due {
		if have[item.ID] != 1 {
			t.Errorf("after it healed %d times on its lane", have[item.ID])
		}
	}
}

// A leader that takes a request and says nothing is the slowest of all: what
// its partitions cost a batch is the time of one Publish.
func TestASilentLeaderDelaysABatchByOnePublish(t *testing.T) {
	lane := mobileid.TopicSMS("beeline", mobileid.LaneOTP)
	c, kc := startKafka(t, kfake.NumBrokers(2), kfake.SeedTopics(2, lane))
	for partition := range int32(2) {
		if err := c.MoveTopicPartition(lane, partition, partition); err != nil {
			t.Fatal(err)
		}
	}
	p := newTestPublisher(t, kc, PublisherConfig{CloseTimeout: 3 * produceTimeout})
	h, requests, items := lanesTo(t, p, 20)
	if err := h.Handle(t.Context(), tracked(requests[:1]...)); err != nil { // knows the topic now
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if c.CurrentNode() == 1 {
			c.SleepControl(func() { <-release })
		}
		return nil, nil, false //nolint:nilnil // kfake: not handled here
	})
	for i := 1; i < len(requests); i += 10 {
		recs := tracked(requests[i:min(i+10, len(requests))]...)
		started := time.Now()
		if err := h.Handle(t.Context(), recs); err != nil || !recs[0].isDone() {
			t.Fatalf("%v, done %v", err, recs[0].isDone())
		}
		if d := time.Since(started); d > 1500*time.Millisecond {
			t.Errorf("took %v", d)
		}
	}
	have := onLane(t, kc, lane)
	for _, item := range items {
		if (&kafka.Hash{}).Balance(kafka.Message{Key: []byte(item.Person.String())}, 0, 1) == 0 && have[item.ID] != 1 {
			t.Errorf("%d times on the lane's other partition", have[item.ID])
		}
	}
}

// Who stops or loses the partition has not done the records: the next owner
// puts their ids on the lane at once, the sweeper seconds later.
func TestALaneThatIsCutOffKeepsItsRecords(t *testing.T) {
	lane := mobileid.TopicSMS("beeline", mobileid.LaneOTP)
	c, kc := startKafka(t, kfake.SeedTopics(1, lane))
	p := newTestPublisher(t, kc, PublisherConfig{})
	h, requests, _ := lanesTo(t, p, 2)
	if err := h.Handle(t.Context(), tracked(requests[:1]...)); err != nil { // knows the topic now
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: lane, Err: kerr.LeaderNotAvailable, Count: -1, When: func(kmsg.Request) bool {
		cancel(errDraining)
		return true
	}})
	recs := tracked(requests[1:]...)
	if err := h.Handle(ctx, recs); !errors.Is(err, errDraining) || !mobileid.KindOf(err).Retryable() || recs[0].isDone() {
		t.Errorf("have %v, done %v", err, recs[0].isDone())
	}
}
