package smpp

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/smpp/wire"
)

// answer answers a submit_sm of ours.
func (p *peer) answer(f wire.Frame) {
	p.t.Helper()
	p.write(wire.AppendCString(nil, wire.SubmitSM.Response(), 0, f.Sequence, "id"))
	synctest.Wait()
}

// What has timed out is still the operator's: its slot comes back with the late
// answer, with the answer to what was written after its timer ran out, or two
// timers later.
func TestTheSlotOfWhatTimedOutStaysTaken(t *testing.T) {
	for name, row := range map[string]struct {
		then  func(p *peer, first wire.Frame)
		taken int
	}{
		"at the timer":    {func(*peer, wire.Frame) {}, 1},
		"the late answer": {func(p *peer, first wire.Frame) { p.answer(first) }, 0},
		"an answer to what was written before the timer ran out": {func(p *peer, _ wire.Frame) {
			p.answer(p.read())
			time.Sleep(time.Second)
		}, 1},
		"an answer to what was written behind it": {func(p *peer, _ wire.Frame) {
			p.answer(p.read())
			time.Sleep(time.Millisecond)
			p.submit(nil)
			p.answer(p.read())
			time.Sleep(time.Second)
		}, 0},
		"19 s later": {func(p *peer, _ wire.Frame) { p.answer(p.read()); time.Sleep(19 * time.Second) }, 1},
		"21 s later": {func(p *peer, _ wire.Frame) { p.answer(p.read()); time.Sleep(21 * time.Second) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipe(t, func(c *sessionConfig) { c.enquire = time.Hour })
				a := p.submit(nil)
				first := p.read()
				time.Sleep(9 * time.Second)
				if name != "at the timer" && name != "the late answer" {
					p.submit(nil)
				}
				<-a
				synctest.Wait()
				row.then(p, first)
				if got := p.s.inUse(); got != row.taken {
					t.Errorf("%d slots are taken, want %d", got, row.taken)
				}
				p.end()
			})
		})
	}
}

// An operator that answers everything but submit_sm is left when a few timers in
// a row have run out, and another one since: told as such, once, with an unbind.
func TestAnOperatorThatAnswersNoSubmitIsLeft(t *testing.T) {
	for _, window := range []int{1, 2, 5, 50} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told, unbinds := 0, 0
				p := pipe(t, func(c *sessionConfig) { c.window, c.hung = window, func() { told++ } })
				began := time.Now()
				go func() {
					for {
						f, err := wire.Read(p.conn)
						if err != nil {
							return
						}
						if f.Command == wire.Unbind {
							unbinds++
						}
						if f.Command != wire.SubmitSM && !f.Command.IsResponse() {
							_, _ = p.conn.Write(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
						}
					}
				}()
				fates := make([]<-chan answer, window)
				for i := range fates {
					fates[i] = p.submit(nil)
				}
				err := <-p.done
				if after := time.Since(began); !errors.Is(err, errHung) || after < 20*time.Second || after > 22*time.Second {
					t.Errorf("ended with %v after %v", err, after)
				}
				for _, fate := range fates {
					if got := <-fate; got.fate != timedOut {
						t.Errorf("%+v", got)
					}
				}
				if told != 1 || unbinds != 1 {
					t.Errorf("told %d times, %d unbinds", told, unbinds)
				}
			})
		})
	}
}

// One slow answer, one that never comes, or a stall of nearly two response timers
// does not cost the bind.
func TestASlowAnswerDoesNotCostTheBind(t *testing.T) {
	for name, row := range map[string]struct{ window, written, answers int }{
		"one of one, late":            {1, 1, 1},
		"one, never":                  {5, 1, 0},
		"two, never":                  {5, 2, 0},
		"a window, one of them late":  {5, 5, 1},
		"a window, all of them late":  {5, 5, 5},
		"a receiver that has nothing": {0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipe(t, func(c *sessionConfig) { c.window, c.enquire = row.window, time.Hour })
				var frames []wire.Frame
				for range row.written {
					p.submit(nil)
					frames = append(frames, p.read())
				}
				time.Sleep(19 * time.Second)
				for _, f := range frames[:row.answers] {
					p.answer(f)
				}
				time.Sleep(10 * time.Minute)
				select {
				case err := <-p.done:
					t.Fatalf("ended with %v", err)
				default:
				}
				if got := p.s.offers(time.Now()); got.free != row.window {
					t.Errorf("has %+v of a window of %d", got, row.window)
				}
				p.end()
			})
		})
	}
}
