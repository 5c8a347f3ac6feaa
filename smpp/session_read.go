package smpp

import (
	"errors"
	"io"
	"time"

	"mobileid/smpp/wire"
)

// maxHeard bounds how many PDUs are looked at together: the slots of their
// answers come back when all of them have been told.
const maxHeard = 64

// arrival is a PDU of the operator's, with the request that it answers.
type arrival struct {
	frame   wire.Frame
	request *request // nil: none
	late    bool     // its done has been told timedOut
}

// read serves what comes from the operator: what has come together is looked at
// together, so a full window costs neither a lock nor a look at the clock for
// each PDU.
func (s *session) read() {
	frames := wire.NewReader(s.br)
	batch := make([]arrival, 0, maxHeard)
	for {
		f, err := frames.Read()
		for batch = batch[:0]; err == nil; f, err = frames.Read() {
			s.cfg.tap.read(f)
			batch = append(batch, arrival{frame: f})
			if len(batch) == maxHeard || !wire.Buffered(s.br) {
				break
			}
		}
		s.hear(batch)
		switch {
		case err == nil:
		case errors.Is(err, wire.ErrLength):
			s.cfg.tap.stray(f)
			s.cfg.handler.odd("bad_length")
			s.closeAfter(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidLength, f.Sequence))
			return
		case errors.Is(err, io.EOF):
			s.end(errors.New("the operator closed the connection"))
			return
		default:
			s.end(err)
			return
		}
	}
}

// hear serves PDUs that came together, in their order.
func (s *session) hear(batch []arrival) {
	if len(batch) == 0 {
		return
	}
	now := s.cfg.now()
	s.mu.Lock()
	s.heard = now
	for i := range batch {
		f := &batch[i].frame
		if f.Command != wire.EnquireLink && f.Command != wire.EnquireLink.Response() {
			s.carried = now
		}
		if f.Command.IsResponse() {
			s.resolve(&batch[i], now)
		}
	}
	s.mu.Unlock()
	slots := 0
	for i := range batch {
		if a := &batch[i]; a.frame.Command.IsResponse() {
			slots += s.tell(a, now)
		} else {
			s.serve(a.frame)
		}
	}
	clear(batch) // they may quote texts
	if slots > 0 {
		s.release(slots) // behind the fates: see finish
	}
	signal(s.fewer)
}

// resolve finds the request that a response answers: by command and sequence,
// or by sequence alone for generic_nack, which has no command of its own. The
// caller holds mu.
func (s *session) resolve(a *arrival, now time.Time) {
	f := &a.frame
	r, late := s.inFlight[f.Sequence], false
	if r == nil {
		r, late = s.overdue[f.Sequence], true
	}
	if r == nil || (f.Command != r.command.Response() && f.Command != wire.GenericNack) {
		return
	}
	switch {
	case r.command == wire.EnquireLink:
		s.probe = time.Time{}
	case r.command == wire.SubmitSM:
		s.silence.broken(r)
		if f.Status == wire.StatusOK {
			s.accepted = now
		}
	}
	if late {
		delete(s.overdue, f.Sequence)
	} else {
		delete(s.inFlight, f.Sequence)
	}
	a.request, a.late = r, late
}

// tell tells a response to its request and returns how many slots that frees.
func (s *session) tell(a *arrival, now time.Time) (slots int) {
	r := a.request
	if r == nil {
		s.cfg.handler.odd("unmatched_response")
		return 0
	}
	told := answer{fate: answered, frame: a.frame, sequence: r.sequence, writtenAt: r.writtenAt, answeredAt: now}
	if a.late {
		if r.late != nil {
			r.late(told)
		}
		s.cfg.handler.odd("late_response")
	} else {
		r.done(told)
	}
	if r.slot {
		return 1
	}
	return 0
}

// serve serves a request of the operator's.
func (s *session) serve(f wire.Frame) {
	switch f.Command {
	case wire.EnquireLink:
		s.respond(wire.AppendHeader(nil, f.Command.Response(), wire.StatusOK, f.Sequence))
	case wire.DeliverSM, wire.DataSM:
		s.cfg.handler.deliver(s, f)
	case wire.Unbind:
		s.answerUnbind(f)
	case wire.AlertNotification, wire.Outbind:
		s.cfg.handler.odd(f.Command.String()) // neither has an answer (SMPP 3.4, 4.12.1, 4.1.7)
	default:
		s.cfg.handler.odd("unknown_command")
		s.respond(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidID, f.Sequence))
	}
}
