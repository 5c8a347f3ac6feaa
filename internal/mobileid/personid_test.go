package mobileid

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAPersonIDIsOfOneClientAndCannotBeMadeUp(t *testing.T) {
	key, err := NewIDKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewIDKey([]byte("fedcba9876543210"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		person := Pseudonym(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "person"))
		id := key.PersonID("oneid", person)
		if again := key.PersonID("oneid", person); again != id {
			t.Fatalf("%s, then %s", id, again)
		}
		if got, err := key.ParsePersonID("oneid", id); err != nil || got != person {
			t.Fatalf("%s %v", got, err)
		}
		if strings.Contains(id, person.String()) || key.PersonID("shop", person) == id {
			t.Fatal("it shows the pseudonym, or is another client's too")
		}
		if _, err := key.ParsePersonID("shop", id); CodeOf(err) != "person_id_unknown" {
			t.Fatalf("another client: %v", err)
		}
		if _, err := other.ParsePersonID("oneid", id); err == nil {
			t.Fatal("another key")
		}
		i := rapid.IntRange(3, len(id)-1).Draw(t, "i")
		c := "0123456789abcdefghijklmnopqrstuv"[rapid.IntRange(0, 31).Draw(t, "c")]
		if changed := id[:i] + string(c) + id[i+1:]; changed != id {
			if _, err := key.ParsePersonID("oneid", changed); err == nil {
				t.Fatalf("%s is taken for an id", changed)
			}
		}
	})
	for _, s := range []string{"", "ps_", "ch_0", strings.ToUpper(key.PersonID("oneid", Pseudonym{1}))} {
		if _, err := key.ParsePersonID("oneid", s); CodeOf(err) != "person_id_unknown" {
			t.Errorf("%q: %v", s, err)
		}
	}
}
