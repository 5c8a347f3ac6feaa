package smpp

import (
	"regexp"
	"strings"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// receipt is what a delivery receipt says. The text of the Message that it may
// quote is never kept.
type receipt struct {
	operatorID string
	state      mobileid.MessageState // "" = not final
	stat       string
	err        string
	from       string // the handset's number, as the operator wrote it
}

// The types of a deliver_sm, bits 5-2 of esm_class (SMPP 3.4, 5.2.12).
const (
	esmTypeMask     = 0x3C
	esmReceipt      = 0x04
	esmIntermediate = 0x20
)

// states are the message_state values (SMPP 3.4, 5.2.28) with their names in
// receipt texts. What says nothing final changes nothing: UNKNOWN is not a
// failure, and ACCEPTD is not final at many operators.
var states = []struct {
	value byte
	stat  string
	state mobileid.MessageState
}{
	{1, "ENROUTE", ""},
	{2, "DELIVRD", mobileid.MessageDelivered},
	{3, "EXPIRED", mobileid.MessageExpired},
	{4, "DELETED", mobileid.MessageFailed},
	{5, "UNDELIV", mobileid.MessageUndeliverable},
	{6, "ACCEPTD", ""},
	{7, "UNKNOWN", ""},
	{8, "REJECTD", mobileid.MessageRejected},
	{9, "SKIPPED", ""},
	{5, "FAILED", mobileid.MessageUndeliverable}, // what some operators write for UNDELIV
	{2, "DELIVERED", mobileid.MessageDelivered},
}

// readReceipt reads a receipt: the optional parameters first, the text for
// what they do not say. ok is false when no id can be found.
func readReceipt(m wire.Message) (r receipt, ok bool) {
	text := parseReceiptText(m.Bytes())
	r = receipt{operatorID: operatorID(text.id), stat: text.stat, err: text.err, from: m.Source.Addr}
	for _, s := range states {
		if s.stat == r.stat {
			r.state = s.state
		}
	}
	if id := operatorID(m.OptionalText(wire.TagReceiptedMessageID)); id != "" {
		r.operatorID = id
	}
	if v, has := m.Optional(wire.TagMessageState); has && len(v) == 1 {
		for _, s := range states {
			if s.value == v[0] {
				r.state = s.state
				if r.stat == "" || !sameState(r.stat, v[0]) {
					r.stat = s.stat
				}
				break
			}
		}
	}
	return r, r.operatorID != ""
}

func sameState(stat string, value byte) bool {
	for _, s := range states {
		if s.stat == stat {
			return s.value == value
		}
	}
	return false
}

// receiptText are the fields of SMPP 3.4, Appendix B that matter here.
type receiptText struct{ id, stat, err string }

var (
	receiptField = regexp.MustCompile(`(?i)(?:^|[\s,;])(id|stat|err):\s?([^\s,;:]{1,64})`)
	receiptQuote = regexp.MustCompile(`(?i)(?:^|\s)text:`)
	shortWord    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)
)

// parseReceiptText reads "id:... sub:... dlvrd:... submit date:... done
// date:... stat:... err:... text:..." in its vendors' spellings. What follows
// "text:" is the Message's own words and is not looked at.
func parseReceiptText(b []byte) receiptText {
	const longest = 512 // a receipt is one short message; a payload may be longer
	text := string(b[:min(len(b), longest)])
	if cut := receiptQuote.FindStringIndex(text); cut != nil {
		text = text[:cut[0]]
	}
	var r receiptText
	for _, m := range receiptField.FindAllStringSubmatch(text, -1) {
		switch value := m[2]; strings.ToLower(m[1]) {
		case "id":
			if r.id == "" {
				r.id = value
			}
		case "stat":
			if r.stat == "" && shortWord.MatchString(value) {
				r.stat = strings.ToUpper(value)
			}
		case "err":
			if r.err == "" && shortWord.MatchString(value) {
				r.err = value
			}
		}
	}
	return r
}

// operatorID checks an operator's message id: an opaque string of at most 64
// printable characters. It is matched as it was given; forms that differ
// between answer and receipt follow with the operators' tables.
func operatorID(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 64 {
		return ""
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return ""
		}
	}
	return s
}
