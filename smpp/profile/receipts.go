package profile

import "strings"

// ReceiptState is what a receipt says of a part in the end, or that it says
// nothing final.
type ReceiptState string

// The states.
const (
	Delivered     ReceiptState = "delivered"
	Undeliverable ReceiptState = "undeliverable"
	Expired       ReceiptState = "expired"
	Rejected      ReceiptState = "rejected"
	Failed        ReceiptState = "failed"
	NotFinal      ReceiptState = "not_final"
)

// ReceiptRule says what a receipt of the operator means when that is not what
// SMPP 3.4, 5.2.28 says.
type ReceiptRule struct {
	Stat    string       `yaml:"stat"` // as in the text, for example UNDELIV
	Err     string       `yaml:"err"`  // as in the text, or network_error_code in decimal; "": whatever it says
	State   ReceiptState `yaml:"state"`
	Balance bool         `yaml:"balance"` // the subscriber could not pay
}

// Receipts is an operator's dialect. The usual forms of receipts are known to
// the parser; this is what only the operator can tell.
type Receipts struct {
	Rules []ReceiptRule `yaml:"rules"`
	// FinalUnknown takes UNKNOWN as failed: the operator will say no more.
	FinalUnknown bool `yaml:"final_unknown"`
	// Pattern reads a text that the standard form does not fit. It is tried
	// first; what it does not match is read as the standard form.
	Pattern Pattern `yaml:"pattern"`
	// Untyped takes a text that reads as a receipt for one although nothing but
	// the text says so: esm_class 0 and no receipted_message_id.
	Untyped bool `yaml:"untyped"`
}

// Find returns the rule for a receipt, the one that names its err first.
func (r Receipts) Find(stat, err string) (ReceiptRule, bool) {
	var found ReceiptRule
	ok := false
	for _, rule := range r.Rules {
		switch {
		case !strings.EqualFold(rule.Stat, stat):
		case rule.Err == err && err != "":
			return rule, true
		case rule.Err == "":
			found, ok = rule, true
		}
	}
	return found, ok
}
