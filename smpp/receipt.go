package smpp

import (
	"encoding/binary"
	"strconv"
	"strings"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// receipt is what a delivery receipt says. The text of the Message that it may
// quote is never kept, and its dates neither: they are of the operator's
// clock, without a zone.
type receipt struct {
	operatorID string                // in the normal form of the profile
	state      mobileid.MessageState // "" = not final
	reason     string                // of a final state, where the operator tells more
	stat       string
	err        string
	reference  *uint16 // user_message_reference, nil where it is not echoed
}

// The types of a deliver_sm, bits 5-2 of esm_class (SMPP 3.4, 5.2.12).
const (
	esmTypeMask     = 0x3C
	esmReceipt      = 0x04
	esmIntermediate = 0x20
)

// isReceipt reports whether a deliver_sm or data_sm is a receipt. What its text
// looks like says nothing, because anybody can write such a text; but nobody
// can put the id of one of our Messages beside his own text. Only an operator
// who says no more than the text is believed that.
func isReceipt(m wire.Message, dialect *profile.Receipts) bool {
	switch m.ESMClass & esmTypeMask {
	case esmReceipt:
		return true
	case 0: // some leave the type out of a receipt in data_sm
		if _, names := m.Optional(wire.TagReceiptedMessageID); names {
			return true
		}
		if dialect.Untyped {
			text := readReceiptText(m, dialect)
			return operatorID(string(text.id)) != "" && text.stat != nil
		}
	}
	return false
}

// states are the message_state values (SMPP 3.4, 5.2.28) with their names in
// receipt texts. What says nothing final changes nothing: UNKNOWN is not a
// failure, and ACCEPTD is not final at many operators.
var states = []struct {
	value byte
	stat  string
	state mobileid.MessageState
}{
	{0, "SCHEDULED", ""}, // SMPP 5.0
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

// readReceipt reads a receipt in the operator's dialect: the optional
// parameters first, the text for what they do not say. ok is false when no id
// can be found, or nothing that is said of it.
func readReceipt(m wire.Message, p *profile.Profile) (r receipt, ok bool) {
	text := readReceiptText(m, &p.Receipts)
	r = receipt{stat: statOf(text.stat), err: errOf(text.err)}
	r.operatorID = operatorID(m.OptionalText(wire.TagReceiptedMessageID))
	if r.operatorID == "" {
		r.operatorID = operatorID(string(text.id))
	}
	if code, has := m.Optional(wire.TagNetworkErrorCode); has && len(code) == 3 && r.err == "" {
		r.err = strconv.Itoa(int(binary.BigEndian.Uint16(code[1:]))) // behind the kind of network
	}
	if v, has := m.Optional(wire.TagUserMessageReference); has && len(v) == 2 {
		r.reference = new(binary.BigEndian.Uint16(v))
	}
	for _, s := range states {
		if s.stat == r.stat {
			r.state = s.state
		}
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
	r.operatorID = p.IDs.FromReceipt(r.operatorID)
	r.apply(&p.Receipts)
	return r, r.operatorID != "" && r.stat != ""
}

// statOf is a stat in capitals; the usual ones cost no memory.
func statOf(word []byte) string {
	for i := range states {
		if strings.EqualFold(string(word), states[i].stat) {
			return states[i].stat
		}
	}
	return strings.ToUpper(string(word))
}

// errOf is an err as it stands; what nearly all say costs no memory.
func errOf(word []byte) string {
	if string(word) == noError {
		return noError
	}
	return string(word)
}

const noError = "000"

// apply lays over the standard what the operator means by it.
func (r *receipt) apply(dialect *profile.Receipts) {
	rule, ok := dialect.Find(r.stat, r.err)
	switch {
	case ok && rule.State == profile.NotFinal:
		r.state = ""
	case ok:
		r.state = mobileid.MessageState(rule.State)
		if rule.Balance {
			r.reason = mobileid.ReasonCannotPay
		}
	case dialect.FinalUnknown && r.stat == "UNKNOWN":
		r.state = mobileid.MessageFailed
	}
}

func sameState(stat string, value byte) bool {
	for _, s := range states {
		if s.stat == stat {
			return s.value == value
		}
	}
	return false
}

// operatorID checks an operator's message id: an opaque string of at most 64
// printable characters.
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
