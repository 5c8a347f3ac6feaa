package app_test

import (
	"testing"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
)

// TestBridgesShareThePaceOfTheirAccount: who knows the operator's limit writes
// by a share of it, and frees it when it stops.
func TestBridgesShareThePaceOfTheirAccount(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Change: func(c *config.Config) { c.Operators[0].Pace.Rate = 500 }})
	members := func() int64 {
		return s.Env.Redis().HLen(t.Context(), "pace:{"+sandbox.Operator+"/"+sandbox.SystemID+"}").Val()
	}
	who := s.Bind(1, 1000_00)
	s.Ask(who, "sign_in")
	s.Code(who.Number, 1)
	if n := members(); n != 1 {
		t.Errorf("%d bridges hold a share, want 1", n)
	}
	s.Stop()
	if n := members(); n != 0 {
		t.Errorf("%d bridges hold a share after the stop", n)
	}
}
