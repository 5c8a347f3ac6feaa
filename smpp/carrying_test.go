package smpp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Who brings work to a bridge takes part while a link carries: a short reconnect
// does not end it, a link that stays away does, and it begins again with the
// link.
func TestWorkIsBroughtWhileALinkCarries(t *testing.T) {
	tune := func(c *Config) { c.GiveBack = 2 * time.Second }
	inBubble(t, tune, statuses(), func(r *rig, _ *operator) {
		began, ended := make(chan time.Time, 1), make(chan time.Time, 1)
		ctx, stop := context.WithCancel(r.t.Context())
		over := make(chan error, 1)
		go func() {
			over <- r.bridge.WhileCarrying(ctx, func(ctx context.Context) error {
				began <- time.Now()
				<-ctx.Done()
				ended <- time.Now()
				return nil
			})
		}()
		<-began
		order := func(f func(string) error) time.Time {
			if err := f("a"); err != nil {
				t.Fatal(err)
			}
			return time.Now()
		}
		order(r.bridge.StopLink)
		time.Sleep(1900 * time.Millisecond)
		order(r.bridge.StartLink)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatal("a reconnect of 1.9 s has ended it")
		}
		for _, leave := range []func(string) error{r.bridge.StopLink, r.bridge.DrainLink} {
			at := order(leave)
			if d := (<-ended).Sub(at); d != 2*time.Second {
				t.Errorf("left after %v, want 2s", d)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(began) > 0 {
				t.Fatal("begun without a link")
			}
			at = order(r.bridge.StartLink)
			if d := (<-began).Sub(at); d > time.Second {
				t.Errorf("joined after %v", d)
			}
		}
		stop()
		<-ended
		if err := <-over; err != nil {
			t.Error(err)
		}
		failed := errors.New("wrong")
		if err := r.bridge.WhileCarrying(r.t.Context(), func(context.Context) error { return failed }); !errors.Is(err, failed) {
			t.Errorf("%v, want the error of what was called", err)
		}
	})
}
