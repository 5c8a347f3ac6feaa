package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// Whatever the bytes are: no panic, an error of ours or a request that says
// the same as encoding/json reads, and never a digit run of the input in the
// error.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{
		challengeOf(goodPINFL), `{}`, `[]`, `{"pinfl":"1","pinfl":"2"}`, `{"slots":{"a":{"b":"c"}}}`, `{"pinfl":null}`,
		`{"code":"123456"}`, `{"pinfl":"` + goodPINFL + `","text_id":"x","slots":{"a":"b"},"locale":"ru"}`,
		"{\"pinfl\":\"\xff\"}", `{"a` + goodPINFL + `":1}`, strings.Repeat(`{"slots":`, 50),
	} {
		f.Add([]byte(s))
	}
	f.Add([]byte(events(topUp(), `{"number":"+998901234568","kind":"barred","seq":"s2","at":"2026-11-23T10:00:00+05:00"}`)))
	fuzzNow := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	fuzzKeys, err := mobileid.NewPseudonymKey(bytes.Repeat([]byte{1}, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ch, chErr := parseChallenge(body)
		_, nErr := parseNotification(body)
		v, vErr := parseVerify(body)
		report, bErr := parseBalance(body, "beeline", fuzzKeys, fuzzNow)
		for _, err := range []error{chErr, nErr, vErr, bErr} {
			var e *mobileid.Error
			if err == nil {
				continue
			}
			if !errors.As(err, &e) || e.Kind != mobileid.KindInvalid {
				t.Fatalf("not a refusal of ours: %v", err)
			}
			if digitRun(e.Field) > 5 || len(e.Field) > 100 {
				t.Fatalf("the field repeats data: %q", e.Field)
			}
		}
		for _, ev := range report.Events {
			if bErr == nil && (ev.Amount < 0 || ev.Amount > int64(mobileid.MaxBalance) || ev.Seq == "" || ev.At.After(fuzzNow.Add(maxAhead)) || ev.Number == "") {
				t.Fatalf("taken: %+v", ev)
			}
		}
		var std map[string]any
		if chErr == nil {
			if err := json.Unmarshal(body, &std); err != nil || ch.who.personID == "" && std["pinfl"] != ch.who.pinfl.Reveal() || std["purpose"] != ch.Purpose {
				t.Fatalf("read differently: %v %v", err, ch.Purpose)
			}
		}
		if vErr == nil && (len(v.Code.Reveal()) != v.digits || strings.Trim(v.Code.Reveal(), "0123456789") != "") {
			t.Fatal("a code that is not digits")
		}
	})
}

func TestContextHashIsComparedInOneCase(t *testing.T) {
	v, err := parseVerify([]byte(`{"code":"1234","context_hash":"` + strings.ToUpper(contextHash) + `"}`))
	if err != nil || v.ContextHash != contextHash {
		t.Errorf("%q %v", v.ContextHash, err)
	}
}

func TestEveryKeyOfVisibleASCIIIsTaken(t *testing.T) {
	var b strings.Builder
	for c := byte(0x21); c <= 0x7e; c++ {
		b.WriteByte(c)
	}
	if err := checkKey(b.String()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", " ", "a\tb", "ключ", strings.Repeat("a", 129)} {
		if checkKey(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
