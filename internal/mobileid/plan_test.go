package mobileid

import (
	"strings"
	"testing"
	"time"
)

func date(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func number(t *testing.T, s string) MSISDN {
	t.Helper()
	m, err := ParseMSISDN(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNumberPlanAnswersByDate(t *testing.T) {
	plan, errs := NewNumberPlan([]PlanRow{
		{Code: "90", Operator: "beeline", From: date(2000, 1, 1)},
		{Code: "87", Operator: "mobiuz", From: date(2026, 4, 16)},
		{Code: "70", Operator: "first", From: date(2010, 1, 1), Until: date(2025, 3, 19)},
		{Code: "70", Operator: "second", From: date(2025, 3, 19)},
	})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	cases := []struct {
		number   string
		at       time.Time
		operator string
		known    bool
	}{
		{"901234567", date(2026, 11, 22), "beeline", true},
		{"871234567", date(2026, 4, 16), "mobiuz", true},
		{"871234567", date(2026, 4, 16).Add(-1), "", false},
		{"701234567", date(2025, 3, 19).Add(-1), "first", true},
		{"701234567", date(2025, 3, 19), "second", true},
		{"401234567", date(2026, 11, 22), "", false}, // an answer, not a refusal
	}
	for _, c := range cases {
		operator, known := plan.Operator(number(t, c.number), c.at)
		if operator != c.operator || known != c.known {
			t.Errorf("%s on %s: %q, %v", c.number, c.at, operator, known)
		}
	}
	if _, known := plan.Operator(MSISDN{}, date(2026, 1, 1)); known {
		t.Error("no number has an operator")
	}
}

func TestNumberPlanListsEveryMistake(t *testing.T) {
	_, errs := NewNumberPlan([]PlanRow{
		{Code: "9", Operator: "a", From: date(2020, 1, 1)},
		{Code: "9x", Operator: "a", From: date(2020, 1, 1)},
		{Code: "91", From: date(2020, 1, 1)},
		{Code: "92", Operator: "a", From: date(2020, 1, 1), Until: date(2020, 1, 1)},
		{Code: "93", Operator: "a", From: date(2020, 1, 1)},
		{Code: "93", Operator: "b", From: date(2021, 1, 1), Until: date(2022, 1, 1)},
	})
	var all strings.Builder
	for _, err := range errs {
		all.WriteString(err.Error() + "\n")
	}
	for _, want := range []string{"[0].code", "[1].code", "[2].operator", "[3].until", "[5]: overlaps row [4]"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("%s is not told in\n%s", want, all.String())
		}
	}
	if len(errs) != 5 {
		t.Errorf("%d mistakes told, want 5", len(errs))
	}
}

func TestNumberPlanKeepsItsOwnRows(t *testing.T) {
	rows := []PlanRow{{Code: "90", Operator: "beeline", From: date(2000, 1, 1)}}
	plan, _ := NewNumberPlan(rows)
	rows[0].Operator = "other"
	if operator, _ := plan.Operator(number(t, "901234567"), date(2026, 1, 1)); operator != "beeline" {
		t.Errorf("operator %q", operator)
	}
}
