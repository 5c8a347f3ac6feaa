package smsc

import (
	"time"

	"mobileid/smpp/wire"
)

// verdict is what becomes of one submit_sm.
type verdict struct {
	status wire.Status // 0 = taken
	nack   bool        // refused by generic_nack
	silent bool        // not answered
	cut    bool        // the connection ends here
	unbind bool        // unbind goes ahead of the answer
	late   time.Duration
	ids    Fault
}

// judge asks the script, each fault once.
func (s *Server) judge(dest string, unanswered int, now time.Time) verdict {
	if !s.script.any() {
		return verdict{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var v verdict
	if f, ok := s.script.use(FaultNack, dest, now); ok {
		v.status, v.nack = wire.Status(f.Status), true
	} else if f, ok := s.script.use(FaultStatus, dest, now); ok {
		v.status = wire.Status(f.Status)
	} else if f, ok := s.script.refuses(dest, unanswered, now); ok {
		v.status = wire.Status(f.Status)
	}
	if v.status == wire.StatusOK {
		v.ids, _ = s.script.use(FaultIDs, dest, now)
	}
	_, v.silent = s.script.use(FaultNoAnswer, dest, now)
	// Both count submits; what use returns is as it was before the count.
	if f, ok := s.script.use(FaultDrop, dest, now); ok {
		v.cut = f.Count == 1
	}
	if f, ok := s.script.use(FaultUnbindMid, dest, now); ok {
		v.unbind = f.Count == 1
	}
	if v.silent || v.cut {
		return v
	}
	f, _ := s.script.use(FaultDelay, dest, now)
	v.late = f.Delay
	return v
}

// submit takes a submit_sm: into the log first, then the answer.
func (x *session) submit(f wire.Frame) bool {
	at := time.Now()
	srv := x.server
	x.mu.Lock()
	account, may := x.account, x.sends
	x.mu.Unlock()
	if !may {
		x.send(wire.AppendHeader(nil, f.Command.Response(), wire.StatusNotBound, f.Sequence))
		return false
	}
	sm, err := readSubmit(f)
	if err != nil {
		x.send(wire.AppendHeader(nil, f.Command.Response(), wire.StatusSystemError, f.Sequence))
		return false
	}
	x.mu.Lock()
	x.unanswered++
	unanswered := x.unanswered
	x.mu.Unlock()
	v := srv.judge(sm.Dest.Addr, unanswered, at)
	m := &stored{at: at, account: account, frame: f, status: uint32(v.status), answered: !v.silent && !v.cut, charset: srv.cfg.Charsets[account]}
	var text string
	if v.status == wire.StatusOK {
		m.number, m.receiptForm = srv.newNumber(), v.ids.ReceiptForm
		if m.receiptForm == "" {
			m.receiptForm = v.ids.Form
		}
		m.messageID = idText(m.number, v.ids.Form)
		part := m.read(sm)
		text, m.whole = part.Text, srv.parts.join(part)
	}
	srv.journal.add(m)
	answer := v.answer(f, m.messageID)
	if srv.events.any() {
		s := m.submit()
		if m.answered {
			s.Answer = answer
		}
		srv.events.publish(Event{At: at, Kind: EventSubmit, Account: account, Submit: &s})
	}
	if v.cut {
		return x.cut()
	}
	var owed *delivery
	if v.status == wire.StatusOK {
		owed = srv.plan(x, m, sm, text)
	}
	if v.unbind {
		x.request(wire.AppendHeader(nil, wire.Unbind, 0, 0), nil, nil)
	}
	switch {
	case v.silent:
	case v.late > 0:
		srv.schedule.at(at.Add(v.late), func() { x.answer(answer) })
	default:
		x.answer(answer)
	}
	if owed != nil {
		srv.schedule.at(owed.due, func() { srv.carry(owed) })
	}
	return false
}

func (v verdict) answer(f wire.Frame, messageID string) []byte {
	switch {
	case v.nack:
		return wire.AppendHeader(nil, wire.GenericNack, v.status, f.Sequence)
	case v.status != wire.StatusOK:
		return wire.AppendHeader(nil, f.Command.Response(), v.status, f.Sequence)
	}
	pdu := make([]byte, 0, wire.HeaderLen+len(messageID)+1)
	return wire.AppendCString(pdu, f.Command.Response(), 0, f.Sequence, messageID)
}

// answer sends what answers a submit_sm.
func (x *session) answer(pdu []byte) {
	x.mu.Lock()
	x.unanswered--
	x.mu.Unlock()
	x.send(pdu)
}
