package smpp

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// twoOperators gives binds a and b an operator of their own each, or one bind two
// hosts.
type twoOperators map[string]*operator

func (two twoOperators) dial(ctx context.Context, host string, secure profile.TLS) (net.Conn, error) {
	return two[host].dial(ctx, host, secure)
}

// unanswered is the most submit_sm that an operator has had open at once.
func (o *operator) unanswered() (most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.seen {
		open := 0
		for _, other := range o.seen {
			if other.on == s.on && !other.at.After(s.at) && (other.answered.IsZero() || other.answered.After(s.at)) {
				open++
			}
		}
		most = max(most, open)
	}
	return most
}

func (o *operator) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.seen)
}

func hangs(int, submitted) reply { return reply{silent: true} }

// bring brings ids again and again, as a lane does.
func (r *rig) bring(lane mobileid.Lane, ids ...mobileid.ID) {
	for err := r.take(lane, ids...); mobileid.CodeOf(err) == "operator_busy"; {
		err = r.take(lane, ids...)
	}
}

// codes brings one code after another and returns how many went in doubt.
func (r *rig) codes(n int, every time.Duration) (doubts int) {
	ids := make([]mobileid.ID, n)
	for i := range ids {
		ids[i] = r.message(mobileid.LaneOTP, nil)
		go r.bring(mobileid.LaneOTP, ids[i])
		time.Sleep(every)
	}
	time.Sleep(time.Minute)
	for _, id := range ids {
		for _, state := range r.outcomes(id) {
			if strings.HasPrefix(state, string(mobileid.MessageInDoubt)) {
				doubts++
			}
		}
		r.store.mu.Lock()
		if state := r.store.state(id); state != mobileid.MessageSent {
			r.t.Errorf("a code is %s", state)
		}
		r.store.mu.Unlock()
	}
	return doubts
}

// Of two binds one hangs: it costs its window and a try now and then, and no code
// goes unsent for it.
func TestOfTwoBindsTheOneThatHangsGetsNoMore(t *testing.T) {
	two := twoOperators{"a": {answer: hangs}, "b": {answer: statuses()}}
	tune := func(c *Config) {
		c.Profile.Binds = []profile.Bind{
			{Name: "a", Type: profile.Transceiver, Window: 4, Hosts: []string{"a"}},
			{Name: "b", Type: profile.Transceiver, Window: 4, Hosts: []string{"b"}},
		}
	}
	inBubbleWith(t, tune, nil, func(r *rig) { r.bridge.dial = two.dial }, func(r *rig, _ *operator) {
		const codes = 600
		r.linkIs("b", LinkUp)
		doubts := r.codes(codes, 100*time.Millisecond)
		// A window before anybody can know, then one in each response timer.
		if n := two["a"].count(); n > 4+10 || doubts > n {
			t.Errorf("the bind that hangs got %d submit_sm in two minutes, %d went in doubt", n, doubts)
		}
		if n := two["b"].count(); n < codes {
			t.Errorf("the other one got %d", n)
		}
		if most := two["a"].unanswered(); most > 4 {
			t.Errorf("%d unanswered in a window of 4", most)
		}
		if n := testutil.ToFloat64(r.bridge.links[0].metrics.hung); n < 1 {
			t.Errorf("left %v times", n)
		}
		if n := strings.Count(r.logs.String(), "answers the link and no submit_sm"); n != int(testutil.ToFloat64(r.bridge.links[0].metrics.hung)) {
			t.Errorf("told %d times", n)
		}
	})
}

// A bind whose host hangs goes to its other one.
func TestAHostThatHangsIsLeftForTheNext(t *testing.T) {
	two := twoOperators{"a": {answer: hangs}, "b": {answer: statuses()}}
	tune := func(c *Config) { c.Profile.Binds[0].Hosts = []string{"a", "b"} }
	inBubbleWith(t, tune, nil, func(r *rig) { r.bridge.dial = two.dial }, func(r *rig, _ *operator) {
		r.linkIs("a", LinkUp)
		doubts := r.codes(50, 100*time.Millisecond)
		if n := two["a"].count(); n != 10 || doubts != 10 {
			t.Errorf("the host that hangs got %d submit_sm, %d went in doubt; want a window of them", n, doubts)
		}
		if v := r.linkIs("a", LinkUp); v.Host != "b" {
			t.Errorf("%+v", v)
		}
	})
}

// The only host hangs for a while: each new session is tried with one Message
// after the other, not with a window, until one is answered.
func TestASessionAfterOneThatHungIsTriedWithOneMessageAtATime(t *testing.T) {
	var back atomic.Bool
	answer := func(int, submitted) reply { return reply{silent: !back.Load()} }
	inBubble(t, nil, answer, func(r *rig, o *operator) {
		r.linkIs("a", LinkUp)
		var notices []mobileid.ID
		for range 100 {
			notices = append(notices, r.message(mobileid.LaneBulk, nil))
		}
		go r.bring(mobileid.LaneBulk, notices...)
		time.Sleep(25 * time.Second)
		if n := o.count(); n != 10+1 {
			t.Errorf("%d submit_sm, want a window on the first session and one on the second", n)
		}
		time.Sleep(2 * time.Minute)
		if n := o.count(); n < 10+6 || n > 10+14 {
			t.Errorf("%d submit_sm, want one in each response timer", n)
		}
		back.Store(true)
		time.Sleep(30 * time.Second)
		if n := o.count(); n != 100 {
			t.Errorf("%d submit_sm, want all", n)
		}
	})
}
