package sms

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
)

// fill gives a text of exactly n letters that begins with text.
func fill(text string, n int) string {
	short := n - utf8.RuneCountInString(text)
	if short < 0 {
		panic("the text is already longer")
	}
	return text + strings.Repeat("x", short)
}

func fillCyrillic(text string, n int) string {
	return text + strings.Repeat("щ", n-utf8.RuneCountInString(text))
}

func TestEncodeChoosesTheAlphabetAndCountsParts(t *testing.T) {
	const okina = "kirish kodi: 482913. Uni hech kimga bermang. So\u02bbralgan bo\u02bblsa ham"
	cases := []struct {
		name   string
		text   string
		coding byte
		parts  int
	}{
		{"nothing", "", DataCodingDefault, 1},
		{"uz Latin code, ASCII apostrophe", fill(strings.ReplaceAll(okina, "\u02bb", "'"), 106), DataCodingDefault, 1},
		{"uz Latin code, U+02BB folded", fill(okina, 106), DataCodingDefault, 1},
		{"uz Latin code, U+2018 folded", fill(strings.ReplaceAll(okina, "\u02bb", "\u2018"), 106), DataCodingDefault, 1},
		{"uz Latin notice of 119", fill(okina, 119), DataCodingDefault, 1},
		{"uz Latin notice of 151", fill(okina, 151), DataCodingDefault, 1},
		{"uz Cyrillic of 101", fillCyrillic("Тасдиқлаш коди: 482913. Ҳеч кимга айтманг", 101), DataCodingUCS2, 2},
		{"uz Cyrillic of 64", fillCyrillic("Код: 482913. Ҳеч кимга айтманг", 64), DataCodingUCS2, 1},
		{"Russian of 66", fillCyrillic("Код: 482913. Никому не сообщайте", 66), DataCodingUCS2, 1},
		{"Karakalpak Latin of 72", fill("Kod: 482913. Hesh kimge aytpań", 72), DataCodingUCS2, 2},
		{"160 septets", strings.Repeat("a", 160), DataCodingDefault, 1},
		{"161 septets", strings.Repeat("a", 161), DataCodingDefault, 2},
		{"two full parts of septets", strings.Repeat("a", 306), DataCodingDefault, 2},
		{"one septet more than two parts", strings.Repeat("a", 307), DataCodingDefault, 3},
		{"an extended letter costs two", strings.Repeat("a", 159) + "€", DataCodingDefault, 2},
		{"70 units", strings.Repeat("щ", 70), DataCodingUCS2, 1},
		{"71 units", strings.Repeat("щ", 71), DataCodingUCS2, 2},
		{"134 units", strings.Repeat("щ", 134), DataCodingUCS2, 2},
		{"135 units", strings.Repeat("щ", 135), DataCodingUCS2, 3},
		{"a letter beyond the BMP costs two units", strings.Repeat("щ", 69) + "😀", DataCodingUCS2, 2},
		{"the most that can be told", strings.Repeat("a", 255*153), DataCodingDefault, 255},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Encode(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got.DataCoding != c.coding || len(got.Parts) != c.parts {
				t.Errorf("data_coding %d in %d parts, want %d in %d", got.DataCoding, len(got.Parts), c.coding, c.parts)
			}
			if Count(c.text) != c.parts {
				t.Errorf("Count = %d, want %d", Count(c.text), c.parts)
			}
		})
	}
}

func TestEncodeFoldsEveryApostrophe(t *testing.T) {
	got, err := Encode("\u02bb\u02bc\u2018\u2019`\u00b4'")
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte("'''''''"); got.DataCoding != DataCodingDefault || !bytes.Equal(got.Parts[0], want) {
		t.Errorf("got %d %q", got.DataCoding, got.Parts)
	}
}

func TestEncodeRefusesWhatIsNoText(t *testing.T) {
	if _, err := Encode("kod \xff"); !errors.Is(err, ErrNotUTF8) {
		t.Errorf("err = %v", err)
	}
	if Count("kod \xff") != 0 {
		t.Error("a refused text has no parts")
	}
}

func TestEncodeRefusesMoreThan255Parts(t *testing.T) {
	if _, err := Encode(strings.Repeat("a", 255*153+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("err = %v", err)
	}
}

func TestPartsNeverEndInsideAPair(t *testing.T) {
	// The pair would stand across the end of the first part: septets 153 and
	// 154, units 67 and 68.
	gsm, err := Encode(strings.Repeat("a", 152) + "€" + strings.Repeat("b", 60))
	if err != nil {
		t.Fatal(err)
	}
	if len(gsm.Parts[0]) != 152 || gsm.Parts[1][0] != escape {
		t.Errorf("first part has %d septets, second begins with %#x", len(gsm.Parts[0]), gsm.Parts[1][0])
	}
	ucs, err := Encode(strings.Repeat("щ", 66) + "😀" + strings.Repeat("щ", 10))
	if err != nil {
		t.Fatal(err)
	}
	if len(ucs.Parts[0]) != 2*66 {
		t.Errorf("first part has %d octets", len(ucs.Parts[0]))
	}
}

func TestWholeAlphabetAgreesWithTheLibrary(t *testing.T) {
	text := strings.ReplaceAll(basicTable, "\uFFFD", "") + "\f^{}\\[~]|€"
	letters, ok := gsm7Letters(text)
	if !ok {
		t.Fatal("a letter of the table is not in it")
	}
	ours := bytes.Join(letters, nil)
	if theirs := pdutext.GSM7(text).Encode(); !bytes.Equal(ours, theirs) {
		t.Errorf("ours   %x\ntheirs %x", ours, theirs)
	}
	back, err := Decode(DataCodingDefault, ours)
	if err != nil || back != text {
		t.Errorf("decoded %q, %v", back, err)
	}
	// The trap that this package is there for.
	if raw := pdutext.GSM7("oʻ").Encode(); !bytes.Equal(raw, []byte("oʻ")) {
		t.Errorf("the library has changed: %x", raw)
	}
	if cyr := pdutext.UCS2("Ўзбек 😀").Encode(); !bytes.Equal(cyr, bytes.Join(ucs2Letters("Ўзбек 😀"), nil)) {
		t.Errorf("UCS-2 differs from the library: %x", cyr)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	cases := []struct {
		name    string
		coding  byte
		payload []byte
	}{
		{"UTF-8 under the default alphabet", 0, []byte("oʻ")},
		{"escape at the end", 0, []byte{'a', escape}},
		{"unknown extension", 0, []byte{escape, 'a'}},
		{"odd octets", 8, []byte{0, 'a', 0}},
		{"half a pair at the end", 8, []byte{0xd8, 0x3d}},
		{"half a pair in the middle", 8, []byte{0xd8, 0x3d, 0, 'a'}},
		{"second half first", 8, []byte{0xde, 0x00, 0xd8, 0x3d}},
		{"another coding", 3, []byte("abc")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Decode(c.coding, c.payload); err == nil {
				t.Errorf("decoded %q", got)
			}
		})
	}
}

func FuzzEncodeRoundTrip(f *testing.F) {
	for _, s := range []string{
		"", "kod 123456", "o\u02bbzbek", "Ўзбек", "[€]", "😀", "\uFFFD", "a\x00b",
		strings.Repeat("^", 200), strings.Repeat("щ😀", 100), strings.Repeat("a", 152) + "€€€€€",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Encode(text)
		if !utf8.ValidString(text) {
			if !errors.Is(err, ErrNotUTF8) {
				t.Fatalf("err = %v", err)
			}
			return
		}
		if errors.Is(err, ErrTooLong) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		limit := map[bool]map[byte]int{
			true:  {DataCodingDefault: gsm7Alone, DataCodingUCS2: ucs2Alone},
			false: {DataCodingDefault: gsm7Joined, DataCodingUCS2: ucs2Joined},
		}[len(got.Parts) == 1][got.DataCoding]
		var back strings.Builder
		for i, p := range got.Parts {
			if len(p) > limit || (len(p) == 0 && len(got.Parts) > 1) {
				t.Fatalf("part %d has %d octets, limit %d", i, len(p), limit)
			}
			words, err := Decode(got.DataCoding, p)
			if err != nil {
				t.Fatalf("part %d: %v", i, err)
			}
			back.WriteString(words)
		}
		if back.String() != Fold(text) {
			t.Fatalf("came back as %q", back.String())
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(byte(0), []byte("kod"))
	f.Add(byte(8), []byte{0xd8, 0x3d, 0xde, 0x00})
	f.Fuzz(func(t *testing.T, coding byte, payload []byte) {
		if text, err := Decode(coding, payload); err == nil && !utf8.ValidString(text) {
			t.Fatalf("decoded into invalid UTF-8 %q", text)
		}
	})
}
