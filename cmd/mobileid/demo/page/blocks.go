package page

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// block is one piece of what a hop opens to.
type block struct {
	Title  string  `json:"title"`
	Text   string  `json:"text,omitempty"`   // preformatted: JSON or a hex dump
	Fields []Field `json:"fields,omitempty"` // names and values, in order
}

func jsonBlock(title string, raw []byte) block {
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return hexBlock(title, raw)
	}
	return block{Title: title, Text: out.String()}
}

// hexBlock dumps bytes, 16 a line, in 71 columns: a phone in landscape and the
// page's column show it without scrolling, which hex.Dump's 79 do not.
func hexBlock(title string, raw []byte) block {
	var out strings.Builder
	for at := 0; at < len(raw); at += 16 {
		line := raw[at:min(at+16, len(raw))]
		fmt.Fprintf(&out, "%04x  %-47s  ", at, fmt.Sprintf("% x", line))
		for _, c := range line {
			if c < 0x20 || c > 0x7e {
				c = '.'
			}
			out.WriteByte(c)
		}
		out.WriteByte('\n')
	}
	return block{Title: title, Text: out.String()}
}

// recordBlocks show a Kafka record: where it stands, its key and headers, and
// its value.
func recordBlocks(where string, r Record) []block {
	key := "(none)"
	if len(r.Key) > 0 {
		key = printable(r.Key)
	}
	head := append([]Field{{"record", where}, {"key", key}}, r.Headers...)
	return []block{{Title: "Key and headers", Fields: head}, jsonBlock("Value", r.Value)}
}

func printable(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	return `\x` + hex.EncodeToString(raw)
}

func pduBlocks(name string, e HandsetEvent) []block {
	return []block{{Title: name + ", decoded", Fields: e.Fields}, hexBlock(name+", on the wire", e.Raw)}
}
