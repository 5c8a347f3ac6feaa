package mobileid

import (
	"strings"
	"time"
)

// Lane is a class of Messages with its own topic and its own share of a
// bridge's window.
type Lane string

// The lanes.
const (
	LaneOTP  Lane = "otp"  // one-time codes; never waits behind bulk
	LaneBulk Lane = "bulk" // notices
)

// Exposure says what a topic's values may hold.
type Exposure string

// The exposures.
const (
	// Clear values may hold personal data in clear; the broker's ACL is what
	// protects them.
	Clear Exposure = "clear"
	// Pseudonymous values hold ids, pseudonyms and states; no PINFL, number,
	// code or text.
	Pseudonymous Exposure = "pseudonymous"
	// Sealed values are readable only with a private key.
	Sealed Exposure = "sealed"
)

// Topic is a row of the table of topics. A name with a placeholder (<client>,
// <operator>) stands for one topic each.
type Topic struct {
	Name      string
	Retention time.Duration // longer than any deadline on it; none is compacted
	Exposure  Exposure
	Keyed     string // what the record key is
}

// TopicPrefix and TopicSuffix frame every name.
const (
	TopicPrefix = "mobileid."
	TopicSuffix = ".v1"
)

// The topics with one instance.
const (
	TopicOTPRequests          = "mobileid.otp.requests.v1"
	TopicNotificationRequests = "mobileid.notification.requests.v1"
	TopicMessageStatus        = "mobileid.message.status.v1"
	TopicBalanceEvents        = "mobileid.balance.events.v1"
	TopicRegistryEvents       = "mobileid.registry.events.v1"
	TopicSMSInbound           = "mobileid.sms.inbound.v1"
)

// TopicIn is what an outside client writes.
func TopicIn(client string) string { return TopicPrefix + "in." + client + TopicSuffix }

// TopicOut carries statuses for one client.
func TopicOut(client string) string { return TopicPrefix + "out." + client + TopicSuffix }

// TopicSMS carries ids of Messages for the bridges of one operator.
func TopicSMS(operator string, lane Lane) string {
	return TopicPrefix + "sms." + operator + "." + string(lane) + TopicSuffix
}

// TopicDLQ is where the poison of a topic goes, sealed.
func TopicDLQ(topic string) string { return topic + suffixDLQ }

// TopicOfDLQ returns the topic whose poison a dead-letter topic takes; ok =
// false for any other name.
func TopicOfDLQ(name string) (topic string, ok bool) {
	topic, ok = strings.CutSuffix(name, suffixDLQ)
	return topic, ok && topic != ""
}

const suffixDLQ = ".dlq"

// ClientOfTopicIn returns the client that owns an in.<client> topic.
func ClientOfTopicIn(topic string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, TopicPrefix+"in.")
	if !ok {
		return "", false
	}
	client, ok := strings.CutSuffix(rest, TopicSuffix)
	return client, ok && client != ""
}

// LaneOfTopic returns the operator and lane of an sms topic.
func LaneOfTopic(topic string) (operator string, lane Lane, ok bool) {
	rest, ok := strings.CutPrefix(topic, TopicPrefix+"sms.")
	if !ok {
		return "", "", false
	}
	rest, ok = strings.CutSuffix(rest, TopicSuffix)
	if !ok {
		return "", "", false
	}
	operator, name, ok := strings.Cut(rest, ".")
	return operator, Lane(name), ok && operator != "" && (Lane(name) == LaneOTP || Lane(name) == LaneBulk)
}

const day = 24 * time.Hour

// Topics is the table of every topic: docs, `mobileid topics` and the tests
// that look for personal data all read it.
func Topics() []Topic {
	return []Topic{
		{Name: TopicIn("<client>"), Retention: 3 * day, Exposure: Clear, Keyed: "as the producer likes"},
		{Name: TopicOut("<client>"), Retention: 7 * day, Exposure: Pseudonymous, Keyed: "id of the request"},
		{Name: TopicOTPRequests, Retention: 3 * day, Exposure: Pseudonymous, Keyed: "pseudonym of the person"},
		{Name: TopicNotificationRequests, Retention: 7 * day, Exposure: Pseudonymous, Keyed: "pseudonym of the person"},
		{Name: TopicBalanceEvents, Retention: 7 * day, Exposure: Pseudonymous, Keyed: "pseudonym of the number"},
		{Name: TopicSMS("<operator>", LaneOTP), Retention: 3 * day, Exposure: Pseudonymous, Keyed: "pseudonym of the person"},
		{Name: TopicSMS("<operator>", LaneBulk), Retention: 7 * day, Exposure: Pseudonymous, Keyed: "pseudonym of the person"},
		{Name: TopicSMSInbound, Retention: 7 * day, Exposure: Sealed, Keyed: "pseudonym of the number"},
		{Name: TopicMessageStatus, Retention: 3 * day, Exposure: Pseudonymous, Keyed: "id of the request"},
		{Name: TopicRegistryEvents, Retention: 7 * day, Exposure: Pseudonymous, Keyed: "pseudonym of the person"},
		{Name: TopicDLQ("<topic>"), Retention: 30 * day, Exposure: Sealed, Keyed: "none"},
	}
}
