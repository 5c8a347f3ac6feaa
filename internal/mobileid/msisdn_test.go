package mobileid

import (
	"strings"
	"testing"
)

func TestParseMSISDNReadsWhatPeopleWrite(t *testing.T) {
	for _, s := range []string{
		"+998901234567", "998901234567", "00998901234567", "901234567",
		"+998 90 123-45-67", "(90) 123.45.67", "+998 (90) 123 45 67", " 90 1234567 ", "00 998 90 1234567",
	} {
		m, err := ParseMSISDN(s)
		if err != nil || m.Reveal() != "+998901234567" || m.RevealDigits() != "998901234567" || m.Code() != "90" {
			t.Errorf("%q: %v", s, err)
		}
	}
	// Nine digits are a national number even when they begin like a country.
	if m, err := ParseMSISDN("998123456"); err != nil || m.Reveal() != "+998998123456" {
		t.Errorf("998123456: %v", err)
	}
}

func TestParseMSISDNRefusesDangerousLeniency(t *testing.T) {
	cases := []struct{ name, s string }{
		{"nothing", ""},
		{"punctuation only", "+() -."},
		{"letters as digits", "+99890ABCDEFG"},
		{"extension", "+998901234567 ext 5"},
		{"extension sign", "+998901234567;ext=5"},
		{"phone-context", "901234567;phone-context=+998"},
		{"tel scheme", "tel:+998901234567"},
		{"full-width digits", "９０１２３４５６７"},
		{"Arabic digits", "٩٠١٢٣٤٥٦٧"},
		{"trunk prefix 8", "8 90 123 45 67"},
		{"trunk prefix 0", "0 90 123 45 67"},
		{"another country", "+79012345678"},
		{"plus before a national number", "+901234567"},
		{"plus and eight digits", "+90123456"},
		{"plus and 00", "+00998901234567"},
		{"two pluses", "++998901234567"},
		{"plus in the middle", "998+901234567"},
		{"one digit short", "+99890123456"},
		{"one digit long", "+9989012345678"},
		{"country code twice", "998998901234567"},
		{"no-break space", "+998\u00a0901234567"},
		{"tab", "+998\t901234567"},
		{"line break", "+998901234567\n"},
		{"NUL", "901234567\x00"},
		{"two numbers", "901234567,901234568"},
		{"padded beyond the limit", "901234567" + strings.Repeat(" ", 24)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := ParseMSISDN(c.s)
			if KindOf(err) != KindInvalid || CodeOf(err) != "msisdn_format" || !m.IsZero() {
				t.Fatalf("err = %v", err)
			}
		})
	}
}

func TestMSISDNMaskShowsCodeAndTwoDigits(t *testing.T) {
	m, err := ParseMSISDN("+998901234567")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Masked(); got != "+998 90 *** ** 67" {
		t.Errorf("mask %q", got)
	}
	var none MSISDN
	if none.Masked() != "MSISDN(none)" || none.Reveal() != "" || none.RevealDigits() != "" || none.Code() != "" {
		t.Errorf("no number prints %q, %q", none.Masked(), none.Reveal())
	}
}

func FuzzParseMSISDN(f *testing.F) {
	for _, s := range []string{"+998901234567", "00998 90 1234567", "(90)1234567", "+99890ABCDEFG", "+998901234567;ext=5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMSISDN(s)
		if err != nil {
			if !m.IsZero() {
				t.Fatal("a refused number is not zero")
			}
			return
		}
		// What was taken has its digits in the input, in order and at its end.
		var digits strings.Builder
		for _, r := range s {
			if r >= '0' && r <= '9' {
				digits.WriteRune(r)
			}
		}
		if !strings.HasSuffix(digits.String(), m.RevealDigits()[3:]) || len(m.Reveal()) != 13 {
			t.Fatal("the number is not the one that was written")
		}
		if again, err := ParseMSISDN(m.Reveal()); err != nil || again != m {
			t.Fatalf("its own form is read as something else: %v", err)
		}
	})
}

func TestANumberKnownAlreadyIsReadWithoutAllocation(t *testing.T) {
	kept, err := ParseMSISDN("998901234567")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseMSISDN("998901234567") }); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
	if again, err := ParseMSISDN("998901234567"); err != nil || again != kept {
		t.Errorf("read twice it is two numbers: %v", err)
	}
}

func BenchmarkParseMSISDN(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMSISDN("998901234567"); err != nil {
			b.Fatal(err)
		}
	}
}
