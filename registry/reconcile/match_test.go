package reconcile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
)

var (
	noon    = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	day     = File{From: noon.Add(-12 * time.Hour), Until: noon.Add(12 * time.Hour), Count: 1, Checksum: "said"}
	alice   = mobileid.Pseudonym{1}
	bob     = mobileid.Pseudonym{2}
	anyEnd  = []mobileid.MessageState{"", mobileid.MessageDelivered, mobileid.MessageUndeliverable}
	anyDest = []mobileid.Pseudonym{alice, bob}
)

// message is one of one part, in doubt since noon.
func message(n int, dest mobileid.Pseudonym) *Message {
	m := &Message{
		Dest: dest, From: noon, Until: noon.Add(time.Minute), ValidUntil: noon.Add(time.Hour), State: mobileid.MessageInDoubt,
		Missing: []int{1}, Tries: 1, Open: true, Uncharged: true,
	}
	binary.BigEndian.PutUint16(m.ID[7:], uint16(n)) // its reference
	m.ID[20] = byte(n)
	return m
}

// line is one at noon that tells nothing but a delivery.
func line(no int, dest mobileid.Pseudonym) *Line {
	return &Line{No: no, Submitted: noon, Dest: dest, Reference: NoReference, State: mobileid.MessageDelivered, Stat: "DELIVRD", Parts: 1}
}

func with[T any](v *T, change func(*T)) *T {
	change(v)
	return v
}

// said is what came out, in short.
func said(r Result) string {
	var out []string
	for _, g := range r.Groups {
		for _, s := range g {
			text := fmt.Sprintf("%d by %s:", s.Message.ID[20], s.Rule)
			for _, h := range s.Hits {
				text += fmt.Sprintf(" %d/%d", h.Line.No, h.Part)
			}
			out = append(out, text)
		}
	}
	for _, d := range r.Doubts {
		out = append(out, fmt.Sprintf("person %d lines %d messages", len(d.Lines), len(d.Messages)))
	}
	for _, x := range r.Waiting {
		out = append(out, fmt.Sprintf("%d waits", x.ID[20]))
	}
	if r.Known > 0 {
		out = append(out, fmt.Sprintf("%d known", r.Known))
	}
	if len(r.Unknown) > 0 {
		out = append(out, fmt.Sprintf("%d unknown", len(r.Unknown)))
	}
	return strings.Join(out, "; ")
}

func TestTheRulesInTheirOrder(t *testing.T) {
	answered := func(m *Message) { m.IDs, m.Missing = []string{"op1"}, nil }
	id := func(id string) func(*Line) { return func(l *Line) { l.ID = id } }
	echo := func(n int) func(*Line) { return func(l *Line) { l.Reference = n } }
	ends := func(s mobileid.MessageState) func(*Line) { return func(l *Line) { l.State = s } }
	later := func(d time.Duration) func(*Line) { return func(l *Line) { l.Submitted = l.Submitted.Add(d) } }
	two := func(m *Message) { m.Missing = []int{1, 2} }
	closed := func(m *Message) { m.Open = false }
	short := File{From: noon.Add(-time.Hour), Until: noon.Add(time.Hour), Count: 1, Checksum: "said"}
	for name, c := range map[string]struct {
		f        File
		messages []*Message
		lines    []*Line
		want     string
	}{
		"by id":                           {day, []*Message{with(message(1, alice), answered)}, []*Line{with(line(3, alice), id("op1"))}, "1 by id: 3/0"},
		"the id of another number":        {File{}, []*Message{with(message(1, alice), answered)}, []*Line{with(line(3, bob), id("op1"))}, "1 unknown"},
		"an id that came round":           {File{}, []*Message{with(message(1, alice), answered)}, []*Line{with(with(line(3, alice), id("op1")), later(100*time.Hour))}, "1 unknown"},
		"an id of two":                    {day, []*Message{with(message(1, alice), answered), with(message(2, alice), answered)}, []*Line{with(line(3, alice), id("op1"))}, "person 1 lines 2 messages"},
		"by reference":                    {day, []*Message{message(1, alice), message(2, alice)}, []*Line{with(line(3, alice), echo(2))}, "2 by reference: 3/1; 1 by absence:"},
		"a stray line beside a reference": {day, []*Message{message(1, alice)}, []*Line{with(line(3, alice), echo(1)), line(4, alice)}, "1 by reference: 3/1; 1 unknown"},
		"a reference of nobody":           {File{}, []*Message{message(1, alice)}, []*Line{with(line(3, alice), echo(2))}, "1 unknown"},
		"a reference, another day":        {File{}, []*Message{message(1, alice)}, []*Line{with(with(line(3, alice), echo(1)), later(24*time.Hour))}, "1 unknown"},
		"by count":                        {day, []*Message{message(1, alice), message(2, alice), message(3, bob)}, []*Line{line(3, alice), line(4, alice)}, "1 by count: 3/1; 2 by count: 4/1; 3 by absence:"},
		"fewer lines":                     {day, []*Message{message(1, alice), message(2, alice)}, []*Line{line(3, alice)}, "person 1 lines 2 messages"},
		"more lines":                      {day, []*Message{message(1, alice)}, []*Line{line(3, alice), line(4, alice)}, "person 2 lines 1 messages"},
		"outside the window":              {File{}, []*Message{message(1, alice)}, []*Line{with(line(3, alice), later(7*time.Minute))}, "1 unknown"},
		"ends that differ":                {day, []*Message{message(1, alice), message(2, alice)}, []*Line{line(3, alice), with(line(4, alice), ends(mobileid.MessageUndeliverable))}, "person 2 lines 2 messages"},
		"parts that end differently":      {day, []*Message{with(message(1, alice), two)}, []*Line{line(3, alice), with(line(4, alice), ends(mobileid.MessageUndeliverable))}, "1 by count: 3/1 4/2"},
		"a line for all parts":            {day, []*Message{with(message(1, alice), two)}, []*Line{with(line(3, alice), func(l *Line) { l.Parts = 2 })}, "1 by count: 3/1 3/2"},
		"a line for more parts":           {day, []*Message{message(1, alice)}, []*Line{with(line(3, alice), func(l *Line) { l.Parts = 2 })}, "person 1 lines 1 messages"},
		"one of two parts":                {day, []*Message{with(message(1, alice), two)}, []*Line{line(3, alice)}, "person 1 lines 1 messages"},
		"a code that was sent twice":      {day, []*Message{with(message(1, alice), func(m *Message) { m.Tries = 2 })}, []*Line{line(3, alice), with(line(4, alice), ends(mobileid.MessageUndeliverable))}, "1 by count: 3/1 4/1"},
		"one beside that is not in doubt": {day, []*Message{message(1, alice), with(message(2, alice), closed)}, []*Line{line(3, alice), line(4, alice)}, "person 2 lines 2 messages"},
		"only one that is not in doubt":   {day, []*Message{with(message(2, alice), closed)}, []*Line{line(3, alice)}, "1 known"},
		"nothing final yet":               {day, []*Message{message(1, alice)}, []*Line{with(line(3, alice), ends(""))}, "1 waits"},
		"a line twice":                    {day, []*Message{message(1, alice)}, []*Line{with(line(3, alice), id("x")), with(line(4, alice), id("x"))}, "1 by count: 3/1"},
		"on its way, then delivered":      {day, []*Message{message(1, alice)}, []*Line{with(line(4, alice), id("x")), with(with(line(3, alice), id("x")), ends(""))}, "1 by count: 4/1"},
		"ends in two ways": {
			day,
			[]*Message{message(1, alice)},
			[]*Line{with(line(3, alice), id("x")), with(with(line(4, alice), id("x")), ends(mobileid.MessageUndeliverable))},
			"person 2 lines 0 messages; 1 waits",
		},
		"absent":                           {day, []*Message{message(1, alice)}, nil, "1 by absence:"},
		"absent, nothing stated":           {File{Count: -1}, []*Message{message(1, alice)}, nil, ""},
		"absent, no count":                 {File{From: day.From, Until: day.Until, Count: -1, Checksum: "said"}, []*Message{message(1, alice)}, nil, ""},
		"absent, no checksum":              {File{From: day.From, Until: day.Until, Count: 1}, []*Message{message(1, alice)}, nil, ""},
		"absent, an hour short":            {short, []*Message{message(1, alice)}, nil, ""},
		"absent, begins too late":          {File{From: noon, Until: day.Until, Count: 1, Checksum: "said"}, []*Message{message(1, alice)}, nil, ""},
		"absent, and it was answered":      {day, []*Message{with(message(1, alice), answered)}, nil, "person 0 lines 1 messages"},
		"absent, and its code confirmed":   {day, []*Message{with(message(1, alice), func(m *Message) { m.Uncharged = false })}, nil, "person 0 lines 1 messages"},
		"absent, and has ended":            {day, []*Message{with(message(1, alice), func(m *Message) { m.State = mobileid.MessageUnconfirmed })}, nil, ""},
		"absent, and told by other lines":  {day, []*Message{with(message(1, alice), func(m *Message) { m.Told = true })}, nil, ""},
		"absent, and it is not in doubt":   {day, []*Message{with(message(1, alice), closed)}, nil, ""},
		"delivered and absent are two who": {day, []*Message{message(1, alice), message(2, bob)}, []*Line{line(3, alice)}, "1 by count: 3/1; 2 by absence:"},
	} {
		if got := said(Match(c.f, c.messages, c.lines)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// drawn is a small world: few numbers, ids, references and times, so that they
// clash.
func drawn(t *rapid.T) (messages []*Message, lines []*Line) {
	for n := range rapid.IntRange(0, 6).Draw(t, "messages") {
		m := message(n%3, rapid.SampledFrom(anyDest).Draw(t, "dest"))
		m.ID[20] = byte(n)
		m.From = noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "from")) * 10 * time.Minute)
		m.Until = m.From.Add(time.Minute)
		m.Open, m.Uncharged = rapid.IntRange(0, 4).Draw(t, "open") > 0, rapid.Bool().Draw(t, "uncharged")
		m.Tries = rapid.IntRange(1, 2).Draw(t, "tries")
		parts := rapid.IntRange(1, 3).Draw(t, "parts")
		answered := rapid.IntRange(0, parts).Draw(t, "answered")
		m.Missing = nil
		for p := 1; p <= parts; p++ {
			if p > answered {
				m.Missing = append(m.Missing, p)
			} else {
				m.IDs = append(m.IDs, rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "id"))
			}
		}
		messages = append(messages, m)
	}
	for n := range rapid.IntRange(0, 8).Draw(t, "lines") {
		l := line(n+3, rapid.SampledFrom(anyDest).Draw(t, "to"))
		l.Submitted = noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "at")) * 10 * time.Minute)
		l.ID = rapid.SampledFrom([]string{"", "", "a", "b", "x", "y"}).Draw(t, "operator id")
		l.Reference = rapid.SampledFrom([]int{NoReference, NoReference, 0, 1, 2}).Draw(t, "reference")
		l.State = rapid.SampledFrom(anyEnd).Draw(t, "state")
		l.Parts = rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "line parts")
		lines = append(lines, l)
	}
	return messages, lines
}

// outcome is what happens to Messages, whatever the numbers of the lines: a
// line is told by what it says.
func outcome(r Result) []string {
	var out []string
	for _, g := range r.Groups {
		for _, s := range g {
			text := fmt.Sprintf("%d %s", s.Message.ID[20], s.Rule)
			for _, h := range s.Hits {
				text += fmt.Sprintf(" %s/%s/%s/%d", h.Line.ID, h.Line.State, h.Line.Submitted.Format("15:04"), h.Part)
			}
			out = append(out, text)
		}
	}
	for _, x := range r.Waiting {
		out = append(out, fmt.Sprintf("%d waits", x.ID[20]))
	}
	slices.Sort(out)
	return out
}

func TestNoLineSettlesTwoAndNoMessageIsSettledTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages, lines := drawn(t)
		r := Match(day, messages, lines)
		of := map[*Line]*Message{}
		type part struct {
			m    *Message
			part int
			id   string
		}
		told := map[part]int{}
		rules := map[*Message][]Rule{}
		for _, g := range r.Groups {
			for _, s := range g {
				if !s.Message.Open {
					t.Fatalf("%v is not in doubt", s.Message)
				}
				rules[s.Message] = append(rules[s.Message], s.Rule)
				for _, h := range s.Hits {
					if other := of[h.Line]; other != nil && other != s.Message {
						t.Fatalf("line %d settles two", h.Line.No)
					}
					of[h.Line] = s.Message
					p := part{s.Message, h.Part, ""}
					if h.Part == 0 {
						p.id = h.Line.ID
					}
					told[p]++
					if h.Line.Dest != s.Message.Dest || h.Line.State == "" {
						t.Fatalf("line %d settles a Message to another number, or says nothing", h.Line.No)
					}
				}
			}
		}
		for p, n := range told {
			if n > p.m.Tries {
				t.Fatalf("part %d of %d is told %d times, written %d times", p.part, p.m.ID[20], n, p.m.Tries)
			}
		}
		for m, rs := range rules {
			others := 0
			for _, rule := range rs {
				if rule != ByID {
					others++
				}
			}
			if others > 1 || slices.Contains(rs, ByAbsence) && len(rs) > 1 {
				t.Fatalf("%d is settled by %v", m.ID[20], rs)
			}
		}
		for _, d := range r.Doubts {
			for _, l := range d.Lines {
				if of[l] != nil {
					t.Fatalf("line %d settles a Message and is in doubt", l.No)
				}
			}
		}
	})
}

func TestTheOrderOfLinesAndTheirRepetitionChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages, lines := drawn(t)
		want := outcome(Match(day, messages, lines))
		shuffled := slices.Clone(lines)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for _, l := range lines {
			if l.ID != "" && random.IntN(2) == 0 {
				again := *l
				shuffled = append(shuffled, &again)
			}
		}
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for i, l := range shuffled {
			moved := *l
			moved.No = i + 3
			shuffled[i] = &moved
		}
		swapped := slices.Clone(messages)
		random.Shuffle(len(swapped), func(i, j int) { swapped[i], swapped[j] = swapped[j], swapped[i] })
		if got := outcome(Match(day, swapped, shuffled)); !slices.Equal(got, want) {
			t.Fatalf("%v\nwant\n%v", got, want)
		}
	})
}
