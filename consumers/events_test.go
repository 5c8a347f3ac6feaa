package consumers

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/internal/mobileid"
)

func TestLanesCarryIdsOnly(t *testing.T) {
	otp, bulk := mobileid.TopicSMS("beeline", mobileid.LaneOTP), mobileid.TopicSMS("ucell", mobileid.LaneBulk)
	_, kc := startKafka(t, kfake.SeedTopics(2, otp, bulk))
	p := newTestPublisher(t, kc, PublisherConfig{})
	key := testIDKey(t)
	now := time.Now()
	a := mobileid.LaneItem{ID: key.Make(mobileid.KindMessage, "c", "1", now), Operator: "beeline", Lane: mobileid.LaneOTP, Person: mobileid.Pseudonym{1}}
	b := mobileid.LaneItem{ID: key.Make(mobileid.KindMessage, "c", "2", now), Operator: "ucell", Lane: mobileid.LaneBulk, Person: mobileid.Pseudonym{2}}
	if left, err := p.PublishLane(t.Context(), []mobileid.LaneItem{a, b}); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	for topic, want := range map[string]mobileid.LaneItem{otp: a, bulk: b} {
		log := logOf(t, kc, topic)
		if len(log) != 1 {
			t.Fatalf("%s has %d records", topic, len(log))
		}
		e, err := decode(log[0])
		if err != nil {
			t.Fatal(err)
		}
		id, err := DecodeLane(e)
		if err != nil || id != want.ID || e.Key != want.Person.String() || e.ID != want.ID.String() {
			t.Fatalf("%s: %v %+v %v", topic, id, e, err)
		}
	}
}

func TestALaneRecordReadsAsAnyOtherEvent(t *testing.T) {
	key := testIDKey(t)
	ms := key.Make(mobileid.KindMessage, "c", "1", time.Now()).String()
	ch := key.Make(mobileid.KindChallenge, "c", "1", time.Now()).String()
	for _, value := range []string{
		`{"id":"` + ms + `"}`, `{"id": "` + ms + `"}`, `{"id":"` + ms + `","more":1}`, ` {"id":"` + ms + `"} `,
		`{"id":"` + ch + `"}`, `{"id":"ms_` + ch[3:] + `"}`, `{"id":""}`, `{"id":"` + ms, `{"id":"` + ms + `"`, `{"id":"` + ms + `x"}`,
		`{"id":"","id":"` + ms + `"}`, `{}`, `"` + ms + `"`, ``, `null`,
	} {
		for _, eventType := range []string{mobileid.TypeMessageQueued, mobileid.TypeStatusChanged} {
			e := mobileid.Event{Type: eventType, Value: []byte(value)}
			got, gotErr := DecodeLane(e)
			want, wantErr := DecodeValue[mobileid.LaneRecord](e, mobileid.TypeMessageQueued)
			if got != want.ID || mobileid.CodeOf(gotErr) != mobileid.CodeOf(wantErr) {
				t.Errorf("%s %q: %v %v, want %v %v", eventType, value, got, gotErr, want.ID, wantErr)
			}
		}
	}
}

func TestStatusesReachTheTopicAndTheClientsThatMayKnow(t *testing.T) {
	full, blind, web := mobileid.TopicOut("full"), mobileid.TopicOut("blind"), mobileid.TopicOut("web")
	_, kc := startKafka(t, kfake.SeedTopics(1, mobileid.TopicMessageStatus, full, blind, web))
	p := newTestPublisher(t, kc, PublisherConfig{Clients: map[string]mobileid.Client{
		"full":  {ID: "full", Kafka: true, Disclosure: mobileid.DisclosureFull},
		"blind": {ID: "blind", Kafka: true, Disclosure: mobileid.DisclosureBlind},
		"web":   {ID: "web", Disclosure: mobileid.DisclosureFull},
	}})
	key := testIDKey(t)
	var changes []mobileid.StatusChanged
	for _, client := range []string{"full", "blind", "web"} {
		for i, state := range []mobileid.ChallengeState{mobileid.ChallengeUnbound, mobileid.ChallengePending, mobileid.ChallengeExpired, mobileid.ChallengeConfirmed} {
			id := key.Make(mobileid.KindChallenge, client, string(state), time.Now())
			changes = append(changes, mobileid.StatusChanged{ID: id, Client: client, State: string(state), Version: int64(i + 1), At: time.Now()})
		}
		ch := key.Make(mobileid.KindChallenge, client, "code", time.Now())
		ms := key.Derive(mobileid.KindMessage, client, ch, 1)
		changes = append(changes, mobileid.StatusChanged{ID: ms, Challenge: ch, Client: client, State: string(mobileid.MessageDelivered), Version: 2, At: time.Now()})
	}
	if left, err := p.PublishStatuses(t.Context(), changes); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	for topic, want := range map[string]int{mobileid.TopicMessageStatus: 15, full: 5, blind: 1, web: 0} {
		log := logOf(t, kc, topic)
		if len(log) != want {
			t.Errorf("%s has %d records, want %d", topic, len(log), want)
		}
		for _, m := range log {
			e, err := decode(m)
			if err != nil {
				t.Fatal(err)
			}
			s, err := DecodeValue[mobileid.StatusChanged](e, mobileid.TypeStatusChanged)
			if err != nil {
				t.Fatal(err)
			}
			// Long polls are woken by these two alone.
			if e.Key != requestOf(s).String() || e.Subject != s.ID.String() {
				t.Errorf("key %s, subject %s of %+v", e.Key, e.Subject, s)
			}
			if topic == blind && s.State != string(mobileid.ChallengeConfirmed) {
				t.Errorf("a blind client was told %s", s.State)
			}
		}
	}
}

func TestAnInboundMessageIsToldUnderTheNumbersPseudonymAndSealed(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, mobileid.TopicSMSInbound))
	p := newTestPublisher(t, kc, PublisherConfig{})
	of := mobileid.InboundMessage{
		ID: mobileid.NewInboundID(), Operator: "beeline", Account: "beeline/mobileid", Number: mobileid.Pseudonym{7},
		Part: mobileid.InboundPart{Reference: 9, Total: 2, Number: 1}, Fingerprint: mobileid.Fingerprint{3}, Sealed: []byte("sealed"), At: time.Now(),
	}
	nameless := mobileid.InboundMessage{ID: mobileid.NewInboundID(), Operator: "beeline", Sealed: []byte("sealed"), At: time.Now()}
	if err := p.PublishInbound(t.Context(), []mobileid.InboundMessage{of, nameless}); err != nil {
		t.Fatal(err)
	}
	log := logOf(t, kc, mobileid.TopicSMSInbound)
	if len(log) != 2 {
		t.Fatalf("%d records", len(log))
	}
	for i, want := range []mobileid.InboundMessage{of, nameless} {
		e, err := decode(log[i])
		if err != nil {
			t.Fatal(err)
		}
		v, err := DecodeValue[mobileid.InboundReceived](e, mobileid.TypeInboundReceived)
		if err != nil {
			t.Fatal(err)
		}
		key := ""
		if want.Number != (mobileid.Pseudonym{}) {
			key = want.Number.String()
		}
		if e.Key != key || v.Number != key || e.ID != want.ID.String()+"/1" || e.Subject != v.ID || v.ID != want.ID.String() ||
			v.Version != 1 || v.Operator != "beeline" || v.Part != want.Part || v.Fingerprint != want.Fingerprint.String() || string(v.Sealed) != "sealed" || !v.ReceivedAt.Equal(want.At) {
			t.Errorf("%s %s %+v", e.Key, e.ID, v)
		}
	}
}

func TestAnEventOfABindingIsToldUnderThePersonsPseudonymAndItsVersion(t *testing.T) {
	_, kc := startKafka(t, kfake.SeedTopics(1, mobileid.TopicRegistryEvents))
	p := newTestPublisher(t, kc, PublisherConfig{})
	of := mobileid.BindingEvent{
		Binding: 17, Version: 3, Person: mobileid.Pseudonym{1}, Number: mobileid.Pseudonym{2}, Operator: "beeline",
		Change: mobileid.BindingSuspended, Why: mobileid.SuspendedAsBarred, At: time.Now().UTC(),
	}
	low := of
	low.Version, low.Change, low.Why = 4, mobileid.BindingFundsLow, ""
	if err := p.PublishBindingEvents(t.Context(), []mobileid.BindingEvent{of, low}); err != nil {
		t.Fatal(err)
	}
	log := logOf(t, kc, mobileid.TopicRegistryEvents)
	if len(log) != 2 {
		t.Fatalf("%d records", len(log))
	}
	for i, want := range []mobileid.BindingEvent{of, low} {
		e, err := decode(log[i])
		if err != nil {
			t.Fatal(err)
		}
		v, err := DecodeValue[mobileid.BindingChanged](e, mobileid.TypeBindingChanged)
		if err != nil {
			t.Fatal(err)
		}
		if e.Key != want.Person.String() || e.ID != fmt.Sprintf("17/%d", want.Version) || e.Subject != "17" || v.Binding != 17 ||
			v.Version != want.Version || v.Person != e.Key || v.Number != want.Number.String() || v.Operator != "beeline" ||
			v.Change != want.Change || v.Why != want.Why || !v.At.Equal(want.At) {
			t.Errorf("%s %s %+v", e.Key, e.ID, v)
		}
	}
}
