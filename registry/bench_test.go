package registry_test

import (
	"fmt"
	"testing"

	"mobileid/internal/mobileid"
)

// BenchmarkHotPath queues, admits and settles codes in batches of 300 over
// 3,000 persons, on one connection at a time, fsync on. One op is one Message
// through admission and settling; queueing is not timed.
func BenchmarkHotPath(b *testing.B) {
	const batch = 300
	e := newEnv(b)
	e.tariff()
	persons := make([]person, 3000)
	for i := range persons {
		persons[i] = e.bind(1_000_000 * cost)
	}
	bridge := e.bridge()
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		b.StopTimer()
		var ids []mobileid.ID
		var batchOf []mobileid.NewChallenge
		var outcomes []mobileid.Outcome
		for i := range batch {
			c := e.challenge(persons[(done+i)%len(persons)], fmt.Sprint(done+i))
			c.Request.Purpose = fmt.Sprint("p", done) // none supersedes another
			batchOf, ids = append(batchOf, c), append(ids, c.Message.ID)
			outcomes = append(outcomes, e.outcome(c.Message.ID, mobileid.MessageSent, c.Message.Dest, c.Message.ID.String()))
		}
		e.issue(batchOf...)
		b.StartTimer()
		e.admit(bridge, ids...)
		e.settle(bridge, outcomes...)
	}
}
