package app_test

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

func TestAPoisonousRecordIsParkedAndThePartitionGoesOn(t *testing.T) {
	log := &lockedBuffer{}
	s := look(t, apptest.Options{Log: log, LogLevel: slog.LevelDebug})
	const plain = "31231456789012 of a careless producer"
	coded := base64.StdEncoding.EncodeToString([]byte(plain))[:40] // as JSON writes bytes
	lane := mobileid.TopicSMS(sandbox.Operator, mobileid.LaneOTP)
	poisoned := []string{mobileid.TopicOTPRequests, lane, mobileid.TopicIn(portal)}
	total := 0
	for _, topic := range poisoned {
		for _, p := range s.partitions()[topic] {
			// No envelope at all; and a good envelope around no JSON.
			s.put(topic, p, plain)
			total++
			if topic != mobileid.TopicIn(portal) { // there it is a bad request, and told
				s.put(topic, p, `{"id":"`+plain, "ce_specversion", "1.0", "ce_id", "x", "ce_source", "/x",
					"ce_type", mobileid.TypeChallengeRequested, "ce_time", "2026-11-23T09:00:00Z")
				total++
			}
		}
	}
	// Every partition goes on: persons enough to meet them all.
	var ids []string
	for n := range 12 {
		ids = append(ids, s.Ask(s.Bind(n+1, 1000_00), "sign_in"))
	}
	for n, id := range ids {
		if a := s.Verify(id, "v"+id, s.Code(numberOf(n+1), 1)); a.Status != http.StatusOK {
			t.Errorf("verify %d: %d %s", n, a.Status, a.Body)
		}
	}
	s.in(portal, "after", mobileid.TypeChallengeCommand, apptest.ChallengeBody(apptest.PINFL(1), "verify"))
	if a := s.answer(portal, "after"); a.kind != mobileid.TypeRequestAccepted {
		t.Errorf("%+v", a)
	}

	var topics []string
	s.Until("all are parked", func() bool {
		parked, err := app.ListParked(t.Context(), s.Config, nil)
		if err != nil {
			t.Fatal(err)
		}
		topics = nil
		for _, r := range parked {
			topics = append(topics, r.From.Topic)
			if r.Reason == "" || r.KeyID == "" || r.Parked.IsZero() {
				t.Fatalf("incomplete: %+v", r)
			}
		}
		return len(parked) >= total
	})
	if len(topics) != total {
		t.Errorf("%d parked, want %d", len(topics), total)
	}
	for _, topic := range poisoned {
		if !slices.Contains(topics, topic) {
			t.Errorf("nothing of %s is parked", topic)
		}
		for _, r := range s.records(mobileid.TopicDLQ(topic)) {
			all := r.key + r.value
			for k, v := range r.headers {
				all += k + v
			}
			if strings.Contains(all, "careless") || strings.Contains(all, "31231456789012") || strings.Contains(all, coded) {
				t.Errorf("%s holds clear bytes", topic)
			}
		}
	}
	if strings.Contains(log.String(), "careless") {
		t.Error("the log repeats the record")
	}

	parked, err := app.ListParked(t.Context(), s.Config, []string{mobileid.TopicOTPRequests})
	if err != nil || len(parked) == 0 {
		t.Fatal(len(parked), err)
	}
	opened, err := app.ShowParked(t.Context(), s.Config, parked[0].At)
	if err != nil || string(opened.Value) != plain {
		t.Errorf("opened: %q %v", opened.Value, err)
	}
	// Written back it is as poisonous as before, and parked again.
	topic, err := app.ReplayParked(t.Context(), s.Config, parked[0].At)
	if err != nil || topic != mobileid.TopicOTPRequests {
		t.Fatal(topic, err)
	}
	s.Until("it is parked again", func() bool {
		again, err := app.ListParked(t.Context(), s.Config, []string{mobileid.TopicOTPRequests})
		return err == nil && len(again) == len(parked)+1
	})
	if n := s.SMSC.Count(); n != 12 && n != 13 { // 13: the code asked for over Kafka
		t.Errorf("%d SMS", n)
	}
}

func TestAForeignPrivateKeyDoesNotOpenAParkedRecord(t *testing.T) {
	s := look(t, apptest.Options{})
	s.put(mobileid.TopicOTPRequests, 0, "poison")
	s.Until("it is parked", func() bool {
		parked, err := app.ListParked(t.Context(), s.Config, []string{mobileid.TopicOTPRequests})
		return err == nil && len(parked) == 1
	})
	parked, err := app.ListParked(t.Context(), s.Config, []string{mobileid.TopicOTPRequests})
	if err != nil {
		t.Fatal(err)
	}
	theirs := *s.Config
	theirs.Keys.DLQPrivate = s.Config.Keys.BridgePrivate
	if opened, err := app.ShowParked(t.Context(), &theirs, parked[0].At); err == nil {
		t.Errorf("the bridge's key opens it: %q", opened.Value)
	}
}
