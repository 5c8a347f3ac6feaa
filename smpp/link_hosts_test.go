package smpp

import (
	"bufio"
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// hosts keeps a link with two of them, one of which is bad, and returns where it
// was bound after each change, in order.
func hosts(t *testing.T, bad func(net.Conn, *bufio.Reader), d time.Duration) (bound []string) {
	t.Helper()
	b := bridgeOn(nil)
	l := b.links[0]
	l.bind.Hosts = []string{"bad:2775", "good:2775"}
	good := &operator{answer: statuses()}
	var peers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	b.dial = func(_ context.Context, host string, _ profile.TLS) (net.Conn, error) {
		bound = append(bound, host)
		ours, theirs := net.Pipe()
		if host == "good:2775" {
			go good.serve(theirs)
			return ours, nil
		}
		peers.Go(func() {
			defer func() { _ = theirs.Close() }()
			br := bufio.NewReader(theirs)
			f, err := wire.Read(br)
			if err != nil {
				return
			}
			_, _ = theirs.Write(wire.AppendCString(nil, f.Command.Response(), 0, f.Sequence, "smsc"))
			bad(theirs, br)
		})
		return ours, nil
	}
	kept := make(chan struct{})
	go func() { l.keep(ctx); close(kept) }()
	time.Sleep(d)
	synctest.Wait()
	if v := b.Links()[0]; v.State != LinkUp || v.Host != bound[len(bound)-1] {
		t.Errorf("%+v, dialled %v", v, bound)
	}
	cancel()
	<-kept
	peers.Wait()
	return bound
}

// A host that takes the bind and is no use is left for the next one, which is
// there: connecting proves little.
func TestAHostThatDoesNotKeepItsBindIsLeftForTheNext(t *testing.T) {
	answering := func(conn net.Conn, br *bufio.Reader) {
		for {
			f, err := wire.Read(br)
			if err != nil {
				return
			}
			if !f.Command.IsResponse() {
				_, _ = conn.Write(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
			}
		}
	}
	for name, row := range map[string]struct {
		bad  func(net.Conn, *bufio.Reader)
		want []string
	}{
		"it closes at once": {func(net.Conn, *bufio.Reader) {}, []string{"bad:2775", "good:2775"}},
		"it closes soon":    {func(net.Conn, *bufio.Reader) { time.Sleep(steadyAfter - time.Second) }, []string{"bad:2775", "good:2775"}},
		"it unbinds at once": {func(conn net.Conn, br *bufio.Reader) {
			_, _ = conn.Write(wire.AppendHeader(nil, wire.Unbind, 0, 1))
			answering(conn, br)
		}, []string{"bad:2775", "good:2775"}},
		"it says nothing":  {func(_ net.Conn, br *bufio.Reader) { _, _ = br.WriteTo(nowhere{}) }, []string{"bad:2775", "good:2775"}},
		"it stops reading": {func(net.Conn, *bufio.Reader) { time.Sleep(time.Hour) }, []string{"bad:2775", "good:2775"}},
		"it closes after long": {
			func(net.Conn, *bufio.Reader) { time.Sleep(steadyAfter + time.Second) },
			slices.Repeat([]string{"bad:2775"}, 6), // it was there, so it is asked first
		},
		"it is there": {answering, []string{"bad:2775"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := hosts(t, row.bad, time.Minute); !slices.Equal(got, row.want) {
					t.Errorf("dialled %v, want %v", got, row.want)
				}
			})
		})
	}
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// Hosts that all take the bind and drop it are not dialled in a tight loop.
func TestHostsThatAllDropTheirBindsAreDialledMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bridgeOn(nil)
		b.cfg.Profile.Timers.ReconnectMin, b.cfg.Profile.Timers.ReconnectMax = time.Second, 16*time.Second
		b.links[0].bind.Hosts = []string{"a:2775", "b:2775"}
		var dialled []string
		b.dial = func(_ context.Context, host string, _ profile.TLS) (net.Conn, error) {
			dialled = append(dialled, host)
			ours, theirs := net.Pipe()
			go func() {
				if f, err := wire.Read(theirs); err == nil {
					_, _ = theirs.Write(wire.AppendCString(nil, f.Command.Response(), 0, f.Sequence, "smsc"))
				}
				_ = theirs.Close()
			}()
			return ours, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		b.links[0].keep(ctx)
		// Pauses of 1, 2, 4, 8, 16, 16 ... s behind each round.
		if n := len(dialled); n < 18 || n > 26 || n%2 != 0 {
			t.Errorf("%d dials in two minutes", n)
		}
		for i, host := range dialled {
			if want := b.links[0].bind.Hosts[i%2]; host != want {
				t.Errorf("dial %d to %s", i, host)
			}
		}
	})
}
