package smpp

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// stats are the stats of receipts in order, without "".
func stats(of map[string]int) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(of)), func(s string) bool { return s == "" })
}

// WriteReport prints a trial as Markdown for both sides to sign. Numbers and
// texts are masked in it, and the account's password.
func (c Certification) WriteReport(out io.Writer, steps []CertifiedStep) error {
	var b strings.Builder
	verdict := "all as expected"
	for _, s := range steps {
		if !s.OK {
			verdict = "not all as expected"
		}
	}
	fmt.Fprintf(&b, "# SMPP account %s at %s\n\nTried at %s with SMPP 3.4, to %s: %s.\n\n",
		cell(c.Profile.Account.SystemID), cell(c.Profile.ID), time.Now().UTC().Format(time.RFC3339), c.To.Masked(), verdict)
	b.WriteString("| Step | Expected | Observed | As expected | Began (UTC) | Took |\n|---|---|---|---|---|---|\n")
	for _, s := range steps {
		ok := "**no**"
		if s.OK {
			ok = "yes"
		}
		if s.LeftOut {
			ok = "left out"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", s.Name, s.Expected, cell(s.Observed), ok,
			s.Began.UTC().Format("15:04:05.000"), s.Took.Round(time.Millisecond))
	}
	b.WriteString("\nDid the texts arrive on the handset, each once, whole and readable? ______\n\n" +
		"| | Name | Date | Signature |\n|---|---|---|---|\n| Operator | | | |\n| Mobile-ID | | | |\n\n" +
		"## PDUs\n\nTexts, passwords and all but the last two digits of numbers are masked; lengths are as they were.\n")
	for _, s := range steps {
		if len(s.PDUs) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n```\n%s\n```\n", s.Name, strings.Join(s.PDUs, "\n"))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// cell keeps a text in its cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}
