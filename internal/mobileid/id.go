package mobileid

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ID names a challenge, a Message or a report of balances. Its 24 bytes are
//
//	6  accept time, Unix milliseconds, big-endian: ids sort by time, and the
//	   month of the time is the partition of every table the id lives in
//	1  kind
//	9  HMAC of (client, Idempotency-Key), or for a derived id of its parent
//	8  MAC over client and the bytes before: a made-up id is refused without
//	   a look-up
//
// The zero value is "none".
type ID [24]byte

// IDKind is what an id names. It is inside the id and under the MAC: who has
// compared Kind and called Check knows that we made the id as that kind.
type IDKind byte

// The kinds of ids.
const (
	KindChallenge IDKind = 'c' // printed "ch_..."
	KindMessage   IDKind = 'm' // printed "ms_..."; a notification is addressed by its one Message
	KindResend    IDKind = 'r' // printed "rs_..."; asks for a challenge's next code, of which the challenge tells
	KindBalance   IDKind = 'b' // printed "be_..."; what an operator told at once of accounts, of which nothing is read later
)

func (k IDKind) prefix() string {
	switch k {
	case KindChallenge:
		return "ch"
	case KindMessage:
		return "ms"
	case KindResend:
		return "rs"
	case KindBalance:
		return "be"
	}
	return ""
}

// Base32hex keeps the order of the bytes, so printed ids sort by time too.
var idEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// IDKey makes and checks ids. It is shared by every edge and consumer.
type IDKey struct{ secret hidden }

// NewIDKey wraps a secret of at least 16 bytes.
func NewIDKey(secret []byte) (IDKey, error) {
	if len(secret) < 16 {
		return IDKey{}, Invalid("keys.id", "key_short", "the id key needs at least 16 bytes")
	}
	return IDKey{hide(string(secret))}, nil
}

func (k IDKey) sum(label string, parts ...[]byte) []byte {
	if k == (IDKey{}) {
		panic("mobileid: ids from a zero IDKey could be guessed: a wire is missing")
	}
	m := hmac.New(sha256.New, []byte(k.secret.reveal()))
	for _, p := range append([][]byte{[]byte(label)}, parts...) {
		var n [8]byte
		// The length before each part keeps ("ab","c") apart from ("a","bc").
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		m.Write(n[:])
		m.Write(p)
	}
	return m.Sum(nil)
}

// Format hides the secret from every verb.
func (IDKey) Format(f fmt.State, _ rune) { writeMask(f, "IDKey(hidden)") }

// KeyPart stands for (client, Idempotency-Key) in an id and in the table that
// remembers keys.
type KeyPart [9]byte

// KeyPart returns the part of an id that (client, Idempotency-Key) decides.
func (k IDKey) KeyPart(client, idempotencyKey string) KeyPart {
	return KeyPart(k.sum("key", []byte(client), []byte(idempotencyKey))[:9])
}

// BodyHash is a keyed hash of a request body, lower-case hex. It is keyed
// because a body holds a PINFL, which a plain hash would give away to whoever
// can try all persons.
func (k IDKey) BodyHash(client string, body []byte) string {
	return hex.EncodeToString(k.sum("body", []byte(client), body)[:16])
}

// Make gives the id of a request accepted at that time.
func (k IDKey) Make(kind IDKind, client, idempotencyKey string, at time.Time) ID {
	return k.seal(kind, client, at.UnixMilli(), k.KeyPart(client, idempotencyKey))
}

// Derive gives the id of the n-th thing that follows from parent, for example
// the Message of a challenge's n-th sending. The same call gives the same id,
// so a redelivered request meets its own rows. The accept time is the parent's.
func (k IDKey) Derive(kind IDKind, client string, parent ID, n int) ID {
	part := KeyPart(k.sum("derive", []byte{byte(kind)}, parent[:], []byte(strconv.Itoa(n)))[:9])
	return k.seal(kind, client, parent.Time().UnixMilli(), part)
}

func (k IDKey) seal(kind IDKind, client string, ms int64, part KeyPart) ID {
	var id ID
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(ms))
	copy(id[:6], t[2:])
	id[6] = byte(kind)
	copy(id[7:16], part[:])
	copy(id[16:], k.mac(client, id))
	return id
}

func (k IDKey) mac(client string, id ID) []byte {
	return k.sum("mac", []byte(client), id[:16])[:8]
}

// Check reports whether this key made the id for that client.
func (k IDKey) Check(client string, id ID) bool {
	return subtle.ConstantTimeCompare(k.mac(client, id), id[16:]) == 1
}

// ParseID reads the printed form. Whether the id is real is Check's business.
// The error is of KindNotFound: a malformed id names nothing.
func ParseID(s string) (ID, error) {
	var id ID
	if _, text, ok := strings.Cut(s, "_"); ok && len(text) == idEncoding.EncodedLen(len(id)) {
		raw, err := idEncoding.DecodeString(strings.ToUpper(text))
		if err == nil {
			copy(id[:], raw)
			// Base32 has spare bits at the end; only one spelling is an id.
			if id.Kind().prefix() != "" && id.String() == s {
				return id, nil
			}
		}
	}
	return ID{}, &Error{Kind: KindNotFound, Code: "not_found", Message: "no such id"}
}

// String prints the id, for example "ch_0cj9...": 42 characters.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return id.Kind().prefix() + "_" + strings.ToLower(idEncoding.EncodeToString(id[:]))
}

// MarshalText gives encoders the printed form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the printed form; empty text is the zero id.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := ParseID(string(text))
	*id = parsed
	return err
}

// Kind is what the id names.
func (id ID) Kind() IDKind { return IDKind(id[6]) }

// Time is when the request was accepted, to the millisecond, UTC.
func (id ID) Time() time.Time {
	var t [8]byte
	copy(t[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(t[:]))).UTC()
}

// KeyPart returns the part that stands for (client, Idempotency-Key), or in a
// derived id for its parent.
func (id ID) KeyPart() KeyPart { return KeyPart(id[7:16]) }

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id == ID{} }

// IDFloor is the smallest id of an instant: a month's partition holds the ids
// from its first instant's floor up to the next month's.
func IDFloor(at time.Time) ID {
	var id ID
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(at.UnixMilli()))
	copy(id[:6], t[2:])
	return id
}
