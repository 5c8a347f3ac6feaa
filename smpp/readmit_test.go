package smpp

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// What is coming back and has ended elsewhere is not kept for ever.
func TestWhatNeverComesBackIsForgotten(t *testing.T) {
	b := bridgeOn(nil)
	l := &lease{id: 1}
	b.extend(l, b.now())
	comes := func(i int, deadline time.Time) {
		id := mobileid.ID{1, byte(i >> 16), byte(i >> 8), byte(i)}
		b.readmit(&job{admission: mobileid.Admission{ID: id, Deadline: deadline}, lease: l, asked: b.now()})
	}
	for i := range maxHeld {
		comes(i, b.now().Add(-time.Second))
	}
	comes(maxHeld, b.now().Add(time.Hour))
	if n := len(b.coming); n != 1 {
		t.Errorf("%d jobs are remembered, want the one whose time is not over", n)
	}
}
