package profile

import (
	"errors"
	"fmt"
	"regexp"
)

// Pattern reads a vendor's receipt text by a regular expression (RE2) with the
// groups id and stat, and err if it likes. The zero value reads nothing.
type Pattern struct {
	expr          *regexp.Regexp
	id, stat, err int // numbers of the groups; err is 0 where there is none
}

// UnmarshalText compiles an expression; "" is the zero value. The error says
// what is wrong with it.
func (p *Pattern) UnmarshalText(text []byte) error {
	*p = Pattern{}
	if len(text) == 0 {
		return nil
	}
	expr, err := regexp.Compile(string(text))
	if err != nil {
		return fmt.Errorf("want a regular expression of Go (RE2): %w", err)
	}
	read := Pattern{expr: expr}
	for i, name := range expr.SubexpNames() {
		var group *int
		switch name {
		case "id":
			group = &read.id
		case "stat":
			group = &read.stat
		case "err":
			group = &read.err
		case "":
			continue
		default:
			return fmt.Errorf("no group %q is known; the groups are id, stat and err", name)
		}
		if *group != 0 {
			return fmt.Errorf("the group %s stands twice", name)
		}
		*group = i
	}
	if read.id == 0 || read.stat == 0 {
		return errors.New("want the groups (?P<id>...) and (?P<stat>...)")
	}
	*p = read
	return nil
}

// Find returns the fields of a text that the expression matches, as they stand
// there; nil for a group that took no part.
func (p Pattern) Find(text []byte) (id, stat, err []byte, ok bool) {
	if p.expr == nil {
		return nil, nil, nil, false
	}
	at := p.expr.FindSubmatchIndex(text)
	if at == nil {
		return nil, nil, nil, false
	}
	group := func(n int) []byte {
		if n == 0 || at[2*n] < 0 {
			return nil
		}
		return text[at[2*n]:at[2*n+1]]
	}
	return group(p.id), group(p.stat), group(p.err), true
}
