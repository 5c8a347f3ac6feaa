package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"mobileid/consumers/texts"
)

// envPrefix begins the name of an override: MOBILEID_HTTP__LISTEN sets
// http.listen. Lists cannot be overridden, except lists of words, which are
// separated by commas.
const envPrefix = "MOBILEID_"

// Mistakes is every mistake of a file, each with its path.
type Mistakes []string //nolint:errname,recvcheck // a list reads as what it holds; only adding changes it

// Error lists the mistakes, one a line.
func (m Mistakes) Error() string {
	return "the configuration has " + strconv.Itoa(len(m)) + " mistake(s):\n  " + strings.Join(m, "\n  ")
}

func (m *Mistakes) addf(path, format string, args ...any) {
	*m = append(*m, path+": "+fmt.Sprintf(format, args...))
}

// Load reads the file, lays environ (as of os.Environ) over it and checks the
// whole. The error is Mistakes when the file could be read.
func Load(path string, environ []string) (*Config, error) {
	return LoadWith(path, environ, texts.Default())
}

// LoadWith is Load for a program that says other texts than its own.
func LoadWith(path string, environ []string, catalogue *texts.Catalogue) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w (config.sample.yaml is the manual)", err)
	}
	return parse(raw, environ, catalogue, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return os.ReadFile(name)
	})
}

// parse is LoadWith on bytes; read reads the files that they name.
func parse(raw []byte, environ []string, catalogue *texts.Catalogue, read func(name string) ([]byte, error)) (*Config, error) {
	tree := map[string]any{}
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, Mistakes{"not YAML: " + strings.TrimSpace(yaml.FormatError(err, false, false))}
	}
	cfg := defaults()
	cfg.Texts = catalogue
	var wrong Mistakes
	overlay(tree, environ, &wrong)
	decode("", tree, reflect.ValueOf(&cfg).Elem(), &wrong)
	cfg.readOperators(read, &wrong)
	cfg.readTariffs(read, time.Now(), &wrong)
	// A half-read file makes the checks of meaning speak of things that are
	// there but unread; both lists still come at once.
	cfg.check(&wrong)
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return nil, wrong
	}
	return &cfg, nil
}

// overlay puts environment overrides into the tree.
func overlay(tree map[string]any, environ []string, wrong *Mistakes) {
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		rest, ok := strings.CutPrefix(name, envPrefix)
		if !ok || !strings.Contains(rest, "__") {
			continue // MOBILEID_X without a section is somebody else's
		}
		at := tree
		keys := strings.Split(strings.ToLower(rest), "__")
		for _, k := range keys[:len(keys)-1] {
			next, isMap := at[k].(map[string]any)
			if !isMap {
				if at[k] != nil {
					wrong.addf(name, "%s is not a section", k)
				}
				next = map[string]any{}
				at[k] = next
			}
			at = next
		}
		at[keys[len(keys)-1]] = fromEnv(value)
	}
}

// fromEnv marks a value as text that may still be a number, a truth or a list.
type fromEnv string

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// decode lays v over out and notes what does not fit, with its path.
func decode(path string, v any, out reflect.Value, wrong *Mistakes) {
	if v == nil {
		return
	}
	if out.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(scalar(v))
		if err != nil {
			wrong.addf(path, "want a duration, for example 30s")
			return
		}
		out.SetInt(int64(d))
		return
	}
	if reflect.PointerTo(out.Type()).Implements(textUnmarshaler) {
		text := out.Addr().Interface().(encoding.TextUnmarshaler) //nolint:errcheck,forcetypeassert // asked above
		if err := text.UnmarshalText([]byte(scalar(v))); err != nil {
			wrong.addf(path, "%v", err)
		}
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		decodeStruct(path, v, out, wrong)
	case reflect.Slice:
		decodeList(path, v, out, wrong)
	default:
		if err := decodeScalar(v, out); err != nil {
			wrong.addf(path, "%v", err)
		}
	}
}

func decodeStruct(path string, v any, out reflect.Value, wrong *Mistakes) {
	section, ok := v.(map[string]any)
	if !ok {
		wrong.addf(path, "want a section of keys")
		return
	}
	fields := map[string]int{}
	for i := range out.NumField() {
		if key := out.Type().Field(i).Tag.Get("yaml"); key != "-" {
			fields[key] = i
		}
	}
	for _, key := range slices.Sorted(maps.Keys(section)) {
		i, known := fields[key]
		if !known {
			wrong.addf(join(path, key), "unknown key; known here: %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
			continue
		}
		decode(join(path, key), section[key], out.Field(i), wrong)
	}
}

func decodeList(path string, v any, out reflect.Value, wrong *Mistakes) {
	if words, ok := v.(fromEnv); ok && out.Type().Elem().Kind() == reflect.String {
		out.Set(reflect.ValueOf(strings.Split(string(words), ",")))
		return
	}
	list, ok := v.([]any)
	if !ok {
		wrong.addf(path, "want a list")
		return
	}
	out.Set(reflect.MakeSlice(out.Type(), len(list), len(list)))
	for i, item := range list {
		decode(fmt.Sprintf("%s[%d]", path, i), item, out.Index(i), wrong)
	}
}

func decodeScalar(v any, out reflect.Value) error {
	text := scalar(v)
	_, env := v.(fromEnv)
	switch out.Kind() {
	case reflect.String:
		switch v.(type) {
		case string, fromEnv, uint64, int64:
			out.SetString(text)
			return nil
		}
		return errors.New("want text, in quotes")
	case reflect.Bool:
		b, ok := v.(bool)
		if env {
			parsed, err := strconv.ParseBool(text)
			b, ok = parsed, err == nil
		}
		if !ok {
			return errors.New("want true or false")
		}
		out.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, out.Type().Bits())
		if err != nil {
			return errors.New("want a whole number")
		}
		out.SetInt(n)
	case reflect.Uint8, reflect.Uint32:
		n, err := strconv.ParseUint(text, 10, out.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number from 0 to %d", uint64(1)<<out.Type().Bits()-1)
		}
		out.SetUint(n)
	default:
		return fmt.Errorf("a field of kind %s cannot be configured", out.Kind())
	}
	return nil
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case fromEnv:
		return string(v)
	case map[string]any, []any:
		return ""
	}
	return fmt.Sprint(v)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
