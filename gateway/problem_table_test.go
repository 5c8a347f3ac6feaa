package gateway

import "testing"

func TestNoCodeOfAProblemStandsTwice(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range codeTypes {
		if seen[c.Code] {
			t.Errorf("%s stands twice: its first row is never served", c.Code)
		}
		seen[c.Code] = true
	}
}
