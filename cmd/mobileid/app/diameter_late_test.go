package app_test

import (
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv/charging"
	"mobileid/smpp/diameter"
)

// A charging system answers long after the bridge has stopped waiting: to the
// reservation of a code, and to the first question after it. The code is sent on
// credit, and its Charge is unknown. The late answer has the bridge ask again then,
// not when the question would be due, and what it hears settles the Charge: a code
// that was reserved is paid for once, of one that was refused nothing is taken. A
// notice waits, and is sent once.
func TestALateAnswerOfAChargingSystemSettlesTheCharge(t *testing.T) {
	for _, mode := range []diameter.Mode{diameter.ECUR, diameter.IEC} {
		t.Run(string(mode), func(t *testing.T) { lateAnswers(t, mode) })
	}
}

func lateAnswers(t *testing.T, mode diameter.Mode) {
	t.Helper()
	server := charging.Start(t, "ocs1.ocs.test", time.Minute)
	s := look(t, apptest.Options{Change: func(c *config.Config) {
		asks(server.Addr)(c)
		c.Operators[0].Diameter.Mode = mode
	}})
	rich, poor, told := s.Bind(1, 0), s.Bind(2, 0), s.Bind(3, 0)
	for p, units := range map[apptest.Person]int{rich: 3, poor: 0, told: 3} {
		server.Tell("balance %s %d", p.Number, units)
	}
	server.Tell("up 1")
	transfers := func(id string) string {
		t.Helper()
		return s.words(`select string_agg(kind || ' ' || why, ', ' order by step) from transfers t join messages m on m.id = t.message_id where m.id = $1 or m.challenge_id = $1`, s.rawID(id))
	}
	money := func(p apptest.Person, free int) func() bool {
		return func() bool {
			gotFree, held := server.Account(p.Number)
			return gotFree == free && held == 0
		}
	}
	lates := 0.0
	late := func() bool { return s.metric("mobileid_charging_late_total", `result="told"`) == lates }

	for _, c := range []struct {
		p         apptest.Person
		free      int // in the end
		charge    string
		transfers string
	}{
		{rich, 2, "posted", "pending admitted, unknown charger, posted charger"},
		{poor, 0, "voided", "pending admitted, unknown charger, voided charger"},
	} {
		// Twice: the question that follows at once is answered late, too. The next is due
		// 45 s later, which nothing here waits for.
		server.Tell("delay 2 3000")
		code := s.Ask(c.p, "sign_in")
		s.Until("the code is sent, and nobody knows of its money", func() bool {
			return s.messageState(code) == "delivered" && s.charge(code) == "unknown"
		})
		s.Until("the charge is known", func() bool { return s.charge(code) == c.charge })
		s.Until("the charging system was told", money(c.p, c.free))
		lates += 2
		s.Until("both late answers are there", late)
		if got := transfers(code); got != c.transfers {
			t.Errorf("transfers %q, want %q", got, c.transfers)
		}
		if n := len(s.SMS(c.p.Number)); n != 1 {
			t.Errorf("%d SMS of one code", n)
		}
		if a := s.Verify(code, "v-"+code, s.Code(c.p.Number, 1)); a.JSON("state") != string(mobileid.ChallengeConfirmed) {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		wantOnce(s, server, code, map[string]int{"posted": 1}[c.charge])
	}

	// A notice is not sent on credit. It comes again before the late answer, and is
	// answered for from the charging system's record.
	server.Tell("delay 1 3000")
	notice := s.notify(told)
	s.Until("it waits", func() bool { return s.messageState(notice) == "retry" })
	if n := len(s.SMS(told.Number)); n != 0 {
		t.Errorf("%d SMS that nobody has said yes to", n)
	}
	s.Await(notice, "delivered")
	s.Until("the charging system was told", money(told, 2))
	lates++
	s.Until("the late answer is there", late)
	s.Until("nothing is left to tell", func() bool { return s.number(`select count(*) from charge_calls`) == 0 })
	if got := transfers(notice); got != "pending admitted, posted answer" {
		t.Errorf("transfers of the notice %q", got)
	}
	if n := len(s.SMS(told.Number)); n != 1 {
		t.Errorf("%d SMS of one notice", n)
	}
	wantOnce(s, server, notice, 1)
	for p, free := range map[apptest.Person]int{rich: 2, poor: 0, told: 2} {
		if !money(p, free)() {
			t.Errorf("the account of the person with %d changed after the end", free)
		}
	}
	s.balanced()
}

// wantOnce compares what the charging system has debited in all sessions of a Message.
func wantOnce(s *looker, server *charging.Server, id string, want int) {
	s.t.Helper()
	var raw []byte
	check(s.t, s.pool.QueryRow(s.t.Context(), `select id from messages where id = $1 or challenge_id = $1`, s.rawID(id)).Scan(&raw))
	if debited, refunded := server.Message(mobileid.ID(raw).String()); debited != want || refunded != 0 {
		s.t.Errorf("%d units were debited and %d refunded, want %d and none", debited, refunded, want)
	}
}
