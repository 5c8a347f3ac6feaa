package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// What the documents tell people to type exists, with the flags that they name.
// A line of a block is a command to its end or to #, and so is what stands
// between backquotes.
func TestEachCommandInTheDocumentsExistsWithItsFlags(t *testing.T) {
	documents, err := filepath.Glob("../../docs/*.md")
	check(t, err)
	typed := regexp.MustCompile("(?m)^(?:    )?mobileid ([^#\n]+)|`mobileid ([^`\n]+)`")
	least := map[string]int{"runbook.md": 15, "reconciliation.md": 2}
	for _, path := range append(documents, "../../README.md", "../../SECURITY.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(path)
		check(t, err)
		found := typed.FindAllStringSubmatch(string(text), -1)
		if len(found) < least[filepath.Base(path)] {
			t.Errorf("%s: %d commands were found", path, len(found))
		}
		for _, m := range found {
			words := strings.Fields(m[1] + m[2])
			var flags, names []string
			for _, w := range words {
				if strings.HasPrefix(w, "-") && w != "-" {
					name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
					flags = append(flags, name)
				} else {
					names = append(names, w)
				}
			}
			cmd, rest, err := rootCommand().Find(names)
			if err != nil || !cmd.HasParent() || cmd.HasSubCommands() && !cmd.Runnable() && len(rest) > 0 {
				t.Errorf("%s: there is no `mobileid %s`: %v", path, strings.Join(words, " "), err)
				continue
			}
			known := map[string]bool{"help": true}
			cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
			cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
			for _, f := range flags {
				if !known[f] {
					t.Errorf("%s: `%s` has no --%s", path, cmd.CommandPath(), f)
				}
			}
			// A word in small letters that no command took is a command that
			// does not exist.
			if cmd.HasSubCommands() && len(rest) > 0 && rest[0] == strings.ToLower(rest[0]) {
				t.Errorf("%s: `%s` has no command %s", path, cmd.CommandPath(), rest[0])
			}
		}
	}
}
