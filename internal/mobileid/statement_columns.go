package mobileid

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Column is one of a statement's form: its name in CSV and JSON, and its value,
// which is a string, a bool, a whole number, or a Money or a Pseudonym, which are
// strings in JSON.
type Column[T any] struct {
	Name  string
	Value func(*T) any
}

// ColumnNames are the names of the columns, in their order.
func ColumnNames[T any](columns []Column[T]) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.Name
	}
	return out
}

// Cells are the values of a row as text, for CSV.
func Cells[T any](columns []Column[T], row *T) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = fmt.Sprint(c.Value(row))
	}
	return out
}

// Object is a row as a JSON object with the columns in their order.
func Object[T any](columns []Column[T], row *T) (json.RawMessage, error) {
	var b strings.Builder
	for i, c := range columns {
		v := c.Value(row)
		switch x := v.(type) {
		case Money:
			v = x.String()
		case Pseudonym:
			v = x.String()
		}
		value, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(&b, "%s%s:%s", sep, strconv.Quote(c.Name), value)
	}
	return json.RawMessage(b.String() + "}"), nil
}
