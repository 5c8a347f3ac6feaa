package mobileid

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPseudonymComesBackAsItWasPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pseudonym(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		back, err := ParsePseudonym(p.String())
		if err != nil || back != p || len(p.String()) != 26 {
			t.Fatalf("%s came back as %s, %v", p, back, err)
		}
	})
}

func TestParsePseudonymTakesOneSpellingOnly(t *testing.T) {
	good := Pseudonym{1, 2, 3}.String()
	for name, s := range map[string]string{
		"nothing": "", "capitals": strings.ToUpper(Pseudonym{255}.String()), "spare bits": good[:25] + "1",
		"short": good[:25], "long": good + "0", "line break": good + "\n", "foreign letter": good[:25] + "z",
	} {
		if _, err := ParsePseudonym(s); CodeOf(err) != "pseudonym_format" {
			t.Errorf("%s: %q is taken (%v)", name, s, err)
		}
	}
}

func TestPseudonymFollowsKeyAndKindOfValue(t *testing.T) {
	key := func(secret string) PseudonymKey {
		k, err := NewPseudonymKey([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a, b := key("sixteen bytes, a"), key("sixteen bytes, b")
	p, err := ParsePINFL(pinflVectors[0].digits)
	if err != nil {
		t.Fatal(err)
	}
	m := number(t, "901234567")
	if a.Person(p) != a.Person(p) || a.Number(m) != a.Number(number(t, "+998 90 123 45 67")) {
		t.Error("one value has two pseudonyms")
	}
	if a.Person(p) == b.Person(p) {
		t.Error("two keys give one pseudonym")
	}
	if a.of("person", "x") == a.of("number", "x") {
		t.Error("a person and a number share a pseudonym")
	}
	if strings.Contains(a.Person(p).String(), p.Reveal()) || a.Person(PINFL{}) == a.Person(p) {
		t.Error("the pseudonym does not hide the value")
	}
}

func TestTheNumberInATextHasThePseudonymOfTheNumber(t *testing.T) {
	key, err := NewPseudonymKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"+998901234567", "998901234567", "00998901234567", "901234567", "+998 (90) 123-45-67", "90.123.45.67",
		"", "MobileID", "90123456", "+998+901234567", "9012345678", "+901234567", "998901234567998901234567998901234567",
	} {
		got, ok := key.NumberIn(text)
		number, err := ParseMSISDN(text)
		if ok != (err == nil) || ok && got != key.Number(number) || !ok && got != (Pseudonym{}) {
			t.Errorf("%q: %v %v, ParseMSISDN says %v", text, got, ok, err)
		}
	}
}
