package app_test

import (
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv/charging"
)

// asks has the operator's charging system asked, which is at addr.
func asks(addr string) func(*config.Config) {
	return func(c *config.Config) {
		o := &c.Operators[0]
		o.Charging.By = mobileid.ChargingDiameter
		o.Diameter.OriginHost, o.Diameter.OriginRealm = "bridge.mobileid.test", "mobileid.test"
		o.Diameter.SessionHost, o.Diameter.DestinationRealm = "charging.mobileid.test", "ocs.test"
		o.Diameter.Peers = []config.DiameterPeer{{Name: "a", Address: addr}}
		o.Diameter.Tx = 500 * time.Millisecond
	}
}

// Each Message is reserved at a charging system that nobody here wrote before it
// is sent, and paid for when it was: to the last unit and no further. What the
// operator refuses costs nothing, at once or by receipt; a code that the charging
// system does not answer for is sent, and paid for when it does.
func TestAChargingSystemIsAskedBeforeEachMessage(t *testing.T) {
	server := charging.Start(t, "ocs1.ocs.test", time.Minute)
	s := look(t, apptest.Options{Change: asks(server.Addr)})
	p := s.Bind(1, 0) // our mirror is not asked
	server.Tell("balance %s 3", p.Number)
	server.Tell("up 1")
	money := func(when string, free int) {
		t.Helper()
		s.Until("the charging system knows: "+when, func() bool {
			gotFree, held := server.Account(p.Number)
			return gotFree == free && held == 0
		})
	}

	for i := range 2 {
		s.Await(s.notify(p), "delivered")
		money("delivered", 2-i)
	}
	// Refused by the operator: given back. Refused by a receipt: refunded.
	s.fault(smsc.Fault{Kind: smsc.FaultStatus, Status: 0x0b, To: p.Number, Count: 1})
	s.Await(s.notify(p), "rejected")
	money("rejected", 1)
	s.fault(smsc.Fault{Kind: smsc.FaultReceipt, State: "REJECTD", To: p.Number, Count: 1})
	refunded := s.notify(p)
	s.Await(refunded, "rejected")
	money("rejected by receipt", 1)
	if got := s.charge(refunded); got != "reversed" {
		t.Errorf("the charge is %s", got)
	}

	// No answer: the code goes out on credit, and is paid for once it is known.
	server.Tell("mute 1")
	code := s.Ask(p, "sign_in")
	s.Until("the code is sent", func() bool { return s.messageState(code) == "delivered" })
	money("the code", 0)
	s.Until("the charge is known", func() bool { return s.charge(code) == "posted" })
	if got := s.words(`select string_agg(kind || ' ' || why, ', ' order by step) from transfers t join messages m on m.id = t.message_id where m.challenge_id = $1`, s.rawID(code)); got != "pending admitted, unknown charger, posted charger" {
		t.Errorf("transfers %q", got)
	}

	// The money is out on the exact Message, and comes back.
	broke := s.Ask(p, "sign_in")
	if a := s.Await(broke, "no_funds"); a.JSON("reason") != mobileid.ReasonBalance {
		t.Errorf("%s", a.Body)
	}
	sent := s.SMSC.Count()
	s.Await(s.notify(p), "no_funds")
	if n := s.SMSC.Count(); n != sent {
		t.Errorf("%d submit_sm without money", n-sent)
	}
	server.Tell("balance %s 1", p.Number)
	_, err := s.pool.Exec(t.Context(), `update bindings set probe_at = now() where sms_suspended`)
	check(t, err)
	s.Await(s.notify(p), "delivered")
	money("the probe", 0)

	stranger := s.Bind(2, 0)
	if a := s.Await(s.Ask(stranger, "sign_in"), "undeliverable"); a.JSON("reason") != mobileid.ReasonChargeNoUser {
		t.Errorf("%s", a.Body)
	}
	s.Until("nothing is left to tell", func() bool { return s.number(`select count(*) from charge_calls`) == 0 })
	s.balanced()
}
