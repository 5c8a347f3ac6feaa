package app_test

import (
	"net/http"
	"testing"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/internal/mobileid"
)

// TestTheBalanceIsSpentToTheLastTiyinAndNoFurther asks side by side for more
// than the money of some accounts is enough for (promises P3, P4).
func TestTheBalanceIsSpentToTheLastTiyinAndNoFurther(t *testing.T) {
	s := look(t, apptest.Options{Window: 20})
	const tariff, asked = 120_00, 12
	enough := []int{0, 1, 5, asked}
	people := make([]apptest.Person, len(enough))
	for i, k := range enough {
		money := k * tariff
		if i == 2 {
			money += tariff - 1 // one tiyin short of one more
		}
		people[i] = s.Bind(i+1, mobileid.Money(money))
	}
	ids := s.together(asked*len(people), func(i int) apptest.Answer {
		return s.insist("/v1/notifications", s.NewKey(), apptest.NoticeBody(people[i%len(people)].PINFL))
	})
	states := map[string]int{}
	for i, a := range ids {
		if a.Status != http.StatusAccepted {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		end := s.Await(a.JSON("id"), "delivered", "no_funds").JSON("state")
		states[people[i%len(people)].PINFL+end]++
	}
	total := 0
	for i, k := range enough {
		p := people[i]
		total += k
		if got := len(s.SMS(p.Number)); got != k {
			t.Errorf("money for %d: %d SMS", k, got)
		}
		if states[p.PINFL+"delivered"] != k || states[p.PINFL+"no_funds"] != asked-k {
			t.Errorf("money for %d of %d: %d delivered, %d no_funds", k, asked, states[p.PINFL+"delivered"], states[p.PINFL+"no_funds"])
		}
		if got := s.number(`select posted from accounts where id = $1`, p.Account); got != k*tariff {
			t.Errorf("money for %d: %d tiyin posted", k, got)
		}
	}
	if n := s.number(`select coalesce(sum(pending), 0)::bigint from accounts`); n != 0 {
		t.Errorf("%d tiyin still reserved", n)
	}
	if n := s.number(`select count(*) from transfers where kind = 'posted'`); n != total {
		t.Errorf("%d charges for %d SMS", n, total)
	}
	s.balanced()
}
