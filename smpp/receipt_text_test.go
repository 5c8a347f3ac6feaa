package smpp

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"mobileid/smpp/wire"
)

// What parseReceiptText means, said by regular expressions: right, and too slow
// for every receipt.
var (
	fieldMeant = regexp.MustCompile(`(?:^|[\s,;])([iI][dD]|[sS][tT][aA][tT]|[eE][rR][rR]):\s?([^\s,;:]{1,64})`)
	quoteMeant = regexp.MustCompile(`(?i)(?:^|\s)text:`)
	wordMeant  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)
)

func receiptTextMeant(b []byte) (id, stat, err string) {
	text := string(b[:min(len(b), longestReceipt)])
	if cut := quoteMeant.FindStringIndex(text); cut != nil {
		text = text[:cut[0]]
	}
	for _, m := range fieldMeant.FindAllStringSubmatch(text, -1) {
		switch value := m[2]; strings.ToLower(m[1]) {
		case "id":
			if id == "" {
				id = value
			}
		case "stat":
			if stat == "" && wordMeant.MatchString(value) {
				stat = value
			}
		case "err":
			if err == "" && wordMeant.MatchString(value) {
				err = value
			}
		}
	}
	return id, stat, err
}

// usualReceipt is what most operators write.
const usualReceipt = "id:0123456789 sub:001 dlvrd:001 submit date:2601021504 done date:2601021505 stat:DELIVRD err:000 text:Tasdiqlash kodi 12"

// hardTexts are where a scanner and the expressions would part first.
var hardTexts = []string{
	usualReceipt,
	"", ":", "id:", "id: ", "id:  1", "id:\t1", "id:,1", "id:1;stat:X,err:2", "ID:1\nSTAT:x\nERR:y",
	"id: stat:DELIVRD err:1", "id:1:stat:DELIVRD", "id:1 id:2 stat:? stat:OK", "msgid:1 stat:A", ",id:1,stat:B",
	"id:1 context:2 stat:C text:id:3", "text:id:1", "id: text:x stat:D", "id:1 Text: stat:E", "id:1,text:2 stat:F",
	"id:" + strings.Repeat("9", 70) + " stat:G", "id:1 stat:" + strings.Repeat("H", 17) + " stat:I",
	"id:" + strings.Repeat("9", 64) + "stat:G",
	"id:" + strings.Repeat("é", 70) + " stat:J", "id:\xff\xfe stat:K", "id:1\vstat:L", "id:1\u00a0 stat:M",
	strings.Repeat(" ", 500) + "id:123456789012345 stat:N", strings.Repeat("text", 5) + ":id:1",
	"stat:DELIVRD,id:5", "id:1 subm\x00 err:\x00 err:2", "01:id:1 stat:O", "id:1 err:a:b stat:P",
}

func FuzzReceiptTextReadsAsItIsMeant(f *testing.F) {
	for _, s := range hardTexts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := bytes.Clone(b)
		got := parseReceiptText(b)
		id, stat, err := receiptTextMeant(b)
		if string(got.id) != id || string(got.stat) != stat || string(got.err) != err {
			t.Errorf("%q: id %q, stat %q, err %q; meant %q, %q, %q", b, got.id, got.stat, got.err, id, stat, err)
		}
		if !bytes.Equal(b, kept) {
			t.Error("the text was changed")
		}
	})
}

// The id is memory of its own, the rest of a usual receipt costs none: a
// hundred thousand receipts a minute are read on the goroutine of the link.
func TestAUsualReceiptIsReadWithOneAllocation(t *testing.T) {
	m, p := decoded(t, usualReceipt, nil), testProfile("", 1)
	if n := testing.AllocsPerRun(100, func() { readReceipt(m, &p) }); n > 1 {
		t.Errorf("%.0f allocations", n)
	}
}

func BenchmarkReadReceipt(b *testing.B) {
	p := testProfile("", 1)
	id := []wire.TLV{{Tag: wire.TagReceiptedMessageID, Value: []byte("0123456789\x00")}, {Tag: wire.TagMessageState, Value: []byte{2}}}
	for name, tlv := range map[string][]wire.TLV{"text": nil, "text_and_parameters": id} {
		m := decoded(b, usualReceipt, tlv)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := readReceipt(m, &p); !ok {
					b.Fatal("not read")
				}
			}
		})
	}
}

// BenchmarkReceiptText is the scanner beside the expressions that say what it means.
func BenchmarkReceiptText(b *testing.B) {
	text := []byte(usualReceipt)
	b.Run("scanner", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parseReceiptText(text)
		}
	})
	b.Run("expressions", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			receiptTextMeant(text)
		}
	})
}
