package texts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
)

const fileSuffix = ".yaml"

// payerShape is what the system's accounts are called.
var payerShape = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

var textIDShape = regexp.MustCompile(`^[a-z]+\.[a-z]+(_[a-z]+)*$`)

// Load reads every *.yaml file at the root of files: one text each, named
// <text id>.yaml. It is strict: an unknown key, a slot that a body does not
// use, a body that could need two parts, a wrong apostrophe are all mistakes.
// The error joins every mistake of every file, each as "file: path: what".
func Load(files fs.FS) (*Catalogue, error) {
	names, err := fs.Glob(files, "*"+fileSuffix)
	if err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("texts: no *" + fileSuffix + " file")
	}
	c := &Catalogue{entries: map[string]entry{}}
	var mistakes []error
	for _, name := range names {
		l := &loader{file: name}
		e := l.load(files)
		mistakes = append(mistakes, l.mistakes...)
		c.entries[e.id] = e
	}
	mistakes = append(mistakes, c.mixedPayers()...)
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return c, nil
}

// mixedPayers lists the texts that another one pays for than for the first of
// their kind: operators give prices and senders by the kind.
func (c *Catalogue) mixedPayers() (mistakes []error) {
	first := map[string]entry{}
	for _, id := range slices.Sorted(maps.Keys(c.entries)) {
		e, kind := c.entries[id], mobileid.TextKind(id)
		switch f, seen := first[kind]; {
		case !seen:
			first[kind] = e
		case f.payer != e.payer:
			mistakes = append(mistakes, fmt.Errorf("%s%s: payer: texts of one kind have one payer: that of %s is %q", id, fileSuffix, f.id, f.payer))
		}
	}
	return mistakes
}

// loader reads one file and keeps its mistakes. It walks a generic tree
// because a decoder into structs stops at the first one.
type loader struct {
	file     string
	mistakes []error
}

func (l *loader) wrongf(path, format string, args ...any) {
	at := l.file
	if path != "" {
		at += ": " + path
	}
	l.mistakes = append(l.mistakes, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

func (l *loader) load(files fs.FS) entry {
	raw, err := fs.ReadFile(files, l.file)
	if err != nil {
		l.wrongf("", "%v", err)
		return entry{}
	}
	if !utf8.Valid(raw) {
		l.wrongf("", "not UTF-8")
		return entry{}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		l.wrongf("", "not a YAML mapping: %s", yaml.FormatError(err, false, false))
		return entry{}
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		l.wrongf("", "more than one document")
	}
	l.keys("", tree, "id", "version", "kind", "payer", "slots", "bodies")
	e := entry{
		id:      l.text(tree, "", "id"),
		version: l.number(tree, "", "version", 1, 1<<30),
		kind:    textKind(l.text(tree, "", "kind")),
		slots:   map[string]slot{},
	}
	if _, given := tree["payer"]; given { // mostly the subscriber, who is not named
		if e.payer = l.text(tree, "", "payer"); e.payer != "" && !payerShape.MatchString(e.payer) {
			l.wrongf("payer", "want a short word, for example mobileid")
		}
	}
	if e.id != "" && (!textIDShape.MatchString(e.id) || e.id+fileSuffix != l.file) {
		l.wrongf("id", "%q is not the name of the file, or not like otp.sign_in", e.id)
	}
	if _, given := tree["slots"]; given { // a notice may have none
		e.slots = l.slots(l.mapping(tree, "", "slots"))
	}
	l.kind(e)
	e.bodies, e.pieces = l.bodies(l.mapping(tree, "", "bodies"), e.slots)
	l.words(e)
	return e
}

// kind checks what the handlers rely on: a text with a code takes exactly the
// slots code and minutes, a notice no code at all.
func (l *loader) kind(e entry) {
	switch e.kind {
	case kindOTP:
		if len(e.slots) != 2 || e.slots["code"].Type != slotCode || e.slots["minutes"].Type != slotMinutes {
			l.wrongf("slots", "a text of kind otp has the slots code (type code) and minutes (type minutes), no other")
		}
	case kindNotice:
		for _, name := range slices.Sorted(maps.Keys(e.slots)) {
			if e.slots[name].Type == slotCode {
				l.wrongf("slots."+name+".type", "a notice carries no code")
			}
		}
	case kindWarning:
		if e.payer != "" {
			l.wrongf("payer", "a warning is not sent, so nobody pays")
		}
	case "":
	default:
		l.wrongf("kind", "want otp, notice or warning, have %q", e.kind)
	}
	for _, name := range slices.Sorted(maps.Keys(e.slots)) {
		if e.slots[name].Type == slotMoney && e.kind != kindWarning {
			l.wrongf("slots."+name+".type", "an amount stands only in a warning")
		}
	}
}

func (l *loader) slots(tree map[string]any) map[string]slot {
	slots := map[string]slot{}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		path := "slots." + name
		if !slotName(name) {
			l.wrongf(path, "a slot's name is a-z and _")
		}
		fields, ok := tree[name].(map[string]any)
		if !ok {
			l.wrongf(path, "want a mapping")
			continue
		}
		s := slot{Type: slotType(l.text(fields, path, "type"))}
		switch s.Type {
		case slotCode:
			l.keys(path, fields, "type", "digits")
			s.Digits = l.number(fields, path, "digits", minDigits, 10)
		case slotMinutes:
			l.keys(path, fields, "type", "max")
			s.Max = l.number(fields, path, "max", 1, 24*60)
		case slotEnum:
			l.keys(path, fields, "type", "values")
			s.Words = l.enum(path+".values", l.mapping(fields, path, "values"))
		case slotDateTime, slotMoney:
			l.keys(path, fields, "type")
		case "":
		default:
			l.wrongf(path+".type", "want code, minutes, enum, datetime or money, have %q", s.Type)
		}
		slots[name] = s
	}
	return slots
}

func (l *loader) enum(path string, tree map[string]any) map[string]map[mobileid.Locale]string {
	words := map[string]map[mobileid.Locale]string{}
	for _, value := range slices.Sorted(maps.Keys(tree)) {
		if !slotName(value) {
			l.wrongf(path+"."+value, "a value is a-z and _")
		}
		fields, ok := tree[value].(map[string]any)
		if !ok {
			l.wrongf(path+"."+value, "want a mapping from locale to words")
			continue
		}
		words[value] = l.perLocale(path+"."+value, fields)
		for locale, w := range words[value] {
			if strings.ContainsAny(w, "{}") {
				l.wrongf(path+"."+value+"."+string(locale), "no braces inside words")
			}
		}
	}
	return words
}

func (l *loader) bodies(
	tree map[string]any, slots map[string]slot,
) (map[mobileid.Locale]string, map[mobileid.Locale][]piece) {
	bodies := l.perLocale("bodies", tree)
	parsed := map[mobileid.Locale][]piece{}
	for _, locale := range slices.Sorted(maps.Keys(bodies)) {
		path := "bodies." + string(locale)
		pieces, err := parseBody(bodies[locale])
		if err != nil {
			l.wrongf(path, "%v", err)
			continue
		}
		used := slotsOf(pieces)
		for _, name := range used {
			if _, ok := slots[name]; !ok {
				l.wrongf(path, "{%s} is not one of the slots", name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(slots)) {
			if !slices.Contains(used, name) {
				l.wrongf(path, "the slot %s is not used", name)
			}
		}
		parsed[locale] = pieces
	}
	return bodies, parsed
}

// words checks that what a body shows exists in its locale and costs one part, if
// it is sent.
func (l *loader) words(e entry) {
	for _, locale := range slices.Sorted(maps.Keys(e.pieces)) {
		for _, name := range slotsOf(e.pieces[locale]) {
			for _, value := range slices.Sorted(maps.Keys(e.slots[name].Words)) {
				if _, ok := e.slots[name].Words[value][locale]; !ok {
					l.wrongf("slots."+name+".values."+value, "no words in %s", locale)
				}
			}
		}
		if e.kind == kindWarning {
			continue
		}
		for _, text := range longestFillings(e.pieces[locale], e.slots, locale) {
			if n := sms.Count(text); n != 1 {
				l.wrongf("bodies."+string(locale), "needs %d parts when it reads %q", n, text)
				break
			}
		}
	}
}

// perLocale reads a mapping from locale to words; fallback must be there.
func (l *loader) perLocale(path string, tree map[string]any) map[mobileid.Locale]string {
	out := map[mobileid.Locale]string{}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		locale := mobileid.Locale(key)
		if !slices.Contains(locales, locale) {
			l.wrongf(path+"."+key, "unknown locale; want uz-Latn, ru or en")
			continue
		}
		words := l.text(tree, path, key)
		if words != strings.TrimSpace(words) || strings.ContainsAny(words, "\r\n\t\f") {
			l.wrongf(path+"."+key, "no space at the ends and no line breaks")
		}
		if locale == mobileid.LocaleUzLatn && strings.ContainsAny(words, "'`\u2018\u2019\u00b4") {
			l.wrongf(path+"."+key, "write U+02BB in o\u02bb and g\u02bb, U+02BC elsewhere; the SMS edge folds them")
		}
		out[locale] = words
	}
	if _, ok := out[fallback]; !ok {
		l.wrongf(path, "no words in %s", fallback)
	}
	return out
}

func (l *loader) keys(path string, tree map[string]any, known ...string) {
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if !slices.Contains(known, key) {
			l.wrongf(join(path, key), "unknown key; want %s", strings.Join(known, ", "))
		}
	}
}

func (l *loader) text(tree map[string]any, path, key string) string {
	v, given := tree[key]
	s, ok := v.(string)
	switch {
	case !given:
		l.wrongf(join(path, key), "missing")
	case !ok || s == "":
		l.wrongf(join(path, key), "want a text that is not empty")
	}
	return s
}

func (l *loader) number(tree map[string]any, path, key string, low, high int) int {
	v, given := tree[key]
	if !given {
		l.wrongf(join(path, key), "missing")
		return low
	}
	n, ok := v.(uint64)
	if !ok || n < uint64(low) || n > uint64(high) {
		l.wrongf(join(path, key), "want a whole number from %d to %d", low, high)
		return low
	}
	return int(n)
}

func (l *loader) mapping(tree map[string]any, path, key string) map[string]any {
	v, given := tree[key]
	m, ok := v.(map[string]any)
	switch {
	case !given:
		l.wrongf(join(path, key), "missing")
	case !ok || len(m) == 0:
		l.wrongf(join(path, key), "want a mapping that is not empty")
	}
	return m
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
