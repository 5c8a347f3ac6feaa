package smpp

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// linkIs waits until a link is in a state.
func (r *rig) linkIs(name string, want LinkState) LinkView {
	r.t.Helper()
	return r.linkUntil(name, string(want), func(v LinkView) bool { return v.State == want })
}

// linkUntil waits until a link is as it should be.
func (r *rig) linkUntil(name, what string, ok func(LinkView) bool) LinkView {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		for _, v := range r.bridge.Links() {
			if v.Name == name && ok(v) {
				return v
			}
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("link %s is not %s: %+v", name, what, r.bridge.Links())
		}
		time.Sleep(time.Millisecond) // the bridge has no signal for people
	}
}

func twoBinds(a, b profile.BindType, window int) func(*Config, *smsc.Config) {
	return func(c *Config, _ *smsc.Config) {
		c.Profile.Binds = []profile.Bind{{Name: "a", Type: a, Window: window}, {Name: "b", Type: b, Window: window}}
	}
}

func TestATransmitterSendsAndAReceiverReceives(t *testing.T) {
	r := newRig(t, twoBinds(profile.Transmitter, profile.Receiver, 2))
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.linkIs("b", LinkUp)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	r.store.until(t, "receipt", func() bool { return len(r.store.receipts) == 1 })
	if o := r.last(id); o.Link[:len("beeline/mobileid/a#")] != "beeline/mobileid/a#" {
		t.Errorf("sent on %s", o.Link)
	}
}

// Two binds of one account carry together what neither could alone, and go on
// when one of them is lost.
func TestTwoBindsShareTheWork(t *testing.T) {
	r := newRig(t, twoBinds(profile.Transceiver, profile.Transceiver, 2))
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer})
	r.start()
	r.linkIs("a", LinkUp)
	r.linkIs("b", LinkUp)
	ids := make([]mobileid.ID, 4)
	for i := range ids {
		ids[i] = r.message(mobileid.LaneOTP, nil)
	}
	r.mustTake(mobileid.LaneOTP, ids...)
	if err := r.smsc.Wait(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	for _, v := range r.bridge.Links() {
		if v.InUse != 2 || v.Oldest <= 0 {
			t.Errorf("%+v", v)
		}
	}
	r.smsc.Reset()
	if err := r.bridge.StopLink("a"); err != nil {
		t.Fatal(err)
	}
	r.linkIs("a", LinkStopped)
	id := r.message(mobileid.LaneOTP, nil)
	if err := r.bridge.StopLink("b"); err != nil { // its window is full of what is never answered
		t.Fatal(err)
	}
	r.linkIs("b", LinkStopped)
	if err := r.bridge.StartLink("b"); err != nil {
		t.Fatal(err)
	}
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	for _, id := range ids { // in doubt with its bind, and written once more on the other one
		r.until(id, mobileid.MessageSent)
	}
	if n := r.smsc.Count(); n != len(ids)+1 { // since the Reset
		t.Errorf("%d submit_sm", n)
	}
}

func TestTheNextHostIsTriedAtOnce(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	_ = closed.Close()
	r := newRig(t, func(c *Config, s *smsc.Config) {
		s.Addr = "127.0.0.1:0"
		c.Profile.Timers.ReconnectMin, c.Profile.Timers.ReconnectMax = time.Hour, time.Hour
	})
	r.bridge.links[0].bind.Hosts = []string{nobody, r.smsc.Addr()}
	r.start()
	if v := r.linkIs("a", LinkUp); v.Host != r.smsc.Addr() || !strings.HasPrefix(v.Failure, "dial: ") {
		t.Errorf("%+v", v)
	}
}

// Why a link was lost is still known when it is bound again, and an order by hand
// takes the place of no failure.
func TestTheLastFailureOutlivesTheNextBind(t *testing.T) {
	inBubble(t, nil, func(n int, _ submitted) reply { return reply{cut: n == 0} }, func(r *rig, o *operator) {
		if v := r.linkIs("a", LinkUp); v.Failure != "" || !v.FailedAt.IsZero() {
			t.Errorf("never lost: %+v", v)
		}
		time.Sleep(time.Minute)
		began := time.Now()
		r.mustTake(mobileid.LaneOTP, r.message(mobileid.LaneOTP, nil))
		time.Sleep(3 * time.Minute)
		const why = "the operator closed the connection"
		if v := r.linkIs("a", LinkUp); o.binds != 2 || v.Failure != why || v.FailedAt.Sub(began) > time.Second || v.Since.Before(v.FailedAt) {
			t.Errorf("bound again: %+v", v)
		}
		if err := r.bridge.StopLink("a"); err != nil {
			t.Fatal(err)
		}
		if v := r.linkIs("a", LinkStopped); v.Failure != why {
			t.Errorf("stopped: %+v", v)
		}
	})
}

// A drained link takes nothing more, waits for the answers of its window and
// is not bound again until it is started.
func TestALinkIsDrainedAndStarted(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Binds[0].Window = 1 })
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Count: 1, Delay: 200 * time.Millisecond})
	r.start()
	first, second := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, first)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := r.bridge.DrainLink("a"); err != nil {
		t.Fatal(err)
	}
	r.linkIs("a", LinkStopped)
	r.until(first, mobileid.MessageSent)
	if err := r.bridge.Ready(); mobileid.CodeOf(err) != "link_down" {
		t.Errorf("ready without a link: %v", err)
	}
	taken := make(chan error, 1)
	go func() { taken <- r.take(mobileid.LaneOTP, second) }()
	if err := r.bridge.StartLink("a"); err != nil {
		t.Fatal(err)
	}
	r.until(second, mobileid.MessageSent)
	if err := <-taken; err != nil {
		t.Error(err)
	}
	if err := r.bridge.StartLink("z"); mobileid.KindOf(err) != mobileid.KindNotFound {
		t.Errorf("a link that there is not: %v", err)
	}
}

// The kill switch is stronger than an order: nothing is written until the file
// says so, and nothing is expected of the process.
func TestTheKillSwitchKeepsEveryLinkDown(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Enabled = false })
	r.start()
	r.linkIs("a", LinkStopped)
	err := r.bridge.StartLink("a")
	if mobileid.KindOf(err) != mobileid.KindConflict || mobileid.CodeOf(err) != "operator_disabled" || !strings.Contains(err.Error(), "enabled: true") {
		t.Errorf("start: %v", err)
	}
	for _, order := range []func(string) error{r.bridge.DrainLink, r.bridge.StopLink} {
		if err := order("a"); err != nil {
			t.Error(err)
		}
	}
	r.linkIs("a", LinkStopped)
	if n := r.smsc.Bound(); n != 0 {
		t.Errorf("%d binds", n)
	}
	if err := r.bridge.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func TestALinkThatCarriesNothingIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, func(c *sessionConfig) { c.enquire, c.inactivity = 10*time.Second, time.Minute })
		began := time.Now()
		go func() { // an operator that answers every enquire_link
			for {
				f, err := wire.Read(p.conn)
				if err != nil {
					return
				}
				_, _ = p.conn.Write(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
			}
		}()
		if err := <-p.done; err != errInactive { //nolint:errorlint // the very one
			t.Errorf("ended with %v", err)
		}
		if after := time.Since(began); after < time.Minute || after > 65*time.Second {
			t.Errorf("after %v", after)
		}
	})
}

// Wrong credentials are tried again after minutes, on no other host, because
// quick retries lock accounts.
func TestWrongCredentialsAreNotTriedOnTheNextHost(t *testing.T) {
	for _, status := range []wire.Status{wire.StatusBindFailed, wire.StatusBadPassword, wire.StatusBadSystemID} {
		t.Run(status.String(), func(t *testing.T) { wrongCredentials(t, status) })
	}
}

func wrongCredentials(t *testing.T, status wire.Status) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dials := make(chan string, 10)
		b := bridgeOn(nil)
		b.links[0].bind.Hosts = []string{"one:2775", "two:2775"}
		b.dial = func(_ context.Context, host string, _ profile.TLS) (net.Conn, error) {
			dials <- host
			ours, theirs := net.Pipe()
			go func() {
				f, err := wire.Read(theirs)
				if err == nil {
					_, _ = theirs.Write(wire.AppendHeader(nil, f.Command.Response(), status, f.Sequence))
				}
			}()
			return ours, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		kept := make(chan struct{})
		go func() { b.links[0].keep(ctx); close(kept) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(dials) != 1 || b.Links()[0].State != LinkRefused {
			t.Errorf("%d dials in a minute, %+v", len(dials), b.Links()[0])
		}
		time.Sleep(2 * time.Minute)
		if len(dials) != 2 {
			t.Errorf("%d dials in three minutes", len(dials))
		}
		cancel()
		<-kept
	})
}
