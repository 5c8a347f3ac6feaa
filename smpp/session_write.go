package smpp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"mobileid/smpp/wire"
)

// writeMargin is how much of a request's permission must be left when its
// bytes are handed to the kernel: a write that blocks past the permission costs
// the link, so it is not begun at the last moment.
const writeMargin = 50 * time.Millisecond

// maxWrite bounds how many bytes of PDUs go into one write, maxControl how many
// bytes of answers wait for the writer.
const (
	maxWrite   = 64 << 10
	maxControl = 1 << 20
)

// write is the one writer: what is queued goes out in one write, answers
// first, and every write has a deadline, so a peer that stops reading costs the
// link and never the process.
func (s *session) write() {
	var out parcel
	for {
		select {
		case <-s.wake:
		case <-s.dead:
			return
		}
		for s.gather(&out) {
			for _, r := range out.refused {
				s.finish(r, answer{fate: notWritten})
			}
			if len(out.buf) == 0 {
				continue
			}
			s.cfg.tap.writes(out.buf) // before the answer can come
			n, err := s.conn.Write(out.buf)
			s.cfg.tap.wrote(n)
			if err != nil {
				s.unwritten(&out, n)
				if isTimeout(err) {
					err = errHalfOpen
				}
				s.end(fmt.Errorf("write: %w", err))
				return
			}
		}
		s.mu.Lock()
		over, cause := s.closing && len(s.control) == 0, errFraming
		if s.draining {
			cause = errUnbound
		}
		s.mu.Unlock()
		if over {
			s.end(cause)
			return
		}
	}
}

// parcel is what one write carries. Its slices are used again.
type parcel struct {
	buf     []byte
	placed  []*request
	starts  []int // of placed, in buf
	refused []*request
}

// gather moves what may be written now into out and sets the deadline of the
// write; false means there was nothing. Requests are in flight from here on:
// the answer may be faster than the return of the write.
func (s *session) gather(out *parcel) bool {
	out.buf, out.placed, out.starts, out.refused = out.buf[:0], out.placed[:0], out.starts[:0], out.refused[:0]
	now := s.cfg.now()
	deadline := now.Add(s.cfg.writeTimeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.control)+len(s.submits) == 0 {
		return false
	}
	out.buf = append(out.buf, s.control...)
	s.control = s.control[:0]
	taken := 0
	for _, r := range s.submits {
		if len(out.buf) >= maxWrite {
			break
		}
		taken++
		if r.permit != nil {
			until, ok := r.permit(now)
			if !ok || until.Sub(now) < writeMargin || s.closing || s.draining {
				out.refused = append(out.refused, r)
				continue
			}
			if until.Before(deadline) {
				deadline = until
			}
		}
		r.sequence, r.writtenAt, r.onWire = s.sequence(), now, true
		wire.SetSequence(r.raw, r.sequence)
		s.inFlight[r.sequence] = r
		out.placed, out.starts = append(out.placed, r), append(out.starts, len(out.buf))
		out.buf = append(out.buf, r.raw...)
		r.raw = nil // it holds the text
	}
	s.submits = slices.Delete(s.submits, 0, taken)
	// The connection counts on the system's clock, whatever clock we were given. Ours
	// is read again: whatever held us up since the permissions were looked at has
	// used them up.
	_ = s.conn.SetWriteDeadline(time.Now().Add(deadline.Sub(s.cfg.now())))
	return true
}

// unwritten marks the requests of a failed write of which no byte left.
func (s *session) unwritten(out *parcel, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range out.placed {
		if out.starts[i] >= n {
			r.onWire = false
		}
	}
}

// sequence returns the next number, 1..0x7FFFFFFF, skipping those in flight.
// The caller holds mu.
func (s *session) sequence() uint32 {
	for {
		n := s.nextSeq
		s.nextSeq++
		if s.nextSeq > wire.MaxSequence {
			s.nextSeq = 1
		}
		if _, taken := s.inFlight[n]; !taken {
			return n
		}
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
