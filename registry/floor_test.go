package registry

import (
	"slices"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// A transaction that took its seq long before it committed is found by the
// look that begins at the start.
func TestTheFloorOfTheOutboxDelaysAndNeverHides(t *testing.T) {
	var f outboxFloor
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	if at := f.at(now); at != 0 {
		t.Fatalf("the first look begins at %d", at)
	}
	f.relayed(100, false, now)
	lastFull := now
	for seq := int64(101); seq < 1000; seq++ {
		now = now.Add(50 * time.Millisecond)
		at := f.at(now)
		if at == 0 {
			lastFull = now
		}
		if now.Sub(lastFull) > fullLook {
			t.Fatalf("no full look for %s", now.Sub(lastFull))
		}
		if young := seq - int64(floorAge/(50*time.Millisecond)); at > young {
			t.Fatalf("at seq %d a look begins at %d, above what is younger than %s", seq, at, floorAge)
		}
		f.relayed(seq, false, now)
	}
	if f.floor < 900 {
		t.Fatalf("the floor stays at %d", f.floor)
	}
	f.relayed(0, false, now.Add(time.Hour)) // nothing was relayed
	if f.next < 900 {
		t.Fatalf("an empty look takes the floor back to %d", f.next)
	}
}

// Thousands of rows of one long transaction lie below the floor: a batch every
// fullLook would carry them for minutes.
func TestWhatLiesBelowTheFloorLeavesBatchAfterBatch(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	f := outboxFloor{floor: 10_000, next: 20_000, nextAt: now, fullLook: now.Add(-fullLook)}
	for last := int64(500); last < 10_000; last += 500 {
		if at := f.at(now); at != 0 {
			t.Fatalf("after a full batch that ended below the floor, at %d, a look begins at %d", last-500, at)
		}
		f.relayed(last, true, now)
		now = now.Add(time.Millisecond)
	}
	if at := f.at(now); at != 0 {
		t.Fatalf("the last look begins at %d", at)
	}
	f.relayed(10_500, true, now) // full, and nothing below the floor is left
	if at := f.at(now); at != 10_000 {
		t.Fatalf("the walk over what was deleted is not spared: a look begins at %d", at)
	}
}

func TestAClientWhoseTopicFailsIsTriedAfterAGrowingPause(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	h := heldClients{}
	batch := []mobileid.StatusChanged{{Client: "fine"}, {Client: "fails"}}
	for _, seconds := range []int{2, 4, 8, 16, 30, 30} {
		pause := time.Duration(seconds) * time.Second
		if begins := h.published(batch, map[string]bool{"fails": true}, now); !slices.Equal(begins, []string{"fails"}) {
			t.Fatalf("the pause begins of %v", begins)
		}
		if skip, over := h.at(now.Add(pause - 1)); over || !slices.Equal(skip, []string{"fails"}) {
			t.Fatalf("within %s: %v is left out, over = %v", pause, skip, over)
		}
		now = now.Add(pause)
		if skip, over := h.at(now); !over || skip == nil || len(skip) > 0 {
			t.Fatalf("after %s: %v is left out, over = %v", pause, skip, over)
		}
		if _, over := h.at(now); over {
			t.Fatal("the end of a pause is told twice")
		}
	}
	h.published(batch, nil, now)
	if len(h) != 0 {
		t.Fatalf("%v is remembered of a client whose topic is back", h)
	}
}
