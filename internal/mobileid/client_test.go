package mobileid

import "testing"

func TestClientHasOnlyWhatIsListed(t *testing.T) {
	c := Client{Scopes: []Scope{ScopeChallenges}, Purposes: []string{"sign_in"}}
	if !c.Has(ScopeChallenges) || c.Has(ScopeNotifications) || c.Has("") {
		t.Errorf("scopes %v", c.Scopes)
	}
	if !c.May("sign_in") || c.May("verify") || c.May("") {
		t.Errorf("purposes %v", c.Purposes)
	}
	var none Client
	if none.Has(ScopeChallenges) || none.May("sign_in") {
		t.Error("the zero client has rights")
	}
	for _, s := range []Scope{ScopeChallenges, ScopeNotifications, ScopeChargesRead, ScopeChargesWrite} {
		found := false
		for _, listed := range Scopes() {
			found = found || listed == s
		}
		if !found {
			t.Errorf("%s is not listed", s)
		}
	}
}
