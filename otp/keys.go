package otp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"mobileid/internal/mobileid"
)

// Key is a secret under which codes are kept. The id stands in Redis beside
// each HMAC and must not change its secret. A key may be removed when the last
// code that it kept has expired.
type Key struct {
	ID     string
	Secret []byte // at least 16 bytes
}

// ring is the keys by id, and which one new codes get.
type ring struct {
	current string
	secrets map[string][]byte
}

func newRing(keys []Key) (ring, error) {
	r := ring{secrets: map[string][]byte{}}
	var mistakes []error
	if len(keys) == 0 {
		mistakes = append(mistakes, errors.New("otp keys: at least one"))
	}
	for i, k := range keys {
		if k.ID == "" {
			mistakes = append(mistakes, fmt.Errorf("otp keys[%d].id: missing", i))
		}
		if _, twice := r.secrets[k.ID]; twice {
			mistakes = append(mistakes, fmt.Errorf("otp keys[%d].id: %q stands twice", i, k.ID))
		}
		if len(k.Secret) < 16 {
			mistakes = append(mistakes, fmt.Errorf("otp keys[%d].secret: at least 16 bytes", i))
		}
		r.secrets[k.ID] = bytes.Clone(k.Secret)
	}
	if len(mistakes) > 0 {
		return ring{}, errors.Join(mistakes...)
	}
	r.current = keys[0].ID
	return r, nil
}

// mac ties the code to its challenge and nonce, so that an entry copied under
// another key of Redis fits nothing there.
func (r ring) mac(keyID string, id mobileid.ID, nonce string, code mobileid.Code) (sum []byte, known bool) {
	secret, known := r.secrets[keyID]
	if !known {
		return nil, false
	}
	m := hmac.New(sha256.New, secret)
	for _, part := range [][]byte{[]byte("otp v1"), id[:], []byte(nonce), []byte(code.Reveal())} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		m.Write(n[:]) // keeps ("ab","c") apart from ("a","bc")
		m.Write(part)
	}
	return m.Sum(nil), true
}
