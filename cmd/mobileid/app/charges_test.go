package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/gateway"
	"mobileid/internal/mobileid"
)

// TestAPersonReadsWhatHePaidAndStopsIt: of two notices one is given back by the
// operator's receipt. The cabinet sees both with their reasons; and when the person
// has set a ceiling that they have reached, the third is not sent, and is told too.
func TestAPersonReadsWhatHePaidAndStopsIt(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	cabinet := s.Token("charges:read", "charges:write")
	ask := func(path, body string) apptest.Answer {
		t.Helper()
		a, err := s.TryAs(cabinet, http.MethodPost, path, "", body)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.Status, a.Body)
		}
		return a
	}
	statement := func() (b gateway.StatementBody) {
		t.Helper()
		a := ask("/v1/persons:statement", fmt.Sprintf(`{"pinfl":%q}`, p.PINFL))
		if err := json.Unmarshal(a.Body, &b); err != nil {
			t.Fatal(err)
		}
		for _, personal := range []string{p.PINFL, p.Number} {
			if strings.Contains(string(a.Body), personal) {
				t.Errorf("the answer has %q", personal)
			}
		}
		return b
	}
	if b := statement(); len(b.Charges) != 0 || b.Account == nil || b.Account.Available != "1000.00" || b.Account.DailyCeiling != nil {
		t.Fatalf("before: %+v", b)
	}

	paid := s.notify(p)
	s.Await(paid, "delivered")
	s.fault(smsc.Fault{Kind: smsc.FaultReceipt, State: "UNDELIV", To: p.Number})
	refunded := s.notify(p)
	s.Await(refunded, "undeliverable")
	b := statement()
	if len(b.Charges) != 2 || b.NextPageToken != "" {
		t.Fatalf("%+v", b)
	}
	newest, oldest := b.Charges[0], b.Charges[1]
	if newest.MessageID.String() != refunded || newest.Charge != "reversed" || newest.Net != "0.00" || newest.Price != "120.00" || newest.Act == "" ||
		newest.Client != portal || newest.Kind != "notice" || len(newest.Steps) != 3 || newest.Steps[2].Why != "receipt" || newest.Steps[2].Taken != "-120.00" ||
		!strings.Contains(newest.Steps[2].Words, "pul qaytarildi") { // the language of his binding
		t.Errorf("the one that was given back: %+v", newest)
	}
	if oldest.MessageID.String() != paid || oldest.Charge != "posted" || oldest.Net != "120.00" || len(oldest.Steps) != 2 {
		t.Errorf("the one that was paid: %+v", oldest)
	}
	if a := b.Account; !a.BalanceKnown || a.Available != "880.00" || a.Reserved != "0.00" || a.SpentToday != "240.00" || a.SMSSuspended {
		t.Errorf("account: %+v", a)
	}

	// What was given back counts for the day all the same.
	a := ask("/v1/persons:dailyCeiling", fmt.Sprintf(`{"pinfl":%q,"amount":"300"}`, p.PINFL))
	if a.JSON("daily_ceiling") != "300.00" || a.JSON("spent_today") != "240.00" {
		t.Errorf("ceiling: %s", a.Body)
	}
	third := s.notify(p)
	if end := s.Await(third, "no_funds"); end.JSON("reason") != "daily_limit" {
		t.Errorf("above the ceiling: %s", end.Body)
	}
	if b := statement(); len(b.Charges) != 3 || *b.Account.DailyCeiling != "300.00" {
		t.Errorf("what was not sent is not told: %+v", b)
	} else if c := b.Charges[0]; c.MessageID.String() != third || c.State != "no_funds" || c.Reason != "daily_limit" || c.Charge != "" || c.Net != "0.00" || len(c.Steps) != 0 {
		t.Errorf("what was not sent: %+v", c)
	}
	if sms := s.SMS(p.Number); len(sms) != 2 {
		t.Errorf("the operator has %d SMS, want 2", len(sms))
	}
	ask("/v1/persons:dailyCeiling", fmt.Sprintf(`{"pinfl":%q,"amount":null}`, p.PINFL))
	s.Await(s.notify(p), "undeliverable")
	s.balanced()
}

// TestAnOperatorReadsItsOwnDay: what two notices cost is what it is owed, and it sees no
// other operator's.
func TestAnOperatorReadsItsOwnDay(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	began := time.Now()
	for range 2 {
		s.Await(s.notify(p), "delivered")
	}
	token := s.TokenOf(sandbox.Billing, string(mobileid.ScopeStatements))
	read := func(operator string, day time.Time) apptest.Answer {
		t.Helper()
		a, err := s.TryAs(token, http.MethodGet, "/v1/operators/"+operator+"/statements/"+day.In(mobileid.Tashkent).Format(time.DateOnly), "", "")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	days := map[string]time.Time{} // the test may run over the end of one
	for _, at := range []time.Time{began, time.Now()} {
		days[at.In(mobileid.Tashkent).Format(time.DateOnly)] = at
	}
	owed := 0
	for day, at := range days {
		a := read(sandbox.Operator, at)
		var b struct {
			Day, Operator string
			Final         bool
			Lines         []struct {
				Kind string `json:"kind"`
				Net  int    `json:"net_tiyin"`
			}
		}
		if err := json.Unmarshal(a.Body, &b); err != nil || a.Status != http.StatusOK || b.Day != day || b.Operator != sandbox.Operator || b.Final {
			t.Fatalf("%d %v %s", a.Status, err, a.Body)
		}
		for _, l := range b.Lines {
			if l.Kind != "notice" {
				t.Errorf("%+v", l)
			}
			owed += l.Net
		}
		if strings.Contains(string(a.Body), p.Number) {
			t.Error("a number is told")
		}
	}
	if owed != 2*120_00 {
		t.Errorf("%d tiyin are owed, want %d", owed, 2*120_00)
	}
	if a := read("ucell", began); a.Status != http.StatusForbidden {
		t.Errorf("another operator's: %d %s", a.Status, a.Body)
	}
	if a := read(sandbox.Operator, began.AddDate(0, 0, -3)); a.Status != http.StatusOK || !strings.Contains(string(a.Body), `"final":true,"lines":[]`) {
		t.Errorf("a day that is over: %d %s", a.Status, a.Body)
	}
}
