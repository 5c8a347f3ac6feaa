package mobileid

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func idKey(t *testing.T, secret string) IDKey {
	t.Helper()
	k, err := NewIDKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const idSecret = "a secret for the ids of tests"

var acceptedAt = time.Date(2026, 11, 22, 9, 0, 0, 123_000_000, time.UTC)

func TestIDSaysWhatWentIn(t *testing.T) {
	k := idKey(t, idSecret)
	id := k.Make(KindChallenge, "oneid", "key-1", acceptedAt)
	if id.Kind() != KindChallenge || !id.Time().Equal(acceptedAt) || id.KeyPart() != k.KeyPart("oneid", "key-1") {
		t.Errorf("kind %c, time %s", id.Kind(), id.Time())
	}
	if s := id.String(); len(s) != 42 || !strings.HasPrefix(s, "ch_") || s != strings.ToLower(s) {
		t.Errorf("printed %q", s)
	}
	if s := k.Make(KindMessage, "oneid", "key-1", acceptedAt).String(); !strings.HasPrefix(s, "ms_") {
		t.Errorf("printed %q", s)
	}
	if id != k.Make(KindChallenge, "oneid", "key-1", acceptedAt.Add(999*time.Microsecond)) {
		t.Error("two calls within a millisecond give two ids")
	}
}

func TestIDComesBackAsItWasPrinted(t *testing.T) {
	k := idKey(t, idSecret)
	rapid.Check(t, func(t *rapid.T) {
		id := k.Make(
			rapid.SampledFrom([]IDKind{KindChallenge, KindMessage}).Draw(t, "kind"),
			rapid.String().Draw(t, "client"), rapid.String().Draw(t, "key"),
			time.UnixMilli(rapid.Int64Range(0, 1<<48-1).Draw(t, "ms")),
		)
		back, err := ParseID(id.String())
		if err != nil || back != id {
			t.Fatalf("%s came back as %s, %v", id, back, err)
		}
		encoded, err := json.Marshal(map[string]ID{"id": id})
		var decoded map[string]ID
		if err != nil || json.Unmarshal(encoded, &decoded) != nil || decoded["id"] != id {
			t.Fatalf("%s through JSON: %s, %v", id, encoded, err)
		}
	})
}

func TestIDsSortByTimeInBytesAndInPrint(t *testing.T) {
	k := idKey(t, idSecret)
	rapid.Check(t, func(t *rapid.T) {
		// One kind: the prefix sorts before the time.
		early := rapid.Int64Range(0, 1<<48-2).Draw(t, "early")
		late := rapid.Int64Range(early+1, 1<<48-1).Draw(t, "late")
		a := k.Make(KindMessage, "a", rapid.String().Draw(t, "key a"), time.UnixMilli(early))
		b := k.Make(KindMessage, "b", rapid.String().Draw(t, "key b"), time.UnixMilli(late))
		if bytes.Compare(a[:], b[:]) >= 0 || a.String() >= b.String() {
			t.Fatalf("%s is not before %s", a, b)
		}
	})
}

func TestCheckRefusesWhatItDidNotMake(t *testing.T) {
	k := idKey(t, idSecret)
	id := k.Make(KindChallenge, "oneid", "key-1", acceptedAt)
	if !k.Check("oneid", id) {
		t.Fatal("its own id is refused")
	}
	if k.Check("tax", id) || k.Check("", id) {
		t.Error("another client's id passes")
	}
	if idKey(t, idSecret+"x").Check("oneid", id) {
		t.Error("another key's id passes")
	}
	for bit := range 8 * len(id) {
		forged := id
		forged[bit/8] ^= 1 << (bit % 8)
		if k.Check("oneid", forged) {
			t.Errorf("the id passes with bit %d turned", bit)
		}
	}
	if k.Check("oneid", ID{}) || k.Check("oneid", IDFloor(acceptedAt)) {
		t.Error("a made-up id passes")
	}
}

func TestKeyPartKeepsClientAndKeyApart(t *testing.T) {
	k := idKey(t, idSecret)
	if k.KeyPart("ab", "c") == k.KeyPart("a", "bc") {
		t.Error("(ab,c) and (a,bc) are one")
	}
	if k.KeyPart("a", "b") != k.KeyPart("a", "b") || k.KeyPart("a", "b") == k.KeyPart("a", "c") {
		t.Error("the part does not follow the key")
	}
	if h := k.BodyHash("a", []byte("{}")); h != k.BodyHash("a", []byte("{}")) || len(h) != 32 ||
		h == k.BodyHash("b", []byte("{}")) || h == k.BodyHash("a", []byte("{ }")) || h == idKey(t, idSecret+"x").BodyHash("a", []byte("{}")) {
		t.Errorf("body hash %s", h)
	}
}

func TestDeriveIsStable(t *testing.T) {
	k := idKey(t, idSecret)
	parent := k.Make(KindChallenge, "oneid", "key-1", acceptedAt)
	first := k.Derive(KindMessage, "oneid", parent, 1)
	if again := idKey(t, idSecret).Derive(KindMessage, "oneid", parent, 1); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	if first.Kind() != KindMessage || !first.Time().Equal(parent.Time()) || !k.Check("oneid", first) {
		t.Errorf("derived %s", first)
	}
	others := []ID{
		k.Derive(KindMessage, "oneid", parent, 2),
		k.Derive(KindChallenge, "oneid", parent, 1),
		k.Derive(KindMessage, "oneid", k.Make(KindChallenge, "oneid", "key-2", acceptedAt), 1),
		k.Make(KindMessage, "oneid", "key-1", acceptedAt),
	}
	if slices.Contains(others, first) {
		t.Error("two different things have one id")
	}
}

func TestIDFloorBoundsTheIDsOfAMonth(t *testing.T) {
	k := idKey(t, idSecret)
	from, to := date(2026, 11, 1), date(2026, 12, 1)
	floor, next := IDFloor(from), IDFloor(to)
	for at, inside := range map[time.Time]bool{
		from:                        true,
		to.Add(-time.Millisecond):   true,
		from.Add(-time.Millisecond): false,
		to:                          false,
	} {
		for _, kind := range []IDKind{KindChallenge, KindMessage} {
			id := k.Make(kind, "oneid", "key", at)
			if got := bytes.Compare(floor[:], id[:]) <= 0 && bytes.Compare(id[:], next[:]) < 0; got != inside {
				t.Errorf("%s is in November: %v, want %v", at, got, inside)
			}
		}
	}
	if floor.Time() != from {
		t.Errorf("the floor's time is %s", floor.Time())
	}
}

func TestParseIDTakesOneSpellingOnly(t *testing.T) {
	id := idKey(t, idSecret).Make(KindChallenge, "oneid", "key-1", acceptedAt)
	s := id.String()
	// 24 bytes are 192 bits, 39 letters hold 195: the last letter has spare bits.
	alphabet := "0123456789abcdefghijklmnopqrstuv"
	at := strings.IndexByte(alphabet, s[len(s)-1])
	spare := s[:len(s)-1] + string(alphabet[at|1])
	bad := map[string]string{
		"nothing": "", "prefix only": "ch_", "no prefix": s[3:], "another kind's prefix": "ms_" + s[3:], "unknown prefix": "xx_" + s[3:],
		"capitals": strings.ToUpper(s), "capitals after the prefix": "ch_" + strings.ToUpper(s[3:]), "a letter short": s[:41],
		"a letter long": s + "0", "spare bits": spare, "space": " " + s, "line break": s[:20] + "\n" + s[21:],
		"line break more": s + "\n", "letter outside": s[:41] + "z", "NUL": s[:41] + "\x00",
		"floor": IDFloor(acceptedAt).String(), "zero bytes": "ch_" + strings.Repeat("0", 39),
	}
	if spare == s {
		t.Fatal("the spare bits of a good id are zero, so this must differ")
	}
	for name, text := range bad {
		if got, err := ParseID(text); KindOf(err) != KindNotFound || !got.IsZero() {
			t.Errorf("%s: %q is read as %s, %v", name, text, got, err)
		}
	}
}

func TestZeroIDIsEmptyText(t *testing.T) {
	var id ID
	if id.String() != "" || !id.IsZero() {
		t.Errorf("printed %q", id)
	}
	out, err := json.Marshal(StatusChanged{State: "sent"})
	if err != nil || strings.Contains(string(out), "challenge") {
		t.Errorf("%s, %v", out, err)
	}
	id = idKey(t, idSecret).Make(KindMessage, "a", "b", acceptedAt)
	if err := id.UnmarshalText(nil); err != nil || !id.IsZero() {
		t.Errorf("empty text is read as %s, %v", id, err)
	}
	if err := json.Unmarshal([]byte(`"ch_x"`), &id); err == nil {
		t.Error("a malformed id is read")
	}
}

func TestKeysNeedSixteenBytes(t *testing.T) {
	if _, err := NewIDKey(make([]byte, 15)); CodeOf(err) != "key_short" {
		t.Errorf("id key: %v", err)
	}
	if _, err := NewPseudonymKey(make([]byte, 15)); CodeOf(err) != "key_short" {
		t.Errorf("pseudonym key: %v", err)
	}
	secret := []byte(idSecret)
	k, err := NewIDKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	clear(secret)
	if !idKey(t, idSecret).Check("a", k.Make(KindMessage, "a", "b", acceptedAt)) {
		t.Error("the key changed with the caller's bytes")
	}
}

func FuzzParseID(f *testing.F) {
	k, err := NewIDKey([]byte(idSecret))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Make(KindChallenge, "oneid", "key-1", acceptedAt).String())
	f.Add("ms_" + strings.Repeat("0", 39))
	f.Add("ch_" + strings.Repeat("v", 39))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			if KindOf(err) != KindNotFound || !id.IsZero() {
				t.Fatalf("refused as %v with %s", err, id)
			}
			return
		}
		if id.String() != s {
			t.Fatalf("%q is another spelling of %s", s, id)
		}
		if k.Check("somebody", id) {
			t.Fatal("a guessed id passes")
		}
	})
}
