package consumers

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
