package texts

import (
	"embed"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// textKind says what a text is for.
type textKind string

// The kinds.
const (
	kindOTP    textKind = "otp"    // carries a one-time code; never chosen by a client
	kindNotice textKind = "notice" // tells a fact; a client with the scope may choose it
	// kindWarning is shown before a person agrees, and never sent: it may be longer
	// than an SMS.
	kindWarning textKind = "warning"
)

// fallback is the locale of a text that has no body in the wanted one, and of
// a request that names none.
const fallback = mobileid.LocaleUzLatn

// locales is the closed list of what may be asked for.
var locales = []mobileid.Locale{mobileid.LocaleUzLatn, mobileid.LocaleRu, mobileid.LocaleEn}

// entry is a text.
type entry struct {
	id      string
	version int
	kind    textKind
	payer   string // the system's account that pays; "": the subscriber
	slots   map[string]slot
	bodies  map[mobileid.Locale]string // with {slot} placeholders
	pieces  map[mobileid.Locale][]piece
}

// Catalogue is the loaded texts. It does not change after Load and is safe for
// concurrent use.
type Catalogue struct {
	entries map[string]entry
}

//go:embed data/*.yaml
var embedded embed.FS

// Default returns the catalogue that the program carries. It panics if the
// embedded files are wrong, which the package's tests rule out.
func Default() *Catalogue { return loadEmbedded() }

var loadEmbedded = sync.OnceValue(func() *Catalogue {
	data, err := fs.Sub(embedded, "data")
	if err != nil {
		panic("texts: " + err.Error())
	}
	c, err := Load(data)
	if err != nil {
		panic("texts: " + err.Error())
	}
	return c
})

// Render fills a text. An empty locale, and a known locale in which the text
// has no body, mean fallback. Errors are of KindInvalid and name the field:
// text_id, locale or slots.<name>; none repeats a value.
func (c *Catalogue) Render(
	textID string, locale mobileid.Locale, slots map[string]string,
) (mobileid.Text, error) {
	e, ok := c.entries[textID]
	if !ok || e.kind == kindWarning {
		return mobileid.Text{}, unknownText()
	}
	return c.render(e, locale, slots)
}

// Check reports what Render would say of a notification that a client asks
// for. A text that carries a code is refused as unknown: no client may send
// one under words of its choice.
func (c *Catalogue) Check(textID string, locale mobileid.Locale, slots map[string]string) error {
	e, ok := c.entries[textID]
	if !ok || e.kind != kindNotice {
		return unknownText()
	}
	_, err := c.render(e, locale, slots)
	return err
}

// Payer returns the system's account that pays for a text, "" when the subscriber
// does, as for every text that is not known.
func (c *Catalogue) Payer(textID string) string { return c.entries[textID].payer }

// FreeKinds returns the kinds of texts that a subscriber does not pay for, sorted.
func (c *Catalogue) FreeKinds() []string {
	var kinds []string
	for id, e := range c.entries {
		if e.payer != "" {
			kinds = append(kinds, mobileid.TextKind(id))
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// chargesWarning is the text that the decree wants shown before identification
// (clauses 12 and 22).
const chargesWarning = "warning.sms_charges"

// WarnOfCharges returns the warning that SMS to a number are charged, at that price
// of a unit ("message" or "part"), with what a consent has to store of it.
func (c *Catalogue) WarnOfCharges(locale mobileid.Locale, price mobileid.Money, unit string) (mobileid.Warning, error) {
	e := c.entries[chargesWarning]
	text, err := c.render(e, locale, map[string]string{"price": price.String(), "unit": unit})
	if err != nil {
		return mobileid.Warning{}, err
	}
	if locale == "" {
		locale = fallback
	}
	return mobileid.Warning{TextID: e.id, Version: e.version, Locale: locale, Text: text.Reveal(), Price: price, Unit: unit}, nil
}

// CheckPurpose reports whether codes of a purpose can be texted: its text is
// there, carries a code, and takes that many digits and minutes.
func (c *Catalogue) CheckPurpose(p mobileid.Purpose) error {
	e, ok := c.entries[p.TextID]
	if !ok || e.kind != kindOTP {
		return mobileid.Invalid("text_id", "text_unknown", "not a text of the catalogue that carries a code")
	}
	if d := e.slots["code"].Digits; p.Digits < minDigits || p.Digits > d {
		return mobileid.Invalid("digits", "digits_range",
			"the text takes codes of "+strconv.Itoa(minDigits)+" to "+strconv.Itoa(d)+" digits")
	}
	longest := time.Duration(e.slots["minutes"].Max) * time.Minute
	if p.Life < time.Minute || p.Life > longest {
		return mobileid.Invalid("life", "life_range", "the text takes a life of 1m to "+longest.String())
	}
	return nil
}

// Kinds returns the kinds of its texts (mobileid.TextKind), sorted: what a
// tariff may be for.
func (c *Catalogue) Kinds() []string {
	kinds := map[string]bool{}
	for id, e := range c.entries {
		if e.kind != kindWarning { // never sent
			kinds[mobileid.TextKind(id)] = true
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

func (c *Catalogue) render(e entry, locale mobileid.Locale, slots map[string]string) (mobileid.Text, error) {
	if locale == "" {
		locale = fallback
	}
	if !slices.Contains(locales, locale) {
		return mobileid.Text{}, mobileid.Invalid("locale", "locale_unknown", "the locale is uz-Latn, ru or en")
	}
	if _, ok := e.pieces[locale]; !ok {
		locale = fallback
	}
	for _, name := range slices.Sorted(maps.Keys(slots)) {
		if _, ok := e.slots[name]; !ok {
			return mobileid.Text{}, mobileid.Invalid(slotField(name), "slot_unknown", "the text has no such slot")
		}
	}
	shown := make(map[string]string, len(e.slots))
	for _, name := range slices.Sorted(maps.Keys(e.slots)) {
		value, given := slots[name]
		if !given {
			return mobileid.Text{}, mobileid.Invalid(slotField(name), "slot_missing", "the text needs this slot")
		}
		words, want, ok := e.slots[name].show(value, locale)
		if !ok {
			return mobileid.Text{}, mobileid.Invalid(slotField(name), "slot_value", "the slot takes "+want)
		}
		shown[name] = words
	}
	return mobileid.NewText(fill(e.pieces[locale], shown)), nil
}

// slotField names the field at fault. A name that is none of ours is not
// repeated: it comes from outside and could hold anything.
func slotField(name string) string {
	if !slotName(name) {
		return "slots"
	}
	return "slots." + name
}

func unknownText() error {
	return mobileid.Invalid("text_id", "text_unknown", "no such text in the catalogue")
}
