package mobileid

import (
	"strings"
	"testing"
	"time"
)

func TestTopicNamesAreReadBack(t *testing.T) {
	for _, client := range []string{"oneid", "tax-committee", "a.b"} {
		if got, ok := ClientOfTopicIn(TopicIn(client)); !ok || got != client {
			t.Errorf("%s: %q, %v", TopicIn(client), got, ok)
		}
	}
	for _, lane := range []Lane{LaneOTP, LaneBulk} {
		operator, got, ok := LaneOfTopic(TopicSMS("beeline", lane))
		if !ok || operator != "beeline" || got != lane {
			t.Errorf("%s: %q, %q, %v", TopicSMS("beeline", lane), operator, got, ok)
		}
	}
}

func TestForeignTopicsAreNotTakenForOurs(t *testing.T) {
	for _, topic := range []string{
		"", "mobileid.in..v1", "mobileid.in.v1", "in.oneid", TopicOut("oneid"), TopicDLQ(TopicIn("oneid")), TopicOTPRequests,
		"mobileid.in.oneid.v2", "x.mobileid.in.oneid.v1",
	} {
		if client, ok := ClientOfTopicIn(topic); ok {
			t.Errorf("%q belongs to the client %q", topic, client)
		}
	}
	for _, topic := range []string{
		"", "mobileid.sms.beeline.v1", "mobileid.sms..otp.v1", "mobileid.sms.beeline.other.v1", "mobileid.sms.beeline.otp",
		TopicDLQ(TopicSMS("beeline", LaneOTP)), TopicOTPRequests, "mobileid.sms.beeline.otp.bulk.v1",
	} {
		if operator, lane, ok := LaneOfTopic(topic); ok {
			t.Errorf("%q is the lane %q of %q", topic, lane, operator)
		}
	}
}

func TestADeadLetterTopicNamesTheTopicItServes(t *testing.T) {
	if topic, ok := TopicOfDLQ(TopicDLQ(TopicOTPRequests)); !ok || topic != TopicOTPRequests {
		t.Errorf("%q, %v", topic, ok)
	}
	for _, bad := range []string{"", ".dlq", TopicOTPRequests} {
		if _, ok := TopicOfDLQ(bad); ok {
			t.Errorf("%q is taken for a dead-letter topic", bad)
		}
	}
}

func TestTableOfTopicsIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, topic := range Topics() {
		if seen[topic.Name] {
			t.Errorf("%s stands twice", topic.Name)
		}
		seen[topic.Name] = true
		if topic.Retention < 24*time.Hour || topic.Keyed == "" {
			t.Errorf("%s: retention %s, keyed by %q", topic.Name, topic.Retention, topic.Keyed)
		}
		if topic.Exposure != Clear && topic.Exposure != Pseudonymous && topic.Exposure != Sealed {
			t.Errorf("%s: exposure %q", topic.Name, topic.Exposure)
		}
		if isDLQ := strings.HasSuffix(topic.Name, ".dlq"); (isDLQ || topic.Name == TopicSMSInbound) != (topic.Exposure == Sealed) {
			t.Errorf("%s: exposure %q", topic.Name, topic.Exposure)
		}
	}
	for _, name := range []string{
		TopicIn("<client>"), TopicOut("<client>"), TopicOTPRequests, TopicNotificationRequests,
		TopicSMS("<operator>", LaneOTP), TopicSMS("<operator>", LaneBulk), TopicSMSInbound, TopicMessageStatus, TopicDLQ("<topic>"),
		TopicBalanceEvents, TopicRegistryEvents,
	} {
		if !seen[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
	// What clients write themselves is the one place for clear values.
	for _, topic := range Topics() {
		if (topic.Exposure == Clear) != (topic.Name == TopicIn("<client>")) {
			t.Errorf("%s: exposure %q", topic.Name, topic.Exposure)
		}
	}
}
