package gateway

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// topUp is an event of a body, with other members in place of its own.
func topUp(members ...string) string {
	own := map[string]string{
		"number": `"+998901234567"`, "kind": `"top_up"`, "amount": `500`, "seq": `"s"`, "at": `"2026-11-23T09:00:00Z"`,
	}
	for _, m := range members {
		name, value, _ := strings.Cut(m, ":")
		own[strings.Trim(name, `"`)] = value
	}
	var out []string
	for name, value := range own {
		out = append(out, `"`+name+`":`+value)
	}
	slices.Sort(out)
	return "{" + strings.Join(out, ",") + "}"
}

func events(list ...string) string { return `{"events":[` + strings.Join(list, ",") + `]}` }

func report(body string) func(e *edge) call {
	return func(e *edge) call {
		return call{method: "POST", path: "/v1/balance-events", body: body, key: "k", token: e.token("billing")}
	}
}

func TestAnOperatorsEventsArePublishedUnderTheNumbersAndItsOwnName(t *testing.T) {
	e := newEdge(t, nil)
	w := e.do(report(events(
		topUp(`"seq":"2026112300017"`), topUp(`"number":"998 90 123-45-68"`, `"kind":"balance"`, `"amount":0`, `"seq":"b"`, `"at":"2026-11-23T13:00:00.1234567+05:00"`),
		`{"number":"+998901234567","kind":"barred","seq":"c","at":"2026-11-23T09:05:00Z"}`,
	))(e))
	got := decode[reportBody](t, w)
	if w.Code != 202 || got.ID.Kind() != mobileid.KindBalance || !got.AcceptedAt.Equal(e.clock.now()) || w.Header().Get("Location") != "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	want := []mobileid.BalanceChanged{
		{Seq: "2026112300017", Kind: mobileid.BalanceTopUp, Amount: 500, At: at, Number: "+998901234567"},
		{Seq: "b", Kind: mobileid.BalanceTold, At: at.Add(-time.Hour + 123456*time.Microsecond), Number: "+998901234568"},
		{Seq: "c", Kind: mobileid.BalanceBarred, At: at.Add(5 * time.Minute), Number: "+998901234567"},
	}
	list := e.kafka.all()
	if len(list) != len(want) {
		t.Fatalf("%d records", len(list))
	}
	for i, p := range list {
		var v mobileid.BalanceChanged
		if err := json.Unmarshal(p.event.Value, &v); err != nil {
			t.Fatal(err)
		}
		number, err := mobileid.ParseMSISDN(want[i].Number)
		if err != nil {
			t.Fatal(err)
		}
		want[i].Number = e.g.accepter.deps.Pseudonyms.Number(number).String()
		want[i].Source, want[i].Operator = "operator:beeline", "beeline"
		if p.topic != mobileid.TopicBalanceEvents || v != want[i] || p.event.Key != want[i].Number || p.event.Type != mobileid.TypeBalanceChanged ||
			p.event.ID != "operator:beeline/"+want[i].Seq || p.event.Subject != got.ID.String() {
			t.Errorf("event %d on %s: %+v\n%+v\nwant %+v", i, p.topic, p.event, v, want[i])
		}
		if strings.Contains(string(p.event.Value)+p.event.Key+p.event.ID, "90123456") {
			t.Error("a number left the edge")
		}
	}
	if strings.Contains(e.logged(), "90123456") {
		t.Error("a number is in the log")
	}
}

func TestAReportIsPaidOnceAndPublishedAgain(t *testing.T) {
	e := newEdge(t, nil)
	e.kafka.err = errors.New("timed out")
	if w := e.do(report(events(topUp()))(e)); w.Code != 503 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	e.kafka.err = nil
	e.clock.add(time.Minute)
	w := e.do(report(" " + events(topUp()))(e))
	if w.Code != 202 || w.Header().Get("Idempotent-Replay") != "true" || e.quotas.spent != 1 || len(e.kafka.all()) != 1 {
		t.Errorf("%d, spent %d, published %d", w.Code, e.quotas.spent, len(e.kafka.all()))
	}
	// The limit of events fits the limit of the body.
	var many []string
	for i := range maxEvents {
		many = append(many, topUp(`"seq":"2026-11-23:`+strings.Repeat("7", 12)+string(rune('a'+i%26))+string(rune('a'+i/26))+`"`))
	}
	full := report(events(many...))(e)
	full.key = "full"
	if w := e.do(full); w.Code != 202 || len(e.kafka.all()) != 1+maxEvents {
		t.Errorf("%d events in %d bytes: %d %s", maxEvents, len(full.body), w.Code, w.Body)
	}
}
