package mobileid

import "regexp"

// uuidForm is a UUID, whose digits are random: now and then they would pass.
var uuidForm = regexp.MustCompile(`[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}`)

// HoldsPersonal reports whether a string that must not name a person does: a
// run of digits in it passes the sieve of a PINFL, or is an Uzbek number with
// its country code. UUIDs are not looked into. About two in a thousand other
// runs of 14 digits pass the sieve too.
func HoldsPersonal(s string) bool {
	s = uuidForm.ReplaceAllString(s, "-")
	for from := 0; from < len(s); from++ {
		to := from
		for to < len(s) && s[to] >= '0' && s[to] <= '9' {
			to++
		}
		if isPersonal(s[from:to]) {
			return true
		}
		from = to // s[to] is no digit, or the end
	}
	return false
}

func isPersonal(digits string) bool {
	if _, err := ParsePINFL(digits); err == nil {
		return true
	}
	_, err := ParseMSISDN("+" + digits)
	return err == nil
}
