package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
)

// description is openapi.yaml as the docs page shows it: references followed,
// order kept.
type description struct {
	Title, Version, Summary, Text string
	Routes                        []routeDoc
}

type routeDoc struct {
	Method, Path, Anchor, Summary, Text string
	Open                                bool // needs no token
	Params                              []paramDoc
	Body                                []propertyDoc
	Example                             string
	Answers                             []answerDoc
}

type paramDoc struct {
	Name, In, Text, Rule string
	Required             bool
}

type answerDoc struct {
	Status, Text, Media string
	Headers             []paramDoc
	Body                []propertyDoc
}

type propertyDoc struct {
	Name, Rule, Text string
	Required         bool
}

// node is a YAML mapping with its order.
type node = yaml.MapSlice

func readDescription(src []byte) (description, error) {
	var root node
	if err := yaml.UnmarshalWithOptions(src, &root, yaml.UseOrderedMap()); err != nil {
		return description{}, fmt.Errorf("parse: %w", err)
	}
	d := reader{root: root}
	info := d.at(root, "info")
	out := description{
		Title: str(info, "title"), Version: str(info, "version"),
		Summary: str(info, "summary"), Text: str(info, "description"),
	}
	for _, p := range d.at(root, "paths") {
		path := fmt.Sprint(p.Key)
		for _, m := range d.node(p.Value) {
			out.Routes = append(out.Routes, d.route(fmt.Sprint(m.Key), path, d.node(m.Value)))
		}
	}
	if len(out.Routes) == 0 {
		d.err = errors.New("no paths")
	}
	return out, d.err
}

// reader follows references; its first error stays.
type reader struct {
	root node
	err  error
}

// node returns v as a mapping, the target if v is a reference.
func (d *reader) node(v any) node {
	n, _ := v.(node)
	ref := str(n, "$ref")
	if ref == "" {
		return n
	}
	at := d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at, _ = get(at, part).(node)
	}
	if at == nil && d.err == nil {
		d.err = fmt.Errorf("%s: no such part", ref)
	}
	return at
}

func (d *reader) at(n node, key string) node { return d.node(get(n, key)) }

func (d *reader) route(method, path string, op node) routeDoc {
	r := routeDoc{
		Method: strings.ToUpper(method), Path: path, Anchor: str(op, "operationId"),
		Summary: str(op, "summary"), Text: str(op, "description"),
	}
	if security, ok := get(op, "security").([]any); ok {
		r.Open = len(security) == 0
	}
	params, _ := get(op, "parameters").([]any)
	for _, p := range params {
		n := d.node(p)
		r.Params = append(r.Params, paramDoc{
			Name: str(n, "name"), In: str(n, "in"), Text: str(n, "description"),
			Required: get(n, "required") == true, Rule: d.rule(d.at(n, "schema")),
		})
	}
	media := d.at(d.at(d.at(op, "requestBody"), "content"), "application/json")
	r.Body = d.properties("", d.at(media, "schema"))
	if example := get(media, "example"); example != nil {
		r.Example = pretty(example)
	}
	for _, a := range d.at(op, "responses") {
		r.Answers = append(r.Answers, d.answer(fmt.Sprint(a.Key), d.node(a.Value)))
	}
	return r
}

func (d *reader) answer(status string, n node) answerDoc {
	a := answerDoc{Status: status, Text: str(n, "description")}
	for _, h := range d.at(n, "headers") {
		hn := d.node(h.Value)
		a.Headers = append(a.Headers, paramDoc{Name: fmt.Sprint(h.Key), Text: str(hn, "description")})
	}
	for _, c := range d.at(n, "content") {
		a.Media = fmt.Sprint(c.Key)
		a.Body = d.properties("", d.at(d.node(c.Value), "schema"))
	}
	return a
}

// properties lists the members of an object schema, inner ones with a path.
func (d *reader) properties(prefix string, schema node) []propertyDoc {
	required := map[string]bool{}
	list, _ := get(schema, "required").([]any)
	for _, name := range list {
		required[fmt.Sprint(name)] = true
	}
	var out []propertyDoc
	for _, p := range d.at(schema, "properties") {
		name, n := fmt.Sprint(p.Key), d.node(p.Value)
		out = append(out, propertyDoc{
			Name: prefix + name, Required: required[name], Rule: d.rule(n), Text: str(n, "description"),
		})
		out = append(out, d.properties(prefix+name+".", n)...)
	}
	return out
}

// rule says in a few words what values a schema allows.
func (d *reader) rule(n node) string {
	parts := []string{str(n, "type")}
	if list, ok := get(n, "enum").([]any); ok {
		words := make([]string, len(list))
		for i, v := range list {
			words[i] = fmt.Sprint(v)
		}
		parts = append(parts, "one of "+strings.Join(words, ", "))
	}
	for _, k := range []string{
		"const", "format", "pattern", "minLength", "maxLength", "minimum", "maximum",
		"maxProperties", "default",
	} {
		if v := get(n, k); v != nil {
			parts = append(parts, fmt.Sprintf("%s %v", k, v))
		}
	}
	return strings.Trim(strings.Join(parts, "; "), "; ")
}

func get(n node, key string) any {
	for _, item := range n {
		if item.Key == key {
			return item.Value
		}
	}
	return nil
}

func str(n node, key string) string {
	s, _ := get(n, key).(string)
	return strings.TrimSpace(s)
}

// pretty prints an example as JSON in the order of the file.
func pretty(v any) string {
	var b strings.Builder
	writePretty(&b, v, "")
	return b.String()
}

func writePretty(b *strings.Builder, v any, indent string) {
	n, ok := v.(node)
	if !ok {
		raw, _ := json.Marshal(v) // strings and numbers of our own file
		b.Write(raw)
		return
	}
	b.WriteString("{\n")
	for i, item := range n {
		fmt.Fprintf(b, "%s  %q: ", indent, item.Key)
		writePretty(b, item.Value, indent+"  ")
		if i < len(n)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString(indent + "}")
}
