package app_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/consumers/agencies"
	"mobileid/internal/mobileid"
)

// The second operator of a system of two.
const secondOperator = "ucell"

// lookTwo is look with a second operator, of a simulator and a tariff of his
// own.
func lookTwo(t *testing.T, roles ...string) (s *looker, second *smsc.Server) {
	t.Helper()
	s = look(t, apptest.Options{Roles: roles, Change: func(c *config.Config) {
		o := c.Operators[0]
		var err error
		second, err = smsc.Start(smsc.Config{
			Accounts: map[string]string{sandbox.SystemID: o.Account.Password.Reveal()}, ReceiptDelay: 20 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := second.Close(); err != nil {
				t.Error(err)
			}
		})
		o.ID = secondOperator
		tariff := c.Tariffs[0]
		tariff.Operator, tariff.Price = secondOperator, 150_00
		c.Tariffs = append(slices.Clone(c.Tariffs), tariff)
		o.Binds = slices.Clone(o.Binds)
		o.Binds[0].Hosts = []string{second.Addr()}
		c.Operators = append(slices.Clone(c.Operators), o)
	}})
	return s, second
}

// ported imports a file of moves, as `mobileid numbers import` does.
func (l *looker) ported(lines ...string) {
	l.t.Helper()
	file := io.Reader(strings.NewReader(agencies.PortedHeader + "\n" + strings.Join(lines, "\n") + "\n"))
	_, added, wrong, err := app.ImportPorted(l.t.Context(), l.Config, file, slog.New(slog.DiscardHandler))
	if err != nil || len(wrong) > 0 || added != len(lines) {
		l.t.Fatalf("%d moves are new of %d: %v %v", added, len(lines), wrong, err)
	}
}

// textsAt are what a simulated operator has received for a number.
func textsAt(at *smsc.Server, number string) (out []string) {
	for _, m := range at.Received() {
		if m.Dest == number {
			out = append(out, m.Text)
		}
	}
	return out
}

// explained returns a fact of the step "message queued" of an id.
func (l *looker) explained(id, fact string) string {
	l.t.Helper()
	parsed, err := mobileid.ParseID(id)
	if err != nil {
		l.t.Fatal(err)
	}
	steps, err := app.Explain(l.t.Context(), l.Config, parsed, slog.New(slog.DiscardHandler))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, s := range steps {
		if s.What == "message queued" {
			return s.Facts[fact]
		}
	}
	return ""
}

// TestAfterItsNumberIsPortedAPersonIsReachedAtTheOtherOperator: a file of
// ported numbers, and from then on codes and notices go out at the operator
// that has the number now, at his price; what was queued before stays.
func TestAfterItsNumberIsPortedAPersonIsReachedAtTheOtherOperator(t *testing.T) {
	s, second := lookTwo(t, app.RoleGateway, app.RoleConsumers)
	p, beside := s.Bind(1, 1000_00), s.Bind(2, 1000_00)
	queued := func(id string) {
		t.Helper()
		s.Until("the Message is queued", func() bool { return s.messageState(id) == string(mobileid.MessageQueued) })
	}
	early := s.Ask(p, "verify")
	queued(early)
	yesterday := time.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	nextYear := time.Now().AddDate(1, 0, 0).Format(time.DateOnly)
	s.ported(
		fmt.Sprintf("mnp,1,+%s,%s,%s", p.Number, secondOperator, yesterday),
		fmt.Sprintf("mnp,2,+%s,%s,%s", p.Number, sandbox.Operator, nextYear),
		fmt.Sprintf("mnp,3,+%s,%s,%s", beside.Number, secondOperator, nextYear),
	)
	code, notice, others := s.Ask(p, "sign_in"), s.notify(p), s.Ask(beside, "sign_in")
	for _, id := range []string{code, notice, others} {
		queued(id)
	}
	s.Stop()
	s.Run(app.AllRoles()...)

	for _, id := range []string{early, code, others, notice} {
		s.Until("it is delivered", func() bool { return s.messageState(id) == string(mobileid.MessageDelivered) })
	}
	if n := len(s.SMS(p.Number)); n != 1 {
		t.Errorf("%s has %d SMS for the number, want the code that was queued before the move", sandbox.Operator, n)
	}
	got := textsAt(second, p.Number)
	if len(got) != 2 {
		t.Fatalf("%s has %d SMS for the number, want a code and a notice", secondOperator, len(got))
	}
	if len(s.SMS(beside.Number)) != 1 || len(textsAt(second, beside.Number)) != 0 {
		t.Error("a move of next year has moved a number")
	}
	for id, want := range map[string]string{early: sandbox.Operator, code: secondOperator, notice: secondOperator, others: sandbox.Operator} {
		if have := s.explained(id, "operator"); have != want {
			t.Errorf("explain names %s, want %s", have, want)
		}
		price := map[string]int{sandbox.Operator: 120_00, secondOperator: 150_00}[want]
		if have := s.number(`select amount from messages where charge is not null and $1 in (id, challenge_id)`, s.rawID(id)); have != price {
			t.Errorf("it costs %d at %s, want %d", have, want, price)
		}
	}
	lanes := s.ends()
	for topic, want := range map[string]int64{
		mobileid.TopicSMS(sandbox.Operator, mobileid.LaneOTP): 2, mobileid.TopicSMS(sandbox.Operator, mobileid.LaneBulk): 0,
		mobileid.TopicSMS(secondOperator, mobileid.LaneOTP): 1, mobileid.TopicSMS(secondOperator, mobileid.LaneBulk): 1,
	} {
		if lanes[topic] < want || want == 0 && lanes[topic] != 0 { // the sweeper may put a queued one there again
			t.Errorf("%s has %d records, want %d", topic, lanes[topic], want)
		}
	}

	// The binding is the same, and the code that came over the other operator
	// is right.
	digits := regexp.MustCompile(`\b\d{6}\b`)
	right := digits.FindString(got[0] + " " + got[1])
	if a := s.Verify(code, s.NewKey(), right); a.Status != http.StatusOK {
		t.Errorf("verify: %d %s", a.Status, a.Body)
	}
	if n := s.number(`select count(*) from bindings where id = $1 and operator = $2 and version = 1`, p.Binding, sandbox.Operator); n != 1 {
		t.Error("the move has changed the binding")
	}
	s.balanced()
}

// TestANumberThatMovedToAnUnknownOperatorIsStillSentTo: the operator's file is
// gone since the import.
func TestANumberThatMovedToAnUnknownOperatorIsStillSentTo(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	bound, err := s.Registry.ActiveBindings(t.Context(), []mobileid.Pseudonym{p.Who})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Registry.ImportPorted(t.Context(), []mobileid.Ported{{
		Number: bound[p.Who].Number, Operator: "gone", From: time.Now().Add(-time.Hour), Source: "mnp", Seq: "1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Sorted(maps.Keys(s.partitions()))
	id := s.Ask(p, "sign_in")
	s.Code(p.Number, 1)
	if have := s.explained(id, "operator"); have != sandbox.Operator {
		t.Errorf("explain names %s", have)
	}
	if have := s.metric("mobileid_consumer_ported_away_total", `operator="gone"`); have != 1 {
		t.Errorf("counted %v, want 1", have)
	}
	if after := slices.Sorted(maps.Keys(s.partitions())); !slices.Equal(before, after) {
		t.Errorf("topics were %v, are %v", before, after)
	}
}
