package mobileid

import "strings"

// TextKind is the kind of a Message: the first word of its text's id, for
// example "otp" of otp.sign_in. Senders of an operator and tariffs go by it.
func TextKind(textID string) string {
	kind, _, _ := strings.Cut(textID, ".")
	return kind
}
