package mobileid

import "testing"

func TestHoldsPersonalSeesPINFLsAndNumbersAmongOtherCharacters(t *testing.T) {
	for s, want := range map[string]bool{
		"31210632040244": true, "ref-31210632040244": true, "a.31210632040244:b": true,
		"998901234567": true, "+998901234567": true, "case-998901234567-1": true,
		"": false, "x": false, "7": false, "case-17": false, "20261123-000017": false,
		"31210632040245": false, // the check digit is wrong
		"901234567":      false, // could be anything
		"99890123456":    false,
		"20261123114500": false, // a time
		"case-f81d4fae-7dec-11d0-a765-998901234567": false, // a UUID
		"f81d4fae7dec11d0a765998901234567":          false,
	} {
		if got := HoldsPersonal(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
