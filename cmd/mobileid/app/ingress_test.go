package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
)

// in puts a command onto a client's ingress topic.
func (l *looker) in(client, key, ceType, body string, more ...string) {
	l.t.Helper()
	l.put(mobileid.TopicIn(client), 0, body, append([]string{"ce_specversion", "1.0", "ce_id", key, "ce_type", ceType}, more...)...)
}

func TestAKafkaProducerGetsWhatHTTPGives(t *testing.T) {
	s := look(t, apptest.Options{MoreClients: []config.Client{neighbour("other")}})
	p := s.Bind(1, 1000_00)

	s.in(portal, "in-1", mobileid.TypeChallengeCommand, apptest.ChallengeBody(p.PINFL, "sign_in"), "ce_source", portal)
	a := s.answer(portal, "in-1")
	if a.kind != mobileid.TypeRequestAccepted || a.ID == "" {
		t.Fatalf("%+v", a)
	}
	if got := s.Verify(a.ID, "v", s.Code(p.Number, 1)); got.Status != http.StatusOK {
		t.Errorf("verify: %d %s", got.Status, got.Body)
	}
	s.Until("its states are on out.<client>", func() bool {
		states := ""
		for _, st := range s.answers(portal, a.ID) {
			states += " " + st.State
		}
		return strings.Contains(states, "pending") && strings.Contains(states, "confirmed")
	})

	// The same ce_id is the same request, over HTTP too.
	s.in(portal, "in-1", mobileid.TypeChallengeCommand, apptest.ChallengeBody(p.PINFL, "sign_in"))
	s.Until("the repetition is answered", func() bool { return len(s.answers(portal, "in-1")) == 2 })
	if again := s.answers(portal, "in-1")[1]; again.ID != a.ID {
		t.Errorf("the repetition is %s, want %s", again.ID, a.ID)
	}
	if over := s.Call(http.MethodPost, "/v1/challenges", "in-1", apptest.ChallengeBody(p.PINFL, "sign_in")); over.JSON("id") != a.ID {
		t.Errorf("over HTTP it is %d %s", over.Status, over.Body)
	}
	s.in(portal, "in-2", mobileid.TypeNotificationCommand, apptest.NoticeBody(p.PINFL))
	n := s.answer(portal, "in-2")
	s.Until("the notice's end is told", func() bool {
		for _, st := range s.answers(portal, n.ID) {
			if st.State == "delivered" {
				return true
			}
		}
		return false
	})
	if got := s.SMSC.Count(); got != 2 {
		t.Errorf("%d SMS, want 2", got)
	}
	if leaked := s.records(mobileid.TopicOut("other")); len(leaked) != 0 {
		t.Errorf("out.other has %d records that are not its own", len(leaked))
	}
}

// TestAKafkaProducerIsRefusedAsHTTPDoes compares code and field of each
// refusal with those of the same body over HTTP.
func TestAKafkaProducerIsRefusedAsHTTPDoes(t *testing.T) {
	poor := neighbour("poor")
	poor.Quota = config.Quota{Rate: 1, Per: time.Hour, Burst: 1}
	mute := neighbour("mute")
	mute.Scopes = []string{"notifications"}
	s := look(t, apptest.Options{MoreClients: []config.Client{poor, mute}})
	good := apptest.ChallengeBody(apptest.PINFL(1), "verify")
	rows := s.totals()

	for what, c := range map[string]struct{ kind, body string }{
		"unknown field":   {mobileid.TypeChallengeCommand, strings.TrimSuffix(good, "}") + `,"colour":"red"}`},
		"check digit":     {mobileid.TypeChallengeCommand, `{"pinfl":"30101900000018","purpose":"verify"}`},
		"unknown purpose": {mobileid.TypeChallengeCommand, apptest.ChallengeBody(apptest.PINFL(1), "dance")},
		"no JSON":         {mobileid.TypeChallengeCommand, `pinfl=1`},
		"empty":           {mobileid.TypeChallengeCommand, ` `},
		"oversized":       {mobileid.TypeChallengeCommand, good + strings.Repeat(" ", 20_000)},
		"no such text":    {mobileid.TypeNotificationCommand, `{"pinfl":"` + apptest.PINFL(1) + `","text_id":"none","slots":{}}`},
		"slot":            {mobileid.TypeNotificationCommand, strings.Replace(apptest.NoticeBody(apptest.PINFL(1)), "tax", "us", 1)},
	} {
		t.Run(what, func(t *testing.T) {
			path := "/v1/challenges"
			if c.kind == mobileid.TypeNotificationCommand {
				path = "/v1/notifications"
			}
			want := s.Call(http.MethodPost, path, s.NewKey(), c.body)
			key := s.NewKey()
			s.in(portal, key, c.kind, c.body)
			got := s.answer(portal, key)
			if want.Status < 400 || got.kind != mobileid.TypeRequestRefused || got.Code != want.JSON("code") ||
				got.Field != want.JSON("field") || got.Status != want.Status {
				t.Errorf("Kafka says %+v, HTTP says %d %s", got, want.Status, want.Body)
			}
		})
	}

	refused := func(what, client, key, ceType, body, code, field string, status int, more ...string) {
		t.Helper()
		s.in(client, key, ceType, body, more...)
		a := s.answer(client, key)
		if a.kind != mobileid.TypeRequestRefused || a.Code != code || a.Field != field || a.Status != status {
			t.Errorf("%s: %+v, want %d %s %q", what, a, status, code, field)
		}
	}
	refused("another client's name", portal, "w1", mobileid.TypeChallengeCommand, good, "wrong_client", "ce_source", 403, "ce_source", "poor")
	refused("a foreign principal", portal, "w2", mobileid.TypeChallengeCommand, good, "wrong_client", "ce_source", 403, "ce_source", "/clients/nobody")
	refused("no such command", portal, "w3", "mobileid.challenge.dance.v1", good, "type_unknown", "ce_type", 400)
	refused("an inner event", portal, "w4", mobileid.TypeChallengeRequested, good, "type_unknown", "ce_type", 400)
	refused("no scope", "mute", "w5", mobileid.TypeChallengeCommand, good, "scope_missing", "", 403)
	if got := s.totals(); got != rows {
		t.Errorf("refused requests left rows: before %s, after %s", rows, got)
	}
	if n := len(s.records(mobileid.TopicOTPRequests)); n != 0 {
		t.Errorf("%d requests were published", n)
	}

	// The quota is one for both doors.
	s.in("poor", "q1", mobileid.TypeChallengeCommand, good)
	if a := s.answer("poor", "q1"); a.kind != mobileid.TypeRequestAccepted {
		t.Fatalf("%+v", a)
	}
	refused("quota", "poor", "q2", mobileid.TypeChallengeCommand, good, "quota_exceeded", "", 429)
	over, err := s.TryAs(s.TokenOf("poor"), http.MethodPost, "/v1/challenges", "q3", good)
	if err != nil || over.Status != http.StatusTooManyRequests {
		t.Errorf("over HTTP: %d %v", over.Status, err)
	}
}
