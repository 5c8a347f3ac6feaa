package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

// A consent holds the version that was shown, and one to a price that was not in
// force is refused: it has to be shown again.
func TestAConsentIsToThePriceInForce(t *testing.T) {
	e := newEnv(t)
	e.price(operator, 100, now0.AddDate(-1, 0, 0))
	e.price(operator, 200, now0.Add(time.Hour))
	p := e.bind(0)
	consent := func(at time.Time, change func(*mobileid.Consent)) (int64, error) {
		shown, ok, err := e.PriceAt(e.ctx(), operator, "otp", now0)
		must(t, err)
		if !ok {
			t.Fatal("no price")
		}
		c := mobileid.Consent{
			Person: p.binding.Person, Number: p.binding.Number, Operator: operator, Kind: "otp", TariffID: shown.ID, By: "clerk-7", At: at,
			Warning: mobileid.Warning{TextID: "warning.sms_charges", Version: 1, Locale: "ru", Text: "x", Price: shown.Price, Unit: string(shown.Unit)},
		}
		if change != nil {
			change(&c)
		}
		return e.RecordConsent(e.ctx(), c)
	}
	id, err := consent(now0, nil)
	must(t, err)
	kept := query[bool](e, `
select c.price = t.amount and c.price = 100 and c.text_version = 1 and c.shown_by = 'clerk-7'
from consents c join tariffs t on t.id = c.tariff_id where c.id = $1`, id)
	if !kept {
		t.Error("the consent is not to the version that was shown")
	}
	for name, c := range map[string]struct {
		at     time.Time
		change func(*mobileid.Consent)
	}{
		"the price changed while he read":   {now0.Add(time.Hour), nil},
		"another amount than the version's": {now0, func(c *mobileid.Consent) { c.Warning.Price++ }},
		"another unit than the version's":   {now0, func(c *mobileid.Consent) { c.Warning.Unit = string(ledger.UnitPart) }},
		"a version that there is not":       {now0, func(c *mobileid.Consent) { c.TariffID += 100 }},
		"an operator that has no price":     {now0, func(c *mobileid.Consent) { c.Operator = "nobody" }},
	} {
		if _, err := consent(c.at, c.change); mobileid.CodeOf(err) != "price_changed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := query[int](e, `select count(*) from consents`); n != 1 {
		t.Errorf("%d consents are stored, want 1", n)
	}
	if _, err := e.pool.Exec(e.ctx(), `update consents set price = 0`); err == nil {
		t.Error("a consent was changed")
	}
}
