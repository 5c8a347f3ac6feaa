package mobileid

import "testing"

func TestReasonsAreAClosedList(t *testing.T) {
	for _, r := range []string{
		"", ReasonDeadline, ReasonOfChallenge(ChallengeLost), "receipt_undeliverable", "smpp_0x0b", "smpp_0x000004ff",
	} {
		if !ReasonListed(r) {
			t.Errorf("%q is not listed", r)
		}
	}
	for _, r := range []string{
		"expired", "Deadline", "challenge_", "challenge_pending", "receipt_sent", "receipt_odd", "smpp_", "smpp_0xzz", "smpp_0x0b ",
	} {
		if ReasonListed(r) {
			t.Errorf("%q is listed", r)
		}
	}
	seen := map[string]bool{}
	for _, r := range reasons {
		if r == "" || seen[r] {
			t.Errorf("%q stands twice or is empty", r)
		}
		seen[r] = true
	}
}
