package app

import (
	"errors"
	"strings"
	"testing"
)

// The smpp check fails when nobody carries, not when somebody does not.
func TestOneOperatorsOutageDoesNotTakeTheProcessAway(t *testing.T) {
	up := func() error { return nil }
	down := func() error { return errors.New("link_down") }
	still := func() error { return errors.New("standstill") }
	for name, row := range map[string]struct {
		operators []operatorReady
		fails     string // "": ready
		parts     string // those that fail
	}{
		"no operator":                         {nil, "", ""},
		"one is up":                           {[]operatorReady{{"beeline", true, up}}, "", ""},
		"one is down":                         {[]operatorReady{{"beeline", true, down}}, "beeline: link_down", "smpp beeline"},
		"the only one is disabled":            {[]operatorReady{{"beeline", false, down}}, "", ""},
		"one of two is down":                  {[]operatorReady{{"beeline", true, down}, {"ucell", true, up}}, "", "smpp beeline"},
		"one of two accepts nothing":          {[]operatorReady{{"beeline", true, up}, {"ucell", true, still}}, "", "smpp ucell"},
		"one is disabled, and the other down": {[]operatorReady{{"beeline", false, up}, {"ucell", true, down}}, "ucell: link_down", "smpp ucell"},
		"none of two carries":                 {[]operatorReady{{"beeline", true, down}, {"ucell", true, still}}, "beeline: link_down\nucell: standstill", "smpp beeline smpp ucell"},
	} {
		t.Run(name, func(t *testing.T) {
			fails, parts := "", []string{}
			for _, c := range operatorChecks(row.operators) {
				err := c.Check(t.Context())
				switch {
				case err == nil:
				case c.Part:
					parts = append(parts, c.Name)
				default:
					fails = err.Error()
				}
			}
			if got := strings.Join(parts, " "); fails != row.fails || got != row.parts {
				t.Errorf("fails with %q, parts %q; want %q, %q", fails, got, row.fails, row.parts)
			}
		})
	}
}
