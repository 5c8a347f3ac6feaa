// Package docs_test keeps the documents true: what they draw, list or name is
// compared with the code, so that neither changes alone.
package docs_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

const architecture = "architecture.md"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section returns what stands under a heading, up to the next heading of the
// same depth or above.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut("\n"+text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("no heading %q", heading)
	}
	depth := len(heading) - len(strings.TrimLeft(heading, "#"))
	next := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, depth))
	if at := next.FindStringIndex(rest); at != nil {
		rest = rest[:at[0]]
	}
	return rest
}

// drawing is a state diagram: the arrows between states, where it begins, and
// where it ends. An arrow drawn twice would hide a typing mistake, so it is an
// error.
type drawing struct {
	arrows map[[2]string]bool
	begins []string
	ends   []string
}

var arrow = regexp.MustCompile(`^\s+(\[\*\]|\w+) --> (\[\*\]|\w+)(: .+)?$`)

func drawn(t *testing.T, heading string) drawing {
	t.Helper()
	_, block, found := strings.Cut(section(t, read(t, architecture), heading), "```mermaid\nstateDiagram-v2\n")
	if !found {
		t.Fatalf("no state diagram under %q", heading)
	}
	block, _, found = strings.Cut(block, "```")
	if !found {
		t.Fatalf("the state diagram under %q does not end", heading)
	}
	d := drawing{arrows: map[[2]string]bool{}}
	for line := range strings.Lines(block) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		m := arrow.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("under %q: not an arrow: %q", heading, line)
		}
		switch from, to := m[1], m[2]; {
		case from == "[*]":
			d.begins = append(d.begins, to)
		case to == "[*]":
			d.ends = append(d.ends, from)
		case d.arrows[[2]string{from, to}]:
			t.Errorf("under %q: %s --> %s is drawn twice", heading, from, to)
		default:
			d.arrows[[2]string{from, to}] = true
		}
	}
	slices.Sort(d.ends)
	return d
}

func (d drawing) compare(t *testing.T, begin string, states []string, canBecome func(from, to string) bool, terminal func(string) bool) {
	t.Helper()
	if !slices.Equal(d.begins, []string{begin}) {
		t.Errorf("begins at %v, want %s", d.begins, begin)
	}
	left := maps.Clone(d.arrows)
	var ends []string
	for _, from := range states {
		if terminal(from) {
			ends = append(ends, from)
		}
		for _, to := range states {
			inDrawing, inCode := d.arrows[[2]string{from, to}], canBecome(from, to)
			if inCode && !inDrawing {
				t.Errorf("%s --> %s is in the code and not drawn", from, to)
			}
			if inDrawing && !inCode {
				t.Errorf("%s --> %s is drawn and not in the code", from, to)
			}
			delete(left, [2]string{from, to})
		}
	}
	for a := range left {
		t.Errorf("%s --> %s is drawn with a state that the code does not know", a[0], a[1])
	}
	if !slices.Equal(d.ends, ends) {
		t.Errorf("drawn ends %v, want %v", d.ends, ends)
	}
}

func words[S ~string](states []S) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return out
}

func TestTheDrawnStatesOfAMessageAreThoseOfTheCode(t *testing.T) {
	drawn(t, "### Message").compare(t, string(mobileid.MessageQueued), words(mobileid.MessageStates()),
		func(from, to string) bool {
			return mobileid.MessageState(from).CanBecome(mobileid.MessageState(to))
		},
		func(s string) bool { return mobileid.MessageState(s).Terminal() })
}

func TestTheDrawnStatesOfAChallengeAreThoseOfTheCode(t *testing.T) {
	drawn(t, "### Challenge").compare(t, string(mobileid.ChallengeAccepted), words(mobileid.ChallengeStates()),
		func(from, to string) bool {
			return mobileid.ChallengeState(from).CanBecome(mobileid.ChallengeState(to))
		},
		func(s string) bool { return mobileid.ChallengeState(s).Terminal() })
}

// migrations returns all the SQL, and with it every table's text by name.
func migrations(t *testing.T) (all string, tables map[string]string) {
	t.Helper()
	files, err := filepath.Glob("../registry/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	for _, f := range files {
		all += read(t, f) + "\n"
	}
	tables = map[string]string{}
	for _, m := range regexp.MustCompile(`(?ms)^create table (\w+) \((.*?)^\)`).FindAllStringSubmatch(all, -1) {
		tables[m[1]] = m[2]
	}
	added := regexp.MustCompile(`(?m)^    add column +(\w+ +\w.*)$`)
	for _, m := range regexp.MustCompile(`(?ms)^alter table (\w+)\b([^;]*);`).FindAllStringSubmatch(all, -1) {
		for _, c := range added.FindAllStringSubmatch(m[2], -1) {
			tables[m[1]] += "\n    " + c[1]
		}
	}
	return all, tables
}

func TestTheDrawnStatesOfAChargeAreThoseOfTheSchema(t *testing.T) {
	all, _ := migrations(t)
	m := regexp.MustCompile(`check \(charge in \(([^)]*)\)\)`).FindStringSubmatch(all)
	if m == nil {
		t.Fatal("the schema does not list the states of a Charge")
	}
	want := strings.Split(strings.NewReplacer("'", "", " ", "").Replace(m[1]), ",")
	slices.Sort(want)
	var have []string
	for a := range drawn(t, "### Charge").arrows {
		have = append(have, a[0], a[1])
	}
	slices.Sort(have)
	if have = slices.Compact(have); !slices.Equal(have, want) {
		t.Errorf("drawn states %v, schema has %v", have, want)
	}
}

// rows returns the cells of the table under a heading, without its head.
func rows(t *testing.T, text, heading string) [][]string {
	t.Helper()
	var out [][]string
	for line := range strings.Lines(section(t, text, heading)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		out = append(out, cells)
	}
	if len(out) < 3 {
		t.Fatalf("no table under %q", heading)
	}
	return out[2:]
}

func TestTheTableOfTopicsIsThatOfTheCode(t *testing.T) {
	var have, want []string
	for _, r := range rows(t, read(t, architecture), "## Topics") {
		have = append(have, strings.Join(r[:4], " | "))
	}
	for _, topic := range mobileid.Topics() {
		want = append(want, fmt.Sprintf("`%s` | %d days | %s | %s",
			topic.Name, topic.Retention/(24*time.Hour), topic.Exposure, topic.Keyed))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// A column that holds a PINFL, a number, a pseudonym of one or a sealed text is
// known by its name; each must be in the map, and the map must not name
// columns that are gone.
func TestTheMapOfPersonalDataNamesTheColumnsOfTheSchema(t *testing.T) {
	_, tables := migrations(t)
	personal := []string{"pinfl", "msisdn", "person", "number", "dest", "sealed"}
	column := regexp.MustCompile(`(?m)^    (\w+) +\w`)
	var want []string
	for table, body := range tables {
		for _, m := range column.FindAllStringSubmatch(body, -1) {
			if slices.Contains(personal, m[1]) {
				want = append(want, table+"."+m[1])
			}
		}
	}
	var have []string
	cell := regexp.MustCompile("^`(\\w+\\.\\w+)`$")
	for _, r := range rows(t, read(t, architecture), "## Personal data") {
		if m := cell.FindStringSubmatch(r[0]); m != nil {
			have = append(have, m[1])
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(have, want) {
		t.Errorf("the map has\n%s\nthe schema has\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// walk calls fn for every file of the repository with that extension; what git
// ignores is left out.
func walk(t *testing.T, ext string, fn func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == ".run" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !d.IsDir() && filepath.Ext(path) == ext {
			fn(path, read(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEachPromiseNamesATestThatExists(t *testing.T) {
	promises := rows(t, read(t, "../README.md"), "## Promises")
	known := map[string]bool{}
	fn := regexp.MustCompile(`(?m)^func (Test\w+|Fuzz\w+)\(`)
	walk(t, ".go", func(path, text string) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range fn.FindAllStringSubmatch(text, -1) {
			known[filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../"))+" "+m[1]] = true
		}
	})
	named := regexp.MustCompile("`([\\w/]+)` `(\\w+)`")
	for i, r := range promises {
		if want := fmt.Sprintf("P%d", i+1); len(r) != 3 || r[0] != want {
			t.Fatalf("row %d: want three cells that begin with %s, have %v", i+1, want, r)
		}
		tests := named.FindAllStringSubmatch(r[2], -1)
		if len(tests) == 0 && !strings.Contains(r[2], "not yet proved") {
			t.Errorf("%s names no test and does not say \"not yet proved\"", r[0])
		}
		for _, m := range tests {
			if !known[m[1]+" "+m[2]] {
				t.Errorf("%s names `%s` `%s`, which does not exist", r[0], m[1], m[2])
			}
		}
	}
	if len(promises) != 10 {
		t.Errorf("%d promises, want 10", len(promises))
	}
}

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	comment := regexp.MustCompile(`(?s)<!--.*?-->`)
	walk(t, ".md", func(path, text string) {
		for _, m := range link.FindAllStringSubmatch(comment.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s does not exist", path, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s: %s has no such heading", path, m[1])
			}
		}
	})
}

// anchors are the headings of a document the way a forge names them in links.
func anchors(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}
