package registry_test

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func TestWhoAsksOfAPersonIsAnsweredAndKept(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	bound, poor, other := e.bind(10*cost), e.bind(0), e.bind(0)
	e.refuse(poor, e.bridge())
	must(t, e.Revoke(e.ctx(), other.binding.ID))
	for name, c := range map[string]struct {
		p                   person
		number              *mobileid.Pseudonym
		bound, number2, sms mobileid.Answer
	}{
		"bound":              {bound, nil, "yes", "", "yes"},
		"with his number":    {bound, &bound.binding.Number, "yes", "yes", "yes"},
		"with another's":     {bound, &poor.binding.Number, "yes", "no", "yes"},
		"suspended":          {poor, &poor.binding.Number, "yes", "yes", "no"},
		"revoked":            {other, &other.binding.Number, "no", "unknown", "unknown"},
		"revoked, no number": {other, nil, "no", "", "unknown"},
	} {
		before := query[int](e, `select count(*) from person_questions`)
		e.clk.advance(time.Second)
		a, err := e.AskPerson(e.ctx(), mobileid.PersonQuestion{Client: "bank", Person: c.p.binding.Person, Number: c.number, ClientRef: "r"})
		must(t, err)
		if a.Bound != c.bound || a.Number != c.number2 || a.SMS != c.sms || !a.At.Equal(e.clk.now()) {
			t.Errorf("%s: %+v", name, a)
		}
		if after := query[int](e, `select count(*) from person_questions where client = 'bank' and client_ref = 'r'`); after != before+1 {
			t.Errorf("%s: %d rows, had %d", name, after, before)
		}
	}
	if _, err := e.pool.Exec(e.ctx(), `delete from person_questions`); err == nil {
		t.Error("who asked can be taken away")
	}
}
