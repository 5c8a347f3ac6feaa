package mobileid

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// Pseudonym stands for a person or a number wherever the value itself must not
// be: topic keys, Redis keys, columns that are compared but never shown. It is
// an HMAC, so it is stable while the key is, and says nothing without the key.
type Pseudonym [16]byte

var pseudonymEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// String prints 26 lower-case characters.
func (p Pseudonym) String() string {
	return strings.ToLower(pseudonymEncoding.EncodeToString(p[:]))
}

// ParsePseudonym reads what String printed.
func ParsePseudonym(s string) (Pseudonym, error) {
	raw, err := pseudonymEncoding.DecodeString(strings.ToUpper(s))
	// The decoder skips line breaks, takes capitals and ignores spare bits;
	// only one spelling is a pseudonym.
	if err != nil || len(raw) != 16 || Pseudonym(raw).String() != s {
		return Pseudonym{}, Invalid("person", "pseudonym_format", "not a pseudonym")
	}
	return Pseudonym(raw), nil
}

// PseudonymKey makes pseudonyms. Changing it moves every key to another
// partition, so it is not rotated lightly.
type PseudonymKey struct{ secret hidden }

// NewPseudonymKey wraps a secret of at least 16 bytes.
func NewPseudonymKey(secret []byte) (PseudonymKey, error) {
	if len(secret) < 16 {
		return PseudonymKey{}, Invalid("keys.pseudonym", "key_short", "the pseudonym key needs at least 16 bytes")
	}
	return PseudonymKey{hide(string(secret))}, nil
}

// Format hides the secret from every verb.
func (PseudonymKey) Format(f fmt.State, _ rune) { writeMask(f, "PseudonymKey(hidden)") }

func (k PseudonymKey) of(label string, value ...string) Pseudonym {
	if k == (PseudonymKey{}) {
		panic("mobileid: pseudonyms from a zero PseudonymKey hide nobody: a wire is missing")
	}
	m := hmac.New(sha256.New, []byte(k.secret.reveal()))
	m.Write([]byte(label))
	m.Write([]byte{0})
	for _, v := range value {
		m.Write([]byte(v))
	}
	return Pseudonym(m.Sum(nil)[:16])
}

// Person returns the pseudonym of a PINFL.
func (k PseudonymKey) Person(p PINFL) Pseudonym { return k.of("person", p.Reveal()) }

// Number returns the pseudonym of a number.
func (k PseudonymKey) Number(m MSISDN) Pseudonym { return k.of("number", m.Reveal()) }

// NumberIn returns the pseudonym of the number that ParseMSISDN would read, for
// whoever wants no more: nothing of the number stays in memory.
func (k PseudonymKey) NumberIn(text string) (p Pseudonym, ok bool) {
	var kept [longestNumber]byte
	digits, ok := nationalOf(text, &kept)
	if !ok {
		return Pseudonym{}, false
	}
	return k.of("number", "+998", string(digits)), true
}
