package app_test

import (
	"net/http"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
)

func TestABindingRevokedBeforeTheSubmitFencesTheMessage(t *testing.T) {
	s := look(t, apptest.Options{Through: struct{ Postgres, Kafka, Redis, SMSC bool }{SMSC: true}})
	p := s.Bind(1, 1000_00)
	s.SMSCProxy.Down()
	id := s.Ask(p, "sign_in")
	notice := s.notify(p)
	s.Until("both are stored", func() bool { return s.messageState(id) != "" && s.messageState(notice) != "" })
	if err := s.Registry.Revoke(t.Context(), p.Binding); err != nil {
		t.Fatal(err)
	}
	s.SMSCProxy.Up()
	if a := s.Await(id, "fenced"); a.JSON("terminal") != "true" {
		t.Errorf("%s", a.Body)
	}
	s.Await(notice, "fenced")
	if n := s.SMSC.Count(); n != 0 {
		t.Errorf("%d submit_sm for a revoked binding", n)
	}
	if c := s.charge(id) + s.charge(notice); c != "" && c != "voidedvoided" && c != "voided" {
		t.Errorf("charges: %s", c)
	}
	if got := s.messageState(id); got != "fenced" {
		t.Errorf("the Message is %s", got)
	}
	s.balanced()
}

func TestACodeIsNotBelievedAfterTheRevocation(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	id := s.Ask(p, "sign_in")
	code := s.Code(p.Number, 1)
	if err := s.Registry.Revoke(t.Context(), p.Binding); err != nil {
		t.Fatal(err)
	}
	a := s.Verify(id, "v", code)
	if a.Status != http.StatusConflict || a.JSON("code") != "fenced" && a.JSON("code") != "challenge_fenced" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	s.page(t, a.JSON("type"))
	s.Await(id, "fenced")
	if n := s.number(`select count(*) from confirmations`); n != 0 {
		t.Error("it was confirmed")
	}
	// Bound again, to the same number: the old code stays what it is.
	again := s.Bind(1, 0)
	if a := s.Verify(id, "v2", code); a.Status != http.StatusConflict {
		t.Errorf("after a new binding: %d %s", a.Status, a.Body)
	}
	// And whoever is not bound gets no SMS.
	if err := s.Registry.Revoke(t.Context(), again.Binding); err != nil {
		t.Fatal(err)
	}
	s.Await(s.Ask(p, "sign_in"), "unbound")
	if n := s.SMSC.Count(); n != 1 {
		t.Errorf("%d SMS, want 1", n)
	}
}

// TestARevocationWaitsForTheConfirmationBeingWritten holds the insert open in
// its middle: another transaction has the same key of confirmations, so the
// statement waits with its locks held, the one of the binding among them.
func TestARevocationWaitsForTheConfirmationBeingWritten(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	id := s.Ask(p, "sign_in")
	code := s.Code(p.Number, 1)
	s.Until("the receipt is in", func() bool { return s.messageState(id) == "delivered" })

	hold, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(t.Context()) }()
	_, err = hold.Exec(t.Context(), `
insert into confirmations (challenge_id, client, person, purpose, context_hash, binding_id, binding_version, verify_key, confirmed_at)
values ($1, 'x', $2, 'x', '', 0, 0, '', now())`, s.rawID(id), p.Who[:])
	if err != nil {
		t.Fatal(err)
	}
	waiting := func(statement string) bool {
		return s.number(`select count(*) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and query ilike '%' || $1 || '%'`, statement) == 1
	}
	verified := make(chan apptest.Answer, 1)
	go func() {
		a, _ := s.Try(http.MethodPost, "/v1/challenges/"+id+"/verify", "v", `{"code":"`+code+`"}`)
		verified <- a
	}()
	s.Until("the confirmation is held open", func() bool { return waiting("insert into confirmations") })
	revoked := make(chan error, 1)
	go func() { revoked <- s.Registry.Revoke(t.Context(), p.Binding) }()
	s.Until("the revocation waits", func() bool { return waiting("from bindings where id = $1 for update") })
	select {
	case err := <-revoked:
		t.Fatal("the revocation did not wait:", err)
	case a := <-verified:
		t.Fatal("the confirmation did not wait:", a.Status)
	case <-time.After(100 * time.Millisecond): // nothing is to happen, so there is nothing to wait for
	}
	if n := s.number(`select count(*) from bindings where state = 'active'`); n != 1 {
		t.Error("the binding is revoked already")
	}
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-verified; a.Status != http.StatusOK {
		t.Errorf("verify: %d %s", a.Status, a.Body)
	}
	if err := <-revoked; err != nil {
		t.Error(err)
	}
	if n := s.number(`select count(*) from confirmations c join bindings b on b.id = c.binding_id
where b.state = 'revoked' and c.confirmed_at <= b.ended_at and c.binding_version < b.version`); n != 1 {
		t.Error("the evidence is not older than the revocation")
	}
	// The same verify is told the same, though the binding is gone.
	if a := s.Verify(id, "v", code); a.Status != http.StatusOK {
		t.Errorf("repeated: %d %s", a.Status, a.Body)
	}
}
