package profile

import (
	"math/big"
	"strconv"
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
	switch form {
	case Decimal:
		return fromDecimal(id)
	case Hex:
		return fromHex(id)
	case AsIs:
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

// fromDecimal is a number without leading zeros.
func fromDecimal(id string) string {
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return id
		}
	}
	if id = strings.TrimLeft(id, "0"); id == "" {
		return "0"
	}
	return id
}

// fromHex is the decimal form of a number in base 16; of more than 64 bits, too.
func fromHex(id string) string {
	digits := strings.TrimPrefix(strings.TrimPrefix(id, "0x"), "0X")
	if n, err := strconv.ParseUint(digits, 16, 64); err == nil {
		return strconv.FormatUint(n, 10)
	}
	// SetString would take a sign and underscores, too.
	if n, ok := new(big.Int).SetString(digits, 16); ok && !strings.ContainsAny(digits, "+-_") {
		return n.String()
	}
	return id
}
