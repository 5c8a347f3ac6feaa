package sms

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// check holds for every text, way and reference: the parts joined give the
// folded text, each fits its octets and can be read alone, and none could have
// held the first letter of the next.
func check(t interface{ Fatalf(string, ...any) }, o Options, text string, reference uint16) {
	e, err := o.Encode(text, reference)
	if !utf8.ValidString(text) {
		if !errors.Is(err, ErrNotUTF8) {
			t.Fatalf("err = %v", err)
		}
		return
	}
	if errors.Is(err, ErrTooLong) {
		if len(text) < 255*66 {
			t.Fatalf("%d octets are too long", len(text))
		}
		return
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	if o.Count(text) != len(e.Parts) {
		t.Fatalf("%d parts, counted %d", len(e.Parts), o.Count(text))
	}
	h := handset{o.Charset, o.Style}
	back, err := h.read(e, reference)
	if err != nil {
		t.Fatalf("%v: %v", o, err)
	}
	if back != Fold(text) {
		t.Fatalf("%v: came back as %q", o, back)
	}
	for i := range e.Parts[:len(e.Parts)-1] {
		part, _ := h.place(e.Parts[i])
		next, _ := h.place(e.Parts[i+1])
		a := map[bool]*alphabet{true: ucs2, false: gsm7}[e.DataCoding == DataCodingUCS2]
		length := 1
		if a == ucs2 || o.Charset == CharsetGSM7 || o.Charset == "" {
			length, _ = a.first(next.letters)
		}
		part.letters = append(slices.Clip(part.letters), next.letters[:length]...)
		if h.fits(e.DataCoding, part) == nil {
			t.Fatalf("%v: part %d could hold one letter more", o, i+1)
		}
	}
}

func TestPartsJoinToTheFoldedText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([][]rune{
			[]rune("abc 0123.'\u02bb"), []rune("a[]€^{"), []rune("aéñ£"), []rune("áçaа"), []rune("щЎқa"), []rune("щ😀a\uFFFD"),
		}).Draw(t, "letters")
		text := rapid.StringOfN(rapid.SampledFrom(letters), 0, 700, -1).Draw(t, "text")
		o := Options{rapid.SampledFrom(charsets).Draw(t, "charset"), rapid.SampledFrom(styles).Draw(t, "style")}
		check(t, o, text, rapid.Uint16().Draw(t, "reference"))
	})
}

func FuzzEncode(f *testing.F) {
	for i, s := range []string{
		"", "kod 123456", "o\u02bbzbek", "Ўзбек", "[€]", "😀", "\uFFFD", "a\x00b", "\xff",
		strings.Repeat("^", 200), strings.Repeat("щ😀", 100), strings.Repeat("a", 152) + "€€€€€",
	} {
		for style := range styles {
			f.Add(s, byte(i), byte(style), uint16(i)<<7)
		}
	}
	f.Fuzz(func(t *testing.T, text string, charset, style byte, reference uint16) {
		o := Options{charsets[int(charset)%len(charsets)], styles[int(style)%len(styles)]}
		check(t, o, text, reference)
	})
}
