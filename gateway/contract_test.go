package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract checks exchanges against openapi.yaml. A schema of OpenAPI 3.1 is a
// JSON Schema (2020-12), so a validator of that dialect reads the file as it
// is; only paths, parameters and media types are OpenAPI's own, and few.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
	seen     map[string]bool // "METHOD path status"
}

const contractURL = "https://mobileid.example/openapi.json"

func newContract(t testing.TB) *contract {
	t.Helper()
	raw, err := yaml.YAMLToJSON(openAPIYAML)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{
		doc: object(value), compiler: jsonschema.NewCompiler(),
		schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{},
	}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(contractURL, value); err != nil {
		t.Fatal(err)
	}
	return c
}

// at follows a JSON pointer and the references on it; it returns the value and
// the pointer to where it really stands.
func (c *contract) at(pointer string) (map[string]any, string) {
	var v any = c.doc
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		m, _ := v.(map[string]any)
		if list, ok := v.([]any); ok {
			i, _ := strconv.Atoi(part)
			v = list[i]
			continue
		}
		v = m[strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")]
	}
	m, _ := v.(map[string]any)
	if ref, ok := m["$ref"].(string); ok {
		return c.at(strings.TrimPrefix(ref, "#"))
	}
	return m, pointer
}

func (c *contract) schema(t testing.TB, pointer string) *jsonschema.Schema {
	t.Helper()
	if s, ok := c.schemas[pointer]; ok {
		return s
	}
	s, err := c.compiler.Compile(contractURL + "#" + pointer)
	if err != nil {
		t.Fatalf("schema %s: %v", pointer, err)
	}
	c.schemas[pointer] = s
	return s
}

func (c *contract) valid(t testing.TB, what, pointer string, value any) {
	t.Helper()
	if err := c.schema(t, pointer).Validate(value); err != nil {
		t.Errorf("%s breaks the contract: %v", what, err)
	}
}

// operation finds the path template that a path matches.
func (c *contract) operation(r *http.Request) (path, pointer string) {
	parts := strings.Split(r.URL.Path, "/")
	for template, item := range object(c.doc["paths"]) {
		want := strings.Split(template, "/")
		if len(want) != len(parts) {
			continue
		}
		match := true
		for i := range want {
			match = match && (want[i] == parts[i] || strings.HasPrefix(want[i], "{") && parts[i] != "")
		}
		method := strings.ToLower(r.Method)
		if _, ok := object(item)[method]; match && ok {
			return template, "/paths/" + strings.ReplaceAll(template, "/", "~1") + "/" + method
		}
	}
	return "", ""
}

// check fails the test if the exchange is not as openapi.yaml says.
func (c *contract) check(t testing.TB, r *http.Request, body string, w *httptest.ResponseRecorder) {
	t.Helper()
	path, op := c.operation(r)
	what := fmt.Sprintf("%s %s -> %d", r.Method, r.URL.Path, w.Code)
	if op == "" {
		// Not in the description: only a problem may answer.
		c.valid(t, what, "/components/schemas/Problem", jsonOf(t, w.Body.Bytes()))
		return
	}
	c.seen[fmt.Sprintf("%s %s %d", r.Method, path, w.Code)] = true
	if w.Code < 300 {
		c.checkRequest(t, what, op, r, body)
	}
	response, at := c.at(op + "/responses/" + strconv.Itoa(w.Code))
	if response == nil {
		t.Errorf("%s: the description has no such answer", what)
		return
	}
	headers, _ := response["headers"].(map[string]any)
	for name := range headers {
		header, hat := c.at(at + "/headers/" + name)
		value := w.Header().Get(name)
		if value == "" && header["required"] == true {
			t.Errorf("%s: header %s is missing", what, name)
		}
		if value != "" {
			c.valid(t, what+" header "+name, hat+"/schema", value)
		}
	}
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if w.Body.Len() > 0 {
			t.Errorf("%s: has a body", what)
		}
		return
	}
	media, _, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil || content[media] == nil {
		t.Errorf("%s: Content-Type %q is not in the description", what, w.Header().Get("Content-Type"))
		return
	}
	if strings.HasSuffix(media, "json") {
		pointer := at + "/content/" + strings.ReplaceAll(media, "/", "~1") + "/schema"
		_, pointer = c.at(pointer)
		c.valid(t, what, pointer, jsonOf(t, w.Body.Bytes()))
	}
}

func (c *contract) checkRequest(t testing.TB, what, op string, r *http.Request, body string) {
	t.Helper()
	operation, _ := c.at(op)
	params, _ := operation["parameters"].([]any)
	for i := range params {
		p, at := c.at(fmt.Sprintf("%s/parameters/%d", op, i))
		var value any
		switch name := fmt.Sprint(p["name"]); p["in"] {
		case "header":
			if s := r.Header.Get(name); s != "" {
				value = s
			}
		case "query":
			if s := r.URL.Query().Get(name); s != "" {
				value = json.Number(s)
			}
		case "path":
			value = inPath(op, name, r.URL.Path)
		}
		if value == nil {
			if p["required"] == true && p["in"] != "path" {
				t.Errorf("%s: accepted without %s", what, p["name"])
			}
			continue
		}
		c.valid(t, fmt.Sprintf("%s parameter %s", what, p["name"]), at+"/schema", value)
	}
	if b, ok := operation["requestBody"].(map[string]any); ok && (body != "" || b["required"] != false) {
		_, at := c.at(op + "/requestBody/content/application~1json/schema")
		c.valid(t, what+" request body", at, jsonOf(t, []byte(body)))
	}
}

// inPath is the value of a parameter of an operation's path.
func inPath(op, name, path string) any {
	template := strings.Split(strings.ReplaceAll(strings.TrimPrefix(op, "/paths/"), "~1", "/"), "/")
	for i, part := range strings.Split(path, "/") {
		if i < len(template) && template[i] == "{"+name+"}" {
			return part
		}
	}
	return nil
}

func jsonOf(t testing.TB, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("not JSON: %q", b)
	}
	return v
}

// unseen lists what the description promises and no exchange has shown.
func (c *contract) unseen() []string {
	var out []string
	for path, item := range object(c.doc["paths"]) {
		for method, op := range object(item) {
			for status := range object(object(op)["responses"]) {
				k := strings.ToUpper(method) + " " + path + " " + status
				if !c.seen[k] {
					out = append(out, k)
				}
			}
		}
	}
	return out
}

// object is v as a JSON object; anything else is an empty one.
func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}
