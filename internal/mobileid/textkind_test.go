package mobileid

import "testing"

func TestTheKindOfATextIsItsFirstWord(t *testing.T) {
	for id, want := range map[string]string{"otp.sign_in": "otp", "notice.data.access": "notice", "code": "code", "": "", ".x": ""} {
		if got := TextKind(id); got != want {
			t.Errorf("TextKind(%q) = %q, want %q", id, got, want)
		}
	}
}
