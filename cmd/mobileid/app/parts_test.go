package app

import (
	"strings"
	"testing"

	"mobileid/cmd/mobileid/config"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
)

// What is stored as a Message's parts is what the bridge writes.
func TestPartsAreCountedAsTheOperatorsBridgeWritesThem(t *testing.T) {
	long, cyrillic := strings.Repeat("x", 306), strings.Repeat("\u043a", 134)
	var operators []config.Operator
	for id, text := range map[string]profile.Text{
		"udh8": {Charset: sms.CharsetGSM7, Parts: sms.StyleUDH8}, "udh16": {Charset: sms.CharsetGSM7, Parts: sms.StyleUDH16},
		"sar": {Charset: sms.CharsetGSM7, Parts: sms.StyleSAR}, "payload": {Charset: sms.CharsetGSM7, Parts: sms.StylePayload},
		"ucs2": {Charset: sms.CharsetUCS2, Parts: sms.StyleUDH8},
	} {
		operators = append(operators, config.Operator{ID: id, Text: text})
	}
	known := carriers(operators)
	count := func(operator, text string) int { return known[operator].Parts(text) }
	for _, o := range operators {
		for _, text := range []string{"", "kod 1", long, cyrillic} {
			e, err := o.Text.Options().Encode(text, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got := count(o.ID, text); got != len(e.Parts) {
				t.Errorf("%s: %d parts of a text of %d letters, written in %d", o.ID, got, len([]rune(text)), len(e.Parts))
			}
		}
	}
	for id, want := range map[string]int{"udh8": 2, "udh16": 3, "sar": 3, "payload": 1, "ucs2": 5} {
		if got := count(id, long); got != want {
			t.Errorf("%s: %d parts, want %d", id, got, want)
		}
	}
}
