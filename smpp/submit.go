package smpp

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/wire"
)

// submit queues a job for the window. next(true) says that it was surely not
// written; next(false) that job.outcome tells what became of it.
func (b *Bridge) submit(j *job, next func(stale bool)) {
	j.next = next
	b.outgoing.put(j)
}

// submitLoop moves jobs into the window. The slots are taken first and the job
// chosen then, so a code never waits behind a notice for a slot. As many are
// taken as the job before needed: one of several parts that did not get its
// slots in time finds them when it is back, whatever else waits.
//
// Behind a backlog of notices the window would be full whenever a code comes,
// and the code would wait for an operator's answer: so notices leave a few
// slots free (promise P8).
func (b *Bridge) submitLoop(ctx context.Context) {
	slots := 1
	defer b.progress.submit.Rest()
	for {
		b.progress.submit.Rest()
		s, ok := b.boundSession(ctx)
		if !ok {
			return
		}
		if !b.outgoing.wait(ctx, s.dead) || b.takeSlots(ctx, s, slots) != nil {
			if ctx.Err() != nil {
				return
			}
			b.progress.submit.Step()
			select { // the session is ending; its requests learn their fates first
			case <-s.gone:
			case <-ctx.Done():
				return
			}
			continue
		}
		b.progress.submit.Step()
		j := b.outgoing.pop()
		if j == nil {
			s.releaseAll(slots) // given back meanwhile
			continue
		}
		signal(b.kick)
		if until, ok := j.permit(b.now()); !ok || until.Sub(b.now()) < writeMargin {
			s.releaseAll(slots)
			j.next(true)
			continue
		}
		slots = b.write(ctx, s, j, slots)
	}
}

const (
	// keptForCodes is how many slots notices leave free, at most a quarter of
	// the window.
	keptForCodes = 2
	// codesExpected is how long after a code more of them are expected. An
	// operator who carries no codes has his whole window for notices.
	codesExpected = time.Minute
)

// takeSlots takes n slots of the window: for a code as soon as they are free,
// for a notice when enough remain for codes.
func (b *Bridge) takeSlots(ctx context.Context, s *session, n int) error {
	for {
		codes, _, lastCode := b.outgoing.waiting()
		want := n
		if codes == 0 && b.now().Sub(lastCode) < codesExpected {
			want = min(n+min(keptForCodes, b.cfg.Window/4), b.cfg.Window)
		}
		if codes > 0 || s.free() >= want {
			return s.reserveAll(ctx, n)
		}
		select {
		case <-s.freed:
		case <-b.outgoing.wake:
		case <-s.dead:
			return net.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write opens the text, makes the parts and hands them to the session together,
// when there is a slot for each: half a text is no text, and its other half
// would not be admitted any more. The caller has reserved some slots; write
// returns how many the job needs.
func (b *Bridge) write(ctx context.Context, s *session, j *job, slots int) int {
	// Sequence numbers begin again with each session and leases are never given
	// twice, so this and a sequence number name one PDU for ever.
	j.link = fmt.Sprintf("%s#%d.%d", b.cfg.linkName(), j.lease.id, s.number)
	parts, err := b.compose(j)
	if err == nil && len(parts) > b.cfg.Window {
		err = errTooManyParts
	}
	if err != nil {
		s.releaseAll(slots)
		b.log.Error("message cannot be written", "id", j.admission.ID, "err", err)
		j.outcome = mobileid.Outcome{
			ID: j.admission.ID, State: mobileid.MessageFailed, Reason: reasonOf(err), Link: j.link,
		}
		j.next(false)
		return 1
	}
	if more := len(parts) - slots; more > 0 {
		inTime, cancel := context.WithTimeout(ctx, j.until().Sub(b.now())-writeMargin)
		err := s.reserveAll(inTime, more)
		cancel()
		if err != nil {
			s.releaseAll(slots)
			j.next(true)
			return len(parts)
		}
	} else {
		s.releaseAll(-more)
	}
	t := &tally{answers: make([]answer, len(parts)), left: len(parts)}
	requests := make([]*request, len(parts))
	for i, raw := range parts {
		requests[i] = &request{
			raw: raw, command: wire.SubmitSM, permit: j.permit,
			done: func(a answer) {
				b.partDone(a)
				if t.put(i, a) {
					b.conclude(j, t.answers)
				}
			},
			late: func(a answer) { b.lateAnswer(j, len(parts), a) },
		}
	}
	s.submit(requests...)
	return len(parts)
}

// tally collects the answers of the parts of one Message.
type tally struct {
	mu      sync.Mutex
	answers []answer
	left    int
}

// put stores an answer and reports whether it was the last.
func (t *tally) put(i int, a answer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers[i] = a
	t.left--
	return t.left == 0
}

func (b *Bridge) partDone(a answer) {
	switch a.fate {
	case answered:
		b.metrics.submits.WithLabelValues(statusLabel(a.frame.Status)).Inc()
		b.metrics.submitSeconds.Observe(a.answeredAt.Sub(a.writtenAt).Seconds())
		b.mu.Lock()
		b.rate.add(a.answeredAt)
		b.mu.Unlock()
	case timedOut:
		b.metrics.submits.WithLabelValues("no_answer").Inc()
	case lost:
		b.metrics.submits.WithLabelValues("link_lost").Inc()
	case notWritten:
	}
}

// conclude makes one outcome of the parts' answers.
func (b *Bridge) conclude(j *job, answers []answer) {
	written := false
	for _, a := range answers {
		written = written || a.fate != notWritten
	}
	if !written {
		j.next(true)
		return
	}
	j.outcome = judge(answers, j.admission.Deadline, b.now())
	j.outcome.ID, j.outcome.Link = j.admission.ID, j.link
	for i := range j.outcome.Parts {
		j.outcome.Parts[i].Dest = j.admission.Dest
	}
	j.next(false)
}

// lateAnswer settles a Message that went in doubt and was accepted after all.
// When it is held again (its resend is on the way, or being in doubt is not
// stored yet) that one decides.
func (b *Bridge) lateAnswer(j *job, parts int, a answer) {
	b.mu.Lock()
	_, held := b.held[j.admission.ID]
	b.mu.Unlock()
	if held || parts != 1 || a.frame.Status != wire.StatusOK {
		return
	}
	o := judge([]answer{a}, j.admission.Deadline, b.now())
	o.ID, o.Link, o.Reason, o.Parts[0].Dest = j.admission.ID, j.link, mobileid.ReasonLateAnswer, j.admission.Dest
	b.settling.put(settled{bridge: j.lease.id, outcome: o})
}

// The reasons a Message cannot be composed for. They are outcomes' reasons and
// say nothing of the content.
var (
	errUnsealable = errors.New(mobileid.ReasonUnsealable)
	errAlphabet   = errors.New(mobileid.ReasonUnencodable)
	errTooLong    = errors.New(mobileid.ReasonFieldTooLong)

	errTooManyParts = errors.New(mobileid.ReasonTooManyParts)
)

func reasonOf(err error) string {
	for _, known := range []error{errUnsealable, errAlphabet, errTooLong, errTooManyParts} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return mobileid.ReasonCompose
}

// compose opens the sealed text and makes its submit_sm PDUs, one a part.
func (b *Bridge) compose(j *job) ([][]byte, error) {
	id := j.admission.ID
	plain, err := b.opener.Open(id[:], j.admission.Sealed)
	if err != nil {
		return nil, errUnsealable
	}
	var text mobileid.SealedText
	if err := json.Unmarshal(plain, &text); err != nil {
		return nil, errUnsealable // the error of json may quote the text
	}
	enc, err := sms.Options{}.Encode(text.Text, reference(id))
	if err != nil {
		return nil, errAlphabet
	}
	m := wire.Message{
		Command:            wire.SubmitSM,
		Source:             wire.Address{TON: b.cfg.SourceTON, NPI: b.cfg.SourceNPI, Addr: b.cfg.SourceAddr},
		Dest:               wire.Address{TON: 1, NPI: 1, Addr: text.To},
		ValidityPeriod:     validity(j.admission.Deadline.Sub(b.now())),
		RegisteredDelivery: 1, // a receipt of the final state, always (SMPP 3.4, 5.2.17)
		DataCoding:         enc.DataCoding,
		// Some operators repeat it in the receipt: a second key to match by.
		TLV: []wire.TLV{{Tag: wire.TagUserMessageReference, Value: binary.BigEndian.AppendUint16(nil, reference(id))}},
	}
	out := make([][]byte, 0, len(enc.Parts))
	for _, part := range enc.Parts {
		m.ShortMessage, m.ESMClass, m.TLV = part.ShortMessage, 0, m.TLV[:1]
		if part.UDHI {
			m.ESMClass = wire.ESMClassUDHI
		}
		for _, t := range part.TLV {
			m.TLV = append(m.TLV, wire.TLV(t))
		}
		raw, err := m.Encode()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errTooLong, err)
		}
		out = append(out, raw)
	}
	return out, nil
}

// reference is a Message's 16-bit number on the wire. It comes from the keyed
// part of the id, so it is spread evenly.
func reference(id mobileid.ID) uint16 { return binary.BigEndian.Uint16(id[7:9]) }

// The bounds of validity_period. Many operators refuse less than a minute; the
// relative format ends at 32 days.
const (
	minValidity = time.Minute
	maxValidity = 30 * 24 * time.Hour
)

// validity prints the time left. Relative, because it does not depend on the
// operator's clock. It is never below a minute: an operator may then try up to a
// minute longer than the Message's deadline, when the code in it is refused
// anyway.
func validity(left time.Duration) string {
	return wire.RelativeTime(min(max(left, minValidity), maxValidity))
}

// messageID reads the operator's id from a submit_sm_resp. An answer without
// one, or one that cannot be read, still says accepted or not.
func messageID(f wire.Frame) string {
	id, err := wire.MessageID(f)
	if err != nil {
		return ""
	}
	return operatorID(id)
}
