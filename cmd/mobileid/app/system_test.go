package app_test

import (
	"net/http"
	"testing"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestACodeTravelsFromTheRelyingPartyToTheHandsetAndBack(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	p := s.Bind(1, 1000_00)
	id := s.Ask(p, "sign_in")
	code := s.Code(p.Number, 1)
	s.Until("the receipt is in", func() bool {
		return s.Call(http.MethodGet, "/v1/challenges/"+id, "", "").JSON("message.state") == "delivered"
	})
	if a := s.Verify(id, "v1", code); a.Status != http.StatusOK || a.JSON("state") != "confirmed" {
		t.Errorf("verify: %d %s", a.Status, a.Body)
	}
	report, err := s.Registry.CheckLedger(t.Context())
	if err != nil || !report.Balanced() {
		t.Errorf("ledger: %+v %v", report, err)
	}
	if n := s.SMSC.Count(); n != 1 {
		t.Errorf("%d submit_sm, want 1", n)
	}
}
