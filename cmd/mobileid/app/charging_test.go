package app_test

import (
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// noCredit is the operator's own status for a subscriber who cannot pay.
const noCredit = 0x420

// debits has the operator debit subscribers by himself.
func debits(duplicates profile.Duplicates) func(*config.Config) {
	return func(c *config.Config) {
		o := &c.Operators[0]
		o.Charging.By, o.Charging.Duplicates = mobileid.ChargingOperator, duplicates
		o.Statuses = append(o.Statuses, config.Status{Status: noCredit, Name: "no credit", Class: profile.ClassBalance})
	}
}

// An operator who debits by himself says when the money is out, and our mirror is
// not asked. What he refuses is not charged, and nothing more goes to him until a
// probe or his word says that there is money.
func TestAnOperatorWhoDebitsSaysWhenTheMoneyIsOut(t *testing.T) {
	s := look(t, apptest.Options{Change: debits(profile.DuplicatesDebited)})
	p := s.Bind(1, 0) // nothing in our mirror
	first := s.Ask(p, "sign_in")
	s.Await(first, "pending")
	s.Until("it is delivered", func() bool { return s.messageState(first) == "delivered" })

	s.fault(smsc.Fault{Kind: smsc.FaultStatus, Status: noCredit, To: p.Number, Count: 1})
	broke := s.Ask(p, "sign_in")
	if a := s.Await(broke, "no_funds"); a.JSON("reason") != mobileid.ReasonCannotPay {
		t.Errorf("%s", a.Body)
	}
	s.Until("SMS are suspended", func() bool { return s.words(`select sms_suspended::text from bindings`) == "true" })
	sent := s.SMSC.Count()
	notice := s.notify(p)
	if a := s.Await(notice, "no_funds"); a.JSON("reason") != mobileid.ReasonSuspended {
		t.Errorf("%s", a.Body)
	}
	if n := s.SMSC.Count(); n != sent {
		t.Errorf("%d submit_sm while SMS are suspended", n-sent)
	}
	if got := s.words(`select string_agg(charge, ' ' order by queued_at) from messages`); got != "posted voided" {
		t.Errorf("charges %q", got)
	}

	// A minute passes: the next Message is a probe, and goes well.
	_, err := s.pool.Exec(t.Context(), `update bindings set probe_at = now()`)
	check(t, err)
	probe := s.notify(p)
	s.Await(probe, "delivered")
	s.Until("SMS are back", func() bool { return s.words(`select sms_suspended::text from bindings`) == "false" })
	s.balanced()
}

// Where both SMS would be debited, a code in doubt is not sent again; where the
// second is free, it is.
func TestACodeInDoubtIsSentAgainOnlyWhereThatCostsNothing(t *testing.T) {
	for duplicates, want := range map[profile.Duplicates]int{profile.DuplicatesDebited: 1, profile.DuplicatesFree: 2, profile.DuplicatesRefunded: 2} {
		t.Run(string(duplicates), func(t *testing.T) {
			s := look(t, apptest.Options{Change: func(c *config.Config) {
				debits(duplicates)(c)
				c.Operators[0].Timers.Response = 400 * time.Millisecond
			}})
			p := s.Bind(1, 0)
			s.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, To: p.Number})
			id := s.Ask(p, "sign_in")
			s.Until("it is in doubt and no more is to be done", func() bool {
				return s.messageState(id) == "in_doubt" && s.number(`select count(*) from retries`) == 0 && len(s.SMS(p.Number)) == want
			})
			// It verifies all the same, and was paid for then.
			if a := s.Verify(id, "v", s.Code(p.Number, 1)); a.JSON("state") != "confirmed" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
}
