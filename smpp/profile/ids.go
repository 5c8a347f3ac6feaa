package profile

import (
	"math/big"
	"strings"
)

// IDForm is how an operator writes its message ids in one place.
type IDForm string

// The forms.
const (
	AsIs    IDForm = "as_is"   // opaque
	Decimal IDForm = "decimal" // a number
	Hex     IDForm = "hex"     // a number in base 16, with or without 0x
)

// IDs says how an operator writes message ids, so that the one in a receipt is
// found under the one in the answer to submit_sm. The two are often written in
// different bases.
type IDs struct {
	Answer     IDForm `yaml:"answer"`      // in submit_sm_resp
	Receipt    IDForm `yaml:"receipt"`     // in receipts, in the text and in receipted_message_id alike
	StripZeros bool   `yaml:"strip_zeros"` // leading zeros mean nothing (of AsIs; a number never has them)
	IgnoreCase bool   `yaml:"ignore_case"` // of AsIs
}

// FromAnswer returns the normal form of an id in a submit_sm_resp; FromReceipt
// of one in a receipt. Two ids are the same when their normal forms are. An id
// that is no number where one is expected stays as it is: it may match all the
// same, and dropping it could not.
func (i IDs) FromAnswer(id string) string { return i.normal(i.Answer, id) }

// FromReceipt is FromAnswer for receipts.
func (i IDs) FromReceipt(id string) string { return i.normal(i.Receipt, id) }

func (i IDs) normal(form IDForm, id string) string {
	if id == "" {
		return "" // none is not the id 0
	}
	base := 0
	switch form {
	case Decimal:
		base = 10
	case Hex:
		base = 16
	case AsIs:
	}
	if base != 0 {
		digits := id
		if base == 16 {
			digits = strings.TrimPrefix(strings.TrimPrefix(id, "0x"), "0X")
		}
		// SetString would take a sign and underscores, too.
		if n, ok := new(big.Int).SetString(digits, base); ok && !strings.ContainsAny(digits, "+-_") {
			return n.String()
		}
		return id
	}
	if i.IgnoreCase {
		id = strings.ToLower(id)
	}
	if i.StripZeros {
		if id = strings.TrimLeft(id, "0"); id == "" {
			id = "0"
		}
	}
	return id
}
