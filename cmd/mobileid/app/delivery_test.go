package app_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/smscsim/smsc"
)

func (l *looker) fault(f smsc.Fault) {
	l.t.Helper()
	if err := l.SMSC.SetFault(f); err != nil {
		l.t.Fatal(err)
	}
}

// TestAnOperatorsRefusalEndsTheChallengeAndIsNotCharged is promise P3: refused
// for good, at once or by receipt, costs nothing in the end.
func TestAnOperatorsRefusalEndsTheChallengeAndIsNotCharged(t *testing.T) {
	s := look(t, apptest.Options{})
	cases := []struct {
		name               string
		fault              smsc.Fault
		message, challenge string
		charge             string
	}{
		{"delivered", smsc.Fault{Kind: smsc.FaultReceiptFirst}, "delivered", "pending", "posted"},
		{"receipt undeliverable", smsc.Fault{Kind: smsc.FaultReceipt, State: "UNDELIV"}, "undeliverable", "undeliverable", "reversed"},
		{"receipt rejected", smsc.Fault{Kind: smsc.FaultReceipt, State: "REJECTD"}, "rejected", "undeliverable", "reversed"},
		{"receipt expired", smsc.Fault{Kind: smsc.FaultReceipt, State: "EXPIRED"}, "expired", "undeliverable", "reversed"},
		{"receipt deleted", smsc.Fault{Kind: smsc.FaultReceipt, State: "DELETED"}, "failed", "failed", "reversed"},
		{"refused at once", smsc.Fault{Kind: smsc.FaultStatus, Status: 0x0B}, "rejected", "undeliverable", "voided"},
	}
	ids := make([]string, len(cases))
	people := make([]apptest.Person, len(cases))
	for i, c := range cases {
		people[i] = s.Bind(i+1, 1000_00)
		c.fault.To = people[i].Number
		s.fault(c.fault)
		ids[i] = s.Ask(people[i], "sign_in")
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s.Until("its end", func() bool { return s.messageState(ids[i]) == c.message })
			s.Until("the challenge's end", func() bool { return s.challengeState(ids[i]) == c.challenge })
			if got := s.Call(http.MethodGet, "/v1/challenges/"+ids[i], "", "").JSON("state"); got != c.challenge {
				t.Errorf("the client sees %s", got)
			}
			s.Until("its charge", func() bool { return s.charge(ids[i]) == c.charge })
			if n := len(s.SMS(people[i].Number)); n != 1 {
				t.Errorf("%d submit_sm, want 1", n)
			}
			posted := s.number(`select posted from accounts where id = $1`, people[i].Account)
			if want := 120_00; (c.charge == "posted") != (posted == want) {
				t.Errorf("%d tiyin posted", posted)
			}
		})
	}
	// A code that a receipt called undeliverable, and that came all the same, is
	// not believed: its challenge has ended.
	if a := s.Verify(ids[1], "v", s.Code(people[1].Number, 1)); a.Status != http.StatusConflict || a.JSON("code") != "challenge_undeliverable" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// A late receipt is a fact, not another state.
	s.Until("the first one's receipt is in", func() bool { return s.number(`select count(*) from receipts`) >= 5 })
	for _, m := range s.SMSC.Received() {
		if m.Dest == people[1].Number {
			if err := s.SMSC.SendReceipt(m.MessageID, "DELIVRD"); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Until("the late receipt is kept", func() bool {
		return s.number(`select count(*) from receipts r join messages m on m.id = r.message_id where m.challenge_id = $1`, s.rawID(ids[1])) == 2
	})
	if got := s.messageState(ids[1]); got != "undeliverable" {
		t.Errorf("after a late receipt the Message is %s", got)
	}
	s.balanced()
}

func TestAThrottledCodeIsSentAgainAndChargedOnce(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	s.fault(smsc.Fault{Kind: smsc.FaultStatus, Status: 0x58, Count: 1})
	id := s.Ask(p, "sign_in")
	s.Until("the second try", func() bool { return len(s.SMS(p.Number)) == 2 })
	if a := s.Verify(id, "v", s.Code(p.Number, 2)); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if s.Code(p.Number, 1) != s.Code(p.Number, 2) {
		t.Error("the second try carries another code")
	}
	s.Until("it is delivered", func() bool { return s.messageState(id) == "delivered" })
	if got := s.charge(id); got != "posted" {
		t.Errorf("charges: %q", got)
	}
	s.balanced()
}

// TestACodeWithoutAnAnswerIsSentOnceMoreANoticeIsNot is promise P5: at most
// what was written and not answered, codes only, one extra each.
func TestACodeWithoutAnAnswerIsSentOnceMoreANoticeIsNot(t *testing.T) {
	s := look(t, apptest.Options{Change: func(c *config.Config) { c.Operators[0].Timers.Response = 400 * time.Millisecond }})
	p, q, r := s.Bind(1, 1000_00), s.Bind(2, 1000_00), s.Bind(3, 1000_00)
	s.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, To: p.Number, Count: 1})
	s.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, To: q.Number, Count: 1})
	s.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, To: r.Number})
	id, notice, mute := s.Ask(p, "sign_in"), s.notify(q), s.Ask(r, "sign_in")

	s.Until("the code is sent once more", func() bool { return len(s.SMS(p.Number)) == 2 })
	if s.Code(p.Number, 1) != s.Code(p.Number, 2) {
		t.Error("the second SMS carries another code")
	}
	s.Until("it is delivered", func() bool { return s.messageState(id) == "delivered" })
	if a := s.Verify(id, "v", s.Code(p.Number, 1)); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if got := s.charge(id); got != "posted" {
		t.Errorf("charges: %q, want one", got)
	}
	s.Until("the other code has its second try too", func() bool { return len(s.SMS(r.Number)) == 2 })
	s.Until("nothing is under way", func() bool { return s.messageState(mute) == "in_doubt" && s.messageState(notice) == "in_doubt" })
	if n := s.number(`select count(*) from retries`); n != 0 {
		t.Errorf("%d more tries are planned", n)
	}
	// A code in doubt still verifies: the person may well have it.
	if a := s.Verify(mute, "v2", s.Code(r.Number, 2)); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if n := len(s.SMS(q.Number)); n != 1 {
		t.Errorf("the notice was sent %d times", n)
	}
	if n := s.SMSC.Count(); n != 5 {
		t.Errorf("%d submit_sm, want 5", n)
	}
	s.balanced()
}

// TestANoticeThatWasRefusedForNowTooLateIsSentAndChargedOnce: it was in doubt
// until the operator said that he had not taken it.
func TestANoticeThatWasRefusedForNowTooLateIsSentAndChargedOnce(t *testing.T) {
	s := look(t, apptest.Options{Change: func(c *config.Config) { c.Operators[0].Timers.Response = 400 * time.Millisecond }})
	p := s.Bind(1, 1000_00)
	s.fault(smsc.Fault{Kind: smsc.FaultStatus, Status: 0x58, Count: 1})
	s.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: time.Second, Count: 1})
	id := s.notify(p)
	s.Until("it is in doubt", func() bool { return s.messageState(id) == "in_doubt" })
	s.Until("it is delivered", func() bool { return s.messageState(id) == "delivered" })
	if got := s.charge(id); got != "posted" {
		t.Errorf("charges: %q", got)
	}
	var statuses []uint32
	for _, m := range s.SMSC.Received() {
		statuses = append(statuses, m.Status)
	}
	if !slices.Equal(statuses, []uint32{0x58, 0}) {
		t.Errorf("submit_sm were answered with %x", statuses)
	}
	s.balanced()
}
