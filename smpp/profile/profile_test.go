package profile

import (
	"math/big"
	"strings"
	"testing"
)

func TestIDsOfAnswerAndReceiptMeet(t *testing.T) {
	for name, c := range map[string]struct {
		ids             IDs
		answer, receipt string
		same            bool
	}{
		"opaque":                       {IDs{Answer: AsIs, Receipt: AsIs}, "5f1c-09AB", "5f1c-09AB", true},
		"opaque, another case":         {IDs{Answer: AsIs, Receipt: AsIs}, "5f1c-09AB", "5F1C-09ab", false},
		"case means nothing":           {IDs{Answer: AsIs, Receipt: AsIs, IgnoreCase: true}, "5f1c-09AB", "5F1C-09ab", true},
		"zeros mean nothing":           {IDs{Answer: AsIs, Receipt: AsIs, StripZeros: true}, "000a1", "a1", true},
		"zeros, of nothing but zeros":  {IDs{Answer: AsIs, Receipt: AsIs, StripZeros: true}, "000", "0", true},
		"hex answered, decimal told":   {IDs{Answer: Hex, Receipt: Decimal}, "a1", "0000000161", true},
		"hex in capitals with 0x":      {IDs{Answer: Hex, Receipt: Decimal}, "0XA1", "161", true},
		"decimal answered, hex told":   {IDs{Answer: Decimal, Receipt: Hex}, "161", "A1", true},
		"longer than 64 bits":          {IDs{Answer: Hex, Receipt: Decimal}, "ffffffffffffffffffff", "1208925819614629174706175", true},
		"digits that are another":      {IDs{Answer: Hex, Receipt: Decimal}, "161", "161", false},
		"a name where a number stands": {IDs{Answer: Hex, Receipt: Decimal}, "urn:7", "urn:7", true},
		"a sign is no digit":           {IDs{Answer: Decimal, Receipt: Decimal}, "+7", "7", false},
		"nor is an underscore":         {IDs{Answer: Decimal, Receipt: Decimal}, "1_0", "10", false},
	} {
		if got := c.ids.FromAnswer(c.answer) == c.ids.FromReceipt(c.receipt); got != c.same {
			t.Errorf("%s: %q and %q: same is %t", name, c.answer, c.receipt, got)
		}
	}
}

func TestTheReceiptRuleThatNamesItsErrComesFirst(t *testing.T) {
	r := Receipts{Rules: []ReceiptRule{
		{Stat: "REJECTD", State: Rejected}, {Stat: "REJECTD", Err: "088", State: Rejected, Balance: true},
	}}
	for err, balance := range map[string]bool{"088": true, "001": false, "": false} {
		if rule, ok := r.Find("REJECTD", err); !ok || rule.Balance != balance {
			t.Errorf("err %q: %+v, %t", err, rule, ok)
		}
	}
	if _, ok := r.Find("UNDELIV", "088"); ok {
		t.Error("a rule for a stat that has none")
	}
}

func TestTheSenderOfAKindElseTheCommonOne(t *testing.T) {
	p := Profile{Senders: []Sender{{Addr: "common"}, {Kind: "otp", Addr: "codes"}}}
	for text, want := range map[string]string{"otp.sign_in": "codes", "notice.data_access": "common", "otpx.y": "common", "": "common"} {
		if got := p.Sender(text).Addr; got != want {
			t.Errorf("%q is sent from %q", text, got)
		}
	}
}

func FuzzNormalIDs(f *testing.F) {
	f.Add("0xA1")
	f.Add("00")
	f.Add("0x")
	f.Add("-1")
	f.Add("1_0")
	f.Add("fffffffffffffffff")
	f.Fuzz(func(t *testing.T, id string) {
		for _, form := range []IDForm{AsIs, Decimal, Hex} {
			ids := IDs{Answer: form, Receipt: Decimal, StripZeros: true, IgnoreCase: true}
			once := ids.FromAnswer(id)
			if id != "" && once == "" {
				t.Fatalf("%q has no normal form", id)
			}
		}
		for form, base := range map[IDForm]int{Decimal: 10, Hex: 16} {
			want, digits := id, id
			if form == Hex {
				digits = strings.TrimPrefix(strings.TrimPrefix(id, "0x"), "0X")
			}
			if n, ok := new(big.Int).SetString(digits, base); ok && !strings.ContainsAny(digits, "+-_") {
				want = n.String()
			}
			if got := (IDs{Answer: form}).FromAnswer(id); got != want {
				t.Fatalf("%q as %s is %q, want %q", id, form, got, want)
			}
		}
	})
}
