package gateway

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"mobileid/internal/mobileid"
)

// OperatorDayBody is an operator's statement of a day as JSON: its lines have the
// names of the columns.
type OperatorDayBody struct {
	Contract string            `json:"contract"`
	Day      string            `json:"day"`
	Operator string            `json:"operator"`
	Final    bool              `json:"final"`
	Lines    []json.RawMessage `json:"lines"`
}

// operatorDay answers GET /v1/operators/{operator}/statements/{day}: an operator's
// client reads what its operator is owed for a day, line by line. Transfer by
// transfer it is too much for an answer: `mobileid statement operator --detail`.
func (g *Gateway) operatorDay(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	asCSV, err := wantsCSV(r.Header.Get("Accept"))
	if err != nil {
		return err
	}
	if err := ofItsOperator(client, r.PathValue("operator")); err != nil {
		return err
	}
	day, err := time.ParseInLocation(time.DateOnly, r.PathValue("day"), mobileid.Tashkent)
	if err != nil || day.Before(earliest) || day.After(latest) {
		return mobileid.Invalid("day", "day_format", "a day is a date of this century, in Asia/Tashkent: 2026-11-30")
	}
	if err := g.accepter.spend(r.Context(), client); err != nil {
		return err
	}
	select {
	case g.days <- struct{}{}:
		defer func() { <-g.days }()
	default:
		return &mobileid.Error{
			Kind: mobileid.KindLimited, Code: "statement_busy", RetryAfter: operatorDayPause, Message: "another statement of a day is being made",
		}
	}
	d, err := g.deps.Registry.OperatorDay(r.Context(), client.Operator, day)
	if err != nil {
		return err
	}
	if !asCSV {
		body, err := newOperatorDayBody(d)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, body)
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_ = operatorDayCSV(w, d) // a client that has left is nobody's error
	return nil
}

// operatorDayPause is after how long somebody who met another one's statement may
// come again.
const operatorDayPause = 5 * time.Second

// ofItsOperator refuses a client that speaks for no operator, or asks about another.
func ofItsOperator(client mobileid.Client, operator string) error {
	switch {
	case client.Mode == mobileid.ModeTest:
		return testMode()
	case client.Operator == "":
		return &mobileid.Error{Kind: mobileid.KindForbidden, Code: "operator_missing", Message: "this client speaks for no operator"}
	case client.Operator != operator:
		return &mobileid.Error{Kind: mobileid.KindForbidden, Code: "operator_other", Message: "this client speaks for another operator"}
	}
	return nil
}

func newOperatorDayBody(d mobileid.OperatorDay) (OperatorDayBody, error) {
	b := OperatorDayBody{
		Contract: mobileid.OperatorDayContract, Day: d.Day.In(mobileid.Tashkent).Format(time.DateOnly), Operator: d.Operator, Final: d.Final,
		Lines: make([]json.RawMessage, len(d.Lines)),
	}
	var err error
	for i := range d.Lines {
		if b.Lines[i], err = mobileid.Object(mobileid.OperatorDayColumns, &d.Lines[i]); err != nil {
			return b, err
		}
	}
	return b, nil
}

func operatorDayCSV(out io.Writer, d mobileid.OperatorDay) error {
	w := csv.NewWriter(out)
	_ = w.Write(mobileid.ColumnNames(mobileid.OperatorDayColumns)) // an error is kept until the end
	for i := range d.Lines {
		_ = w.Write(mobileid.CSVCells(mobileid.OperatorDayColumns, &d.Lines[i]))
	}
	w.Flush()
	return w.Error()
}
