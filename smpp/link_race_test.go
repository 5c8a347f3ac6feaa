package smpp

import (
	"bufio"
	"net"
	"testing"
	"time"
)

// A drain that is ordered while the session ends takes part in nothing that the
// end waits for: a sync.WaitGroup ends the process when it is added to while a
// Wait is returning.
func TestADrainMayMeetTheEndOfTheSession(t *testing.T) {
	for range 300 {
		ours, theirs := net.Pipe()
		l := bridgeOn(nil).links[0]
		s := newSession(ours, bufio.NewReader(ours), 2, sessionConfig{
			window: 1, response: time.Minute, enquire: time.Minute, writeTimeout: time.Minute,
			unbindWait: time.Minute, now: time.Now, handler: l, freed: func() {},
		})
		over := make(chan error, 1)
		go func() { over <- s.run(t.Context()) }()
		go func() { _ = theirs.Close() }()
		for ended := false; !ended; {
			l.awaitDrained(s)
			select {
			case <-over:
				ended = true
			default:
			}
		}
	}
}
