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

// aDay has a line of a price and one of what no price was in force for.
func aDay() []mobileid.OperatorLine {
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, mobileid.Tashkent)
	return []mobileid.OperatorLine{
		{
			Day: day, Operator: "beeline", Kind: "notice", Tariff: 7, Price: 120_50, Unit: "message", Charging: mobileid.ChargingLedger,
			Posted: mobileid.Counted{Messages: 3, Parts: 4}, Reversed: mobileid.Counted{Messages: 1, Parts: 2}, Voided: mobileid.Counted{Messages: 5, Parts: 6},
			Unknown: mobileid.Counted{Messages: 7, Parts: 8}, PostedAmount: 3 * 120_50, ReversedAmount: 120_50, Final: true,
		},
		{Day: day, Operator: "beeline", Kind: "otp", Unit: "message", Charging: mobileid.ChargingOperator, ReversedAmount: 70},
	}
}

func TestAnOperatorReadsWhatItIsOwedInBothForms(t *testing.T) {
	e := newEdge(t, nil)
	e.contract = newContract(t)
	e.registry.days = aDay()
	w := e.do(theDay("beeline", "2026-11-22")(e))
	b := decode[struct {
		Contract, Day, Operator string
		Final                   bool
		Lines                   []map[string]any
	}](t, w)
	if w.Code != http.StatusOK || b.Contract != "operator-day/1" || b.Day != "2026-11-22" || b.Operator != "beeline" || !b.Final || len(b.Lines) != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if l := b.Lines[0]; len(l) != len(mobileid.OperatorDayColumns) || l["net_soum"] != "241.00" || l["net_tiyin"] != 24100.0 || l["unknown_parts"] != 8.0 || l["charging"] != "ledger" {
		t.Errorf("%v", l)
	}
	if l := b.Lines[1]; l["net_tiyin"] != -70.0 || l["net_soum"] != "-0.70" || l["tariff_id"] != 0.0 {
		t.Errorf("%v", l)
	}
	if want := []string{"beeline 2026-11-22T00:00:00+05:00"}; !slices.Equal(e.registry.dayAsked, want) || e.quotas.spent != 1 {
		t.Errorf("asked %q, spent %d", e.registry.dayAsked, e.quotas.spent)
	}

	w = e.do(with(theDay("beeline", "2026-11-22"), func(_ *edge, c *call) { c.header = map[string]string{"Accept": "text/csv"} })(e))
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 3 || !slices.Equal(rows[0], mobileid.ColumnNames(mobileid.OperatorDayColumns)) || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%v %q %v", err, rows, w.Header())
	}
	want := "operator-day/1|2026-11-22|beeline|notice|7|120.50|message|ledger|3|4|1|2|5|6|7|8|36150|12050|24100|241.00|true"
	if got := strings.Join(rows[1], "|"); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

// A day is added up while others wait for a verify: one at a time, and the next one
// may be made when it is done, whatever became of it.
func TestOneStatementOfADayIsMadeAtATime(t *testing.T) {
	e := newEdge(t, nil)
	for _, failure := range []error{nil, mobileid.Unavailable("database_away", time.Second, nil)} {
		e.registry.err = failure
		e.do(theDay("beeline", "2026-11-22")(e))
		if n := len(e.g.days); n != 0 {
			t.Fatalf("%v: it is still being made", failure)
		}
	}
	e.registry.err = nil
	e.g.days <- struct{}{}
	if w := e.do(theDay("beeline", "2026-11-22")(e)); w.Code != http.StatusTooManyRequests || len(e.registry.dayAsked) != 2 {
		t.Errorf("%d %s, asked %q", w.Code, w.Body, e.registry.dayAsked)
	}
	<-e.g.days
	if w := e.do(theDay("beeline", "2026-11-22")(e)); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
