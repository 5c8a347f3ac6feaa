package smpp

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/smpp/wire"
)

// A process that is stopped between the look at a permission and the write does
// not write when it goes on: the permission is over by then.
func TestAProcessThatWasFrozenDoesNotWriteOnAnOldPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var frozen atomic.Int64 // how long, when a permission was given
		p := pipe(t, func(c *sessionConfig) {
			c.now = func() time.Time { return time.Now().Add(time.Duration(frozen.Load())) }
		})
		fate := p.submit(func(now time.Time) (time.Time, bool) {
			frozen.Store(int64(3 * time.Second))
			return now.Add(time.Second), true
		})
		read := make(chan error, 1)
		go func() {
			_, err := wire.Read(p.conn)
			read <- err
		}()
		if a := <-fate; a.fate != notWritten {
			t.Errorf("fate %v, want that nothing was written", a.fate)
		}
		if <-read == nil {
			t.Error("a submit_sm was written two seconds after its permission")
		}
		_ = p.end()
	})
}
