package texts

import (
	"strings"
	"testing"
	"testing/fstest"

	"mobileid/internal/mobileid"
)

const goodNotice = `
id: notice.hello
version: 1
kind: notice
slots:
  who:
    type: enum
    values:
      tax: {uz-Latn: "Soliq", ru: "Налоги"}
bodies:
  uz-Latn: "{who} ishladi."
  ru: "{who}: было."
`

func files(content ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i := 0; i+1 < len(content); i += 2 {
		out[content[i]] = &fstest.MapFile{Data: []byte(content[i+1])}
	}
	return out
}

func TestRenderFallsBackToUzbekLatin(t *testing.T) {
	c, err := Load(files("notice.hello.yaml", goodNotice))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Render("notice.hello", mobileid.LocaleEn, map[string]string{"who": "tax"})
	if err != nil || text.Reveal() != "Soliq ishladi." {
		t.Errorf("%q, %v", text.Reveal(), err)
	}
}

func TestLoadNamesFileAndPathOfAMistake(t *testing.T) {
	edit := func(from, to string) string {
		if !strings.Contains(goodNotice, from) {
			t.Fatalf("the good text does not contain %q", from)
		}
		return strings.Replace(goodNotice, from, to, 1)
	}
	cases := []struct {
		name, content, want string
	}{
		{"unknown key", edit("version: 1", "version: 1\ncolour: red"), "colour: unknown key"},
		{"unknown key of a slot", edit("type: enum", "type: enum\n    max: 3"), "slots.who.max: unknown key"},
		{"id missing", edit("id: notice.hello", ""), "id: missing"},
		{"id of another file", edit("id: notice.hello", "id: notice.other"), "id: \"notice.other\" is not the name of the file"},
		{"version missing", edit("version: 1", ""), "version: missing"},
		{"version of a wrong type", edit("version: 1", "version: one"), "version: want a whole number"},
		{"kind", edit("kind: notice", "kind: advert"), "kind: want otp, notice or warning"},
		{"code in a notice", edit("slots:", "slots:\n  pin: {type: code, digits: 6}"), "slots.pin.type: a notice carries no code"},
		{"otp without a code", edit("kind: notice", "kind: otp"), "slots: a text of kind otp has the slots code"},
		{"slot type", edit("type: enum", "type: words"), "slots.who.type: want code, minutes, enum, datetime or money"},
		{"amount", edit("type: enum", "type: money"), "slots.who.type: an amount stands only in a warning"},
		{"payer", edit("kind: notice", "kind: notice\npayer: Mobile ID"), "payer: want a short word"},
		{"slot name", edit("  who:", "  Who1:"), "slots.Who1: a slot's name is"},
		{"no values", edit("      tax: {uz-Latn: \"Soliq\", ru: \"Налоги\"}\n", ""), "slots.who.values: want a mapping"},
		{"value without fallback", edit("uz-Latn: \"Soliq\", ", ""), "slots.who.values.tax: no words in uz-Latn"},
		{"value without a locale of the bodies", edit(", ru: \"Налоги\"", ""), "slots.who.values.tax: no words in ru"},
		{"braces in a word", edit("\"Soliq\"", "\"{x}\""), "slots.who.values.tax.uz-Latn: no braces"},
		{"unknown locale", edit("  ru: \"{who}", "  xx: \"{who}"), "bodies.xx: unknown locale"},
		{"no fallback body", edit("  uz-Latn: \"{who} ishladi.\"\n", ""), "bodies: no words in uz-Latn"},
		{"undeclared slot in a body", edit("{who} ishladi", "{who} {what} ishladi"), "bodies.uz-Latn: {what} is not one of the slots"},
		{"unused slot", edit("{who}: было", "было"), "bodies.ru: the slot who is not used"},
		{"open brace", edit("{who} ishladi", "{who ishladi"), "bodies.uz-Latn: an opening brace"},
		{"closing brace", edit("{who} ishladi", "{who}} ishladi"), "bodies.uz-Latn: a closing brace"},
		{"no name in braces", edit("{who} ishladi", "{who} {} ishladi"), "bodies.uz-Latn: {} does not name a slot"},
		{"wrong apostrophe", edit("ishladi", "o'qidi"), "bodies.uz-Latn: write U+02BB"},
		{"line break", edit("ishladi.", "ishladi.\\n"), "bodies.uz-Latn: no space at the ends"},
		{"two parts in GSM-7", edit("ishladi", strings.Repeat("a", 155)), "bodies.uz-Latn: needs 2 parts"},
		{"two parts in UCS-2", edit("было", strings.Repeat("щ", 63)), "bodies.ru: needs 2 parts"},
		{"two parts through one letter of a word", strings.NewReplacer(
			"\"Soliq\"", "\"Śoliq\"", "ishladi", strings.Repeat("a", 70)).Replace(goodNotice), "bodies.uz-Latn: needs 2 parts"},
		{"duplicate key", edit("version: 1", "version: 1\nversion: 2"), "not a YAML mapping"},
		{"a list", "- a\n- b\n", "not a YAML mapping"},
		{"empty", "", "not a YAML mapping"},
		{"two documents", goodNotice + "\n---\nid: x\n", "more than one document"},
		{"not UTF-8", "id: \xff", "not UTF-8"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(files("notice.hello.yaml", c.content))
			if err == nil || !strings.Contains(err.Error(), "notice.hello.yaml: "+c.want) {
				t.Errorf("got: %v\nwant: %s", err, c.want)
			}
		})
	}
}

func TestLoadListsEveryMistakeOfEveryFile(t *testing.T) {
	_, err := Load(files(
		"notice.hello.yaml", strings.NewReplacer("version: 1", "version: 0", "kind: notice", "kind: x").Replace(goodNotice),
		"otp.other.yaml", "id: otp.other\nkind: otp\n",
	))
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{
		"notice.hello.yaml: version:", "notice.hello.yaml: kind:",
		"otp.other.yaml: version: missing", "otp.other.yaml: bodies: missing", "otp.other.yaml: slots:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not told in:\n%v", want, err)
		}
	}
}

func TestLoadRefusesAnEmptyCatalogue(t *testing.T) {
	if _, err := Load(files()); err == nil {
		t.Error("loaded")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(goodNotice))
	f.Add([]byte("id: [1, 2]\nslots: {a: {type: enum, values: 3}}\nbodies: {uz-Latn: 4}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := Load(files("notice.hello.yaml", string(content)))
		if err == nil && len(c.entries) != 1 {
			t.Errorf("loaded %d", len(c.entries))
		}
	})
}
