package consumers

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"mobileid/internal/mobileid"
)

// schemaFiles holds a JSON Schema (2020-12) for each ce_type, the file named
// after it. The additive rule: within a version fields may be added and
// requirements dropped, nothing else; a reader ignores what it does not know.
//
//go:embed schemas/*.json
var schemaFiles embed.FS

// schemas returns the schema files, each named <ce_type>.json.
func schemas() fs.FS {
	sub, err := fs.Sub(schemaFiles, "schemas")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return sub
}

var compiled = sync.OnceValues(compileSchemas)

func compileSchemas() (map[string]*jsonschema.Schema, error) {
	files, err := fs.Glob(schemas(), "*.json")
	if err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	out := map[string]*jsonschema.Schema{}
	for _, name := range files {
		text, err := fs.ReadFile(schemas(), name)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		if err := c.AddResource(name, doc); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
	}
	for _, name := range files {
		s, err := c.Compile(name)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		out[strings.TrimSuffix(name, ".json")] = s
	}
	return out, nil
}

// checkSchema validates the JSON value of an event against the schema of its
// type. The error is of KindInvalid; it names the place at fault and quotes no
// value. A type without a schema is refused.
func checkSchema(eventType string, value []byte) error {
	all, err := compiled()
	if err != nil {
		return &mobileid.Error{Kind: mobileid.KindInternal, Code: "schema_broken", Message: "a schema does not compile", Err: err}
	}
	s, ok := all[eventType]
	if !ok {
		return mobileid.Invalid(headerType, "event_type", "no schema for this type")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return mobileid.Invalid("", "event_value", "the value is not JSON")
	}
	if err := s.Validate(doc); err != nil {
		return mobileid.Invalid(place(err), "event_schema", "the value does not fit the schema of its type")
	}
	return nil
}

// place is the JSON pointer of the innermost first failure.
func place(err error) string {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return ""
	}
	for len(v.Causes) > 0 {
		v = v.Causes[0]
	}
	return "/" + strings.Join(v.InstanceLocation, "/")
}
