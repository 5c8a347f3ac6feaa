package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/registry"
)

// truth compares what the books say with what the simulated operator took.
type truth struct {
	smsc  *smsc.Server
	db    *registry.DB
	began time.Time
	grace time.Duration // after a deadline, until a Message must have ended

	mu      sync.Mutex
	read    int                 // submits when taken was made
	taken   map[string]struct{} // operator ids
	doubled int64
}

// count returns how many Messages were lost and how many SMS came twice.
//
// Lost is an SMS that the books call sent and that the operator never took, or
// a Message without an end after its deadline and grace (P1). Doubled is each
// SMS beyond the first with the same text and reference to the same number.
func (t *truth) count(ctx context.Context) (lost, doubled int64, err error) {
	// The books first: what they call sent by now, the operator has had before.
	sent, err := t.db.Sent(ctx, t.began)
	if err != nil {
		return 0, 0, err
	}
	overdue, err := t.db.Overdue(ctx, time.Now().Add(-t.grace))
	if err != nil {
		return 0, 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.smsc.Count(); n != t.read {
		t.read = n
		t.taken, t.doubled = compare(t.smsc.Received())
	}
	for _, id := range sent {
		if _, ok := t.taken[id]; !ok {
			lost++
		}
	}
	return lost + overdue, t.doubled, nil
}

func compare(received []smsc.Submit) (taken map[string]struct{}, doubled int64) {
	taken = make(map[string]struct{}, len(received))
	seen := make(map[string]bool, len(received))
	for _, s := range received {
		if s.Status != 0 {
			continue // refused: it is on no handset
		}
		taken[s.MessageID] = struct{}{}
		what := fmt.Sprintf("%s\x00%s\x00%d\x00%s", s.Dest, s.Fields["tlv_0x0204"], s.Part, s.Text)
		if seen[what] {
			doubled++
		}
		seen[what] = true
	}
	return taken, doubled
}
