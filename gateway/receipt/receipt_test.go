package receipt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func pemOf(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func newKey(t testing.TB, id string) Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(id, pemOf(t, private))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signer(t testing.TB, keys ...Key) (*Signer, jose.JSONWebKeySet) {
	t.Helper()
	s, err := NewSigner(keys)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(s.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			t.Fatal("a private key is published")
		}
	}
	return s, set
}

var claims = Claims{
	Issuer: "https://id.example.uz", Subject: "ps_0", Audience: "oneid", ID: "ch_0",
	IssuedAt: At(time.Unix(1_800_000_000, 0)), AuthTime: At(time.Unix(1_800_000_000, 0)),
	Methods: []string{"sms", "otp"}, Class: "urn:mobileid:acr:session", Purpose: "sign_in",
	ContextHash: strings.Repeat("0", 64), Presence: "session", Enrolled: "app", SIMCheck: "clear",
}

func TestAReceiptIsVerifiedByThePublishedKeysAlone(t *testing.T) {
	old, fresh := newKey(t, "2026"), newKey(t, "2027")
	before, _ := signer(t, old)
	token, err := before.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	// The key is changed: what it has signed is verified by the set of after.
	_, set := signer(t, fresh, old)
	got, id, err := Verify(token, set)
	if err != nil || id != "2026" {
		t.Fatalf("%s %v", id, err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(claims)
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if _, _, err := Verify(token, jose.JSONWebKeySet{}); err == nil || !strings.Contains(err.Error(), "2026") {
		t.Errorf("a key that is not published: %v", err)
	}
}

func TestWhatIsNotOurReceiptIsRefused(t *testing.T) {
	key := newKey(t, "k")
	s, set := signer(t, key)
	token, err := s.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	changed := claims
	changed.ContextHash = strings.Repeat("1", 64)
	body, _ := json.Marshal(changed)
	stranger, _ := signer(t, newKey(t, "k"))
	strange, _ := stranger.Sign(claims)
	other, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.private, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	access, _ := jwt.Signed(other).Claims(claims).Serialize()
	for name, text := range map[string]string{
		"changed":              parts[0] + "." + base64.RawURLEncoding.EncodeToString(body) + "." + parts[2],
		"cut":                  parts[0] + "." + parts[1] + ".",
		"not signed":           base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"`+Type+`"}`)) + "." + parts[1] + ".",
		"of a stranger":        strange,
		"another kind of ours": access,
		"nothing":              "",
	} {
		if _, _, err := Verify(text, set); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestOnlyAKeyOfP256Signs(t *testing.T) {
	big, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"P-384": pemOf(t, big), "RSA": pemOf(t, modulus), "text": []byte("secret"), "nothing": nil} {
		if _, err := ParseKey("k", text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	k := newKey(t, "k")
	if _, err := NewSigner([]Key{k, k}); err == nil {
		t.Error("one id twice")
	}
	if _, err := NewSigner(nil); err == nil {
		t.Error("no key")
	}
}
