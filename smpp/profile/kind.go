package profile

import "strings"

// KindOf is the kind of a Message: the first word of its text's id, for
// example "otp" of otp.sign_in.
func KindOf(textID string) string {
	kind, _, _ := strings.Cut(textID, ".")
	return kind
}
