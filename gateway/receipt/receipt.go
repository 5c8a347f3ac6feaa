// Package receipt makes and reads the signed evidence of a Confirmation: a JWS
// (RFC 7515) in compact form, ES256, whose payload is a JWT (RFC 7519).
//
// Its promise: whoever has the published keys can tell, without asking us, that a
// receipt is ours and unchanged, and it names no person: `sub` is another one for each
// relying party. A receipt can be made again from the stored Confirmation at any time;
// the signature differs then, what it says does not.
package receipt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Type is the header `typ`, so that no receipt is taken for another kind of token
// (RFC 8725, 3.11).
const Type = "mobileid-receipt+jwt"

// Claims are what a receipt says. Times are whole seconds.
type Claims struct {
	Issuer   string           `json:"iss"`
	Subject  string           `json:"sub"` // the person, to this relying party only: its person_id
	Audience string           `json:"aud"` // client id of the relying party
	ID       string           `json:"jti"` // of the challenge: one receipt a challenge
	IssuedAt *jwt.NumericDate `json:"iat"` // when the code was confirmed
	AuthTime *jwt.NumericDate `json:"auth_time"`

	// Methods are those of RFC 8176: "sms" (the code came by it), "otp".
	Methods []string `json:"amr"`
	// Class says what the code stands on: docs/integration-oneid.md lists the values.
	Class string `json:"acr"`

	Purpose     string `json:"purpose"`
	ContextHash string `json:"context_hash,omitempty"` // SHA-256, hex: of what was confirmed
	Presence    string `json:"presence"`               // how the person took part, as the relying party said
	Enrolled    string `json:"enrolled"`               // how he was identified when the number was bound
	SIMCheck    string `json:"sim_check"`              // what was known of a change of his SIM: not_asked, clear, unknown
}

// Key is an EC key of P-256 with its id.
type Key struct {
	ID      string
	private *ecdsa.PrivateKey
}

// ParseKey reads a private key: PEM, PKCS #8 or SEC 1, curve P-256 (ES256 takes no other).
func ParseKey(id string, text []byte) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || id == "" {
		return Key{}, errors.New("a signing key has an id and is PEM: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
			return Key{}, errors.New("the signing key is neither PKCS #8 nor SEC 1")
		}
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return Key{}, errors.New("the signing key is not on the curve P-256, which ES256 needs")
	}
	return Key{id, private}, nil
}

// NewKey makes a private key, PEM (PKCS #8).
func NewKey() (string, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// Signer signs with the first of its keys and publishes all: a new key is published
// before it signs, an old one as long as receipts of it are to be verified.
type Signer struct {
	signer jose.Signer
	jwks   []byte
}

// NewSigner wants at least one key, and no id twice.
func NewSigner(keys []Key) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("no signing key")
	}
	var set jose.JSONWebKeySet
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.ID] {
			return nil, fmt.Errorf("the id %s of a signing key stands twice", k.ID)
		}
		seen[k.ID] = true
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.ID, Algorithm: string(jose.ES256), Use: "sig"})
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: keys[0].private, KeyID: keys[0].ID}},
		(&jose.SignerOptions{}).WithType(Type))
	if err != nil {
		return nil, err
	}
	jwks, err := json.Marshal(set)
	return &Signer{signer, jwks}, err
}

// JWKS is the set of public keys (RFC 7517).
func (s *Signer) JWKS() []byte { return s.jwks }

// Sign returns the receipt.
func (s *Signer) Sign(c Claims) (string, error) {
	return jwt.Signed(s.signer).Claims(c).Serialize()
}

// Verify reads a receipt and checks it against published keys. It does not expire: it
// is evidence of a moment. Who accepts it still compares aud, purpose and context_hash
// with what he asked for.
func Verify(token string, keys jose.JSONWebKeySet) (c Claims, keyID string, err error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return c, "", errors.New("not a receipt: it is no JWS of one ES256 signature")
	}
	head := parsed.Headers[0]
	if typ, _ := head.ExtraHeaders[jose.HeaderType].(string); typ != Type {
		return c, "", fmt.Errorf("not a receipt: its type is %q", typ)
	}
	found := keys.Key(head.KeyID)
	if len(found) != 1 {
		return c, head.KeyID, fmt.Errorf("it is signed with the key %q, which is not among the published ones", head.KeyID)
	}
	if err := parsed.Claims(found[0].Key, &c); err != nil {
		return c, head.KeyID, errors.New("the signature is wrong: the receipt was changed, or is not ours")
	}
	if c.Issuer == "" || c.ID == "" || c.AuthTime == nil || c.IssuedAt == nil {
		return c, head.KeyID, errors.New("the receipt is signed and lacks what every receipt has")
	}
	return c, head.KeyID, nil
}

// At is a time of a receipt.
func At(t time.Time) *jwt.NumericDate { return jwt.NewNumericDate(t) }
