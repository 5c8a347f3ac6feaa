package mobileid

import (
	"crypto/hmac"
	"strings"
)

// PersonID names a person to one client: the same person has another one with every
// other client, so two of them cannot compare their lists, and nobody can make one up.
// It takes the place of the PINFL in requests and paths, and is `sub` of receipts.
//
// It is the pseudonym, encrypted: a MAC over client and pseudonym, which is also what
// the stream is made from that hides the pseudonym (the shape of a synthetic IV,
// RFC 5297). It lives as long as the id key does.
func (k IDKey) PersonID(client string, person Pseudonym) string {
	tag := k.sum("person", []byte(client), person[:])[:16]
	hidden := k.personMask(client, tag)
	for i := range hidden {
		hidden[i] ^= person[i]
	}
	return "ps_" + strings.ToLower(idEncoding.EncodeToString(append(tag, hidden...)))
}

// ParsePersonID returns the person that a client names. The error is of KindInvalid,
// code "person_id_unknown": it is not an id that we gave to that client.
func (k IDKey) ParsePersonID(client, s string) (Pseudonym, error) {
	var person Pseudonym
	text, ok := strings.CutPrefix(s, "ps_")
	raw, err := idEncoding.DecodeString(strings.ToUpper(text))
	if ok && err == nil && len(raw) == 32 {
		hidden := k.personMask(client, raw[:16])
		for i := range person {
			person[i] = raw[16+i] ^ hidden[i]
		}
		if hmac.Equal(raw[:16], k.sum("person", []byte(client), person[:])[:16]) && k.PersonID(client, person) == s {
			return person, nil
		}
	}
	return Pseudonym{}, Invalid("person_id", "person_id_unknown", "not a person_id that was given to this client")
}

func (k IDKey) personMask(client string, tag []byte) []byte {
	return k.sum("person mask", []byte(client), tag)[:16]
}
