package consumers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

func TestEnsureTopicsMakesWhatIsMissingAndTellsWhatDiffers(t *testing.T) {
	c, kc := startKafka(t, kfake.NumBrokers(3))
	if err := c.CreateTopic("old", 2, map[string]string{"retention.ms": "1000"}); err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	specs := []TopicSpec{
		{Name: "new", Partitions: 6, Replication: 3, MinISR: 2, Retention: 3 * day, AppendTime: true},
		{Name: "old", Partitions: 4, Replication: 3, MinISR: 2, Retention: day},
	}
	reports, err := EnsureTopics(t.Context(), kc, specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 2 || reports[0].Action != actionCreated || reports[1].Action != actionDiffers {
		t.Fatalf("have %v", reports)
	}
	for _, want := range []string{"partitions: 2, want 4", "retention.ms: 1000, want 86400000"} {
		if !slices.Contains(reports[1].Differences, want) {
			t.Errorf("%v does not say %q", reports[1].Differences, want)
		}
	}
	if n := len(c.PartitionInfos("old")); n != 2 {
		t.Errorf("the old topic now has %d partitions", n)
	}
	// Once more: nothing to do, and what was made is as asked.
	reports, err = EnsureTopics(t.Context(), kc, specs[:1], nil)
	if err != nil || len(reports) != 1 || reports[0].Action != actionUnchanged {
		t.Fatalf("the second time: %v %v", reports, err)
	}
}

func TestCheckDurableNamesWhatProductionDemands(t *testing.T) {
	_, kc := startKafka(t, kfake.NumBrokers(3))
	specs := []TopicSpec{
		{Name: "good", Partitions: 1, Replication: 3, MinISR: 2, Retention: time.Hour},
		{Name: "thin", Partitions: 1, Replication: 1, MinISR: 1, Retention: time.Hour},
	}
	if _, err := EnsureTopics(t.Context(), kc, specs, nil); err != nil {
		t.Fatal(err)
	}
	problems, err := CheckDurable(t.Context(), kc, []string{"good", "thin", "gone"})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(problems, "\n")
	for _, want := range []string{"thin: 1 replicas, production needs 3", `thin: min.insync.replicas is "1", production needs 2`, "gone: the topic does not exist"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "good") {
		t.Errorf("the good topic is blamed:\n%s", text)
	}
}

func TestTopicSpecsFollowTheTable(t *testing.T) {
	clients := []mobileid.Client{{ID: "oneid", Kafka: true}, {ID: "web"}}
	specs := TopicSpecs(Sizing{Partitions: 12, Replication: 3, MinISR: 2}, []string{"beeline", "ucell"}, clients)
	have := map[string]TopicSpec{}
	for _, s := range specs {
		if _, twice := have[s.Name]; twice {
			t.Errorf("%s stands twice", s.Name)
		}
		if s.Retention <= 0 || s.Partitions <= 0 || s.Replication != 3 || s.MinISR != 2 || strings.ContainsAny(s.Name, "<>") {
			t.Errorf("%+v", s)
		}
		have[s.Name] = s
	}
	for _, want := range []string{
		mobileid.TopicOTPRequests, mobileid.TopicNotificationRequests, mobileid.TopicMessageStatus,
		mobileid.TopicSMS("beeline", mobileid.LaneOTP), mobileid.TopicSMS("ucell", mobileid.LaneBulk),
		mobileid.TopicIn("oneid"), mobileid.TopicOut("oneid"), mobileid.TopicDLQ(mobileid.TopicIn("oneid")),
		mobileid.TopicDLQ(mobileid.TopicOTPRequests), mobileid.TopicDLQ(mobileid.TopicSMS("ucell", mobileid.LaneOTP)),
	} {
		if _, ok := have[want]; !ok {
			t.Errorf("%s is missing", want)
		}
	}
	for topic, dead := range map[string]bool{mobileid.TopicBalanceEvents: true, mobileid.TopicRegistryEvents: false} {
		if _, ok := have[mobileid.TopicDLQ(topic)]; ok != dead {
			t.Errorf("%s has dead letters: %v, want %v", topic, ok, dead)
		}
	}
	if _, ok := have[mobileid.TopicIn("web")]; ok {
		t.Error("a client without Kafka has a topic")
	}
	if !have[mobileid.TopicIn("oneid")].AppendTime {
		t.Error("in.oneid believes its producer's clock")
	}
}

// The broker keeps each in.<client> to its client: a foreign principal can
// neither write there nor read what is told to that client.
func TestAForeignPrincipalCannotWriteAnIngressTopic(t *testing.T) {
	_, kc := startKafka(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "a"),
		kfake.User("PLAIN", "oneid", "o"), kfake.User("PLAIN", "tax", "t"))
	as := func(user, password string) KafkaConfig {
		c := kc
		c.SASL = plain.Mechanism{Username: user, Password: password}
		return c
	}
	oneid := mobileid.Client{ID: "oneid", Kafka: true, Principal: "User:oneid"}
	tax := mobileid.Client{ID: "tax", Kafka: true, Principal: "User:tax"}
	specs := TopicSpecs(Sizing{Partitions: 1, Replication: 1, MinISR: 1}, nil, []mobileid.Client{oneid, tax})
	acls := append(ClientACLs(oneid), ClientACLs(tax)...)
	for range 2 { // it may run again
		reports, err := EnsureTopics(t.Context(), as("admin", "a"), specs, acls)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(slices.DeleteFunc(reports, func(r TopicReport) bool { return r.Action != actionGranted })); n != len(acls) {
			t.Fatalf("granted %d rules, want %d", n, len(acls))
		}
	}
	in := mobileid.TopicIn("oneid")
	own := newTestPublisher(t, as("oneid", "o"), PublisherConfig{})
	mustPublish(t, own, in, event(1))

	foreign := newTestPublisher(t, as("tax", "t"), PublisherConfig{})
	mustPublish(t, foreign, mobileid.TopicIn("tax"), event(1)) // it is a principal with rights of its own
	if err := foreign.Publish(t.Context(), in, event(2)); mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Errorf("a foreign write: %v", err)
	}
	if log := logOf(t, as("admin", "a"), in); len(log) != 1 {
		t.Errorf("%d records in in.oneid, want its own one", len(log))
	}
	if _, err := partitionsOf(t.Context(), clientOf(t, as("tax", "t")), mobileid.TopicOut("oneid")); err == nil {
		t.Error("a foreign principal sees out.oneid")
	}
	if _, err := partitionsOf(t.Context(), clientOf(t, as("oneid", "o")), mobileid.TopicOut("oneid")); err != nil {
		t.Errorf("the client cannot see its own out topic: %v", err)
	}

	wrong := newTestPublisher(t, as("oneid", "wrong"), PublisherConfig{})
	err := wrong.Publish(t.Context(), in, event(3))
	if mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Errorf("a wrong password: %v", err)
	}
	if text := fmt.Sprint(mobileid.Ours(err).LogValue()); !strings.Contains(text, "wrong user or password") {
		t.Errorf("the log would say %q", text)
	}
}

func TestWithoutAnAuthorizerRulesAreSkippedAloud(t *testing.T) {
	_, kc := startKafka(t)
	reports, err := EnsureTopics(t.Context(), kc, nil, ClientACLs(mobileid.Client{ID: "c", Kafka: true, Principal: "User:c"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		if r.Action != actionSkipped && r.Action != actionGranted {
			t.Errorf("%v", r)
		}
	}
}

func TestLagCountsWhatIsNotCommitted(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(3, topic))
	p := newTestPublisher(t, kc, PublisherConfig{})
	mustPublish(t, p, topic, events(0, 30)...)
	if l := lagNow(t, kc, "g"); l != 30 {
		t.Fatalf("lag %d of a group that never was, want 30", l)
	}
	s := newSeen()
	m := startGroup(t, GroupConfig{Kafka: kc, Group: "g", Topics: []string{topic}, Handler: HandlerFunc(func(_ context.Context, recs []*Record) error {
		s.add(recs...)
		return nil
	})})
	s.waitDistinct(t, 30)
	m.stop(t)
	mustPublish(t, p, topic, events(30, 37)...)
	if l := lagNow(t, kc, "g"); l != 7 {
		t.Fatalf("lag %d, want 7", l)
	}
}
