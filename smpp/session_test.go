package smpp

import (
	"bufio"
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// peer is the operator's end of a net.Pipe, played by the test.
type peer struct {
	t    *testing.T
	conn net.Conn
	s    *session
	done chan error

	mu        sync.Mutex
	oddities  []string
	delivered []wire.Frame
	freed     chan struct{} // a slot has come back
}

func (p *peer) odd(kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oddities = append(p.oddities, kind)
}

func (p *peer) deliver(_ *session, f wire.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delivered = append(p.delivered, f)
}

// pipe starts a session; call it inside a synctest bubble, so that hours of
// timers pass at once.
func pipe(t *testing.T, tune func(*sessionConfig)) *peer {
	t.Helper()
	ours, theirs := net.Pipe()
	p := &peer{t: t, conn: theirs, done: make(chan error, 1), freed: make(chan struct{}, 1)}
	cfg := sessionConfig{
		window: 2, response: 10 * time.Second, enquire: 30 * time.Second, writeTimeout: 5 * time.Second,
		unbindWait: time.Second, now: time.Now, handler: p, freed: func() { signal(p.freed) }, hung: func() {},
	}
	if tune != nil {
		tune(&cfg)
	}
	p.s = newSession(ours, bufio.NewReader(ours), 2, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { p.done <- p.s.run(ctx) }()
	t.Cleanup(func() { cancel(); _ = theirs.Close() })
	return p
}

func (p *peer) read() wire.Frame {
	p.t.Helper()
	f, err := wire.Read(p.conn)
	if err != nil {
		p.t.Fatalf("the operator reads: %v", err)
	}
	return f
}

func (p *peer) write(raw []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(raw); err != nil {
		p.t.Fatalf("the operator writes: %v", err)
	}
}

func (p *peer) end() error {
	_ = p.conn.Close()
	return <-p.done
}

// submit sends a small submit_sm and returns where its fate will be told.
func (p *peer) submit(permit func(time.Time) (time.Time, bool)) <-chan answer {
	p.t.Helper()
	if !p.s.reserve(1) {
		p.t.Fatal("no slot")
	}
	fate := make(chan answer, 2)
	p.s.submit(&request{
		raw: wire.AppendHeader(nil, wire.SubmitSM, 0, 0), command: wire.SubmitSM, permit: permit,
		done: func(a answer) { fate <- a }, late: func(a answer) { fate <- a },
	})
	return fate
}

func TestAnswersMayComeInAnyOrderAndOnSharedNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a, b := p.submit(nil), p.submit(nil)
		first, second := p.read(), p.read()
		// The operator's own request with the number of one of ours is not its answer.
		p.write(wire.AppendHeader(nil, wire.EnquireLink, 0, first.Sequence))
		if f := p.read(); f.Command != wire.EnquireLink.Response() || f.Sequence != first.Sequence {
			t.Errorf("answer to enquire_link: %+v", f)
		}
		p.write(wire.AppendCString(nil, wire.SubmitSM.Response(), 0, second.Sequence, "two"))
		p.write(wire.AppendCString(nil, wire.SubmitSM.Response(), 0, first.Sequence, "one"))
		if got := <-a; got.fate != answered || messageID(got.frame) != "one" {
			t.Errorf("first: %+v", got)
		}
		if got := <-b; got.fate != answered || messageID(got.frame) != "two" {
			t.Errorf("second: %+v", got)
		}
		p.end()
	})
}

func TestGenericNackResolvesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a := p.submit(nil)
		f := p.read()
		p.write(wire.AppendHeader(nil, wire.GenericNack, 0x03, f.Sequence))
		if got := <-a; got.fate != answered || got.frame.Status != 0x03 {
			t.Errorf("%+v", got)
		}
		p.end()
	})
}

func TestAnswerOfAnotherCommandIsNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a := p.submit(nil)
		f := p.read()
		p.write(wire.AppendHeader(nil, wire.EnquireLink.Response(), 0, f.Sequence))
		p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), 0, f.Sequence+100))
		synctest.Wait()
		if !slices.Equal(p.oddities, []string{"unmatched_response", "unmatched_response"}) {
			t.Errorf("oddities %v", p.oddities)
		}
		p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), 0, f.Sequence))
		if got := <-a; got.fate != answered {
			t.Errorf("%+v", got)
		}
		p.end()
	})
}

func TestASlotIsFreeWhenItsAnswerHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		p.submit(nil)
		p.submit(nil)
		f := p.read()
		p.read()
		if p.s.reserve(1) {
			t.Fatal("a third slot in a window of two")
		}
		p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), 0, f.Sequence))
		<-p.freed
		if p.s.reserve(2) || !p.s.reserve(1) {
			t.Error("not exactly one slot is free")
		}
		p.end()
	})
}

func TestResponseTimerTellsTheFateAndRemembersTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		began := time.Now()
		a := p.submit(nil)
		f := p.read()
		got := <-a
		if after := time.Since(began); got.fate != timedOut || after < 10*time.Second || after > 11*time.Second {
			t.Errorf("%+v after %v", got, after)
		}
		p.write(wire.AppendCString(nil, wire.SubmitSM.Response(), 0, f.Sequence, "late"))
		if got := <-a; got.fate != answered || messageID(got.frame) != "late" {
			t.Errorf("late answer: %+v", got)
		}
		p.end()
	})
}

func TestSilentPeerIsAskedAndThenLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		began := time.Now()
		f := p.read()
		if after := time.Since(began); f.Command != wire.EnquireLink || after < 30*time.Second || after > 31*time.Second {
			t.Fatalf("%s after %v", f.Command, after)
		}
		p.write(wire.AppendHeader(nil, wire.EnquireLink.Response(), 0, f.Sequence))
		if f = p.read(); f.Command != wire.EnquireLink {
			t.Fatalf("then %s", f.Command)
		}
		if err := <-p.done; !errors.Is(err, errSilent) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestPeerThatStopsReadingCostsTheLinkOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil) // nobody reads the pipe, so the write blocks
		began := time.Now()
		a := p.submit(nil)
		if err := <-p.done; !errors.Is(err, errHalfOpen) {
			t.Errorf("ended with %v", err)
		}
		if after := time.Since(began); after != 5*time.Second {
			t.Errorf("after %v", after)
		}
		if got := <-a; got.fate != notWritten {
			t.Errorf("no byte had left: %+v", got)
		}
	})
}

func TestWriteDoesNotOutliveItsPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		began := time.Now()
		a := p.submit(func(now time.Time) (time.Time, bool) { return now.Add(time.Second), true })
		<-p.done
		if after := time.Since(began); after != time.Second {
			t.Errorf("the write was given up after %v", after)
		}
		if got := <-a; got.fate != notWritten {
			t.Errorf("%+v", got)
		}
	})
}

func TestRequestWithoutPermissionIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a := p.submit(func(now time.Time) (time.Time, bool) { return now.Add(writeMargin / 2), true })
		b := p.submit(func(time.Time) (time.Time, bool) { return time.Time{}, false })
		if got := <-a; got.fate != notWritten {
			t.Errorf("%+v", got)
		}
		if got := <-b; got.fate != notWritten {
			t.Errorf("%+v", got)
		}
		if p.s.inUse() != 0 {
			t.Error("slots are not free")
		}
		p.end()
	})
}

func TestLinkLostAfterTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a := p.submit(nil)
		p.read()
		if err := p.end(); err == nil {
			t.Error("no cause")
		}
		if got := <-a; got.fate != lost || got.sequence == 0 {
			t.Errorf("%+v", got)
		}
		if p.s.reserve(1) {
			t.Error("a slot on an ended session")
		}
		p.s.submit(&request{command: wire.SubmitSM, done: func(x answer) {
			if x.fate != notWritten {
				t.Errorf("on an ended session: %+v", x)
			}
		}})
	})
}

func TestUnbindIsAnsweredAfterTheWindowIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a := p.submit(nil)
		f := p.read()
		if !p.s.reserve(1) {
			t.Fatal("no slot")
		}
		p.write(wire.AppendHeader(nil, wire.Unbind, 0, 1))
		synctest.Wait()
		late := make(chan answer, 1)
		p.s.submit(&request{command: wire.SubmitSM, done: func(x answer) { late <- x }})
		if got := <-late; got.fate != notWritten || p.s.reserve(1) {
			t.Errorf("written after unbind, or a slot for it: %+v", got)
		}
		p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), 0, f.Sequence))
		if got := <-a; got.fate != answered {
			t.Errorf("%+v", got)
		}
		if r := p.read(); r.Command != wire.Unbind.Response() || r.Sequence != 1 {
			t.Errorf("got %s", r.Command)
		}
		if err := <-p.done; !errors.Is(err, errUnbound) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestRepeatedUnbindsAreAnsweredAndStartNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		a := p.submit(nil)
		f := p.read()
		p.write(wire.AppendHeader(nil, wire.Unbind, 0, 1))
		synctest.Wait()
		before := runtime.NumGoroutine()
		for seq := uint32(2); seq < 50; seq++ {
			p.write(wire.AppendHeader(nil, wire.Unbind, 0, seq))
			if r := p.read(); r.Command != wire.Unbind.Response() || r.Sequence != seq {
				t.Fatalf("%d: got %s %d", seq, r.Command, r.Sequence)
			}
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines more", n-before)
		}
		p.write(wire.AppendHeader(nil, wire.SubmitSM.Response(), 0, f.Sequence))
		if got := <-a; got.fate != answered {
			t.Errorf("%+v", got)
		}
		if r := p.read(); r.Sequence != 1 {
			t.Errorf("got %s %d", r.Command, r.Sequence)
		}
		if err := <-p.done; !errors.Is(err, errUnbound) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestUnknownCommandIsNackedAndTheBindStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		for seq, c := range map[uint32]wire.Command{5: 0x00000777, 6: 0x00000003} {
			p.write(wire.AppendHeader(nil, c, 0, seq))
			if f := p.read(); f.Command != wire.GenericNack || f.Status != wire.StatusInvalidID || f.Sequence != seq {
				t.Errorf("%s: %+v", c, f)
			}
		}
		p.write(wire.AppendHeader(nil, wire.AlertNotification, 0, 7)) // has no answer
		p.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 8))
		if f := p.read(); f.Command != wire.EnquireLink.Response() || f.Sequence != 8 {
			t.Errorf("%+v", f)
		}
		p.end()
	})
}

func TestBadLengthIsNackedAndTheLinkClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe(t, nil)
		raw := wire.AppendHeader(nil, wire.EnquireLink, 0, 9)
		raw[0] = 0x7F
		p.write(raw)
		if f := p.read(); f.Command != wire.GenericNack || f.Status != wire.StatusInvalidLength || f.Sequence != 9 {
			t.Errorf("%+v", f)
		}
		if err := <-p.done; !errors.Is(err, errFraming) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestSequenceStaysInItsRangeAndSkipsWhatIsInFlight(t *testing.T) {
	s := newSession(nil, nil, wire.MaxSequence, sessionConfig{window: 1, now: time.Now})
	s.inFlight[1] = &request{}
	if a, b := s.sequence(), s.sequence(); a != wire.MaxSequence || b != 2 {
		t.Errorf("%d then %d", a, b)
	}
}

// bridgeOn makes a bridge whose only link dials conn.
func bridgeOn(conn net.Conn) *Bridge {
	return NewBridge(Config{Profile: testProfile("operator:2775", 10)}, Deps{
		Store: newStore(), Dial: func(context.Context, string, profile.TLS) (net.Conn, error) { return conn, nil },
	})
}

func TestBindThatIsNeverAnsweredEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { // takes everything, says nothing
			for {
				if _, err := wire.Read(theirs); err != nil {
					return
				}
			}
		}()
		b := bridgeOn(ours)
		b.cfg.Profile.Timers.Bind = 7 * time.Second
		began := time.Now()
		_, err := b.links[0].connect(t.Context(), "")
		if err == nil || time.Since(began) != 7*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = theirs.Close()
	})
}

func TestReceiptsAroundTheBindAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() {
			f, err := wire.Read(theirs)
			if err != nil {
				return
			}
			m := wire.Message{Command: wire.DeliverSM, ESMClass: 4, ShortMessage: []byte("id:1 stat:DELIVRD")}
			raw, _ := m.Encode()
			wire.SetSequence(raw, 1)
			_, _ = theirs.Write(raw)
			_, _ = theirs.Write(wire.AppendCString(nil, f.Command.Response(), 0, f.Sequence, "x"))
		}()
		b := bridgeOn(ours)
		if _, err := b.links[0].connect(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if len(b.receipts) != 1 {
			t.Errorf("%d receipts", len(b.receipts))
		}
		_ = theirs.Close()
		_ = ours.Close()
	})
}
