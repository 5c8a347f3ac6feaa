package mobileid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// The canaries. Every way to print must hide them; for the number the last two
// digits and the code may show.
const (
	canaryPINFL  = "31210632040244"
	canaryNumber = "901234567"
	canaryCode   = "480913"
	canaryText   = "480913 - sirli gap"
	canaryKey    = "a secret of sixteen bytes or more"
)

// leaks says what of the canaries stands in printed, in any form that fmt's
// verbs could give it.
func leaks(printed string) string {
	low := strings.ToLower(printed)
	for _, canary := range []string{canaryPINFL, canaryNumber, "1234567", canaryCode, "sirli", canaryKey} {
		for form, s := range map[string]string{
			"clear":        canary,
			"hex":          fmt.Sprintf("%x", canary),
			"spaced hex":   fmt.Sprintf("% x", canary),
			"Go bytes":     strings.Trim(fmt.Sprintf("%#v", []byte(canary)), "[]byte{}"),
			"decimal list": strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
		} {
			if strings.Contains(low, strings.ToLower(s)) {
				return canary + " in " + form
			}
		}
	}
	return ""
}

// exported and unexported hold every personal type, as a careless struct would.
type exported struct {
	PINFL  PINFL
	MSISDN MSISDN
	Code   Code
	Text   Text
	Ptr    *PINFL
	List   []MSISDN
	Map    map[string]Code
	Keyed  map[PINFL]int
	Any    any
	Bound  Binding
	Issued IssuedCode
}

type unexported struct {
	pinfl  PINFL
	msisdn MSISDN
	code   Code
	text   Text
	ptr    *PINFL
	list   []MSISDN
	keyed  map[PINFL]int
	any    any
	inner  struct{ code Code }
}

// carrier is an error that quotes what it should not.
type carrier struct {
	Person PINFL
	number MSISDN
}

func (c carrier) Error() string { return fmt.Sprint("refused ", c.Person, c.number) }

func personalValues(t *testing.T) map[string]any {
	t.Helper()
	p, err := ParsePINFL(canaryPINFL)
	if err != nil {
		t.Fatal(err)
	}
	m := number(t, canaryNumber)
	code, text := NewCode(canaryCode), NewText(canaryText)
	hiddenInside := unexported{
		pinfl: p, msisdn: m, code: code, text: text, ptr: &p, list: []MSISDN{m},
		keyed: map[PINFL]int{p: 1}, any: code,
	}
	hiddenInside.inner.code = code
	return map[string]any{
		"PINFL": p, "MSISDN": m, "Code": code, "Text": text,
		"*PINFL": &p, "*MSISDN": &m, "*Code": &code, "*Text": &text,
		"[]PINFL": []PINFL{p}, "map": map[string]MSISDN{"n": m},
		"exported fields": exported{
			PINFL: p, MSISDN: m, Code: code, Text: text, Ptr: &p, List: []MSISDN{m},
			Map: map[string]Code{"c": code}, Keyed: map[PINFL]int{p: 1}, Any: text,
			Bound: Binding{MSISDN: m}, Issued: IssuedCode{Nonce: "n", Code: code},
		},
		"unexported fields":  hiddenInside,
		"*unexported fields": &hiddenInside,
		"error":              carrier{p, m},
		"wrapped error":      fmt.Errorf("again: %w", carrier{p, m}),
		"our error":          &Error{Kind: KindInternal, Code: "x", Message: "y", Err: carrier{p, m}},
		"joined errors":      errors.Join(carrier{p, m}, errors.New("other")),
		"new binding":        NewBinding{PINFL: p, MSISDN: m},
	}
}

func TestPersonalValuesAreMaskedByEveryVerb(t *testing.T) {
	verbs := []string{
		"%v", "%+v", "%#v", "%s", "%q", "%+q", "%#q", "%d", "%x", "%X", "% x", "%#x", "%o", "%b", "%c", "%U", "%e", "%t",
		"%p", "%T", "%w", "%z", "%10.2s", "%-40v", "%06d",
	}
	// Through variables, because vet knows what is wrong with these calls; a
	// build without vet does not.
	sprintf, errorf := fmt.Sprintf, fmt.Errorf
	values := personalValues(t)
	values["SealedText"] = SealedText{To: canaryNumber, Text: canaryText}
	idKey, err := NewIDKey([]byte(canaryKey))
	if err != nil {
		t.Fatal(err)
	}
	pseudonymKey, err := NewPseudonymKey([]byte(canaryKey))
	if err != nil {
		t.Fatal(err)
	}
	values["IDKey"], values["PseudonymKey"] = idKey, pseudonymKey
	for name, v := range values {
		for _, verb := range verbs {
			if _, plain := v.(SealedText); plain && (verb == "%p" || verb == "%w") {
				continue // fmt passes its Format by; the fields are plain strings for JSON's sake
			}
			for _, printed := range []string{sprintf(verb, v), errorf(verb, v).Error()} {
				if leak := leaks(printed); leak != "" {
					t.Errorf("%s through %s shows %s: %s", name, verb, leak, printed)
				}
			}
		}
		for way, printed := range map[string]string{
			"Sprint": fmt.Sprint(v), "Sprintln": fmt.Sprintln(v), "no verb": sprintf("none", v),
			"width": sprintf("%*d", v, 1), "bad index": sprintf("%[5]d", v),
		} {
			if leak := leaks(printed); leak != "" {
				t.Errorf("%s through %s shows %s: %s", name, way, leak, printed)
			}
		}
	}
}

func TestPersonalValuesAreMaskedBySlog(t *testing.T) {
	for name, v := range personalValues(t) {
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			log := slog.New(h)
			log.Info("said", "value", v, "list", []any{v})
			log.With("with", v).WithGroup("g").Info("said", slog.Group("deep", "value", v))
			log.Info("said " + fmt.Sprint(v)) //nolint:sloglint // what a careless line does
		}
		if leak := leaks(out.String()); leak != "" {
			t.Errorf("%s shows %s:\n%s", name, leak, out.String())
		}
	}
}

func TestPersonalValuesAreMaskedByJSON(t *testing.T) {
	for name, v := range personalValues(t) {
		out, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if leak := leaks(string(out)); leak != "" {
			t.Errorf("%s shows %s: %s", name, leak, out)
		}
	}
	// What reads a personal value from JSON says no word about its content.
	for _, into := range []any{new(PINFL), new(MSISDN), new(Code), new(Text)} {
		err := json.Unmarshal([]byte(`"`+canaryPINFL+`"`), into)
		if err == nil || leaks(err.Error()) != "" {
			t.Errorf("%T: %v", into, err)
		}
	}
}

func TestMasksReadAsMasks(t *testing.T) {
	values := personalValues(t)
	for name, want := range map[string]string{
		"PINFL": "PINFL(hidden)", "MSISDN": "+998 90 *** ** 67", "Code": "Code(hidden)", "Text": "Text(hidden)",
	} {
		v := values[name]
		text, err := json.Marshal(v)
		if err != nil || string(text) != `"`+want+`"` {
			t.Errorf("%s in JSON: %s, %v", name, text, err)
		}
		s, ok := v.(fmt.Stringer)
		if !ok || s.String() != want || fmt.Sprintf("%x", v) != want {
			t.Errorf("%s prints %s", name, s)
		}
	}
}

func TestSealedTextStaysClearInItsOwnJSON(t *testing.T) {
	out, err := json.Marshal(SealedText{To: "998901234567", Text: "salom"})
	if err != nil || string(out) != `{"to":"998901234567","text":"salom"}` {
		t.Errorf("%s, %v", out, err)
	}
}

func TestPersonalValuesCompareAndComeBack(t *testing.T) {
	if NewCode(canaryCode) != NewCode(canaryCode) || NewCode(canaryCode) == NewCode("480914") {
		t.Error("codes do not compare by value")
	}
	if NewCode(canaryCode).Reveal() != canaryCode || NewText(canaryText).Reveal() != canaryText {
		t.Error("a value does not come back")
	}
	a, b := number(t, canaryNumber), number(t, "+998"+canaryNumber)
	if a != b || map[MSISDN]int{a: 1}[b] != 1 {
		t.Error("one number is two keys of a map")
	}
	if !NewCode("").IsZero() || NewCode("0").IsZero() || NewCode("") != (Code{}) || (Code{}).Reveal() != "" || (PINFL{}).Reveal() != "" {
		t.Error("the zero value is not none")
	}
}

func TestErrorKeepsItsCauseToItself(t *testing.T) {
	cause := errors.New("Key (pinfl)=(" + canaryPINFL + ") already exists")
	err := fmt.Errorf("queue: %w", Unavailable("database_away", 0, cause))
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Error("failed", "err", err)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal("not ours")
	}
	encoded, marshalErr := json.Marshal(e)
	if marshalErr != nil {
		t.Fatal(marshalErr)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Error("failed", "err", e)
	if leak := leaks(err.Error() + out.String() + string(encoded) + fmt.Sprintf("%+v %#v", e, e)); leak != "" {
		t.Errorf("the cause shows: %s", leak)
	}
	if !errors.Is(err, cause) || KindOf(err) != KindUnavailable || CodeOf(err) != "database_away" {
		t.Errorf("kind %s, code %s", KindOf(err), CodeOf(err))
	}
	if KindOf(cause) != KindInternal || CodeOf(cause) != "internal" {
		t.Errorf("a foreign error is %s, %s", KindOf(cause), CodeOf(cause))
	}
	if got := Invalid("pinfl", "pinfl_length", "too short").Error(); got != "pinfl_length (pinfl): too short" {
		t.Errorf("printed %q", got)
	}
}
