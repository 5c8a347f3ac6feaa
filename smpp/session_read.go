package smpp

import (
	"errors"
	"io"
	"time"

	"mobileid/smpp/trace"
	"mobileid/smpp/wire"
)

// read serves what comes from the operator.
func (s *session) read() {
	frames := wire.NewReader(s.br)
	for {
		f, err := frames.Read()
		switch {
		case errors.Is(err, wire.ErrLength):
			s.cfg.handler.odd("bad_length")
			s.closeAfter(wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidLength, f.Sequence))
			return
		case err != nil:
			if errors.Is(err, io.EOF) {
				err = errors.New("the operator closed the connection")
			}
			s.end(err)
			return
		}
		s.cfg.tap.show(trace.In, f.Raw)
		s.mu.Lock()
		s.heard = s.cfg.now()
		if f.Command != wire.EnquireLink && f.Command != wire.EnquireLink.Response() {
			s.carried = s.heard
		}
		s.mu.Unlock()
		if f.Command.IsResponse() {
			s.resolve(f)
			continue
		}
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
}

// resolve finds the request that a response answers: by command and sequence,
// or by sequence alone for generic_nack, which has no command of its own.
func (s *session) resolve(f wire.Frame) {
	now := s.cfg.now()
	s.mu.Lock()
	r, late := s.inFlight[f.Sequence], false
	if r == nil {
		r, late = s.overdue[f.Sequence], true
	}
	if r == nil || (f.Command != r.command.Response() && f.Command != wire.GenericNack) {
		s.mu.Unlock()
		s.cfg.handler.odd("unmatched_response")
		return
	}
	switch {
	case r.command == wire.EnquireLink:
		s.probe = time.Time{}
	case r.command == wire.SubmitSM && f.Status == wire.StatusOK:
		s.accepted = now
	}
	if late {
		delete(s.overdue, f.Sequence)
	} else {
		delete(s.inFlight, f.Sequence)
	}
	s.mu.Unlock()
	a := answer{fate: answered, frame: f, sequence: r.sequence, writtenAt: r.writtenAt, answeredAt: now}
	switch {
	case !late:
		s.finish(r, a)
	case r.late != nil:
		r.late(a)
	}
	if late {
		s.cfg.handler.odd("late_response")
	}
}
