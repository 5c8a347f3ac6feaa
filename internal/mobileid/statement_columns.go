package mobileid

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Column is one of a statement's form: its name in CSV and JSON, and its value,
// which is a string, a bool, a whole number, nil (empty in CSV, null in JSON), or a
// Money, a Pseudonym or a NumberCell, which are strings in JSON.
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

// NumberCell is a number that is written as text: a phone number. A spreadsheet that
// calculates it does no harm.
type NumberCell string

// TextCell is a text as a cell of CSV. Where a spreadsheet would take it for a
// formula (it begins with = + - @, a tab or a carriage return) it gets a single quote
// before it: texts come from outside, and whoever opens the file trusts us.
func TextCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Cells are the values of a row as text, for people.
func Cells[T any](columns []Column[T], row *T) []string {
	return cells(columns, row, func(s string) string { return s })
}

// CSVCells are the values of a row as cells of CSV: texts as TextCell has them,
// numbers as they are.
func CSVCells[T any](columns []Column[T], row *T) []string { return cells(columns, row, TextCell) }

func cells[T any](columns []Column[T], row *T, text func(string) string) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		switch v := c.Value(row).(type) {
		case nil:
		case string:
			out[i] = text(v)
		default:
			out[i] = fmt.Sprint(v)
		}
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
