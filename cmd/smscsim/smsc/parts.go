package smsc

import (
	"strings"
	"sync"
)

// maxOpen bounds the texts whose parts have not all come.
const maxOpen = 10_000

// parts puts texts together from their parts, as a handset does.
type parts struct {
	mu   sync.Mutex
	open map[partsOf]map[int]string
}

// partsOf is what the parts of one text have in common.
type partsOf struct {
	account, source, dest string
	reference, total      int
}

// join returns the whole text when s is the part that completes it, "" before.
func (p *parts) join(s Submit) string {
	if s.Parts <= 1 {
		return s.Text
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := partsOf{s.Account, s.Source, s.Dest, s.Reference, s.Parts}
	if p.open == nil || len(p.open) >= maxOpen {
		p.open = map[partsOf]map[int]string{}
	}
	if p.open[key] == nil {
		p.open[key] = map[int]string{}
	}
	p.open[key][s.Part] = s.Text
	if len(p.open[key]) < s.Parts {
		return ""
	}
	var whole strings.Builder
	for i := range s.Parts {
		whole.WriteString(p.open[key][i+1])
	}
	delete(p.open, key)
	return whole.String()
}
