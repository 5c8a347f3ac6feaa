package registry_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func moved(seq string, number byte, operator string, from time.Time) mobileid.Ported {
	return mobileid.Ported{Number: mobileid.Pseudonym{number}, Operator: operator, From: from, Source: "mnp", Seq: seq}
}

func TestAMoveOfANumberIsStoredOnce(t *testing.T) {
	e := newEnv(t)
	moves := []mobileid.Ported{
		moved("1", 1, "ucell", now0), moved("2", 1, "beeline", now0.Add(-time.Hour)), moved("3", 2, "ucell", now0),
	}
	for i, want := range []int{3, 0} {
		n, err := e.ImportPorted(e.ctx(), moves)
		if err != nil || n != want {
			t.Fatalf("import %d: %d new, %v", i+1, n, err)
		}
	}
	other := moved("1", 3, "ucell", now0)
	other.Source = "beeline" // names its moves in its own way
	n, err := e.ImportPorted(e.ctx(), []mobileid.Ported{other, moves[0]})
	if err != nil || n != 1 {
		t.Fatalf("a source of its own: %d new, %v", n, err)
	}
	have, err := e.Ported(e.ctx(), mobileid.Pseudonym{1})
	must(t, err)
	for i := range have {
		have[i].From = have[i].From.UTC()
	}
	if len(have) != 2 || have[0] != moves[0] || have[1] != moves[1] {
		t.Errorf("in the order in which they were told: %+v", have)
	}
	if have, err := e.Ported(e.ctx(), mobileid.Pseudonym{9}); err != nil || len(have) != 0 {
		t.Errorf("a number that never moved: %+v, %v", have, err)
	}
}

func TestAMoveToldOtherwiseIsRefusedWithItsWholeFile(t *testing.T) {
	e := newEnv(t)
	_, err := e.ImportPorted(e.ctx(), []mobileid.Ported{moved("1", 1, "ucell", now0)})
	must(t, err)
	for name, changed := range map[string]mobileid.Ported{
		"number": moved("1", 2, "ucell", now0), "operator": moved("1", 1, "beeline", now0),
		"time": moved("1", 1, "ucell", now0.Add(time.Second)),
	} {
		n, err := e.ImportPorted(e.ctx(), []mobileid.Ported{moved("2", 5, "ucell", now0), changed})
		if mobileid.CodeOf(err) != "ported_differs" || n != 0 || !strings.Contains(err.Error(), "move 1 ") {
			t.Errorf("another %s: %d, %v", name, n, err)
		}
	}
	if rows := query[int](e, `select count(*) from ported_numbers`); rows != 1 {
		t.Errorf("%d rows", rows)
	}
}

func TestImportsOfTheSameMovesAtOnceDoNotLockEachOtherOut(t *testing.T) {
	e := newEnv(t)
	var moves []mobileid.Ported
	for i := range 12_000 { // more than one statement takes
		moves = append(moves, moved(fmt.Sprint(i), byte(i%200), "ucell", now0))
	}
	backwards := make([]mobileid.Ported, len(moves))
	for i, m := range moves {
		backwards[len(moves)-1-i] = m
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 2)
	for _, file := range [][]mobileid.Ported{moves, backwards} {
		go func() {
			n, err := e.ImportPorted(e.ctx(), file)
			done <- result{n, err}
		}()
	}
	a, b := <-done, <-done
	if a.err != nil || b.err != nil || a.n+b.n != len(moves) || a.n*b.n != 0 {
		t.Errorf("%+v, %+v", a, b)
	}
}
