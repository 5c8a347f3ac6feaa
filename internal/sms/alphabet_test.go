package sms

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
)

func TestWholeAlphabetAgreesWithTheLibrary(t *testing.T) {
	text := strings.ReplaceAll(basicTable, "\uFFFD", "") + "\f^{}\\[~]|€"
	ours, ok := writeGSM7(text)
	if !ok {
		t.Fatal("a letter of the table is not in it")
	}
	if theirs := pdutext.GSM7(text).Encode(); !bytes.Equal(ours, theirs) {
		t.Errorf("ours   %x\ntheirs %x", ours, theirs)
	}
	if back, err := decodeGSM7(ours); err != nil || back != text {
		t.Errorf("decoded %q, %v", back, err)
	}
	// The trap that this package is there for.
	if raw := pdutext.GSM7("oʻ").Encode(); !bytes.Equal(raw, []byte("oʻ")) {
		t.Errorf("the library has changed: %x", raw)
	}
}

func TestOtherAlphabetsAgreeWithTheLibrary(t *testing.T) {
	const text = "Ўзбек 😀 \uFFFD"
	if ours, _ := writeUCS2(text); !bytes.Equal(ours, pdutext.UCS2(text).Encode()) {
		t.Errorf("UCS-2: %x", ours)
	}
	var letters []rune
	for r := rune(' '); r <= 0xff; r++ {
		if r <= '~' || r >= 0xa0 {
			letters = append(letters, r)
		}
	}
	if ours, ok := writeLatin1(string(letters)); !ok || !bytes.Equal(ours, pdutext.Latin1(string(letters)).Encode()) {
		t.Errorf("Latin-1: %x", ours)
	}
}

// No letter that one alphabet lacks slips in as another one's code.
func TestEveryLetterOfUnicodeIsWrittenOrRefused(t *testing.T) {
	for r := rune(0); r <= 0x10ffff; r++ {
		if r >= 0xd800 && r <= 0xdfff {
			continue
		}
		text := string(r)
		for _, charset := range charsets {
			a, octets := charset.letters(text)
			back, err := handset{charset: charset}.decode(a.dataCoding, octets)
			if err != nil || back != text {
				t.Fatalf("%s %U: %x is %q, %v", charset, r, octets, back, err)
			}
			if length, room := a.first(octets); length != len(octets) || room < length {
				t.Fatalf("%s %U: %x is cut at %d, room %d", charset, r, octets, length, room)
			}
		}
	}
}
