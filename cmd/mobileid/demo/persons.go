package demo

import (
	"context"
	"fmt"
	"time"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// person is a synthetic person. The PINFLs pass the sieve (check digit, date)
// and use district 000, which nobody is born in.
type person struct {
	label  string
	pinfl  string
	number string // "" = not bound
	soum   mobileid.Money
	note   string
	phone  string // fate of SMS to it at the simulated operator; "" = delivered
}

// persons are the demo's people, one for each thing worth seeing.
func persons() []person {
	return []person{
		{label: "Person 1", pinfl: withCheckDigit("3010190000001"), number: "+998901000001", soum: 10_000_00},
		{label: "Person 2", pinfl: withCheckDigit("4150785000002"), number: "+998901000002", soum: 240_00, note: "money for two messages"},
		{label: "Person 3", pinfl: withCheckDigit("5230301000003"), number: "+998971000003", soum: 10_000_00, note: "phone cannot be reached", phone: "UNDELIV"},
		{label: "Person 4", pinfl: withCheckDigit("6091104000004"), note: "no number bound"},
	}
}

// served is what the operators' number-info service says of the persons'
// numbers. It is asked only for Person 3, whose code is another operator's.
func (d *demo) served() map[string]string {
	out := map[string]string{}
	for _, p := range d.persons() {
		if p.number != "" {
			out[p.number] = sandbox.Operator
		}
	}
	return out
}

// withCheckDigit appends digit 14.
func withCheckDigit(thirteen string) string {
	return thirteen + string(mobileid.PINFLCheckDigit(thirteen))
}

// poorPerson is a new person with money for two messages, for a tour on a kept
// folder, where the one of the list has spent his.
func poorPerson(at time.Time) person {
	n := at.UnixMilli() % 1_000_000
	return person{
		label: fmt.Sprintf("Person %d", at.UnixMilli()), pinfl: withCheckDigit(fmt.Sprintf("3010191%06d", n)),
		number: fmt.Sprintf("+99890%07d", 1_000_000+n), soum: 240_00,
	}
}

// seed binds the persons that have a number. On a kept data folder they are
// there already: their money and bindings stay as they were.
func (d *demo) seed(ctx context.Context) error {
	for _, p := range d.persons() {
		if p.number == "" {
			continue
		}
		if err := d.bind(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.label, err)
		}
	}
	return nil
}

// bind binds a person through the registry's own functions, as an enrollment
// would, and gives him money, unless he is bound already.
func (d *demo) bind(ctx context.Context, p person) error {
	db, keys := d.app.Registry(), d.pseudonyms
	pinfl, err := mobileid.ParsePINFL(p.pinfl)
	if err != nil {
		return err
	}
	msisdn, err := mobileid.ParseMSISDN(p.number)
	if err != nil {
		return err
	}
	who := keys.Person(pinfl)
	bound, err := db.ActiveBindings(ctx, []mobileid.Pseudonym{who})
	if err != nil || bound[who].ID != 0 {
		return err
	}
	route, err := d.route(ctx, msisdn)
	if err != nil {
		return fmt.Errorf("who serves the number: %w", err)
	}
	_, err = db.Bind(ctx, mobileid.NewBinding{
		PINFL: pinfl, MSISDN: msisdn, Person: who, Number: keys.Number(msisdn),
		Operator: route.Operator, Locale: mobileid.LocaleUzLatn,
	})
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	bound, err = db.ActiveBindings(ctx, []mobileid.Pseudonym{who})
	if err != nil {
		return err
	}
	err = db.Credit(ctx, bound[who].Account, "demo", p.label, p.soum)
	if err != nil {
		return fmt.Errorf("credit: %w", err)
	}
	return nil
}

// route says who serves a number. It asks again as long as a busy machine keeps
// the service from answering.
func (d *demo) route(ctx context.Context, m mobileid.MSISDN) (mobileid.Route, error) {
	for {
		route, err := d.router.Route(ctx, m)
		if mobileid.CodeOf(err) != "number_info_away" {
			return route, err
		}
		select {
		case <-ctx.Done():
			return route, ctx.Err()
		case <-time.After(mobileid.Ours(err).RetryAfter):
		}
	}
}
