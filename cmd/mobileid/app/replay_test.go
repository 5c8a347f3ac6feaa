package app_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// park makes a dead letter of a good record that was written at that time.
func (l *looker) park(topic string, at time.Time, eventType, id string, value any) {
	l.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		l.t.Fatal(err)
	}
	sealer, err := mobileid.NewSealer(l.Config.Keys.DLQPublic, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	p := consumers.NewPublisher(consumers.KafkaConfig{Brokers: l.Env.Kafka()}, consumers.PublisherConfig{})
	rec := consumers.NewRecord(kafka.Message{Topic: topic, Value: text, Time: at, Headers: []kafka.Header{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte(id)}, {Key: "ce_type", Value: []byte(eventType)},
	}})
	if err := consumers.NewDLQ(p, sealer, nil).Park(l.t.Context(), rec, "handler_panic"); err != nil {
		l.t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		l.t.Error(err)
	}
}

// replay writes the only dead letter of a topic back.
func (l *looker) replay(topic string) {
	l.t.Helper()
	parked, err := app.ListParked(l.t.Context(), l.Config, []string{topic})
	if err != nil || len(parked) != 1 {
		l.t.Fatal(len(parked), err)
	}
	if to, err := app.ReplayParked(l.t.Context(), l.Config, parked[0].At); err != nil || to != topic {
		l.t.Fatal(to, err)
	}
}

// An operator who puts old dead letters back texts nobody: inside, the id
// carries the time of the request and its deadline is over; on in.<client>,
// the replay says how old the record is.
func TestOldDeadLettersPutBackTextNobody(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	ids, err := mobileid.NewIDKey([]byte(s.Config.Keys.ID.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	pseudonyms, err := mobileid.NewPseudonymKey([]byte(s.Config.Keys.Pseudonym.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	pinfl, err := mobileid.ParsePINFL(p.PINFL)
	if err != nil {
		t.Fatal(err)
	}
	person := pseudonyms.Person(pinfl).String()
	old := time.Now().AddDate(0, 0, -27) // a new registry has the month before this one

	challenge := mobileid.ChallengeRequested{
		ID: ids.Make(mobileid.KindChallenge, portal, "c", old), Client: portal, Person: person, Purpose: "sign_in",
		BodyHash: ids.BodyHash(portal, nil), Deadline: old.Add(30 * time.Second),
	}
	s.park(mobileid.TopicOTPRequests, old, mobileid.TypeChallengeRequested, challenge.ID.String(), challenge)
	s.replay(mobileid.TopicOTPRequests)
	s.Until("the challenge is expired", func() bool { return strings.HasPrefix(s.challengeState(challenge.ID.String()), "expired") })

	notice := mobileid.NotificationRequested{
		ID: ids.Make(mobileid.KindMessage, portal, "n", old), Client: portal, Person: person, TextID: "notice.data_access",
		Slots:    map[string]string{"system": "tax", "at": "2026-11-23T10:00:00Z"},
		BodyHash: ids.BodyHash(portal, nil), Deadline: old.Add(24 * time.Hour),
	}
	s.park(mobileid.TopicNotificationRequests, old, mobileid.TypeNotificationRequested, notice.ID.String(), notice)
	s.replay(mobileid.TopicNotificationRequests)
	s.Until("the notice is expired", func() bool { return strings.HasPrefix(s.messageState(notice.ID.String()), "expired") })

	s.park(mobileid.TopicIn(portal), old, mobileid.TypeNotificationCommand, "in", json.RawMessage(apptest.NoticeBody(p.PINFL)))
	s.replay(mobileid.TopicIn(portal))
	if a := s.answer(portal, "in"); a.kind != mobileid.TypeRequestRefused || a.Code != "too_late" {
		t.Errorf("told %+v", a)
	}
	if n := s.SMSC.Count(); n != 0 {
		t.Errorf("%d SMS", n)
	}
}
