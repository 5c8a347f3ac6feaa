package gateway

import (
	"encoding/csv"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// aStatement has a Charge that was given back, one that nobody has settled, and a
// Message that there was no money for.
func aStatement(id mobileid.ID) mobileid.PersonStatement {
	at := time.Date(2026, 11, 23, 9, 0, 1, 0, time.UTC)
	ceiling := mobileid.Money(1200_00)
	return mobileid.PersonStatement{
		More: true,
		Charges: []mobileid.PersonCharge{
			{
				Message: id, Client: "portal", TextID: "notice.data_access", Operator: "beeline", State: mobileid.MessageUndeliverable, Reason: "receipt",
				Parts: 1, Tariff: 7, Act: "Decision 14, of 2026", Price: 120_00, Unit: "message", Amount: 120_00, Charging: mobileid.ChargingLedger,
				Charge: mobileid.ChargeReversed, Transfers: []mobileid.PersonTransfer{
					{Step: 1, At: at, Kind: mobileid.ChargePending, Why: "admitted", Held: 120_00},
					{Step: 2, At: at.Add(time.Second), Kind: mobileid.ChargePosted, Why: "answer", Held: -120_00, Taken: 120_00},
					{Step: 3, At: at.Add(time.Minute), Kind: mobileid.ChargeReversed, Why: "receipt", Taken: -120_00},
				},
			},
			{
				Message: id, Client: "portal", TextID: "otp.sign_in", Operator: "beeline", State: mobileid.MessageUnconfirmed, Parts: 1, Unit: "message",
				Charging: mobileid.ChargingOperator, Charge: mobileid.ChargeUnknown, Transfers: []mobileid.PersonTransfer{
					{Step: 1, At: at, Kind: mobileid.ChargePending, Why: "admitted"},
					{Step: 2, At: at, Kind: mobileid.ChargeUnknown, Why: "doubt"},
				},
			},
			{
				Message: id, Client: "portal", TextID: "notice.data_access", Operator: "beeline", State: mobileid.MessageNoFunds, Reason: "balance",
				Parts: 2, Tariff: 7, Act: "Decision 14, of 2026", Price: 120_00, Unit: "message", Amount: 120_00, Charging: mobileid.ChargingLedger,
			},
		},
		Account: &mobileid.SubscriberView{Operator: "beeline", Reserved: 120_00, SuspendedSince: at, SuspendedWhy: "balance", Ceiling: &ceiling, SpentToday: 240_00},
	}
}

func TestAStatementSaysWhyInBothForms(t *testing.T) {
	e := newEdge(t, nil)
	e.contract = newContract(t)
	id := e.idKey.Make(mobileid.KindMessage, "portal", "m", e.g.now())
	e.registry.statement = aStatement(id)
	w := e.do(with(statement, func(_ *edge, c *call) {
		c.body = `{"pinfl":"` + goodPINFL + `","from":"2026-11-01T00:00:00+05:00","until":"2026-12-01T00:00:00+05:00","page_token":"` + id.String() + `"}`
	})(e))
	asked := e.registry.asked[0]
	if person := e.g.accepter.deps.Pseudonyms.Person(must(mobileid.ParsePINFL(goodPINFL))); asked.Person != person || asked.Before != id || asked.Limit != StatementPage ||
		!asked.From.Equal(time.Date(2026, 10, 31, 19, 0, 0, 0, time.UTC)) || !asked.Until.Equal(time.Date(2026, 11, 30, 19, 0, 0, 0, time.UTC)) {
		t.Errorf("asked %+v", asked)
	}
	b := decode[StatementBody](t, w)
	if b.NextPageToken != id.String() || len(b.Charges) != 3 {
		t.Fatalf("%s", w.Body)
	}
	c := b.Charges[0]
	if c.Net != "0.00" || c.Amount != "120.00" || c.Kind != "notice" || c.Charging != "ledger" || c.Steps[2].Taken != "-120.00" ||
		c.Steps[2].Words != "the operator reported that the SMS was refused or not delivered: the money is given back" {
		t.Errorf("%+v", c)
	}
	if c := b.Charges[2]; c.Charge != "" || c.Net != "0.00" || c.Steps == nil || len(c.Steps) != 0 || c.Reason != "balance" {
		t.Errorf("no money: %+v", c)
	}
	if a := b.Account; a.BalanceKnown || a.Available != "" || !a.SMSSuspended || a.SuspendedWhy != "balance" || *a.DailyCeiling != "1200.00" || a.SpentToday != "240.00" {
		t.Errorf("%+v", a)
	}
	if strings.Contains(w.Body.String(), `"available"`) {
		t.Errorf("an unknown balance is told: %s", w.Body)
	}

	w = e.do(with(statement, func(_ *edge, c *call) { c.header = map[string]string{"Accept": "text/csv;q=1, */*;q=0.1"} })(e))
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 7 || !slices.Equal(rows[0], StatementColumns) || w.Header().Get("Next-Page-Token") != id.String() {
		t.Fatalf("%v %q %v", err, rows, w.Header())
	}
	want := "person/2|" + id.String() + "|2026-11-23T14:00:00+05:00|portal|notice.data_access|notice|beeline|undeliverable|receipt|1|7|Decision 14, of 2026|" +
		"120.00|message|120.00|ledger|reversed|0.00|3|2026-11-23T14:01:01+05:00|reversed|receipt|" +
		"the operator reported that the SMS was refused or not delivered: the money is given back|0.00|-120.00"
	if got := strings.Join(rows[3], "|"); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
	want = "person/2|" + id.String() + "|2026-11-23T14:00:00+05:00|portal|notice.data_access|notice|beeline|no_funds|balance|2|7|Decision 14, of 2026|" +
		"120.00|message|120.00|ledger||0.00|||||||"
	if got := strings.Join(rows[6], "|"); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
	if logged := e.logged(); strings.Contains(logged, goodPINFL) || strings.Count(logged, "a person's charges were read") != 2 || !strings.Contains(logged, `"client":"oneid"`) {
		t.Errorf("the log: %s", logged)
	}
}

// The words are of the language that is asked for, else of the person's, else English.
func TestAStatementSpeaksThePersonsLanguage(t *testing.T) {
	e := newEdge(t, nil)
	e.contract = newContract(t)
	e.registry.statement = aStatement(e.idKey.Make(mobileid.KindMessage, "portal", "m", e.g.now()))
	for _, c := range []struct{ asked, person, want mobileid.Locale }{
		{"", "", mobileid.LocaleEn},
		{"", mobileid.LocaleRu, mobileid.LocaleRu},
		{"", mobileid.LocaleUzLatn, mobileid.LocaleUzLatn},
		{mobileid.LocaleUzLatn, mobileid.LocaleRu, mobileid.LocaleUzLatn},
		{mobileid.LocaleEn, mobileid.LocaleRu, mobileid.LocaleEn},
	} {
		e.registry.statement.Locale = c.person
		ask := post("/v1/persons:statement", `{"pinfl":"`+goodPINFL+`"}`)
		if c.asked != "" {
			ask = post("/v1/persons:statement", `{"pinfl":"`+goodPINFL+`","locale":"`+string(c.asked)+`"}`)
		}
		want := mobileid.TransferWords(mobileid.ChargePosted, "answer", c.want)
		w := e.do(ask(e))
		if got := decode[StatementBody](t, w).Charges[0].Steps[1].Words; got != want || w.Header().Get("Content-Language") != string(c.want) {
			t.Errorf("asked for %q of a person of %q: %q, %v", c.asked, c.person, got, w.Header())
		}
		w = e.do(with(ask, func(_ *edge, c *call) { c.header = map[string]string{"Accept": "text/csv"} })(e))
		if !strings.Contains(w.Body.String(), ","+want+",") || w.Header().Get("Content-Language") != string(c.want) {
			t.Errorf("asked for %q of a person of %q: %s", c.asked, c.person, w.Body)
		}
	}
}

// What comes from outside is no formula where the file is opened, and an amount that
// is given back stays a number.
func TestAStatementHoldsNoFormula(t *testing.T) {
	var out strings.Builder
	c := mobileid.PersonCharge{
		Client: "-shop", TextID: "+notice.x", Operator: "@beeline", Reason: "\tbalance", Act: `=HYPERLINK("http://example.com")`, Unit: "message", Net: -1_00,
		Transfers: []mobileid.PersonTransfer{{Step: 1, Kind: mobileid.ChargeReversed, Why: "=1+1", Held: -2_00, Taken: -3_00}},
	}
	if err := StatementCSV(&out, mobileid.PersonStatement{Charges: []mobileid.PersonCharge{c}}, mobileid.LocaleEn, false); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v %q", err, rows)
	}
	have := map[string]string{}
	for i, name := range StatementColumns {
		have[name] = rows[0][i]
	}
	for name, want := range map[string]string{
		"client": "'-shop", "text_id": "'+notice.x", "kind": "'+notice", "operator": "'@beeline", "reason": "'\tbalance",
		"act": `'=HYPERLINK("http://example.com")`, "step_why": "'=1+1", "net_soum": "-1.00", "held_soum": "-2.00", "taken_soum": "-3.00", "step": "1", "tariff_id": "",
	} {
		if have[name] != want {
			t.Errorf("%s is %q, want %q", name, have[name], want)
		}
	}
}

func TestACeilingIsSetAndTakenAway(t *testing.T) {
	e := newEdge(t, nil)
	person := e.g.accepter.deps.Pseudonyms.Person(must(mobileid.ParsePINFL(goodPINFL)))
	w := e.do(ceiling(`"1200.5"`)(e))
	b := decode[accountBody](t, w)
	if got := e.registry.ceilings[person]; w.Code != http.StatusOK || got == nil || *got != 1200_50 || *b.DailyCeiling != "1200.50" || b.SpentToday != "120.00" || b.Available != "500.00" {
		t.Errorf("%d %s %v", w.Code, w.Body, got)
	}
	w = e.do(ceiling(`null`)(e))
	if got, set := e.registry.ceilings[person]; w.Code != http.StatusOK || !set || got != nil || !strings.Contains(w.Body.String(), `"daily_ceiling":null`) {
		t.Errorf("%d %s %v", w.Code, w.Body, got)
	}
	if logged := e.logged(); strings.Contains(logged, goodPINFL) || strings.Contains(logged, "1200") ||
		strings.Count(logged, "a person's daily ceiling was set") != 2 || strings.Count(logged, `"none":true`) != 1 {
		t.Errorf("the log: %s", logged)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
