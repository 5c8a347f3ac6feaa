package page

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"
)

// Block is one piece of what a hop opens to.
type Block struct {
	Title  string  `json:"title"`
	Text   string  `json:"text,omitempty"`   // preformatted: JSON or a hex dump
	Fields []Field `json:"fields,omitempty"` // names and values, in order
}

func jsonBlock(title string, raw []byte) Block {
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return Block{Title: title, Text: hex.Dump(raw)}
	}
	return Block{Title: title, Text: out.String()}
}

func hexBlock(title string, raw []byte) Block { return Block{Title: title, Text: hex.Dump(raw)} }

// recordBlocks show a Kafka record: where it stands, its key and headers, and
// its value.
func recordBlocks(where string, r Record) []Block {
	key := "(none)"
	if len(r.Key) > 0 {
		key = printable(r.Key)
	}
	head := append([]Field{{"record", where}, {"key", key}}, r.Headers...)
	return []Block{{Title: "Key and headers", Fields: head}, jsonBlock("Value", r.Value)}
}

func printable(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	return `\x` + hex.EncodeToString(raw)
}

func pduBlocks(name string, e HandsetEvent) []Block {
	return []Block{{Title: name + ", decoded", Fields: e.Fields}, hexBlock(name+", on the wire", e.Raw)}
}
