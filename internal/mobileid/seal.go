package mobileid

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A sealed value is readable only by the holder of a private key. HPKE (RFC
// 9180: DHKEM X25519, HKDF-SHA256) gives each sealing process a data key per
// hour; values are AES-256-GCM under it. Layout:
//
//	1 version (1) | 8 key id | 32 encapsulated key | 12 nonce | ciphertext
const (
	sealVersion  = 1
	sealKeyIDLen = 8
	sealEncLen   = 32
	sealNonceLen = 12
	sealHeader   = 1 + sealKeyIDLen + sealEncLen
	sealInfo     = "mobileid seal v1"
	printInfo    = "mobileid fingerprint v1"
	dataKeyLife  = time.Hour
	openerMemory = 1024 // data keys remembered by an Opener: one for each sealing process and hour
)

// SealKeyID names a sealing key pair: the first eight bytes of SHA-256 of the
// public key, printed in hex.
type SealKeyID [sealKeyIDLen]byte

// String prints 16 hex digits.
func (id SealKeyID) String() string { return hex.EncodeToString(id[:]) }

func sealKeyID(pub *ecdh.PublicKey) SealKeyID {
	sum := sha256.Sum256(pub.Bytes())
	return SealKeyID(sum[:sealKeyIDLen])
}

// NewSealKey makes a key pair; both halves in standard base64.
func NewSealKey() (public, private string, err error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make a sealing key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(k.PublicKey().Bytes()), base64.StdEncoding.EncodeToString(k.Bytes()), nil
}

// Sealer seals to one public key. It is safe for concurrent use.
type Sealer struct {
	pub   *ecdh.PublicKey
	keyID SealKeyID
	now   func() time.Time

	mu   sync.Mutex
	born time.Time
	enc  []byte
	aead cipher.AEAD
}

// NewSealer reads a base64 X25519 public key. now is the clock that ends data
// keys; nil means time.Now.
func NewSealer(public string, now func() time.Time) (*Sealer, error) {
	raw, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		return nil, errors.New("sealing key: not base64")
	}
	pub, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, errors.New("sealing key: not an X25519 public key of 32 bytes")
	}
	if now == nil {
		now = time.Now
	}
	return &Sealer{pub: pub, keyID: sealKeyID(pub), now: now}, nil
}

// KeyID names the key that will be needed to open.
func (s *Sealer) KeyID() SealKeyID { return s.keyID }

// Seal encrypts plain. The same aad (what the value belongs to, for example a
// Message id) must be given to open it.
func (s *Sealer) Seal(aad, plain []byte) ([]byte, error) {
	enc, aead, err := s.dataKey()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, sealNonceLen)
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	out := make([]byte, 0, sealHeader+sealNonceLen+len(plain)+aead.Overhead())
	out = append(out, sealVersion)
	out = append(out, s.keyID[:]...)
	out = append(out, enc...)
	out = append(out, nonce...)
	return aead.Seal(out, nonce, plain, aad), nil
}

func (s *Sealer) dataKey() ([]byte, cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.aead != nil && now.Sub(s.born) < dataKeyLife {
		return s.enc, s.aead, nil
	}
	pk, err := hpke.NewDHKEMPublicKey(s.pub)
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	enc, sender, err := hpke.NewSender(pk, hpke.HKDFSHA256(), hpke.ExportOnly(), []byte(sealInfo))
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	secret, err := sender.Export(sealInfo, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := newGCM(secret)
	if err != nil {
		return nil, nil, err
	}
	s.born, s.enc, s.aead = now, enc, aead
	return enc, aead, nil
}

func newGCM(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return aead, nil
}

// ErrSealed is the one error of opening: wrong key, wrong aad or changed
// bytes. It does not say which.
var ErrSealed = errors.New("sealed value does not open with the keys at hand")

// dataKeyName is all that a header says of its data key. The key id is part of
// it: a value whose header names another key must not open from memory.
type dataKeyName struct {
	key SealKeyID
	enc [sealEncLen]byte
}

// Opener opens what was sealed to any of its private keys. It is safe for
// concurrent use.
type Opener struct {
	keys   map[SealKeyID]hpke.PrivateKey
	prints []byte // secret of Fingerprint

	mu    sync.Mutex
	aeads map[dataKeyName]cipher.AEAD
}

// NewOpener reads base64 X25519 private keys, the current and the retired.
func NewOpener(private ...string) (*Opener, error) {
	o := &Opener{keys: map[SealKeyID]hpke.PrivateKey{}, aeads: map[dataKeyName]cipher.AEAD{}}
	for i, text := range private {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("opening key %d: not base64", i)
		}
		k, err := ecdh.X25519().NewPrivateKey(raw)
		if err != nil {
			return nil, fmt.Errorf("opening key %d: not an X25519 private key of 32 bytes", i)
		}
		pk, err := hpke.NewDHKEMPrivateKey(k)
		if err != nil {
			return nil, fmt.Errorf("opening key %d: %w", i, err)
		}
		o.keys[sealKeyID(k.PublicKey())] = pk
		if i == 0 {
			m := hmac.New(sha256.New, raw)
			m.Write([]byte(printInfo))
			o.prints = m.Sum(nil)
		}
	}
	return o, nil
}

// Fingerprint is a keyed hash of values: the same for the same ones, and nothing to
// whoever lacks the private key, who could otherwise find short texts by trying.
// A new current key, the first one, makes other fingerprints.
func (o *Opener) Fingerprint(values ...[]byte) Fingerprint {
	if len(o.prints) == 0 {
		panic("mobileid: fingerprints from an Opener without a key hide nothing: a wire is missing")
	}
	m := hmac.New(sha256.New, o.prints)
	for _, v := range values {
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(len(v))))
		m.Write(v)
	}
	return Fingerprint(m.Sum(nil)[:16])
}

// SealedBy returns the id of the key that a sealed value needs.
func SealedBy(sealed []byte) (SealKeyID, error) {
	if len(sealed) < sealHeader+sealNonceLen || sealed[0] != sealVersion {
		return SealKeyID{}, ErrSealed
	}
	return SealKeyID(sealed[1 : 1+sealKeyIDLen]), nil
}

// Open decrypts a sealed value; every failure is ErrSealed.
func (o *Opener) Open(aad, sealed []byte) ([]byte, error) {
	id, err := SealedBy(sealed)
	if err != nil {
		return nil, err
	}
	aead, err := o.dataKey(dataKeyName{id, [sealEncLen]byte(sealed[1+sealKeyIDLen : sealHeader])})
	if err != nil {
		return nil, err
	}
	nonce, body := sealed[sealHeader:sealHeader+sealNonceLen], sealed[sealHeader+sealNonceLen:]
	plain, err := aead.Open(nil, nonce, body, aad)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func (o *Opener) dataKey(name dataKeyName) (cipher.AEAD, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if aead, ok := o.aeads[name]; ok {
		return aead, nil
	}
	key, ok := o.keys[name.key]
	if !ok {
		return nil, ErrSealed
	}
	recipient, err := hpke.NewRecipient(bytes.Clone(name.enc[:]), key, hpke.HKDFSHA256(), hpke.ExportOnly(), []byte(sealInfo))
	if err != nil {
		return nil, ErrSealed
	}
	secret, err := recipient.Export(sealInfo, 32)
	if err != nil {
		return nil, ErrSealed
	}
	aead, err := newGCM(secret)
	if err != nil {
		return nil, err
	}
	if len(o.aeads) >= openerMemory {
		clear(o.aeads) // rare: about 40 sealing processes for a day; re-deriving costs one X25519 each
	}
	o.aeads[name] = aead
	return aead, nil
}
