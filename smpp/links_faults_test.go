package smpp

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// A bind goes to its other host when one is lost, and to the first again when
// that is back and the other is lost.
func TestALinkMovesToTheHostThatIsThere(t *testing.T) {
	r := newRig(t, nil)
	other, err := smsc.Start(smsc.Config{Accounts: map[string]string{"mobileid": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	first, second := r.smsc.Addr(), other.Addr()
	r.bridge.links[0].bind.Hosts = []string{first, second}
	r.start()
	if v := r.linkIs("a", LinkUp); v.Host != first {
		t.Errorf("first on %s", v.Host)
	}
	_ = r.smsc.Close()
	r.linkUntil("a", "up on the other host", func(v LinkView) bool { return v.State == LinkUp && v.Host == second })
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	again, err := smsc.Start(smsc.Config{Addr: first, Accounts: map[string]string{"mobileid": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	_ = other.Close()
	r.linkUntil("a", "up on the first host", func(v LinkView) bool { return v.State == LinkUp && v.Host == first })
}

// Of two binds one is lost: the other goes on, and readiness stays.
func TestOneBindOfTwoIsLost(t *testing.T) {
	r := newRig(t, twoBinds(profile.Transceiver, profile.Transceiver, 2))
	r.bridge.links[1].bind.Hosts = []string{"127.0.0.1:1"}
	r.start()
	r.linkIs("a", LinkUp)
	v := r.linkUntil("b", "down for a reason", func(v LinkView) bool { return v.State == LinkDown && v.Failure != "" })
	if v.Host != "127.0.0.1:1" {
		t.Errorf("%+v", v)
	}
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	if err := r.bridge.Ready(); err != nil {
		t.Errorf("with one bind: %v", err)
	}
}

// An operator who never answers does not hold a drain for ever: the response
// timer ends it, and what was not answered is in doubt.
func TestADrainEndsWithTheResponseTimer(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Timers.Response = 200 * time.Millisecond })
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer})
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := r.bridge.DrainLink("a"); err != nil {
		t.Fatal(err)
	}
	r.linkIs("a", LinkStopped)
	r.until(id, mobileid.MessageInDoubt)
	if n := r.smsc.Count(); n != 1 {
		t.Errorf("%d submit_sm", n)
	}
}

// Whoever does not want to wait for a drain says stop.
func TestAStopEndsADrain(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Timers.Response = time.Hour })
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer})
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := r.bridge.DrainLink("a"); err != nil {
		t.Fatal(err)
	}
	r.linkIs("a", LinkDraining)
	if err := r.bridge.StopLink("a"); err != nil {
		t.Fatal(err)
	}
	r.linkIs("a", LinkStopped)
	r.until(id, mobileid.MessageInDoubt)
}

// The last order counts, however quickly they come.
func TestOrdersInQuickSuccession(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	for range 30 {
		for _, order := range []func(string) error{r.bridge.StopLink, r.bridge.StartLink, r.bridge.DrainLink, r.bridge.StartLink} {
			if err := order("a"); err != nil {
				t.Fatal(err)
			}
		}
	}
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	r.linkIs("a", LinkUp)
	for range 30 {
		_ = r.bridge.StartLink("a")
		_ = r.bridge.StopLink("a")
	}
	r.linkIs("a", LinkStopped)
	if n := r.smsc.Bound(); n != 0 {
		t.Errorf("%d binds", n)
	}
}

// Refused credentials wait for minutes, unless somebody has corrected them and
// says start.
func TestAStartEndsTheWaitAfterARefusal(t *testing.T) {
	r := newRig(t, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultRefuseBind})
	r.start()
	if v := r.linkIs("a", LinkRefused); v.Failure != "bind refused with 0x0e" {
		t.Errorf("%+v", v)
	}
	r.smsc.Reset()
	if err := r.bridge.StartLink("a"); err != nil {
		t.Fatal(err)
	}
	if v := r.linkIs("a", LinkUp); v.Failure != "bind refused with 0x0e" || v.FailedAt.IsZero() {
		t.Errorf("%+v", v)
	}
}

// The pause between two tries doubles up to its bound, each spread by a fifth
// either way, so that bridges do not come back together.
func TestThePauseBetweenTriesGrowsAndIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bridgeOn(nil)
		b.cfg.Profile.Timers.ReconnectMin, b.cfg.Profile.Timers.ReconnectMax = time.Second, 16*time.Second
		var tries []time.Time
		b.dial = func(context.Context, string, profile.TLS) (net.Conn, error) {
			tries = append(tries, time.Now())
			return nil, errors.New("nobody there")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		b.links[0].keep(ctx)
		pauses := map[time.Duration]bool{}
		for i := range len(tries) - 1 {
			want := min(time.Second<<i, 16*time.Second)
			if i > 10 {
				want = 16 * time.Second
			}
			got := tries[i+1].Sub(tries[i])
			if got < want*4/5 || got > want*6/5 {
				t.Errorf("pause %d is %v, want about %v", i, got, want)
			}
			if want == 16*time.Second {
				pauses[got] = true
			}
		}
		if len(tries) < 60 || len(pauses) < len(tries)/2 {
			t.Errorf("%d tries, %d different pauses", len(tries), len(pauses))
		}
	})
}
