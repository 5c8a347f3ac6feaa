package profile

import (
	"strings"
	"testing"
)

func TestAPatternThatCannotReadAReceiptIsRefused(t *testing.T) {
	for text, says := range map[string]string{
		`(?P<id>\d+),(?P<stat`:                        "regular expression",
		`(?P<id>\d+),(?=x)(?P<stat>\w+)`:              "regular expression",
		`(?P<id>\d+)`:                                 "(?P<stat>...)",
		`(?P<stat>\d+)`:                               "(?P<id>...)",
		`(\d+),(\w+)`:                                 "(?P<id>...)",
		`(?P<id>\d+),(?P<stat>\w+),(?P<done>\d+)`:     `"done"`,
		`(?P<id>\d+)(?P<stat>\w+)|(?P<stat>\w+)`:      "",
		`(?P<id>\d+),(?P<stat>\w+),(?P<error_code>.)`: `"error_code"`,
	} {
		var p Pattern
		err := p.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
		if _, _, _, ok := p.Find([]byte("1,A,1")); ok {
			t.Errorf("%s: refused, and reads", text)
		}
	}
}

func TestAPatternReadsItsGroups(t *testing.T) {
	var p Pattern
	if _, _, _, ok := p.Find([]byte("anything")); ok {
		t.Error("no pattern reads a text")
	}
	if err := p.UnmarshalText([]byte(`^(?P<stat>\w+);(?:e(?P<err>\d+);)?(?P<id>\w+)$`)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][3]string{"OK;A1": {"A1", "OK", ""}, "NO;e12;A1": {"A1", "NO", "12"}} {
		id, stat, code, ok := p.Find([]byte(text))
		if got := [3]string{string(id), string(stat), string(code)}; got != want || !ok {
			t.Errorf("%s: %v, %q", text, ok, got)
		}
	}
	if _, _, _, ok := p.Find([]byte("OK A1")); ok {
		t.Error("read what it does not match")
	}
	if err := p.UnmarshalText(nil); err != nil {
		t.Fatal(err)
	}
	if _, _, _, ok := p.Find([]byte("OK;A1")); ok {
		t.Error("taken back, and reads")
	}
}
