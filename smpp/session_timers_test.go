package smpp

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// Each timer of a link: what it waits for, how long, and what it costs. Timers
// that are looked at now and then may be a twentieth late.
func TestTimers(t *testing.T) {
	const late = 2 * time.Second
	for name, row := range map[string]struct {
		tune  func(*sessionConfig)
		peer  func(*peer)
		after time.Duration
		cause error
	}{
		"enquire_link is not answered": {
			peer:  func(p *peer) { p.read() },
			after: 30*time.Second + 10*time.Second, cause: errSilent,
		},
		"an answer to another enquire_link is none": {
			peer: func(p *peer) {
				f := p.read()
				p.write(wire.AppendHeader(nil, wire.EnquireLink.Response(), 0, f.Sequence+1))
			},
			after: 30*time.Second + 10*time.Second, cause: errSilent,
		},
		"half a PDU and then silence": {
			peer: func(p *peer) {
				p.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 1)[:9])
				p.read()
			},
			after: 30*time.Second + 10*time.Second, cause: errSilent,
		},
		"enquire_link of the operator is life": {
			peer: func(p *peer) {
				time.Sleep(29 * time.Second)
				p.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 1))
				p.read()
				p.read()
			},
			after: 29*time.Second + 30*time.Second + 10*time.Second, cause: errSilent,
		},
		"enquire_link cannot be written": {
			peer:  func(*peer) {},
			after: 30*time.Second + 5*time.Second, cause: errHalfOpen,
		},
		"an answer cannot be written": {
			peer:  func(p *peer) { p.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 1)) },
			after: 5 * time.Second, cause: errHalfOpen,
		},
		"inactivity: enquire_link carries nothing": {
			tune: func(c *sessionConfig) { c.inactivity = 2 * time.Minute },
			peer: func(p *peer) {
				for {
					f, err := wire.Read(p.conn)
					if err != nil {
						return
					}
					_, _ = p.conn.Write(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
				}
			},
			after: 2 * time.Minute, cause: errInactive,
		},
		"inactivity begins again with a receipt": {
			tune: func(c *sessionConfig) { c.inactivity, c.enquire = 2*time.Minute, time.Hour },
			peer: func(p *peer) {
				time.Sleep(time.Minute)
				p.write(mo([]byte("salom"), nil))
			},
			after: 3 * time.Minute, cause: errInactive,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipe(t, row.tune)
				began := time.Now()
				go row.peer(p)
				var err error
				select {
				case err = <-p.done:
				case <-time.After(time.Hour):
					err = p.end()
				}
				if after := time.Since(began); !errors.Is(err, row.cause) || after < row.after || after > row.after+late {
					t.Errorf("%v after %v, want %v after %v", err, after, row.cause, row.after)
				}
			})
		})
	}
}

func TestWithoutInactivityAQuietLinkStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		for range 100 {
			f := p.read()
			p.write(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
		}
		select {
		case err := <-p.done:
			t.Errorf("ended with %v", err)
		default:
		}
		p.end()
	})
}

// A response timer runs for each request alone, and not for enquire_link's.
func TestResponseTimersRunApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		began := time.Now()
		a := p.submit(nil)
		p.read()
		time.Sleep(6 * time.Second)
		b := p.submit(nil)
		f := p.read()
		if got := <-a; got.fate != timedOut || time.Since(began) > 11*time.Second {
			t.Errorf("%+v after %v", got, time.Since(began))
		}
		p.write(wire.AppendCString(nil, wire.SubmitSM.Response(), 0, f.Sequence, "id"))
		if got := <-b; got.fate != answered {
			t.Errorf("%+v", got)
		}
		p.end()
	})
}

func TestDialingThatDoesNotEndIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBridge(Config{Profile: testProfile("operator:2775", 10)}, Deps{
			Store: newStore(), Dial: func(ctx context.Context, _ string, _ profile.TLS) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		b.cfg.Profile.Timers.Dial = 4 * time.Second
		began := time.Now()
		if _, err := b.links[0].connect(t.Context(), ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestHalfABindAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() {
			f, err := wire.Read(theirs)
			if err != nil {
				return
			}
			_, _ = theirs.Write(wire.AppendCString(nil, f.Command.Response(), 0, f.Sequence, "x")[:10])
		}()
		b := bridgeOn(ours)
		began := time.Now()
		if _, err := b.links[0].connect(t.Context(), ""); err == nil || time.Since(began) != b.cfg.Profile.Timers.Bind {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = theirs.Close()
	})
}
