package smpp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// operator is an SMSC in memory whose every answer the test says. It lives in a
// synctest bubble, where hours pass at once.
type operator struct {
	answer func(n int, s submitted) reply // to the n-th submit_sm, from 0

	mu    sync.Mutex
	seen  []submitted
	binds int
}

// submitted is a submit_sm as the operator read it.
type submitted struct {
	reference uint16 // of the Message
	part      int    // from 1
	text      string
	dest      string
	at        time.Time

	reply    reply
	answered time.Time // zero: never
	on       *bind
}

// bind is one connection.
type bind struct{ cut time.Time }

// reply is what the operator does about a submit_sm.
type reply struct {
	status wire.Status
	silent bool
	after  time.Duration
	cut    bool // the connection is cut, after a silent one without an answer
}

func (o *operator) dial(context.Context, string, profile.TLS) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go o.serve(theirs)
	return ours, nil
}

func (o *operator) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var writing sync.Mutex
	write := func(raw []byte) bool {
		writing.Lock()
		defer writing.Unlock()
		_, err := conn.Write(raw)
		return err == nil
	}
	on := &bind{}
	br := bufio.NewReader(conn)
	for {
		f, err := wire.Read(br)
		if err != nil {
			return
		}
		switch f.Command {
		case wire.BindTransceiver:
			o.mu.Lock()
			o.binds++
			o.mu.Unlock()
			write(wire.AppendBindAnswer(nil, f.Command, f.Sequence, "smsc"))
		case wire.SubmitSM:
			n, s := o.note(f)
			r := o.answer(n, s)
			o.mu.Lock()
			o.seen[n].reply, o.seen[n].on = r, on
			o.mu.Unlock()
			tell := func() {
				if !r.silent {
					id := ""
					if r.status == wire.StatusOK {
						id = fmt.Sprintf("op%d", n)
					}
					if write(wire.AppendCString(nil, f.Command.Response(), r.status, f.Sequence, id)) {
						o.mu.Lock()
						o.seen[n].answered = time.Now()
						o.mu.Unlock()
					}
				}
				if r.cut {
					o.mu.Lock()
					on.cut = time.Now()
					o.mu.Unlock()
					_ = conn.Close()
				}
			}
			if r.after > 0 {
				time.AfterFunc(r.after, tell)
			} else {
				tell()
			}
		default:
			if f.Command.Response() != f.Command {
				write(wire.AppendHeader(nil, f.Command.Response(), 0, f.Sequence))
			}
			if f.Command == wire.Unbind {
				return
			}
		}
	}
}

func (o *operator) note(f wire.Frame) (int, submitted) {
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		panic(err)
	}
	s := submitted{part: 1, text: string(m.Bytes()), dest: m.Dest.Addr, at: time.Now()}
	if v, ok := m.Optional(wire.TagUserMessageReference); ok {
		s.reference = uint16(v[0])<<8 | uint16(v[1])
	}
	if m.ESMClass&wire.ESMClassUDHI != 0 {
		s.part = int(m.ShortMessage[m.ShortMessage[0]]) // the header ends with it
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, s)
	return len(o.seen) - 1, s
}

// all returns every submit_sm.
func (o *operator) all() []submitted {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// of returns the submit_sm of one Message.
func (o *operator) of(id mobileid.ID) []submitted {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []submitted
	for _, s := range o.seen {
		if s.reference == reference(id) {
			out = append(out, s)
		}
	}
	return out
}

// inBubble runs a bridge on an operator in memory, in a synctest bubble.
func inBubble(t *testing.T, tune func(*Config), answer func(n int, s submitted) reply, f func(*rig, *operator)) {
	t.Helper()
	inBubbleWith(t, tune, answer, func(*rig) {}, f)
}

// inBubbleWith changes the bridge before it starts.
func inBubbleWith(t *testing.T, tune func(*Config), answer func(n int, s submitted) reply, change func(*rig), f func(*rig, *operator)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &operator{answer: answer}
		cfg := Config{Profile: testProfile("operator:2775", 10), Name: "test"}
		if tune != nil {
			tune(&cfg)
		}
		r := assemble(t, cfg)
		r.bridge.dial = o.dial
		change(r)
		r.start()
		f(r, o)
		r.stop()
	})
}

// statuses answers the first submit_sm with these, all further ones with OK.
func statuses(first ...wire.Status) func(int, submitted) reply {
	return func(n int, _ submitted) reply {
		if n < len(first) {
			return reply{status: first[n]}
		}
		return reply{}
	}
}

// outcomes are the states and reasons that were stored for a Message.
func (r *rig) outcomes(id mobileid.ID) (out []string) {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	for _, o := range r.store.outcomes {
		if o.ID == id {
			out = append(out, string(o.State)+" "+o.Reason)
		}
	}
	return out
}
