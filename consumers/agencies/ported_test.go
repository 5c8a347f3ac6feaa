package agencies_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mobileid/consumers/agencies"
	"mobileid/internal/mobileid"
)

var operators = []string{"beeline", "ucell"}

func pseudonyms(t testing.TB) mobileid.PseudonymKey {
	t.Helper()
	k, err := mobileid.NewPseudonymKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func readPorted(t testing.TB, text string) ([]mobileid.Ported, []error) {
	t.Helper()
	return agencies.ReadPorted(strings.NewReader(text), operators, pseudonyms(t))
}

func TestAFileOfPortedNumbersIsRead(t *testing.T) {
	key := pseudonyms(t)
	want := []mobileid.Ported{
		{Number: key.Number(number(t, secret)), Operator: "ucell", From: time.Date(2026, 11, 23, 5, 20, 0, 0, time.UTC), Source: "mnp", Seq: "2026-000017"},
		// The day begins in Tashkent.
		{Number: key.Number(number(t, "+998931234567")), Operator: "beeline", From: time.Date(2026, 11, 23, 19, 0, 0, 0, time.UTC), Source: "mnp", Seq: "2026-000018"},
	}
	lines := []string{agencies.PortedHeader, "mnp,2026-000017," + secret + ",ucell,2026-11-23T10:20:00+05:00", "mnp,2026-000018,+998931234567,beeline,2026-11-24"}
	for name, text := range map[string]string{
		"Unix": strings.Join(lines, "\n") + "\n", "Windows": strings.Join(lines, "\r\n") + "\r\n", "no last end of line": strings.Join(lines, "\n"),
	} {
		if moves, wrong := readPorted(t, text); len(wrong) > 0 || !slices.Equal(moves, want) {
			t.Errorf("%s: %+v, %v", name, moves, wrong)
		}
	}
	if moves, wrong := readPorted(t, agencies.PortedHeader+"\n"); len(moves) > 0 || len(wrong) > 0 {
		t.Errorf("no moves: %v, %v", moves, wrong)
	}
}

func TestEveryMistakeOfAFileIsTold(t *testing.T) {
	const digits = "901234567"
	lines := []struct{ line, mistake string }{
		{"number,operator,from", "want exactly"},
		{"mnp,1,+998901234567,ucell,2026-11-23", ""},
		{"", "5 fields"},
		{"mnp,2,+998901234567,ucell", "5 fields"},
		{`mnp,3,"+998901234567",ucell,2026-11-23`, "5 fields"},
		{"mnp,4,+998\xff01234567,ucell,2026-11-23", "5 fields"},
		{"mnp,5,998901234567,ucell,2026-11-23", "number:"},
		{"mnp,6,+998 90 1234567,ucell,2026-11-23", "number:"},
		{"mnp,7,+998901234567,+998901234567,2026-11-23", "operator:"},
		{"mnp,8,+998901234567,humans,2026-11-23", `operator: operators has no file of it: "humans"`},
		{"mnp,9,+998901234567,ucell,23.11.2026", "from:"},
		{"mnp,10,+998901234567,ucell,2026-11-23T10:20:00", "from:"},
		{"mnp,11,+998901234567,ucell,0026-11-23", "from:"},
		{"MNP,12,+998901234567,ucell,2026-11-23", "source:"},
		{"mnp,+998901234567,+998901234567,ucell,2026-11-23", "seq:"},
		{"mnp,,+998901234567,ucell,2026-11-23", "seq:"},
		{"mnp,998901234567,+998901234567,ucell,2026-11-23", "seq:"},
		{"mnp,1,+998931234567,ucell,2026-11-23", "stand in line 2 already"},
		{"mnp,13,+998901234567,beeline,2026-11-23T00:00:00+05:00", "line 2 moves the same number"},
		{"mnp,14,+998901234567,ucell,2026-11-23", ""}, // told by two names, to one operator
		{strings.Repeat("x", 5000), "longer than 512"},
		{"mnp,15,12,12,12", "number:"},
		{"", "5 fields"}, // and the reading goes on
	}
	var text, want []string
	for i, l := range lines {
		text = append(text, l.line)
		if l.mistake != "" {
			want = append(want, fmt.Sprintf("line %d: ", i+1)+l.mistake)
		}
	}
	text = append(text, "")
	moves, wrong := readPorted(t, strings.Join(text, "\n"))
	if len(moves) > 0 {
		t.Errorf("%d moves of a wrong file", len(moves))
	}
	all := errors.Join(wrong...).Error()
	for i, w := range want {
		line, what, _ := strings.Cut(w, ": ")
		if !slices.ContainsFunc(wrong, func(err error) bool {
			return strings.HasPrefix(err.Error(), line+": ") && strings.Contains(err.Error(), what)
		}) {
			t.Errorf("mistake %d, %q, is not in\n%s", i, w, all)
		}
	}
	if len(wrong) != len(want)+2 { // line 22 has three
		t.Errorf("%d mistakes, want %d:\n%s", len(wrong), len(want)+2, all)
	}
	if strings.Contains(all, digits) {
		t.Errorf("a mistake repeats a number:\n%s", all)
	}
	if _, wrong := readPorted(t, ""); len(wrong) != 1 {
		t.Errorf("an empty file: %v", wrong)
	}
}

func TestAFileThatBreaksOffIsNotTaken(t *testing.T) {
	gone := errors.New("the disk is gone")
	file := io.MultiReader(strings.NewReader(agencies.PortedHeader+"\nmnp,1,"+secret+",ucell,2026-11-23\nmnp,2,"), iotest.ErrReader(gone))
	moves, wrong := agencies.ReadPorted(file, operators, pseudonyms(t))
	if len(moves) > 0 || !errors.Is(errors.Join(wrong...), gone) {
		t.Errorf("%d moves, %v", len(moves), wrong)
	}
}

func FuzzReadPorted(f *testing.F) {
	f.Add(agencies.PortedHeader + "\nmnp,1,+998901234567,ucell,2026-11-23\n")
	f.Add(agencies.PortedHeader + "\r\nmnp,1,+998901234567,beeline,2026-11-23T10:20:00.123456789Z\r\nmnp,2,,,\n")
	f.Add(strings.Repeat(",", 600) + "\n\n")
	key := pseudonyms(f)
	f.Fuzz(func(t *testing.T, text string) {
		moves, wrong := agencies.ReadPorted(strings.NewReader(text), operators, key)
		if len(wrong) > 0 {
			if len(moves) > 0 {
				t.Error("moves of a wrong file")
			}
			for _, err := range wrong {
				if mobileid.HoldsPersonal(err.Error()) {
					t.Errorf("a mistake names a person: %v", err)
				}
			}
			return
		}
		// What was taken is written again, and read to be the same.
		var again strings.Builder
		again.WriteString(agencies.PortedHeader + "\n")
		for i, line := range strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")[1:] {
			m, numbers := moves[i], strings.Split(line, ",")
			fmt.Fprintf(&again, "%s,%s,%s,%s,%s\n", m.Source, m.Seq, numbers[2], m.Operator, m.From.Format(time.RFC3339Nano))
		}
		same, wrong := agencies.ReadPorted(strings.NewReader(again.String()), operators, key)
		if len(wrong) > 0 || !slices.Equal(moves, same) {
			t.Errorf("%q was read as %+v, and that as %+v, %v", text, moves, same, wrong)
		}
	})
}
