package sms

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	charsets = []Charset{"", CharsetGSM7, CharsetLatin1, CharsetASCII, CharsetUCS2}
	styles   = []Style{"", StyleUDH8, StyleUDH16, StyleSAR, StylePayload}
)

// fill gives a text of exactly n letters that begins with text.
func fill(text string, n int) string { return fillWith("x", text, n) }

func fillWith(letter, text string, n int) string {
	return text + strings.Repeat(letter, n-utf8.RuneCountInString(text))
}

func TestAlphabetAndPartsOfARealText(t *testing.T) {
	const okina = "kirish kodi: 482913. Uni hech kimga bermang. So\u02bbralgan bo\u02bblsa ham"
	for _, c := range []struct {
		name    string
		options Options
		text    string
		coding  byte
		parts   int
	}{
		{"nothing", Options{}, "", DataCodingDefault, 1},
		{"uz Latin code, ASCII apostrophe", Options{}, fill(strings.ReplaceAll(okina, "\u02bb", "'"), 106), DataCodingDefault, 1},
		{"uz Latin code, U+02BB folded", Options{}, fill(okina, 106), DataCodingDefault, 1},
		{"uz Latin code, U+2018 folded", Options{}, fill(strings.ReplaceAll(okina, "\u02bb", "\u2018"), 106), DataCodingDefault, 1},
		{"uz Latin notice of 151", Options{}, fill(okina, 151), DataCodingDefault, 1},
		{"uz Latin notice of 151 in Latin-1", Options{Charset: CharsetLatin1}, fill(okina, 151), DataCodingDefault, 2},
		{"uz Latin notice of 151 in ASCII", Options{Charset: CharsetASCII}, fill(okina, 151), DataCodingDefault, 1},
		{"uz Latin code, always UCS-2", Options{Charset: CharsetUCS2}, fill(okina, 70), DataCodingUCS2, 1},
		{"uz Cyrillic of 101", Options{}, fillWith("щ", "Тасдиқлаш коди: 482913. Ҳеч кимга айтманг", 101), DataCodingUCS2, 2},
		{"uz Cyrillic of 64", Options{}, fillWith("щ", "Код: 482913. Ҳеч кимга айтманг", 64), DataCodingUCS2, 1},
		{"Russian of 66", Options{}, fillWith("щ", "Код: 482913. Никому не сообщайте", 66), DataCodingUCS2, 1},
		{"Karakalpak Latin of 72", Options{}, fill("Kod: 482913. Hesh kimge aytpań", 72), DataCodingUCS2, 2},
		{"Greek is in GSM-7", Options{}, "ΔΩ", DataCodingDefault, 1},
		{"Greek is not in Latin-1", Options{Charset: CharsetLatin1}, "ΔΩ", DataCodingUCS2, 1},
		{"the euro sign is not in Latin-1", Options{Charset: CharsetLatin1}, "5 €", DataCodingUCS2, 1},
		{"what Latin-1 has and GSM-7 lacks", Options{Charset: CharsetLatin1}, "áçõ", DataCodingDefault, 1},
		{"what Latin-1 has and ASCII lacks", Options{Charset: CharsetASCII}, "é", DataCodingUCS2, 1},
		{"a control character is no letter", Options{Charset: CharsetASCII}, "a\x00b", DataCodingUCS2, 1},
		{"nor is one of Latin-1", Options{Charset: CharsetLatin1}, "a\u0085b", DataCodingUCS2, 1},
		{"lines are text", Options{Charset: CharsetASCII}, "a\r\nb", DataCodingDefault, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.options.Encode(c.text, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got.DataCoding != c.coding || len(got.Parts) != c.parts || c.options.Count(c.text) != c.parts {
				t.Errorf("data_coding %d in %d parts (counted %d), want %d in %d",
					got.DataCoding, len(got.Parts), c.options.Count(c.text), c.coding, c.parts)
			}
		})
	}
}

// The table of sizes: one part, and one of several by the length of its header.
func TestSizesOfParts(t *testing.T) {
	for _, c := range []struct {
		charset     Charset
		letter      string
		alone       int
		udh8, udh16 int
	}{
		{CharsetGSM7, "a", 160, 153, 152},
		{CharsetGSM7, "€", 80, 76, 76},
		{CharsetLatin1, "é", 140, 134, 133},
		{CharsetASCII, "a", 160, 153, 152},
		{CharsetASCII, "[", 80, 76, 76},
		{CharsetUCS2, "щ", 70, 67, 66},
		{CharsetUCS2, "😀", 35, 33, 33},
	} {
		for _, style := range styles {
			joined := map[Style]int{StyleUDH8: c.udh8}[style]
			if joined == 0 {
				joined = c.udh16 // the operator may make it the longer one
			}
			o := Options{c.charset, style}
			for letters, parts := range map[int]int{
				c.alone: 1, c.alone + 1: 2, 2 * joined: 2, 2*joined + 1: 3, 255 * joined: 255, 255*joined + 1: 0,
			} {
				if style == StylePayload {
					parts = min(parts, 1)
				}
				if n := o.Count(strings.Repeat(c.letter, letters)); n != parts {
					t.Errorf("%s %s: %d of %s make %d parts, want %d", c.charset, style, letters, c.letter, n, parts)
				}
			}
		}
	}
}

func TestPartsCarryTheirPlaceInEveryStyle(t *testing.T) {
	text := strings.Repeat("a", 160) + "b"
	a := func(n int) string { return strings.Repeat("a", n) }
	udh16 := "[true 060804abcd0201" + fmt.Sprintf("%x", a(152)) + " []] [true 060804abcd0202" + fmt.Sprintf("%x", a(8)+"b") + " []]"
	for style, want := range map[Style]string{
		StyleUDH8:    "[true 050003cd0201" + fmt.Sprintf("%x", a(153)) + " []] [true 050003cd0202" + fmt.Sprintf("%x", a(7)+"b") + " []]",
		StyleUDH16:   udh16,
		"":           udh16,
		StyleSAR:     "[false " + fmt.Sprintf("%x", a(152)) + " [20c:abcd 20e:02 20f:01]] [false " + fmt.Sprintf("%x", a(8)+"b") + " [20c:abcd 20e:02 20f:02]]",
		StylePayload: "[false  [424:" + fmt.Sprintf("%x", text) + "]]",
	} {
		e, err := Options{Style: style}.Encode(text, 0xabcd)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range e.Parts {
			var tlv []string
			for _, v := range p.TLV {
				tlv = append(tlv, fmt.Sprintf("%x:%x", v.Tag, v.Value))
			}
			got = append(got, fmt.Sprintf("[%t %x %v]", p.UDHI, p.ShortMessage, tlv))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", style, s, want)
		}
	}
}

func TestATextOfOnePartIsNothingButItsLetters(t *testing.T) {
	for _, style := range styles {
		e, err := Options{Style: style}.Encode("kod 1234", 7)
		if err != nil || len(e.Parts) != 1 || e.Parts[0].UDHI || e.Parts[0].TLV != nil || string(e.Parts[0].ShortMessage) != "kod 1234" {
			t.Errorf("%s: %+v, %v", style, e, err)
		}
	}
}

func TestEveryApostropheIsFolded(t *testing.T) {
	for _, charset := range []Charset{CharsetGSM7, CharsetLatin1, CharsetASCII} {
		e, err := Options{Charset: charset}.Encode("\u02bb\u02bc\u2018\u2019`\u00b4'", 0)
		if err != nil || e.DataCoding != DataCodingDefault || string(e.Parts[0].ShortMessage) != "'''''''" {
			t.Errorf("%s: %+v, %v", charset, e, err)
		}
	}
}

func TestWhatCannotBeSentIsRefused(t *testing.T) {
	for _, c := range []struct {
		text    string
		options Options
		want    error
	}{
		{"kod \xff", Options{}, ErrNotUTF8},
		{strings.Repeat("a", 255*153+1), Options{}, ErrTooLong},
		{strings.Repeat("щ", 255*66+1), Options{Style: StylePayload}, ErrTooLong},
		{"kod", Options{Charset: "gsm"}, ErrOptions},
		{"kod", Options{Style: "udh"}, ErrOptions},
	} {
		if _, err := c.options.Encode(c.text, 0); !errors.Is(err, c.want) || strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%v: %v, want %v", c.options, err, c.want)
		}
		if n := c.options.Count(c.text); n != 0 {
			t.Errorf("%v: counted %d", c.options, n)
		}
	}
}

func TestPartsNeverEndInsideAPair(t *testing.T) {
	for _, style := range []Style{StyleUDH8, StyleUDH16, StyleSAR} {
		// With every lead the pairs stand elsewhere across the ends of parts.
		for lead := range 4 {
			for _, text := range []string{
				strings.Repeat("a", lead) + strings.Repeat("€", 300),
				strings.Repeat("щ", lead) + strings.Repeat("😀", 150),
			} {
				e, err := Options{Style: style}.Encode(text, 9)
				if err != nil {
					t.Fatal(err)
				}
				if back, err := (handset{style: style}).read(e, 9); err != nil || back != text {
					t.Errorf("%s, lead %d: %v", style, lead, err)
				}
			}
		}
	}
}

func TestPartsDoNotShareMemoryThatMayGrow(t *testing.T) {
	for _, style := range []Style{StyleUDH8, StyleSAR} {
		e, _ := Options{Style: style}.Encode(strings.Repeat("a", 200), 1)
		second := bytes.Clone(e.Parts[1].ShortMessage)
		_ = append(e.Parts[0].ShortMessage, "zzz"...)
		if !bytes.Equal(e.Parts[1].ShortMessage, second) {
			t.Errorf("%s: what is appended to one part stands in the next", style)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, text := range map[string]string{
		"Latin":    "Tasdiqlash kodi 739214. Hech kimga aytmang. So\u02bbralgan bo\u02bblsa ham.",
		"Cyrillic": "Код: 482913. Никому не сообщайте этот код. Он нужен для входа в услуги государства.",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (Options{}).Encode(text, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
