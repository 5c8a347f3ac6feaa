package reconcile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// dialect is that of a plain operator.
func dialect() Dialect {
	key, err := mobileid.NewPseudonymKey([]byte("fedcba9876543210"))
	if err != nil {
		panic(err)
	}
	states := map[string]mobileid.MessageState{
		"DELIVRD": mobileid.MessageDelivered, "UNDELIV": mobileid.MessageUndeliverable, "ENROUTE": "",
	}
	return Dialect{
		Number: key.Number, ID: strings.ToLower,
		State: func(stat, _ string) (mobileid.MessageState, string, bool) {
			s, ok := states[stat]
			return s, "", ok
		},
	}
}

// file writes a file with a header that states everything.
func file(rows ...string) string {
	body := Columns + "\n" + strings.Join(append(rows, ""), "\n")
	return fmt.Sprintf("#mobileid-reconcile,1,operator=beeline,from=2026-11-23 00:00:00,until=2026-11-24 00:00:00,zone=Asia/Tashkent,count=%d,sha256=%x\n%s",
		len(rows), sha256.Sum256([]byte(body)), body)
}

func read(text string, o Options) (File, []Line, error) {
	o.Operator = "beeline"
	o.Dialect = dialect()
	var lines []Line
	f, err := Read(strings.NewReader(text), o, func(l *Line) error {
		lines = append(lines, *l)
		return nil
	})
	return f, lines, err
}

func TestARightFileIsReadInItsZone(t *testing.T) {
	f, lines, err := read(file("2026-11-23 05:00:01,2026-11-23 05:00:04,+998937654321,A1,65535,UNDELIV,001,2", "2026-11-23 06:00:00,,937654322,,,ENROUTE,,"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 0, 0, 1, 0, time.UTC)
	l := lines[0]
	if !f.Complete() || f.Lines != 2 || !f.First.Equal(at) || !f.From.Equal(time.Date(2026, 11, 22, 19, 0, 0, 0, time.UTC)) {
		t.Errorf("file: %+v", f)
	}
	if l.No != 3 || !l.Submitted.Equal(at) || !l.At().Equal(at.Add(3*time.Second)) || l.ID != "a1" || l.Reference != 65535 ||
		l.State != mobileid.MessageUndeliverable || l.Err != "001" || l.Parts != 2 || l.Masked != "+998 93 *** ** 21" {
		t.Errorf("line: %+v", l)
	}
	if l := lines[1]; l.Reference != NoReference || l.Parts != 1 || !l.Done.IsZero() || l.State != "" {
		t.Errorf("line: %+v", l)
	}
}

func TestEveryMistakeIsToldWithItsLineAndNoValue(t *testing.T) {
	right := "2026-11-23 05:00:01,,+998937654321,a1,,DELIVRD,,"
	bad := []string{
		"23.11.2026 05:00,,+998937654321,a1,,DELIVRD,,",                       // 3: form of the time
		"2026-11-23 05:00:01,2026-11-23 05:00:00,+998937654321,a1,,DELIVRD,,", // 4: done before
		"2026-11-24 00:00:00,,+998937654321,a1,,DELIVRD,,",                    // 5: outside the period
		"2026-11-23 05:00:01,,+77011234567,a1,,DELIVRD,,",                     // 6: number
		"2026-11-23 05:00:01,,+998937654321,a 1,,DELIVRD,,",
		"2026-11-23 05:00:01,,+998937654321,a1,65536,DELIVRD,,",
		"2026-11-23 05:00:01,,+998937654321,a1,,DONE,,",
		"2026-11-23 05:00:01,,+998937654321,a1,,DELIVRD,,0",
		"2026-11-23 05:00:01,,+998937654321",
		"",
		"2026-11-23 05:00:01,,+998937654321,\xff,,DELIVRD,,",
		"2026-11-23 05:00:01,,+998937654321," + strings.Repeat("a", 2000) + ",,DELIVRD,,",
	}
	_, _, err := read(file(append(bad, right)...), Options{})
	if _, ok := errors.AsType[*FileError](err); !ok {
		t.Fatal(err)
	}
	for i := range bad {
		if want := fmt.Sprintf("line %d: ", i+3); !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	for _, canary := range []string{"937654321", "7011234567", "a1"} {
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%q is told: %v", canary, err)
		}
	}
	if strings.Contains(err.Error(), fmt.Sprintf("line %d: ", len(bad)+3)) {
		t.Errorf("the right line is a mistake: %v", err)
	}
}

func TestAFileThatIsNotWhatItStatesIsWrong(t *testing.T) {
	whole := file("2026-11-23 05:00:01,,+998937654321,a1,,DELIVRD,,", "2026-11-23 05:00:02,,+998937654321,a2,,DELIVRD,,")
	lines := strings.SplitAfter(whole, "\n")
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "the file is empty"},
		"a header alone":   {lines[0], "names of the columns"},
		"cut in a line":    {whole[:len(whole)-3], "cut off"},
		"cut by a line":    {strings.Join(lines[:3], ""), "states 2 lines and has 1"},
		"a line changed":   {strings.Replace(whole, ",a2,", ",a3,", 1), "another checksum"},
		"lines changed":    {lines[0] + lines[1] + lines[3] + lines[2], "another checksum"},
		"another operator": {strings.Replace(whole, "beeline", "ucell", 1), "not a file of beeline"},
		"a mark before":    {"\ufeff" + whole, "byte order mark"},
		"an unknown word":  {strings.Replace(whole, ",zone", ",mood=good,zone", 1), `"mood"`},
		"a word twice":     {strings.Replace(whole, ",zone", ",zone=UTC,zone", 1), "twice"},
		"half a period":    {strings.Replace(whole, ",from=2026-11-23 00:00:00", "", 1), "both or none"},
		"a period back":    {strings.Replace(whole, "until=2026-11-24", "until=2026-11-22", 1), "after from"},
		"a long period":    {strings.Replace(whole, "until=2026-11-24", "until=2027-01-03", 1), "at most 40 days"},
		"a century":        {strings.Replace(strings.Replace(whole, "from=2026", "from=2000", 1), "until=2026", "until=2100", 1), "at most 40 days"},
		"a century of lines": {
			"#mobileid-reconcile,1,operator=beeline,zone=UTC\n" + Columns + "\n" +
				"2000-01-01 00:00:00,,+998937654321,a1,,DELIVRD,,\n2099-01-01 00:00:00,,+998937654321,a2,,DELIVRD,,\n",
			"more than 40 days",
		},
		"other columns": {strings.Replace(whole, "submitted,done", "done,submitted", 1), "names of the columns"},
	} {
		if _, _, err := read(c.text, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: no %q in %v", name, c.want, err)
		}
	}
}

func TestTheZoneIsSaidAndNeverGuessed(t *testing.T) {
	body := Columns + "\n2026-10-25 02:30:00,,+998937654321,a1,,DELIVRD,,\n"
	for _, c := range []struct {
		header, flag string
		want         string // hour of the submit time in UTC, or a part of the mistake
	}{
		{"", "", "--zone"},
		{"", "Asia/Tashkent", "21:30"},
		{",zone=+03:00", "", "23:30"},
		{",zone=UTC", "UTC", "02:30"},
		{",zone=UTC", "Asia/Tashkent", "another one"},
		{",zone=Mars/Olympus", "", "want for example"},
		{",zone=Local", "", "want for example"},
		{",zone=Europe/Berlin", "", "once in its zone"}, // this hour was twice
	} {
		_, lines, err := read("#mobileid-reconcile,1,operator=beeline"+c.header+"\n"+body, Options{Zone: c.flag})
		got := fmt.Sprint(err)
		if err == nil {
			got = lines[0].Submitted.Format("15:04")
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q, --zone %q: %s, want %s", c.header, c.flag, got, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file("2026-11-23 05:00:01,2026-11-23 05:00:04,+998937654321,A1,65535,UNDELIV,001,2"), "")
	f.Add(file(), "UTC")
	f.Add(charged("0.5", "", "12"), "")
	f.Add("#mobileid-reconcile,1,operator=beeline,zone=UTC\n"+Columns+"\n2026-11-23 05:00:01,,+998937654321,a,b,c,d,e", "")
	f.Fuzz(func(t *testing.T, text, zone string) {
		got, lines, err := read(text, Options{Zone: zone})
		if _, ok := errors.AsType[*FileError](err); err != nil && !ok {
			t.Fatalf("neither right nor a mistake: %v", err)
		}
		if err != nil {
			return
		}
		if len(lines) != got.Lines || got.Count >= 0 && got.Count != len(lines) {
			t.Fatalf("%d lines of %d, stated %d", len(lines), got.Lines, got.Count)
		}
		for _, l := range lines {
			if l.Submitted.IsZero() || l.Dest == (mobileid.Pseudonym{}) || l.Parts < 1 || l.Reference < NoReference || l.Reference > 65535 || l.Charged < 0 || l.Charged > maxSoum*100 || !l.Priced && l.Charged != 0 {
				t.Fatalf("a line that cannot be: %+v", l)
			}
		}
		again, _, err := read(text, Options{Zone: zone})
		if err != nil || again.Hash != got.Hash {
			t.Fatalf("read again: %v", err)
		}
	})
}

// charged is a file that says what was debited; of what its rows have for it.
func charged(amounts ...string) string {
	body := Columns + "," + ChargedColumn + "\n"
	for _, a := range amounts {
		body += "2026-11-23 05:00:01,,+998937654321,a1,,DELIVRD,,," + a + "\n"
	}
	return "#mobileid-reconcile,1,operator=beeline,zone=UTC\n" + body
}

func TestAFileMaySayWhatWasDebited(t *testing.T) {
	f, lines, err := read(charged("120.00", "", "0.00", "0.5", "7"), Options{})
	if err != nil || !f.Charges {
		t.Fatalf("%+v %v", f, err)
	}
	for i, want := range []string{"true 120.00", "false 0.00", "true 0.00", "true 0.50", "true 7.00"} {
		if have := fmt.Sprint(lines[i].Priced, " ", lines[i].Charged); have != want {
			t.Errorf("line %d: %s, want %s", lines[i].No, have, want)
		}
	}
	bad := []string{"-1", "+1", "1.234", "1e3", "1.", ".5", "1 000", "0x1", "1_0", "1000000000.01", "99999999999999999999", "free"}
	_, _, err = read(charged(append(bad, "1000000000")...), Options{})
	for i := range bad {
		if want := fmt.Sprintf("line %d: charged: ", i+3); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: no %q in %v", bad[i], want, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), fmt.Sprintf("line %d: ", len(bad)+3)) {
		t.Errorf("the most that a line may say is a mistake: %v", err)
	}
	// The column is named or it is not there.
	for _, text := range []string{
		strings.Replace(charged("1"), ",charged", "", 1), strings.Replace(charged("1"), ",,,1", ",,", 1), strings.Replace(charged("1"), "charged", "debited", 1),
	} {
		if _, _, err := read(text, Options{}); err == nil {
			t.Errorf("read: %s", text)
		}
	}
	if f, _, err := read(file(), Options{}); err != nil || f.Charges {
		t.Errorf("a file of before: %+v %v", f, err)
	}
}
