package mobileid

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func sealPair(t testing.TB, now func() time.Time) (*Sealer, *Opener, string) {
	t.Helper()
	public, private, err := NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSealer(public, now)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(private)
	if err != nil {
		t.Fatal(err)
	}
	return s, o, private
}

func TestSealedValueOpensWithItsKeyAndAAD(t *testing.T) {
	s, o, _ := sealPair(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		aad := rapid.SliceOf(rapid.Byte()).Draw(t, "aad")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed, err := s.Seal(aad, plain)
		if err != nil {
			t.Fatal(err)
		}
		back, err := o.Open(aad, sealed)
		if err != nil || !bytes.Equal(back, plain) {
			t.Fatalf("opened to %q, %v", back, err)
		}
		if id, err := SealedBy(sealed); err != nil || id != s.KeyID() {
			t.Fatalf("sealed by %s, %v", id, err)
		}
	})
}

func TestSealedValueOpensWithNothingElse(t *testing.T) {
	s, o, _ := sealPair(t, nil)
	_, stranger, _ := sealPair(t, nil)
	aad, plain := []byte("message 1"), []byte("the words of a message")
	sealed, err := s.Seal(aad, plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, plain) {
		t.Error("the words stand in clear")
	}
	if _, err := o.Open(aad, sealed); err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, o *Opener, aad, sealed []byte) {
		t.Helper()
		if got, err := o.Open(aad, sealed); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: opened to %q, %v", what, got, err)
		}
	}
	refuse("another aad", o, []byte("message 2"), sealed)
	refuse("no aad", o, nil, sealed)
	refuse("another key", stranger, aad, sealed)
	for n := range sealed {
		refuse("truncated", o, aad, sealed[:n])
	}
	refuse("longer", o, aad, append(bytes.Clone(sealed), 0))
	// The opener has the data key in memory by now; a changed header must not
	// be answered from there.
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refuse("changed", o, aad, changed)
	}
}

func TestOpenerKeepsRetiredKeys(t *testing.T) {
	old, _, oldPrivate := sealPair(t, nil)
	current, _, private := sealPair(t, nil)
	both, err := NewOpener(private, oldPrivate)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Sealer{old, current} {
		sealed, err := s.Seal(nil, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := both.Open(nil, sealed); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestDataKeyLivesAnHour(t *testing.T) {
	now := date(2026, 11, 22)
	s, o, _ := sealPair(t, func() time.Time { return now })
	encapsulated := func() string {
		sealed, err := s.Seal(nil, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Open(nil, sealed); err != nil {
			t.Fatal(err)
		}
		return string(sealed[1+sealKeyIDLen : sealHeader])
	}
	first := encapsulated()
	now = now.Add(dataKeyLife - 1)
	if encapsulated() != first {
		t.Error("the data key changed within the hour")
	}
	now = now.Add(1)
	if encapsulated() == first {
		t.Error("the data key outlived its hour")
	}
}

func TestTwoSealsOfOneValueDiffer(t *testing.T) {
	s, _, _ := sealPair(t, nil)
	a, errA := s.Seal(nil, []byte("x"))
	b, errB := s.Seal(nil, []byte("x"))
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		t.Errorf("%x, %v, %v", a, errA, errB)
	}
}

func TestSealAndOpenRunInParallel(t *testing.T) {
	s, o, _ := sealPair(t, nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				sealed, err := s.Seal([]byte("a"), []byte("x"))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := o.Open([]byte("a"), sealed); err != nil || string(got) != "x" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestOpenerForgetsDataKeysAndStillOpens(t *testing.T) {
	public, private, err := NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(private)
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	for i := range openerMemory + 2 {
		s, err := NewSealer(public, nil) // a process of its own, with its own data key
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := s.Seal(nil, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = sealed
		}
		if _, err := o.Open(nil, sealed); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.aeads) > openerMemory {
		t.Errorf("%d data keys in memory", len(o.aeads))
	}
	if _, err := o.Open(nil, first); err != nil {
		t.Error(err)
	}
}

func TestWrongSealingKeysAreRefusedWithoutShowingThem(t *testing.T) {
	for _, bad := range []string{"not base64!", "AAAA", strings.Repeat("A", 80)} {
		if _, err := NewSealer(bad, nil); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("sealer: %v", err)
		}
		if _, err := NewOpener(bad); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("opener: %v", err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s, o, _ := sealPair(f, nil)
	aad := []byte("aad")
	sealed, err := s.Seal(aad, []byte("words"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{})
	f.Add([]byte{sealVersion})
	f.Fuzz(func(t *testing.T, changed []byte) {
		got, err := o.Open(aad, changed)
		if bytes.Equal(changed, sealed) {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, ErrSealed) || got != nil {
			t.Fatalf("opened to %q, %v", got, err)
		}
	})
}

func TestAFingerprintFollowsTheCurrentKeyAndTheValues(t *testing.T) {
	var private []string
	for range 2 {
		_, k, err := NewSealKey()
		if err != nil {
			t.Fatal(err)
		}
		private = append(private, k)
	}
	of := func(values []string, keys ...string) Fingerprint {
		o, err := NewOpener(keys...)
		if err != nil {
			t.Fatal(err)
		}
		raw := make([][]byte, len(values))
		for i, v := range values {
			raw[i] = []byte(v)
		}
		return o.Fingerprint(raw...)
	}
	values := []string{"99890", "stop"}
	first := of(values, private[0])
	if of(values, private[0], private[1]) != first {
		t.Error("a retired key, or another process, makes another one")
	}
	for name, other := range map[string]Fingerprint{
		"another key": of(values, private[1], private[0]), "another value": of([]string{"99890", "stap"}, private[0]),
		"the same octets": of([]string{"99890s", "top"}, private[0]), "none": {},
	} {
		if other == first {
			t.Errorf("%s: the same one", name)
		}
	}
	if len(first.String()) != 32 || (Fingerprint{}).String() != "" {
		t.Errorf("%q", first)
	}
	defer func() {
		if recover() == nil {
			t.Error("without a key there is one all the same")
		}
	}()
	of(values)
}
