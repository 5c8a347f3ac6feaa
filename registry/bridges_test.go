package registry_test

import (
	"testing"
	"time"
)

func TestLiveBridgesAreThoseOfTheOperatorWhoseLeaseStands(t *testing.T) {
	e := newEnv(t)
	open := func(operator string, lease time.Duration) int64 {
		t.Helper()
		id, err := e.OpenBridge(e.ctx(), operator, "test", lease)
		must(t, err)
		return id
	}
	open("beeline", time.Hour)
	closed := open("beeline", time.Hour)
	open("beeline", 0) // has ended
	open("ucell", time.Hour)
	for _, want := range []int{2, 1} {
		got, err := e.LiveBridges(e.ctx(), "beeline")
		must(t, err)
		if got != want {
			t.Errorf("%d, want %d", got, want)
		}
		must(t, e.CloseBridge(e.ctx(), closed))
	}
}
