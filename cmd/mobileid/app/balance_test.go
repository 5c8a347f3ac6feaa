package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// operatorClient is the account of an operator's billing.
func operatorClient(id, operator string) config.Client {
	return config.Client{
		ID: id, Scopes: []string{string(mobileid.ScopeBalance)}, Operator: operator, Disclosure: "blind", Mode: "live", Kafka: true,
		Quota: config.Quota{Rate: 1000, Per: time.Second, Burst: 1000},
	}
}

// balanceEvent is an event of a body; amount "" leaves it out.
func balanceEvent(number, kind, amount, seq string) string {
	if amount != "" {
		amount = `"amount":` + amount + `,`
	}
	return fmt.Sprintf(`{"number":"+%s","kind":%q,%s"seq":%q,"at":%q}`, number, kind, amount, seq, time.Now().Format(time.RFC3339Nano))
}

// changes are the events of a binding by their versions.
func (l *looker) changes(binding int64) []string {
	l.t.Helper()
	byVersion := map[int64]string{}
	for _, r := range l.records(mobileid.TopicRegistryEvents) {
		var v mobileid.BindingChanged
		if err := json.Unmarshal([]byte(r.value), &v); err != nil {
			l.t.Fatal(err)
		}
		if v.Binding == binding {
			byVersion[v.Version] = strings.TrimSpace(string(v.Change) + " " + v.Why)
		}
	}
	var out []string
	for v := int64(1); byVersion[v] != ""; v++ {
		out = append(out, byVersion[v])
	}
	return out
}

func (l *looker) awaitChanges(binding int64, want ...string) {
	l.t.Helper()
	l.Until(fmt.Sprintf("registry.events has %v", want), func() bool { return slices.Equal(l.changes(binding), want) })
}

// TestAnOperatorTellsAndTheBindingFollows goes the whole way: money runs out, is
// told of over HTTP, and a bar over Kafka; what follows leaves on registry.events.
func TestAnOperatorTellsAndTheBindingFollows(t *testing.T) {
	const billing = "feed"
	s := look(t, apptest.Options{MoreClients: []config.Client{operatorClient(billing, sandbox.Operator)}})
	token := s.TokenOf(billing, string(mobileid.ScopeBalance))
	p, other := s.Bind(1, 120_00), s.Bind(2, 0)
	notice := func(state string) {
		t.Helper()
		a := s.Call(http.MethodPost, "/v1/notifications", s.NewKey(), apptest.NoticeBody(p.PINFL))
		s.Await(a.JSON("id"), state)
	}
	s.awaitChanges(p.Binding, "funds_low")
	notice("delivered")
	notice("no_funds")
	s.awaitChanges(p.Binding, "funds_low", "suspended balance")

	body := `{"events":[` + balanceEvent(p.Number, "top_up", "120000", "t1") + `,` + balanceEvent("998901777777", "top_up", "5", "t2") + `]}`
	for _, key := range []string{"r1", "r1", "r2"} { // a repetition, and the same events under another key
		a, err := s.TryAs(token, http.MethodPost, "/v1/balance-events", key, body)
		if err != nil || a.Status != http.StatusAccepted || !strings.HasPrefix(a.JSON("id"), "be_") {
			t.Fatalf("%d %s %v", a.Status, a.Body, err)
		}
	}
	s.awaitChanges(p.Binding, "funds_low", "suspended balance", "resumed")
	notice("delivered")

	s.in(billing, "k1", mobileid.TypeBalanceCommand, `{"events":[`+balanceEvent(p.Number, "barred", "", "b1")+`]}`)
	if a := s.answer(billing, "k1"); a.kind != mobileid.TypeRequestAccepted || !strings.HasPrefix(a.ID, "be_") {
		t.Fatalf("%+v", a)
	}
	s.awaitChanges(p.Binding, "funds_low", "suspended balance", "resumed", "suspended barred")
	notice("no_funds")
	s.in(billing, "k2", mobileid.TypeBalanceCommand, `{"events":[`+balanceEvent(p.Number, "unbarred", "", "b2")+`]}`)
	s.awaitChanges(p.Binding, "funds_low", "suspended balance", "resumed", "suspended barred", "resumed")
	notice("delivered")

	s.Until("what is not ours is counted", func() bool {
		return s.metric("mobileid_consumer_balance_events_total", `operator="beeline"`, `result="unknown"`) == 3
	})
	if n := s.metric("mobileid_consumer_balance_events_total", `operator="beeline"`, `result="told"`); n != 5 {
		t.Errorf("%v were told, want 3 times the top-up and the bars", n)
	}
	if got := s.number(`select granted from accounts where id = $1`, p.Account); got != 12000+120000 {
		t.Errorf("granted %d tiyin: the top-up was not taken once", got)
	}
	s.balanced()
	if got := s.changes(other.Binding); len(got) > 1 {
		t.Errorf("of somebody else: %v", got)
	}
	for _, topic := range []string{mobileid.TopicBalanceEvents, mobileid.TopicRegistryEvents} {
		for _, r := range s.records(topic) {
			if all := fmt.Sprint(r); strings.Contains(all, p.Number[3:]) || strings.Contains(all, p.PINFL) || strings.Contains(all, "901777777") {
				t.Errorf("%s names a person: %s", topic, all)
			}
		}
	}
}

func TestAnOperatorTellsOfItsOwnSubscribersOnly(t *testing.T) {
	s := look(t, apptest.Options{MoreClients: []config.Client{operatorClient("ucell-billing", "ucell"), neighbour("other")}})
	p := s.Bind(1, 0)
	body := `{"events":[` + balanceEvent(p.Number, "barred", "", "b1") + `]}`
	a, err := s.TryAs(s.TokenOf("ucell-billing", string(mobileid.ScopeBalance)), http.MethodPost, "/v1/balance-events", "k", body)
	if err != nil || a.Status != http.StatusAccepted {
		t.Fatalf("%d %s %v", a.Status, a.Body, err)
	}
	s.Until("it is counted", func() bool {
		return s.metric("mobileid_consumer_balance_events_total", `operator="ucell"`, `result="unknown"`) == 1
	})
	if s.number(`select count(*) from bindings where sms_suspended`) != 0 {
		t.Error("another operator has barred a subscriber")
	}
	s.in("other", "k", mobileid.TypeBalanceCommand, body)
	if a := s.answer("other", "k"); a.kind != mobileid.TypeRequestRefused || a.Code != "scope_missing" {
		t.Errorf("a relying party tells of balances: %+v", a)
	}
}

// What contradicts an earlier word stands among the dead letters, with the reason.
func TestAContradictionIsParked(t *testing.T) {
	const billing = "feed"
	s := look(t, apptest.Options{MoreClients: []config.Client{operatorClient(billing, sandbox.Operator)}})
	p := s.Bind(1, 0)
	for i, amount := range []string{"100", "200"} {
		s.in(billing, fmt.Sprint("k", i), mobileid.TypeBalanceCommand, `{"events":[`+balanceEvent(p.Number, "top_up", amount, "same")+`]}`)
		s.answer(billing, fmt.Sprint("k", i))
	}
	var dead []kafkaRecord
	s.Until("one of them is parked", func() bool { dead = s.records(mobileid.TopicDLQ(mobileid.TopicBalanceEvents)); return len(dead) > 0 })
	if len(dead) != 1 || dead[0].headers["dlq_reason"] != "credit_differs" {
		t.Errorf("dead letters %+v", dead)
	}
	if n := s.metric("mobileid_consumer_balance_events_total", `result="parked"`); n != 1 {
		t.Errorf("%v were counted as parked", n)
	}
	s.balanced()
}
