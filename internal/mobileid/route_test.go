package mobileid

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestAPortedNumberWinsOverThePlanFromItsDate(t *testing.T) {
	plan, errs := NewNumberPlan([]PlanRow{
		{Code: "90", Operator: "beeline", From: date(2000, 1, 1)},
		{Code: "70", Operator: "mobiuz", From: date(2010, 1, 1), Until: date(2025, 3, 19)},
		{Code: "70", Operator: "uzmobile", From: date(2025, 3, 19)},
	})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	move := func(seq, operator string, from time.Time) Ported {
		return Ported{Source: "mnp", Seq: seq, Operator: operator, From: from}
	}
	once := []Ported{move("1", "ucell", date(2025, 6, 1))}
	back := []Ported{once[0], move("2", "beeline", date(2026, 6, 1))}
	late := []Ported{back[1], back[0]} // the older move was told last
	mended := []Ported{once[0], move("3", "humans", date(2025, 6, 1))}
	for _, c := range []struct {
		name   string
		number string
		moves  []Ported
		at     time.Time
		want   Route
	}{
		{"never ported", "901234567", nil, date(2026, 1, 1), Route{"beeline", RulePlan, date(2000, 1, 1), "", ""}},
		{"the instant before", "901234567", once, date(2025, 6, 1).Add(-1), Route{"beeline", RulePlan, date(2000, 1, 1), "", ""}},
		{"the instant of the move", "901234567", once, date(2025, 6, 1), Route{"ucell", RulePorted, date(2025, 6, 1), "mnp", "1"}},
		{"between two moves", "901234567", back, date(2026, 6, 1).Add(-1), Route{"ucell", RulePorted, date(2025, 6, 1), "mnp", "1"}},
		{"ported back", "901234567", back, date(2026, 6, 1), Route{"beeline", RulePorted, date(2026, 6, 1), "mnp", "2"}},
		{"told out of order", "901234567", late, date(2026, 7, 1), Route{"beeline", RulePorted, date(2026, 6, 1), "mnp", "2"}},
		{"two of one time: told last", "901234567", mended, date(2026, 7, 1), Route{"humans", RulePorted, date(2025, 6, 1), "mnp", "3"}},
		{"a prefix before it moved", "701234567", nil, date(2025, 3, 19).Add(-1), Route{"mobiuz", RulePlan, date(2010, 1, 1), "", ""}},
		{"a prefix that moved", "701234567", nil, date(2025, 3, 19), Route{"uzmobile", RulePlan, date(2025, 3, 19), "", ""}},
		{"ported, then its prefix moved", "701234567", []Ported{move("4", "ucell", date(2024, 1, 1))}, date(2026, 1, 1), Route{"ucell", RulePorted, date(2024, 1, 1), "mnp", "4"}},
		{"ported only later, without a prefix", "401234567", once, date(2025, 1, 1), Route{}},
		{"ported, without a prefix", "401234567", once, date(2026, 1, 1), Route{"ucell", RulePorted, date(2025, 6, 1), "mnp", "1"}},
		{"nobody knows", "401234567", nil, date(2026, 1, 1), Route{}},
	} {
		got := plan.Route(number(t, c.number), c.moves, c.at)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if got.Known() != (c.want.Operator != "") {
			t.Errorf("%s: known = %v", c.name, got.Known())
		}
	}
}

func TestTheOrderOfMovesOfDifferentTimesDoesNotMatter(t *testing.T) {
	var plan NumberPlan
	var moves []Ported
	for i := range 6 {
		moves = append(moves, Ported{Operator: string(rune('a' + i)), From: date(2020+i, 1, 1)})
	}
	m := number(t, "901234567")
	for range 200 {
		rand.Shuffle(len(moves), func(i, j int) { moves[i], moves[j] = moves[j], moves[i] })
		for i := range 6 {
			if got := plan.Route(m, moves, date(2020+i, 7, 1)); got.Operator != string(rune('a'+i)) {
				t.Fatalf("in 202%d: %+v of %+v", i, got, moves)
			}
		}
	}
}
