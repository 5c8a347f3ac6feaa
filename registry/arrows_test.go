package registry_test

import (
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// move is a change of state that was told to the outside; begin stands for
// the state before the first.
type move struct {
	kind     mobileid.IDKind
	from, to string
}

const begin = "[*]"

// drawn reports whether the vocabulary has an arrow for the move. A
// notification that cannot be sent begins at its end.
func (m move) drawn() bool {
	switch {
	case m.kind == mobileid.KindChallenge:
		return mobileid.ChallengeState(m.from).CanBecome(mobileid.ChallengeState(m.to))
	case m.from == begin:
		to := mobileid.MessageState(m.to)
		return to == mobileid.MessageQueued || to == mobileid.MessageCancelled || to == mobileid.MessageExpired
	}
	return mobileid.MessageState(m.from).CanBecome(mobileid.MessageState(m.to))
}

// moves reads every status that was written. It fails on a version that does
// not follow the one before and on a reason outside the closed list.
func (e *env) moves(t interface{ Fatalf(string, ...any) }) map[move]bool {
	rows, err := e.pool.Query(e.ctx(), `select subject, state, reason, version from outbox order by seq`)
	must(e.t, err)
	defer rows.Close()
	type at struct {
		state   string
		version int64
	}
	last := map[mobileid.ID]at{}
	seen := map[move]bool{}
	for rows.Next() {
		var raw []byte
		var is at
		var reason string
		must(e.t, rows.Scan(&raw, &is.state, &reason, &is.version))
		id := mobileid.ID(raw)
		was, had := last[id]
		if is.version != was.version+1 {
			t.Fatalf("%s: version %d after %d", is.state, is.version, was.version)
		}
		if !mobileid.ReasonListed(reason) {
			t.Fatalf("%s -> %s has the reason %q, which is not in the list", was.state, is.state, reason)
		}
		switch {
		case had:
		case id.Kind() == mobileid.KindChallenge:
			was.state = string(mobileid.ChallengeAccepted)
		default:
			was.state = begin
		}
		seen[move{id.Kind(), was.state, is.state}] = true
		last[id] = is
	}
	must(e.t, rows.Err())
	return seen
}

// life is one request that a directed life drives: a code or a notice, taken
// by a bridge of its own.
type life struct {
	*env
	p       person
	c       mobileid.NewChallenge
	message mobileid.ID
	bridge  int64
}

func (l *life) take()  { l.admit(l.bridge, l.message) }
func (l *life) again() { l.clk.advance(time.Second); l.take() }

func (l *life) answer(state mobileid.MessageState) {
	id := ""
	if state == mobileid.MessageSent {
		id = l.message.String()
	}
	l.settle(l.bridge, l.outcome(l.message, state, l.p.binding.Number, id))
}

// late is an answer that comes when the Message is in doubt.
func (l *life) late(state mobileid.MessageState) {
	o := l.outcome(l.message, state, l.p.binding.Number, "")
	o.Late = true
	l.settle(l.bridge, o)
}

// told is a final receipt of what was answered.
func (l *life) told(state mobileid.MessageState) {
	l.receipts(l.receipt(l.p.binding.Number, l.message.String(), state))
}

// half leaves the Message in doubt with an answer to one of its parts, which
// the receipts of both may follow.
func (l *life) half() {
	o := l.outcome(l.message, mobileid.MessageInDoubt, l.p.binding.Number, l.message.String())
	l.settle(l.bridge, o)
}

func (l *life) revoke() { must(l.t, l.Revoke(l.ctx(), l.p.binding.ID)) }

func (l *life) end(state mobileid.ChallengeState, reason string) {
	must(l.t, l.EndChallenge(l.ctx(), l.c.Request.ID, state, reason))
}

func (l *life) cancel() {
	_, err := l.CancelChallenge(l.ctx(), l.c.Request.Client, l.c.Request.ID)
	must(l.t, err)
}

func (l *life) suspend() {
	l.exec(`update bindings set sms_suspended = true, suspended_why = 'barred' where id = $1`, l.p.binding.ID)
}

// newer asks for a code for the same person and purpose.
func (l *life) newer() {
	l.clk.advance(time.Millisecond)
	l.issue(l.challenge(l.p, l.c.Nonce+"newer"))
}

func (l *life) expire(s *registry.Sweeper) {
	l.clk.advance(3 * time.Hour)
	l.sweep(s)
}

// TestEveryDrawnArrowIsTaken leads one short life along each arrow that the
// vocabulary draws. An arrow that no statement makes has no life to show.
func TestEveryDrawnArrowIsTaken(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	start := func() *life {
		e.clk.advance(time.Second)
		l := &life{env: e, p: e.bind(cost), bridge: e.bridge()}
		l.c = e.challenge(l.p, fmt.Sprint("life", e.n.Add(1)))
		l.message = l.c.Message.ID
		return l
	}
	code := func(drive func(*life)) {
		l := start()
		l.issue(l.c)
		drive(l)
	}
	taken := func(drive func(*life)) { code(func(l *life) { l.take(); drive(l) }) }
	answered := func(state mobileid.MessageState, drive func(*life)) {
		taken(func(l *life) { l.answer(state); drive(l) })
	}

	// Requests that end when they are read.
	l := start()
	l.c.Binding, l.c.Message = nil, nil
	e.issue(l.c)
	l = start()
	l.c.Request.Deadline = e.clk.now().Add(-time.Second)
	e.issue(l.c)
	l = start()
	before := l.c
	e.issue(before)
	l = start()
	other := l.c
	other.Request.BodyHash = "another"
	other.Request.ID = e.key.Make(mobileid.KindChallenge, client, l.c.Nonce[len("nonce-"):], e.clk.now().Add(time.Millisecond))
	e.issue(l.c)
	e.issue(other)
	l = start()
	l.cancel()
	e.issue(l.c)
	l = start()
	l.c.Binding, l.c.Message, l.c.RetryAt = nil, nil, e.clk.now().Add(time.Minute)
	e.issue(l.c)
	l = start()
	for range 10 {
		_, err := e.CountWrongTry(e.ctx(), before.Request.ID, false)
		must(t, err)
	}
	l.c.Person = before.Person
	e.issue(l.c)
	l = start()
	older := l.c
	l.newer()
	e.issue(older)

	l = start()
	l.c.Message, l.c.StepUp, l.c.RetryAt = nil, mobileid.ReasonSIMSwapped, e.clk.now().Add(time.Hour)
	e.issue(l.c)

	l = start()
	l.c.Message, l.c.RetryAt = nil, e.clk.now().Add(time.Hour)
	e.issue(l.c)
	cancel := func(l *life) {
		_, err := l.CancelChallenge(l.ctx(), l.c.Request.Client, l.c.Request.ID)
		must(t, err)
	}
	cancel(start())

	// What ends before a bridge has it.
	code(cancel)
	code(func(l *life) {
		l.clk.advance(pace)
		n := l.next(l.p, l.c, 2, l.c.Nonce+"swapped")
		n.Message, n.StepUp, n.RetryAt = nil, mobileid.ReasonSIMSwapped, l.clk.now().Add(time.Hour)
		l.resend(n)
	})
	code(func(l *life) { l.newer() })
	code(func(l *life) { l.cancel() })
	code(func(l *life) { l.end(mobileid.ChallengeExhausted, mobileid.ReasonWrongCodes) })
	code(func(l *life) { l.end(mobileid.ChallengeLost, mobileid.ReasonCodeLost) })
	code(func(l *life) { l.revoke(); l.take() })
	code(func(l *life) { l.suspend(); l.take() })
	code(func(l *life) { l.expire(s) })

	// What a bridge settles.
	taken(func(l *life) { _, err := l.confirmCode(l.c, 1); must(t, err) })
	taken(func(l *life) { l.told(mobileid.MessageDelivered); l.answer(mobileid.MessageSent) })
	for _, state := range []mobileid.MessageState{mobileid.MessageRejected, mobileid.MessageExpired, mobileid.MessageFailed, mobileid.MessageNoFunds} {
		answered(state, func(*life) {})
	}
	for _, state := range []mobileid.MessageState{
		mobileid.MessageDelivered, mobileid.MessageUndeliverable, mobileid.MessageExpired, mobileid.MessageRejected, mobileid.MessageFailed,
	} {
		answered(mobileid.MessageSent, func(l *life) { l.told(state) })
		taken(func(l *life) { l.half(); l.told(state) })
	}
	answered(mobileid.MessageSent, func(l *life) { l.expire(s) })

	// A first sending, taken for lost, is delivered while the second is on its way.
	taken(func(l *life) { l.half(); l.take(); l.told(mobileid.MessageDelivered) })
	// Or when the operator has asked for the second one later.
	taken(func(l *life) { l.half(); l.take(); l.answer(mobileid.MessageRetry); l.told(mobileid.MessageDelivered) })

	answered(mobileid.MessageRetry, func(l *life) { l.again() })
	answered(mobileid.MessageRetry, func(l *life) { l.suspend(); l.again() })
	answered(mobileid.MessageRetry, func(l *life) { l.revoke(); l.again() })
	answered(mobileid.MessageRetry, func(l *life) { l.newer() })
	answered(mobileid.MessageRetry, func(l *life) { l.expire(s) })
	answered(mobileid.MessageInDoubt, func(l *life) { l.take() })
	answered(mobileid.MessageInDoubt, func(l *life) { l.answer(mobileid.MessageSent) })
	answered(mobileid.MessageInDoubt, func(l *life) { l.answer(mobileid.MessageRejected) })
	answered(mobileid.MessageInDoubt, func(l *life) { l.late(mobileid.MessageRetry) })
	answered(mobileid.MessageInDoubt, func(l *life) { l.expire(s) })
	taken(func(l *life) { l.kill(l.bridge); l.sweep(s); l.answer(mobileid.MessageRetry) })

	seen := e.moves(t)
	for m := range seen {
		if !m.drawn() {
			t.Errorf("%s -> %s is not drawn", m.from, m.to)
		}
	}
	arrows := 0
	for _, from := range mobileid.MessageStates() {
		for _, to := range mobileid.MessageStates() {
			if m := (move{mobileid.KindMessage, string(from), string(to)}); m.drawn() {
				if arrows++; !seen[m] {
					t.Errorf("Message: nothing takes %s -> %s", from, to)
				}
			}
		}
	}
	for _, from := range mobileid.ChallengeStates() {
		for _, to := range mobileid.ChallengeStates() {
			if m := (move{mobileid.KindChallenge, string(from), string(to)}); m.drawn() {
				if arrows++; !seen[m] {
					t.Errorf("Challenge: nothing takes %s -> %s", from, to)
				}
			}
		}
	}
	if arrows == 0 {
		t.Fatal("nothing is drawn")
	}
}
