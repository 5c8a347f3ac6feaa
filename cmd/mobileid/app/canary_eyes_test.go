package app_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// canary is a recognisable value that must not be where it may not be.
type canary struct {
	kind  kind
	name  string // printed instead of the value
	value string
}

// kind says where a canary may be.
type kind string

const (
	aPINFL  kind = "PINFL"
	aNumber kind = "number"
	aCode   kind = "code"
	aText   kind = "text"
	aSecret kind = "secret"
)

// form is a way to write a value.
type form struct {
	name  string
	bytes []byte
	// alone: a short value that bytes around it may form by chance counts only
	// when it stands alone.
	alone bool
}

// shortest is from how many bytes on a form does not occur by chance.
const shortest = 5

// forms lists the ways in which a value may hide.
func forms(c canary) []form {
	values := []string{c.value}
	if c.kind == aNumber {
		values = []string{strings.TrimPrefix(c.value, "998")} // so it is found with and without the country code
	}
	if n, err := strconv.ParseUint(c.value, 10, 64); err == nil && c.kind != aCode {
		raw := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, n), "\x00")
		values = append(values, string(raw)) // as an integer
	}
	var out []form
	for i, v := range values {
		out = append(out, encodings(v, c.kind == aCode && i == 0)...)
	}
	for _, d := range digests(c) {
		out = append(out, encodings(d, false)...)
	}
	return out
}

func encodings(v string, alone bool) []form {
	out := []form{{"plain", []byte(v), alone}}
	add := func(name string, b []byte) {
		if len(b) >= shortest {
			out = append(out, form{name, b, false})
		}
	}
	addHex := func(name string, b []byte) {
		if len(b) < shortest {
			return
		}
		add(name, b)
		add(name+" hex", []byte(hex.EncodeToString(b)))
		add(name+" HEX", []byte(strings.ToUpper(hex.EncodeToString(b))))
	}
	add("hex", []byte(hex.EncodeToString([]byte(v))))
	add("HEX", []byte(strings.ToUpper(hex.EncodeToString([]byte(v)))))
	add("Go bytes", []byte(strings.Trim(fmt.Sprint([]byte(v)), "[]")))
	var be, le []byte
	for _, u := range utf16.Encode([]rune(v)) {
		be, le = binary.BigEndian.AppendUint16(be, u), binary.LittleEndian.AppendUint16(le, u)
	}
	addHex("UCS-2", be)
	addHex("UTF-16LE", le)
	for shift := range 3 {
		bits := 8 * (shift + len(v))
		from, to := (8*shift+5)/6, bits/6
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			if to-from < 7 { // six characters are 36 bits
				continue
			}
			add(fmt.Sprintf("%s+%d", name, shift), []byte(enc.EncodeToString([]byte(strings.Repeat("\x00", shift) + v))[from:to]))
		}
	}
	for shift := range 8 {
		packed := pack7(strings.Repeat("\x00", shift) + v)
		from, to := (7*shift+7)/8, 7*(shift+len(v))/8
		addHex(fmt.Sprintf("GSM-7+%d", shift), packed[from:to])
	}
	if strings.Trim(v, "0123456789") == "" && !alone {
		for shift := range 2 { // semi-octets of SMS addresses (3GPP TS 23.040, 9.1.2.5)
			swapped := []byte(v[shift:])[:(len(v)-shift)/2*2]
			for i := 0; i < len(swapped); i += 2 {
				swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			}
			add(fmt.Sprintf("semi-octets+%d", shift), swapped)
		}
	}
	return out
}

// digests are hashes without a key: who has one has the value, because there
// are few PINFLs, numbers and codes to try. Secrets are long, and a hash of
// one tells nothing.
func digests(c canary) []string {
	if c.kind == aSecret {
		return nil
	}
	values := []string{c.value}
	if c.kind == aNumber {
		values = append(values, "+"+c.value)
	}
	var out []string
	for _, v := range values {
		a, b, m := sha256.Sum256([]byte(v)), sha1.Sum([]byte(v)), md5.Sum([]byte(v))
		out = append(out, string(a[:]), string(b[:]), string(m[:]))
	}
	return out
}

// pack7 packs septets (3GPP TS 23.038, 6.1.2.1). Digits and Latin letters have
// their ASCII value there.
func pack7(s string) []byte {
	out := make([]byte, (7*len(s)+7)/8+1)
	for i := range len(s) {
		bit := 7 * i
		v := uint16(s[i]&0x7f) << (bit % 8)
		out[bit/8] |= byte(v)
		out[bit/8+1] |= byte(v >> 8)
	}
	return out
}

// in returns the name of the form in which a canary is in data, "" if it is
// not.
func (c canary) in(data []byte) string { return formIn(forms(c), data) }

func formIn(all []form, data []byte) string {
	for _, f := range all {
		if f.in(data) {
			return f.name
		}
	}
	return ""
}

func (f form) in(data []byte) bool {
	for at := 0; ; {
		i := bytes.Index(data[at:], f.bytes)
		if i < 0 {
			return false
		}
		from, to := at+i, at+i+len(f.bytes)
		if !f.alone || standsAlone(data, from, to) {
			return true
		}
		at = from + 1
	}
}

// standsAlone says whether what is between from and to is a word: not a piece
// of a longer one, nor the fraction of a number or time.
func standsAlone(data []byte, from, to int) bool {
	word := func(i int) bool {
		if i < 0 || i >= len(data) {
			return false
		}
		c := data[i]
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	if word(to) || word(from-1) {
		return false
	}
	return from < 2 || data[from-1] != '.' || data[from-2] < '0' || data[from-2] > '9'
}

// TestTheCanarySearchSeesEveryEncoding hides values with encoders of its own
// and looks for them: a search that finds nothing must not be a blind one.
func TestTheCanarySearchSeesEveryEncoding(t *testing.T) {
	person := canary{aPINFL, "person", "30101904711813"}
	number := canary{aNumber, "number", "998904711813"}
	code := canary{aCode, "code", "471181"}
	text := canary{aText, "text", "471181 is your code"}
	ucs2 := func(s string) string { return strings.Join(strings.Split(s, ""), "\x00") }
	sum := sha256.Sum256([]byte(person.value))
	phone := sha256.Sum256([]byte("+998904711813"))
	for _, x := range []struct {
		name string
		c    canary
		data string
	}{
		{"plain", person, `{"pinfl":"30101904711813"}`},
		{"inside digits", person, "00030101904711813000"},
		{"with plus", number, `"+998904711813"`},
		{"national", number, "to 904711813."},
		{"hex", person, hex.EncodeToString([]byte("x30101904711813x"))},
		{"HEX", number, strings.ToUpper(hex.EncodeToString([]byte("tel:+998904711813")))},
		{"UCS-2", number, "\x00" + ucs2("+998904711813")},
		{"UCS-2 hex", text, hex.EncodeToString([]byte("\x00" + ucs2("471181 is your code.")))},
		{"GSM-7", text, string(pack7("Hi: 471181 is your code."))},
		{"GSM-7 of a code", code, hex.EncodeToString(pack7("471181"))},
		{"Go bytes", person, fmt.Sprint([]byte("p=30101904711813"))},
		{"integer", person, fmt.Sprintf("%016x", 30101904711813)},
		{"semi-octets", number, "91999840178131"},
		{"SHA-256", person, hex.EncodeToString(sum[:])},
		{"SHA-256 of a number", number, base64.StdEncoding.EncodeToString(phone[:])},
		{"code alone", code, `code=471181,`},
		{"code at the end", code, `471181`},
	} {
		if x.c.in([]byte(x.data)) == "" {
			t.Errorf("%s: not seen in %q", x.name, x.data)
		}
	}
	for i := range 3 {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			data := enc.EncodeToString([]byte(strings.Repeat("?", i) + person.value + "~~"))
			if person.in([]byte(data)) == "" {
				t.Errorf("base64 after %d bytes: not seen in %s", i, data)
			}
		}
	}
	noise := `2026-11-23T09:00:00.471181Z "ms":0.471181 id=a471181f 14711815 30101904711814 998904711814`
	for _, c := range []canary{person, number, code, text} {
		if f := c.in([]byte(noise)); f != "" {
			t.Errorf("%s: seen as %s in noise", c.name, f)
		}
	}
}
