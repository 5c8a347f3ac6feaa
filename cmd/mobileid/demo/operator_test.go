package demo

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
)

func TestAPersonsOwnOperatorInsteadOfTheSimulatedOne(t *testing.T) {
	theirs, err := smsc.Start(smsc.Config{Accounts: map[string]string{"stranger": "own-pw"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	d := start(t, Options{SMSC: theirs.Addr(), SystemID: "stranger", Password: "own-pw", Number: "+998935550101"})
	asker := &tourist{url: d.url, client: http.DefaultClient}
	var setup struct {
		Handset bool
		Engine  struct{ SMSC string }
	}
	err = asker.call(t.Context(), http.MethodGet, "/demo/setup", "", "", http.StatusOK, &setup)
	if err != nil || setup.Handset || setup.Engine.SMSC != "stranger at "+theirs.Addr() {
		t.Errorf("what the page is told: %v %+v", err, setup)
	}
	if err := asker.getToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := asker.ask(t.Context(), persons()[0].pinfl, "sign_in"); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := theirs.Wait(wait, 1); err != nil {
		t.Fatal(err)
	}
	sms := theirs.Received()[0]
	if sms.Account != "stranger" || sms.Dest != "998935550101" {
		t.Errorf("%s to %s", sms.Account, sms.Dest)
	}
	asker.code = regexp.MustCompile(`\d{6}`).FindString(sms.Text) // read on the phone
	if err := asker.awaitDelivery(t.Context()); err != nil {
		t.Error(err)
	}
	if err := asker.verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	if said := strings.Join(d.lines, "\n"); !strings.Contains(said, "real SMS go out, and the page has no handset") || strings.Contains(said, "smscsim") {
		t.Errorf("said:\n%s", said)
	}
}
