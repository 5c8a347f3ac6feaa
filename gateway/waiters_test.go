package gateway

import (
	"slices"
	"testing"

	"mobileid/internal/mobileid"
)

// The envelope says for whom a status event is; its value is not read.
func TestAnEventWakesWhoWaitsForItsSubjectOrItsRequest(t *testing.T) {
	challenge, message, other := mobileid.ID{1}, mobileid.ID{2}, mobileid.ID{3}
	for name, c := range map[string]struct {
		subject, request mobileid.ID
		woken            []mobileid.ID
	}{
		"a challenge":              {challenge, challenge, []mobileid.ID{challenge}},
		"the Message of its code":  {message, challenge, []mobileid.ID{challenge, message}},
		"the Message of a notice":  {message, message, []mobileid.ID{message}},
		"one nobody here asks for": {mobileid.ID{4}, mobileid.ID{5}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWaiters()
			waits := map[mobileid.ID]<-chan struct{}{}
			for _, id := range []mobileid.ID{challenge, message, other} {
				changed, cancel := w.Wait(id)
				defer cancel()
				waits[id] = changed
			}
			event := mobileid.Event{Subject: c.subject.String(), Key: c.request.String(), Value: []byte("{}")}
			w.Notify(event)
			w.Notify(event) // nobody has read the first one yet
			for id, changed := range waits {
				want := 0
				if slices.Contains(c.woken, id) {
					want = 1
				}
				if n := len(changed); n != want {
					t.Errorf("waiter of %d: woken %d times, want %d", id[0], n, want)
				}
			}
		})
	}
}

// Whose events began after their changes looks again.
func TestAllWhoWaitAreWokenWhenChangesMayHaveBeenMissed(t *testing.T) {
	w := NewWaiters()
	for id := range byte(3) {
		changed, cancel := w.Wait(mobileid.ID{id})
		defer cancel()
		defer func() {
			if n := len(changed); n != 1 {
				t.Errorf("waiter of %d: woken %d times, want 1", id, n)
			}
		}()
	}
	w.NotifyAll()
}

// BenchmarkNotifyNobody is what a status event costs a process in which nobody
// waits for it, after its envelope has been read.
func BenchmarkNotifyNobody(b *testing.B) {
	w := NewWaiters()
	_, cancel := w.Wait(mobileid.ID{1})
	defer cancel()
	e := mobileid.Event{Subject: mobileid.ID{2}.String(), Key: mobileid.ID{3}.String()}
	b.ReportAllocs()
	for b.Loop() {
		w.Notify(e)
	}
}
