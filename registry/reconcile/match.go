package reconcile

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"mobileid/internal/mobileid"
)

// Rule is how a line and a Message were found to belong together.
type Rule string

// The rules, the surest first.
const (
	ByID        Rule = "id"
	ByReference Rule = "reference"
	ByCount     Rule = "count"
	ByAbsence   Rule = "absence"
)

// Hit gives a line to a part of a Message.
type Hit struct {
	Line *Line
	Part int // 0: the part that was answered with the line's id
}

// Settlement is what the file says of one Message.
type Settlement struct {
	Message *Message
	Rule    Rule
	Hits    []Hit // none by absence
}

// Doubt is what a person must look at.
type Doubt struct {
	Why      string
	Lines    []*Line
	Messages []*Message
}

// Result is what became of lines and Messages. The settlements of one group
// must be stored together.
type Result struct {
	Groups  [][]Settlement
	Doubts  []Doubt
	Waiting []*Message // the operator has them and says nothing final yet
	Known   int        // lines of Messages that are not in doubt
	Unknown []*Line    // lines of nothing that we know
}

const (
	// skew is how far the clocks of two hosts may differ.
	skew = 5 * time.Minute
	// idWindow is how long an operator's id means the same Message.
	idWindow = 72 * time.Hour
	// afterValidity is how much longer than its validity a Message's end may take
	// to reach the operator's books.
	afterValidity = time.Hour
)

// Match decides. Lines are those that may be of one of the messages: others
// make no difference but are counted as unknown.
func Match(f File, messages []*Message, lines []*Line) Result {
	m := &matcher{explained: map[*Message]bool{}, dealt: map[*Message]bool{}}
	messages, lines = slices.Clone(messages), slices.Clone(lines)
	slices.SortFunc(messages, func(a, b *Message) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	lines = m.merge(lines)
	lines = m.byID(messages, lines)
	lines = m.byReference(messages, lines)
	m.byCount(messages, lines)
	m.byAbsence(f, messages)
	slices.SortFunc(m.out.Unknown, func(a, b *Line) int { return cmp.Compare(a.No, b.No) })
	return m.out
}

type matcher struct {
	out       Result
	explained map[*Message]bool // the file says something of it
	dealt     map[*Message]bool // of its missing parts
}

func (m *matcher) doubt(why string, lines []*Line, messages []*Message) {
	for _, x := range messages {
		m.explained[x] = true
	}
	m.out.Doubts = append(m.out.Doubts, Doubt{Why: why, Lines: lines, Messages: messages})
}

// compareLines orders by what lines say, then by where they stand.
func compareLines(a, b *Line) int {
	return cmp.Or(bytes.Compare(a.Dest[:], b.Dest[:]), a.Submitted.Compare(b.Submitted), cmp.Compare(a.ID, b.ID),
		cmp.Compare(a.Reference, b.Reference), cmp.Compare(a.Parts, b.Parts), a.Done.Compare(b.Done), cmp.Compare(a.State, b.State), cmp.Compare(a.Stat, b.Stat),
		cmp.Compare(a.Err, b.Err), cmp.Compare(a.No, b.No))
}

// merge keeps one line of those that repeat each other: the same id to the same
// number at the same time. The final one counts; two different ends are left to
// a person.
func (m *matcher) merge(lines []*Line) []*Line {
	slices.SortFunc(lines, compareLines)
	var out []*Line
	for len(lines) > 0 {
		first, n := lines[0], 1
		for n < len(lines) && first.ID != "" && lines[n].ID == first.ID && lines[n].Dest == first.Dest &&
			lines[n].Submitted.Equal(first.Submitted) && lines[n].Reference == first.Reference && lines[n].Parts == first.Parts {
			n++
		}
		same := lines[:n]
		lines = lines[n:]
		keep := same[0]
		contradict := false
		for _, l := range same[1:] {
			switch {
			case l.State == "" || l.State == keep.State:
			case keep.State == "":
				keep = l
			default:
				contradict = true
			}
		}
		if contradict {
			// Its Messages must not be taken for absent: the line stays, as one
			// that says nothing final.
			m.doubt("the same Message ended in two ways", slices.Clone(same), nil)
			open := *keep
			open.State = ""
			keep = &open
		}
		out = append(out, keep)
	}
	return out
}

// byID gives lines to the parts that were answered with their id.
func (m *matcher) byID(messages []*Message, lines []*Line) (rest []*Line) {
	type key struct {
		id   string
		dest mobileid.Pseudonym
	}
	owners, told := map[key][]*Message{}, map[key][]*Line{}
	for _, x := range messages {
		for _, id := range x.IDs {
			owners[key{id, x.Dest}] = append(owners[key{id, x.Dest}], x)
		}
	}
	var keys []key
	for _, l := range lines {
		k := key{l.ID, l.Dest}
		if l.ID == "" || len(owners[k]) == 0 {
			rest = append(rest, l)
			continue
		}
		if told[k] == nil {
			keys = append(keys, k)
		}
		told[k] = append(told[k], l)
	}
	for _, k := range keys {
		var near []*Line
		of := owners[k]
		for _, l := range told[k] {
			if l.Submitted.After(of[0].From.Add(-idWindow)) && l.Submitted.Before(of[0].Until.Add(idWindow)) || len(of) > 1 {
				near = append(near, l)
			} else {
				m.out.Unknown = append(m.out.Unknown, l)
			}
		}
		switch {
		case len(near) == 0:
		case len(of) > 1 || len(near) > 1:
			m.doubt("the operator's id is not unique", near, of)
		case !of[0].Open:
			m.out.Known++
		default:
			m.settle([]Settlement{{Message: of[0], Rule: ByID, Hits: []Hit{{Line: near[0]}}}})
		}
	}
	return rest
}

// settle keeps what lines say of the messages of a group.
func (m *matcher) settle(group []Settlement) {
	waits := false
	for _, s := range group {
		m.explained[s.Message] = true
		for _, h := range s.Hits {
			waits = waits || h.Line.State == ""
		}
	}
	if !waits {
		m.out.Groups = append(m.out.Groups, group)
		return
	}
	for _, s := range group {
		m.out.Waiting = append(m.out.Waiting, s.Message)
	}
}

// within reports whether x may have been written when l says.
func within(x *Message, l *Line) bool {
	return !l.Submitted.Before(x.From.Add(-skew)) && !l.Submitted.After(x.Until.Add(skew))
}

// hidden reports whether lines of x may be in a file under ids that we were
// never told.
func hidden(x *Message) bool { return len(x.Missing) > 0 || x.Tries > 1 }

// byReference gives lines that echo our reference to the Message that carried
// it. Such a line never goes on to the count: it says which one it is of.
func (m *matcher) byReference(messages []*Message, lines []*Line) (rest []*Line) {
	var echo []*Line
	for _, l := range lines {
		if l.Reference == NoReference {
			rest = append(rest, l)
		} else {
			echo = append(echo, l)
		}
	}
	m.components(ByReference, messages, echo, func(x *Message, l *Line) bool {
		return Reference(x.ID) == l.Reference && within(x, l)
	})
	return rest
}

// byCount gives n lines to n Messages to the same number at the same time.
func (m *matcher) byCount(messages []*Message, lines []*Line) {
	m.components(ByCount, messages, lines, within)
}

// components cuts messages and lines of the same number into those that may
// belong to each other, and judges each.
func (m *matcher) components(rule Rule, messages []*Message, lines []*Line, may func(*Message, *Line) bool) {
	byDest := map[mobileid.Pseudonym][]*Message{}
	for _, x := range messages {
		// One that was written twice may have more lines: it stays in the way.
		if hidden(x) && (!m.dealt[x] || x.Tries > 1) {
			byDest[x.Dest] = append(byDest[x.Dest], x)
		}
	}
	taken := map[*Line]bool{}
	for i, l := range lines {
		if taken[l] {
			continue
		}
		to := i // lines are in order of their numbers
		for to < len(lines) && lines[to].Dest == l.Dest {
			to++
		}
		xs, ls := component(l, byDest[l.Dest], lines[i:to], taken, may)
		slices.SortFunc(ls, compareLines)
		slices.SortFunc(xs, func(a, b *Message) int {
			return cmp.Or(a.From.Compare(b.From), bytes.Compare(a.ID[:], b.ID[:]))
		})
		m.judge(rule, xs, ls)
	}
}

// component gathers what may belong to a line, to what belongs to it, and so on.
func component(l *Line, messages []*Message, lines []*Line, taken map[*Line]bool, may func(*Message, *Line) bool) (xs []*Message, ls []*Line) {
	ls, taken[l] = []*Line{l}, true
	in := map[*Message]bool{}
	for at := 0; at < len(ls); at++ {
		for _, x := range messages {
			if in[x] || !may(x, ls[at]) {
				continue
			}
			in[x] = true
			xs = append(xs, x)
			for _, other := range lines {
				if !taken[other] && may(x, other) {
					taken[other] = true
					ls = append(ls, other)
				}
			}
		}
	}
	return xs, ls
}

// judge decides about messages and lines that may be of each other.
func (m *matcher) judge(rule Rule, xs []*Message, ls []*Line) {
	open := 0
	for _, x := range xs {
		if x.Open && len(x.Missing) > 0 && !m.dealt[x] {
			open++
		}
	}
	for _, x := range xs {
		m.dealt[x] = true
	}
	switch group, why := give(rule, xs, ls); {
	case len(xs) == 0:
		m.out.Unknown = append(m.out.Unknown, ls...)
	case open == 0:
		m.out.Known += len(ls)
	case open < len(xs):
		m.doubt("another Message may have these lines, too", ls, xs)
	case why != "":
		m.doubt(why, ls, xs)
	default:
		m.settle(group)
	}
}

// give deals the lines out to the parts of the messages, or says why it cannot.
func give(rule Rule, xs []*Message, ls []*Line) (group []Settlement, why string) {
	want, have, same := 0, 0, true
	whole := true // each line stands for a whole Message
	for _, l := range ls {
		have += l.Parts
		same = same && l.State == ls[0].State
		for _, x := range xs {
			whole = whole && l.Parts == len(x.Missing)
		}
		if l.Parts > 1 && !whole {
			return nil, "a line stands for another number of parts than the Message has"
		}
	}
	again := false
	for _, x := range xs {
		want += len(x.Missing)
		again = again || x.Tries > 1
	}
	switch {
	case want == 0:
		return nil, "every part is accounted for"
	case len(xs) == 1 && have%want == 0 && have/want <= xs[0].Tries:
	case have != want:
		return nil, "more or fewer lines than Messages"
	case again:
		return nil, "one of the Messages was written twice"
	}
	if !same && (len(xs) > 1 || have != want) && !(len(xs) == 1 && want == 1) {
		return nil, "the lines end differently, and which is whose is not known"
	}
	for _, x := range xs {
		group = append(group, Settlement{Message: x, Rule: rule})
	}
	at, part := 0, 0
	for _, l := range ls {
		for range l.Parts {
			to := &group[at]
			to.Hits = append(to.Hits, Hit{Line: l, Part: to.Message.Missing[part]})
			if part++; part == len(to.Message.Missing) {
				at, part = (at+1)%len(group), 0
			}
		}
	}
	return group, ""
}

// byAbsence settles what a file does not have, when it would have to.
func (m *matcher) byAbsence(f File, messages []*Message) {
	for _, x := range messages {
		covered := f.Complete() && !x.From.Add(-skew).Before(f.From) && !x.ValidUntil.Add(afterValidity).After(f.Until)
		switch {
		case !x.Open || m.explained[x] || x.Told || !covered:
		case len(x.IDs) > 0 || !x.Uncharged:
			m.doubt("it was answered or confirmed, and the file does not have it", nil, []*Message{x})
		case x.State == mobileid.MessageUnconfirmed && !x.Undecided:
			// Ended, uncharged: nothing is left to do.
		default:
			m.out.Groups = append(m.out.Groups, []Settlement{{Message: x, Rule: ByAbsence}})
		}
	}
}
