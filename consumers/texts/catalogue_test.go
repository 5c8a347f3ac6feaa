package texts

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
)

var otpTexts = []string{"otp.confirm_application", "otp.permit_access", "otp.sign_in", "otp.verify"}

func TestDefaultHasTheTextsInEveryLocale(t *testing.T) {
	entries := Default().entries
	if got, want := strings.Join(slices.Sorted(maps.Keys(entries)), " "), "notice.data_access "+strings.Join(otpTexts, " ")+" warning.sms_charges"; got != want {
		t.Errorf("texts %s, want %s", got, want)
	}
	if got := Default().Kinds(); !slices.Equal(got, []string{"notice", "otp"}) {
		t.Errorf("kinds %v", got)
	}
	for id, e := range entries {
		for _, locale := range locales {
			if e.bodies[locale] == "" {
				t.Errorf("%s has no words in %s", id, locale)
			}
		}
	}
}

// The warning shows the price in force and what it is of, in each language, and is
// never sent.
func TestTheWarningShowsThePrice(t *testing.T) {
	for _, locale := range append(slices.Clone(locales), "") {
		for unit, words := range map[string][]string{"message": {"har bir SMS", "каждое SMS", "each SMS"}, "part": {"har bir qismi", "часть SMS", "each part"}} {
			w, err := Default().WarnOfCharges(locale, 120_50, unit)
			if err != nil || w.TextID != chargesWarning || w.Version != 1 || w.Price != 120_50 || w.Unit != unit || w.Locale == "" {
				t.Fatalf("%+v %v", w, err)
			}
			if !strings.Contains(w.Text, "120.50") || !slices.ContainsFunc(words, func(s string) bool { return strings.Contains(w.Text, s) }) {
				t.Errorf("%s of a %s: %s", locale, unit, w.Text)
			}
		}
	}
	if w, _ := Default().WarnOfCharges("ru", 120_00, "message"); !strings.Contains(w.Text, "120 сум") {
		t.Errorf("%s", w.Text)
	}
	if _, err := Default().WarnOfCharges("ru", 1, "word"); err == nil {
		t.Error("a unit that there is not")
	}
	if _, err := Default().Render(chargesWarning, "ru", map[string]string{"price": "1", "unit": "part"}); mobileid.CodeOf(err) != "text_unknown" {
		t.Errorf("a warning can be sent: %v", err)
	}
	if err := Default().Check(chargesWarning, "ru", nil); mobileid.CodeOf(err) != "text_unknown" {
		t.Errorf("a client may have a warning sent: %v", err)
	}
}

// Texts of one kind have one payer, and he is told.
func TestAPayerIsOfAWholeKind(t *testing.T) {
	text := func(id, payer string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("id: " + id + "\nversion: 1\nkind: notice\n" + payer + "bodies: {uz-Latn: Salom}\n")}
	}
	c, err := Load(fstest.MapFS{
		"login.new.yaml": text("login.new", "payer: mobileid\n"), "login.reset.yaml": text("login.reset", "payer: mobileid\n"),
		"notice.hello.yaml": text("notice.hello", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, q := c.Payer("login.new"), c.Payer("notice.hello"); p != "mobileid" || q != "" {
		t.Errorf("payers %q and %q", p, q)
	}
	if kinds := c.FreeKinds(); !slices.Equal(kinds, []string{"login"}) {
		t.Errorf("free kinds %q", kinds)
	}
	_, err = Load(fstest.MapFS{"login.new.yaml": text("login.new", "payer: mobileid\n"), "login.reset.yaml": text("login.reset", "")})
	if err == nil || !strings.Contains(err.Error(), `login.reset.yaml: payer: texts of one kind have one payer: that of login.new is "mobileid"`) {
		t.Errorf("%v", err)
	}
}

func TestEveryTextFitsOnePartAtItsLongestFilling(t *testing.T) {
	for id, e := range Default().entries {
		if e.kind == kindWarning {
			continue
		}
		for locale, pieces := range e.pieces {
			for _, text := range longestFillings(pieces, e.slots, locale) {
				encoded, err := sms.Options{}.Encode(text, 0)
				if err != nil || len(encoded.Parts) != 1 {
					t.Errorf("%s %s: %d parts, %v: %s", id, locale, len(encoded.Parts), err, text)
				}
				if wantUCS2 := locale == mobileid.LocaleRu; (encoded.DataCoding == sms.DataCodingUCS2) != wantUCS2 {
					t.Errorf("%s %s: data_coding %d: %s", id, locale, encoded.DataCoding, text)
				}
			}
		}
	}
}

func TestCodeTextsBeginWithTheCodeAndWarn(t *testing.T) {
	warning := map[mobileid.Locale][]string{
		mobileid.LocaleUzLatn: {"hech kimga aytmang"},
		mobileid.LocaleRu:     {"Никому не говорите"},
		mobileid.LocaleEn:     {"Do not tell it to anyone", "tell no one"},
	}
	for _, id := range otpTexts {
		for _, locale := range locales {
			text, err := Default().Render(id, locale, map[string]string{"code": "048291", "minutes": "5"})
			if err != nil {
				t.Fatalf("%s %s: %v", id, locale, err)
			}
			words := text.Reveal()
			warned := false
			for _, w := range warning[locale] {
				warned = warned || strings.Contains(words, w)
			}
			if !strings.HasPrefix(words, "048291 ") || !strings.Contains(words, " 5 ") || !warned {
				t.Errorf("%s %s: %s", id, locale, words)
			}
			// The code is the only number of its length, so that a phone's
			// autofill cannot pick another one.
			if strings.Count(words, "048291") != 1 {
				t.Errorf("%s %s: the code stands more than once: %s", id, locale, words)
			}
		}
	}
}

func TestRenderShowsInstantsInTashkentTime(t *testing.T) {
	slots := map[string]string{"system": "tax", "at": "2026-11-22T22:05:59Z"}
	want := map[mobileid.Locale]string{
		mobileid.LocaleUzLatn: "Soliq xizmati maʼlumotlaringizdan foydalandi: 23.11.2026 03:05.",
		mobileid.LocaleRu:     "Налоговая служба: ваши данные использованы 23.11.2026 03:05.",
		mobileid.LocaleEn:     "Tax service used your data on 23.11.2026 03:05.",
		"":                    "Soliq xizmati maʼlumotlaringizdan foydalandi: 23.11.2026 03:05.",
	}
	for locale, words := range want {
		text, err := Default().Render("notice.data_access", locale, slots)
		if err != nil || text.Reveal() != words {
			t.Errorf("%q: %q, %v", locale, text.Reveal(), err)
		}
		if err := Default().Check("notice.data_access", locale, slots); err != nil {
			t.Errorf("%q: Check: %v", locale, err)
		}
	}
}

func TestRenderNamesTheFieldAtFault(t *testing.T) {
	good := map[string]string{"system": "tax", "at": "2026-11-22T22:05:59Z"}
	with := func(name, value string) map[string]string {
		m := maps.Clone(good)
		m[name] = value
		return m
	}
	without := maps.Clone(good)
	delete(without, "at")
	cases := []struct {
		name   string
		textID string
		locale mobileid.Locale
		slots  map[string]string
		field  string
		code   string
	}{
		{"unknown text", "notice.other", "ru", good, "text_id", "text_unknown"},
		{"unknown locale", "notice.data_access", "fr", good, "locale", "locale_unknown"},
		{"missing slot", "notice.data_access", "ru", without, "slots.at", "slot_missing"},
		{"unknown slot", "notice.data_access", "ru", with("name", "x"), "slots.name", "slot_unknown"},
		{"unknown slot with a foreign name", "notice.data_access", "ru", with("998901234567", "x"), "slots", "slot_unknown"},
		{"word outside the list", "notice.data_access", "ru", with("system", "my bank"), "slots.system", "slot_value"},
		{"free text as an instant", "notice.data_access", "ru", with("at", "call me"), "slots.at", "slot_value"},
		{"instant without zone", "notice.data_access", "ru", with("at", "2026-11-22T22:05:59"), "slots.at", "slot_value"},
		{"instant too wide to show", "notice.data_access", "ru", with("at", "1999-11-22T22:05:59Z"), "slots.at", "slot_value"},
		{"instant with endless fraction", "notice.data_access", "ru", with("at", "2026-11-22T22:05:59."+strings.Repeat("1", 99)+"Z"), "slots.at", "slot_value"},
		{"letters in a code", "otp.sign_in", "ru", map[string]string{"code": "12345a", "minutes": "5"}, "slots.code", "slot_value"},
		{"digits of another script", "otp.sign_in", "ru", map[string]string{"code": "١٢٣٤", "minutes": "5"}, "slots.code", "slot_value"},
		{"short code", "otp.sign_in", "ru", map[string]string{"code": "123", "minutes": "5"}, "slots.code", "slot_value"},
		{"long code", "otp.sign_in", "ru", map[string]string{"code": "1234567", "minutes": "5"}, "slots.code", "slot_value"},
		{"no minutes", "otp.sign_in", "ru", map[string]string{"code": "123456", "minutes": "0"}, "slots.minutes", "slot_value"},
		{"too many minutes", "otp.sign_in", "ru", map[string]string{"code": "123456", "minutes": "61"}, "slots.minutes", "slot_value"},
		{"signed minutes", "otp.sign_in", "ru", map[string]string{"code": "123456", "minutes": "+5"}, "slots.minutes", "slot_value"},
		{"padded minutes", "otp.sign_in", "ru", map[string]string{"code": "123456", "minutes": "05"}, "slots.minutes", "slot_value"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Default().Render(c.textID, c.locale, c.slots)
			var e *mobileid.Error
			if !errors.As(err, &e) || e.Kind != mobileid.KindInvalid || e.Field != c.field || e.Code != c.code {
				t.Fatalf("got %v, want %s on %s", err, c.code, c.field)
			}
			for _, v := range c.slots {
				if len(v) > 2 && strings.Contains(err.Error(), v) {
					t.Errorf("the error repeats a value: %v", err)
				}
			}
			if strings.HasPrefix(c.textID, "notice.") {
				if checked := Default().Check(c.textID, c.locale, c.slots); checked == nil || checked.Error() != err.Error() {
					t.Errorf("Check says %v", checked)
				}
			}
		})
	}
}

func TestCheckRefusesTextsThatCarryACode(t *testing.T) {
	for _, id := range otpTexts {
		err := Default().Check(id, "ru", map[string]string{"code": "123456", "minutes": "5"})
		if mobileid.CodeOf(err) != "text_unknown" {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestCheckPurposeComparesWithTheSlots(t *testing.T) {
	good := mobileid.Purpose{ID: "sign_in", TextID: "otp.sign_in", Life: 5 * time.Minute, Digits: 6, Tries: 3}
	cases := []struct {
		name   string
		change func(*mobileid.Purpose)
		code   string // "" = fine
	}{
		{"good", func(*mobileid.Purpose) {}, ""},
		{"four digits", func(p *mobileid.Purpose) { p.Digits = 4 }, ""},
		{"an hour", func(p *mobileid.Purpose) { p.Life = time.Hour }, ""},
		{"no text", func(p *mobileid.Purpose) { p.TextID = "otp.none" }, "text_unknown"},
		{"a notice", func(p *mobileid.Purpose) { p.TextID = "notice.data_access" }, "text_unknown"},
		{"three digits", func(p *mobileid.Purpose) { p.Digits = 3 }, "digits_range"},
		{"seven digits", func(p *mobileid.Purpose) { p.Digits = 7 }, "digits_range"},
		{"too short", func(p *mobileid.Purpose) { p.Life = 59 * time.Second }, "life_range"},
		{"too long", func(p *mobileid.Purpose) { p.Life = time.Hour + 1 }, "life_range"},
	}
	for _, c := range cases {
		p := good
		c.change(&p)
		err := Default().CheckPurpose(p)
		if (err == nil) != (c.code == "") || (err != nil && mobileid.CodeOf(err) != c.code) {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
}
