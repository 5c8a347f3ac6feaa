package diameter

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

func failover(supported int) *diam.AVP {
	return field(avp.CCSessionFailover, datatype.Enumerated(supported))
}

func TestWhatIsSilentGoesToTheOtherPeerMarkedAsAReplay(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		r.one.does(never)
		began := time.Now()
		got := r.reserve(r.message(1))
		is(t, "reserve", got, Yes, Answered, "two")
		if took := time.Since(began); took != r.cfg.Tx || !got.Resent {
			t.Errorf("%v, resent %v, want after %v", took, got.Resent, r.cfg.Tx)
		}
		a, b := r.one.got()[0], r.two.got()[0]
		if a.again || !b.again || a.session != b.session || a.e2e != b.e2e || a.kind != b.kind || a.number != b.number {
			t.Errorf("first\n%+v, then\n%+v", a, b)
		}
	})
}

// RFC 6733, 3: the T flag must not be set when an error answer came.
func TestWhatWasNotProcessedIsNoReplay(t *testing.T) {
	for _, code := range []uint32{3002, 3004, 3005} {
		for _, flagged := range []bool{false, true} {
			rigged(t, 2, nil, func(r *rig) {
				t := r.t
				r.one.does(func(c diam.Conn, _ int, s seen) {
					a := r.one.cca(s, code)
					if flagged { // as an agent says it: without the session
						a = r.one.answer(s.m, code)
						a.Header.CommandFlags |= diam.ErrorFlag
					}
					r.one.write(c, a)
				})
				began := time.Now()
				is(t, "reserve", r.reserve(r.message(1)), Yes, Answered, "two")
				if took := time.Since(began); took != 0 {
					t.Errorf("the other peer was asked after %v", took)
				}
				if got := r.two.got(); len(got) != 1 || got[0].again {
					t.Errorf("%d: %+v", code, got)
				}
				r.two.says(3004)
				m := r.message(1)
				is(t, "both", r.reserve(m), Unknown, Busy, "two")
				r.one.says(2001)
				got := r.reserve(m)
				is(t, "again", got, Yes, Answered, "one")
				if got.Resent {
					t.Error("a request that nobody processed is marked as sent again")
				}
			})
		}
	}
}

// failures are ways in which a peer does not answer.
func failures() map[string]struct {
	make      func(r *rig, o *ocs)
	processed bool // perhaps
	reason    Reason
} {
	return map[string]struct {
		make      func(r *rig, o *ocs)
		processed bool
		reason    Reason
	}{
		"silent": {func(_ *rig, o *ocs) { o.does(never) }, true, Silent},
		"cut": {func(_ *rig, o *ocs) {
			o.does(func(c diam.Conn, _ int, _ seen) { c.Close() })
		}, true, LinkLost},
		"busy": {func(_ *rig, o *ocs) { o.says(3004) }, false, Busy},
		"away": {func(_ *rig, o *ocs) {
			o.mu.Lock()
			o.refuse = net.ErrClosed
			o.mu.Unlock()
			o.cut()
			synctest.Wait()
		}, false, NoPeer},
	}
}

func TestTheFailureHandlingDecidesWhatIsUnknown(t *testing.T) {
	for name, f := range failures() {
		for _, c := range []struct {
			handling FailureHandling
			moves    bool // to the other peer
			answer   Answer
		}{
			{Continue, true, Unknown},
			{RetryAndTerminate, true, UnknownHold},
			{Terminate, !f.processed, UnknownHold},
		} {
			t.Run(name+", "+string(c.handling), func(t *testing.T) {
				tune := func(cfg *Config) { cfg.FailureHandling = c.handling }
				rigged(t, 1, tune, func(r *rig) {
					t := r.t
					f.make(r, r.one)
					got := r.reserve(r.message(1))
					if got.Answer != c.answer || got.Reason != f.reason {
						t.Errorf("one peer: %+v, want %v, %s", got, c.answer, f.reason)
					}
				})
				rigged(t, 2, tune, func(r *rig) {
					t := r.t
					f.make(r, r.one)
					got := r.reserve(r.message(1))
					switch moved := len(r.two.got()) == 1; {
					case moved != c.moves:
						t.Errorf("asked the other peer: %v", moved)
					case moved:
						is(t, "two peers", got, Yes, Answered, "two")
						if got.Resent != f.processed {
							t.Errorf("marked as sent again: %v", got.Resent)
						}
					default:
						is(t, "two peers", got, UnknownHold, f.reason, "one")
					}
				})
			})
		}
		for _, c := range []struct {
			handling DebitFailure
			answer   Answer
		}{
			{DebitContinue, Unknown},
			{TerminateOrBuffer, map[bool]Answer{true: Unknown, false: UnknownHold}[f.processed]},
		} {
			t.Run(name+", debit, "+string(c.handling), func(t *testing.T) {
				rigged(t, 2, func(cfg *Config) {
					// Ours for reservations does not matter.
					cfg.Mode, cfg.DebitFailure, cfg.FailureHandling = IEC, c.handling, Terminate
				}, func(r *rig) {
					t := r.t
					f.make(r, r.one)
					f.make(r, r.two)
					got := r.reserve(r.message(1))
					if got.Answer != c.answer || got.Reason != f.reason {
						t.Errorf("both peers: %+v, want %v, %s", got, c.answer, f.reason)
					}
					if n := len(r.two.got()); name != "away" && n != 1 {
						t.Errorf("the other peer was asked %d times", n)
					}
				})
			})
		}
	}
}

func TestTheServersFailureHandlingIsInForceFromThenOn(t *testing.T) {
	rigged(t, 1, nil, func(r *rig) {
		t := r.t
		for said, want := range map[int]Answer{0: UnknownHold, 1: Unknown, 2: UnknownHold} {
			r.one.says(2001, field(avp.CreditControlFailureHandling, datatype.Enumerated(said)))
			is(t, "reserve", r.reserve(r.message(1)), Yes, Answered, "one")
			r.one.says(5031)
			is(t, "rating failed", r.reserve(r.message(1)), want, Answered, "one")
			// In the very answer that is a failure.
			r.one.says(5031, field(avp.CreditControlFailureHandling, datatype.Enumerated(1)))
			is(t, "rating failed, continue", r.reserve(r.message(1)), Unknown, Answered, "one")
		}
	})
	rigged(t, 1, func(cfg *Config) { cfg.Mode = IEC }, func(r *rig) {
		t := r.t
		r.one.says(2001, field(avp.DirectDebitingFailureHandling, datatype.Enumerated(1)))
		is(t, "debit", r.reserve(r.message(1)), Yes, Answered, "one")
		r.one.says(3004)
		is(t, "busy", r.reserve(r.message(1)), Unknown, Busy, "one")
	})
}

func TestASessionMovesOnlyWhenTheServerAllowsIt(t *testing.T) {
	for _, c := range []struct {
		name  string
		say   []*diam.AVP
		moves bool
	}{
		{"supported", []*diam.AVP{failover(1)}, true},
		{"not supported", []*diam.AVP{failover(0)}, false},
		{"not said, which means not supported", nil, false},
	} {
		for failure, f := range failures() {
			t.Run(c.name+", "+failure, func(t *testing.T) {
				rigged(t, 2, nil, func(r *rig) {
					t := r.t
					m := r.message(1)
					r.one.says(2001, c.say...)
					is(t, "reserve", r.reserve(m), Yes, Answered, "one")
					f.make(r, r.one)
					err := r.settle(m, 1)
					asked := len(r.two.got())
					if (err == nil) != c.moves || (asked == 1) != c.moves {
						t.Errorf("%v, the other peer was asked %d times", err, asked)
					}
					if failed, ok := errors.AsType[*Error](err); ok && failure == "away" && failed.Reason != HeldByPeer {
						t.Errorf("%+v", failed)
					}
					if c.moves && r.two.got()[0].again != f.processed {
						t.Error("marked as sent again, or not")
					}
				})
			})
		}
	}
}

func TestASettlementGoesWhereTheSessionIs(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		m := r.message(1)
		r.one.says(3004)
		is(t, "reserve", r.reserve(m), Yes, Answered, "two")
		r.one.says(2001) // the preferred one is well again
		if err := r.settle(m, 1); err != nil || len(r.two.got()) != 2 || len(r.one.got()) != 1 {
			t.Errorf("%v: one was asked %d times, two %d", err, len(r.one.got()), len(r.two.got()))
		}
	})
	// It might move, and need not.
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		m := r.message(1)
		r.one.says(3004)
		r.two.says(2001, failover(1))
		is(t, "reserve", r.reserve(m), Yes, Answered, "two")
		r.one.says(2001)
		if err := r.settle(m, 1); err != nil || len(r.two.got()) != 2 || len(r.one.got()) != 1 {
			t.Errorf("%v: one was asked %d times, two %d", err, len(r.one.got()), len(r.two.got()))
		}
	})
	// Another process, which does not know where.
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		r.one.says(5002)
		m := r.message(1)
		if err := r.settle(m, 1); err != nil || len(r.two.got()) != 1 || r.two.got()[0].again {
			t.Errorf("%v: two was asked: %+v", err, r.two.got())
		}
		r.two.says(5002)
		if err := r.settle(r.message(1), 1); !errors.Is(err, ErrNoSession) {
			t.Errorf("with none: %v", err)
		}
		if err := r.settle(r.message(1), 0); err != nil {
			t.Errorf("with none, and nothing to pay: %v", err)
		}
		r.two.does(never)
		m = r.message(1)
		if err := r.settle(m, 0); err == nil || errors.Is(err, ErrNoSession) {
			t.Errorf("the other does not say: %v", err)
		}
		// It is asked alone from now on.
		before := len(r.one.got())
		r.two.says(2001)
		if err := r.settle(m, 0); err != nil || len(r.one.got()) != before {
			t.Errorf("%v: one was asked %d times more", err, len(r.one.got())-before)
		}
	})
}

func TestNoCallIsLongerThanItsContext(t *testing.T) {
	for _, d := range []time.Duration{0, time.Millisecond, time.Second, 4 * time.Second} {
		rigged(t, 2, nil, func(r *rig) {
			t := r.t
			r.one.does(never)
			r.two.does(never)
			began := time.Now()
			got := r.Reserve(r.within(d), r.message(1))
			if took := time.Since(began); took != d || got.Answer != Unknown {
				t.Errorf("with %v: %+v after %v", d, got, took)
			}
			if err := r.Settle(r.within(d), r.message(1), 1); err == nil || time.Since(began) > 2*d {
				t.Errorf("with %v: %v after %v", d, err, time.Since(began))
			}
		})
	}
	// Nobody is left to ask after twice Tx.
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		r.one.does(never)
		r.two.does(never)
		began := time.Now()
		is(t, "both silent", r.reserve(r.message(1)), Unknown, Silent, "two")
		if took := time.Since(began); took != 2*r.cfg.Tx {
			t.Errorf("after %v", took)
		}
	})
}

func TestAPeerThatAnswersTheWatchdogAloneIsAskedLast(t *testing.T) {
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		r.one.does(never)
		for range muteAfter {
			is(t, "before", r.reserve(r.message(1)), Yes, Answered, "two")
		}
		began := time.Now()
		is(t, "at once", r.reserve(r.message(1)), Yes, Answered, "two")
		if took := time.Since(began); took != 0 || len(r.one.got()) != muteAfter {
			t.Errorf("after %v, and it was asked %d times", took, len(r.one.got()))
		}
		sleep(t.Context(), muteFor)
		r.one.says(2001)
		is(t, "asked again", r.reserve(r.message(1)), Yes, Answered, "one")
		is(t, "and trusted", r.reserve(r.message(1)), Yes, Answered, "one")
	})
	// Any answer makes up for the silence, a late one too.
	rigged(t, 2, nil, func(r *rig) {
		t := r.t
		tell := later(r.one, 2001)
		for range muteAfter {
			is(t, "before", r.reserve(r.message(1)), Yes, Answered, "two")
		}
		tell()
		r.one.does(nil)
		is(t, "after", r.reserve(r.message(1)), Yes, Answered, "one")
	})
}

func TestTheWindowBoundsWhatIsUnanswered(t *testing.T) {
	rigged(t, 1, func(cfg *Config) { cfg.Window = 2 }, func(r *rig) {
		t := r.t
		r.one.does(never)
		results := make(chan Result, 5)
		for n := range 5 {
			d := time.Second
			if n >= r.cfg.Window { // these wait
				synctest.Wait()
				d /= 2
			}
			ctx, m := r.within(d), r.message(1)
			go func() { results <- r.Reserve(ctx, m) }()
		}
		reasons := map[Reason]int{}
		for range 5 {
			reasons[(<-results).Reason]++
		}
		if len(r.one.got()) != 2 || reasons[Silent] != 2 || reasons[NoPlace] != 3 {
			t.Errorf("%d were sent, %v", len(r.one.got()), reasons)
		}
	})
}
