package mobileid

import (
	"regexp"
	"strings"
	"testing"
)

// Each word that one language has every language has, in its own letters.
func TestEachLanguageHasTheWordsOfTheOthers(t *testing.T) {
	locales := []Locale{LocaleUzLatn, LocaleRu, LocaleEn}
	letters := map[Locale]*regexp.Regexp{
		LocaleEn:     regexp.MustCompile(`^[A-Za-z ,:;'-]+$`),
		LocaleUzLatn: regexp.MustCompile(`^[A-Za-z ʻʼ,:;-]+$`),
		LocaleRu:     regexp.MustCompile(`^(SMS|[а-яё ,:;-])+$`),
	}
	if len(transferWords) != len(locales) || len(otherWords) != len(locales) {
		t.Fatalf("%d languages, %d of what no list has", len(transferWords), len(otherWords))
	}
	for _, locale := range locales {
		n := 0
		seen := map[string]string{}
		for kind, words := range transferWords[LocaleEn] {
			for why := range words {
				n++
				got := transferWords[locale][kind][why]
				if !letters[locale].MatchString(got) || strings.TrimSpace(got) != got {
					t.Errorf("%s, %s by %q: %q", locale, kind, why, got)
				}
				if was, twice := seen[got]; twice {
					t.Errorf("%s: %s by %q says the same as %s: %q", locale, kind, why, was, got)
				}
				seen[got] = string(kind) + " by " + why
				if TransferWords(kind, why, locale) != got {
					t.Errorf("%s, %s by %q is told as %q", locale, kind, why, TransferWords(kind, why, locale))
				}
			}
		}
		for _, words := range transferWords[locale] {
			n -= len(words)
		}
		if n != 0 {
			t.Errorf("%s has other words than English", locale)
		}
		if got := TransferWords(ChargePosted, "magic", locale); got != otherWords[locale]+"posted" {
			t.Errorf("%s, of no list: %q", locale, got)
		}
	}
	for _, locale := range []Locale{"", "kaa"} {
		if got := TransferWords(ChargePosted, "answer", locale); got != transferWords[LocaleEn][ChargePosted]["answer"] {
			t.Errorf("%q: %q", locale, got)
		}
	}
}
