package smpp

import (
	"slices"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// A bind that asks for a Message later does not get it again while another one has
// room for it.
func TestARetryGoesToAnotherBind(t *testing.T) {
	busy := func(int, submitted) reply { return reply{status: wire.StatusSystemError} }
	for name, row := range map[string]struct {
		b    func(int, submitted) reply
		want []string // of one Message
	}{
		"the other one takes it": {statuses(), []string{"a", "b"}},
		"the other one asks for later too": {func(n int, _ submitted) reply {
			return reply{status: wire.StatusSystemError * wire.Status(1-min(n, 1))}
		}, []string{"a", "b", "a", "b"}},
		"there is no other one": {nil, []string{"a", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			two := twoOperators{"a": {answer: busy}, "b": {answer: row.b}}
			if row.b == nil {
				two["a"].answer = statuses(wire.StatusSystemError)
			}
			tune := func(c *Config) {
				// The wider window is the one with more room.
				c.Profile.Binds = []profile.Bind{{Name: "a", Type: profile.Transceiver, Window: 20, Hosts: []string{"a"}}}
				if row.b != nil {
					c.Profile.Binds = append(c.Profile.Binds, profile.Bind{Name: "b", Type: profile.Transceiver, Window: 4, Hosts: []string{"b"}})
				}
			}
			inBubbleWith(t, tune, nil, func(r *rig) { r.bridge.dial = two.dial }, func(r *rig, _ *operator) {
				for _, l := range r.bridge.Links() {
					r.linkIs(l.Name, LinkUp)
				}
				id := r.message(mobileid.LaneOTP, nil)
				r.mustTake(mobileid.LaneOTP, id)
				r.until(id, mobileid.MessageSent)
				var got []string
				type try struct {
					on string
					at time.Time
				}
				var tries []try
				for on, o := range two {
					for _, s := range o.of(id) {
						tries = append(tries, try{on, s.at})
					}
				}
				slices.SortFunc(tries, func(x, y try) int { return x.at.Compare(y.at) })
				for _, x := range tries {
					got = append(got, x.on)
				}
				if !slices.Equal(got, row.want) {
					t.Errorf("written to %v, want %v", got, row.want)
				}
				r.bridge.later.mu.Lock()
				defer r.bridge.later.mu.Unlock()
				if n := len(r.bridge.later.of); n != 0 {
					t.Errorf("%d remembered", n)
				}
			})
		})
	}
}
