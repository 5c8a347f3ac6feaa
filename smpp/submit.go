package smpp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// submit queues a job for the window. next(true) says that it was surely not
// written; next(false) that job.outcome tells what became of it.
func (b *Bridge) submit(j *job, next func(stale bool)) {
	j.next = next
	b.outgoing.put(j)
}

// submitLoop moves jobs into windows. The slots are taken first and the job
// chosen then, so a code never waits behind a notice for a slot. As many are
// taken as the job before needed: one of several parts that did not get its
// slots in time finds them when it is back, whatever else waits.
//
// Behind a backlog of notices the windows would be full whenever a code comes,
// and the code would wait for an operator's answer: so notices leave a few
// slots free (promise P8).
func (b *Bridge) submitLoop(ctx context.Context) {
	slots := 1
	for ; b.outgoing.wait(ctx); b.progress.submit.Rest() {
		at := b.takeSlots(ctx, slots)
		if at.session == nil {
			continue // given back meanwhile, or ctx has ended
		}
		b.progress.submit.Step()
		j := b.outgoing.pop()
		if j == nil {
			at.session.release(at.slots)
			continue
		}
		signal(b.kick)
		if until, ok := j.permit(b.now()); !ok || until.Sub(b.now()) < writeMargin {
			at.session.release(at.slots)
			j.next(true)
			continue
		}
		slots = b.write(ctx, at, j)
	}
}

const (
	// keptForCodes is how many slots notices leave free, at most a quarter of
	// the windows.
	keptForCodes = 2
	// codesExpected is how long after a code more of them are expected. An
	// operator who carries no codes has his whole window for notices.
	codesExpected = time.Minute
)

// place is where a Message goes: slots taken in the window of a session.
type place struct {
	link    *link
	session *session // nil: none
	slots   int
}

// takeSlots takes n slots of one window, or as many as the largest window has
// if that is fewer: for a code as soon as they are free, for a notice when
// enough remain for codes. There is no place when nothing waits any more or ctx
// has ended.
func (b *Bridge) takeSlots(ctx context.Context, n int) place {
	for {
		codes, notices, lastCode := b.outgoing.waiting()
		if codes+notices == 0 || ctx.Err() != nil {
			return place{}
		}
		best, free, windows := b.freest(n)
		keep := 0
		if codes == 0 && b.now().Sub(lastCode) < codesExpected {
			keep = min(keptForCodes, windows/4, windows-best.slots)
		}
		if best.session != nil && free >= best.slots+keep && best.session.reserve(best.slots) {
			return best
		}
		select {
		case <-b.places:
		case <-ctx.Done():
			return place{}
		}
	}
}

// freest returns where n slots could be taken, or as many as the widest bound
// window has, and the sums of free slots and of windows.
func (b *Bridge) freest(n int) (best place, free, windows int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	most, widest := 0, 0
	for _, l := range b.links {
		if l.session == nil || !l.bind.Type.Carries() {
			continue
		}
		has := l.session.free()
		free, windows, widest = free+has, windows+l.bind.Window, max(widest, l.bind.Window)
		if has > most {
			best, most = place{link: l, session: l.session}, has
		}
	}
	if best.slots = min(n, widest); most < best.slots {
		best.session = nil
	}
	return best, free, windows
}

// write opens the text, makes the parts and hands them to the session together,
// when there is a slot for each: half a text is no text, and its other half
// would not be admitted any more. The caller has reserved some slots; write
// returns how many the job needs.
func (b *Bridge) write(ctx context.Context, at place, j *job) int {
	s := at.session
	// Sequence numbers begin again with each session and leases are never given
	// twice, so this and a sequence number name one PDU for ever.
	j.link = fmt.Sprintf("%s#%d.%d", at.link.name, j.lease.id, s.number)
	parts, err := b.compose(j)
	if err == nil && len(parts) > b.widest() {
		err = errTooManyParts
	}
	if err != nil {
		s.release(at.slots)
		b.log.Error("message cannot be written", "id", j.admission.ID, "err", err)
		j.outcome = mobileid.Outcome{
			ID: j.admission.ID, State: mobileid.MessageFailed, Reason: reasonOf(err), Link: j.link,
		}
		j.next(false)
		return 1
	}
	if more := len(parts) - at.slots; more > 0 {
		if !b.takeMore(ctx, s, more, j.until().Add(-writeMargin)) {
			s.release(at.slots)
			j.next(true)
			return len(parts)
		}
	} else {
		s.release(-more)
	}
	t := &tally{answers: make([]answer, len(parts)), left: len(parts)}
	requests := make([]*request, len(parts))
	for i, raw := range parts {
		requests[i] = &request{
			raw: raw, command: wire.SubmitSM, permit: j.permit,
			done: func(a answer) {
				b.partDone(at.link, a)
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

// widest is the largest window of the profile.
func (b *Bridge) widest() int {
	n := 0
	for _, l := range b.links {
		if l.bind.Type.Carries() {
			n = max(n, l.bind.Window)
		}
	}
	return n
}

// takeMore takes further slots of a session; false when they are not free in
// time, or the session ends.
func (b *Bridge) takeMore(ctx context.Context, s *session, n int, until time.Time) bool {
	over := time.NewTimer(until.Sub(b.now()))
	defer over.Stop()
	for !s.reserve(n) {
		select {
		case <-b.places:
		case <-s.dead:
			return false
		case <-over.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
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

func (b *Bridge) partDone(l *link, a answer) {
	switch a.fate {
	case answered:
		l.metrics.submits.WithLabelValues(statusLabel(a.frame.Status)).Inc()
		l.metrics.submitSeconds.Observe(a.answeredAt.Sub(a.writtenAt).Seconds())
		b.mu.Lock()
		b.rate.add(a.answeredAt)
		b.mu.Unlock()
	case timedOut:
		l.metrics.submits.WithLabelValues("no_answer").Inc()
	case lost:
		l.metrics.submits.WithLabelValues("link_lost").Inc()
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
		j.outcome.Parts[i].Dest, j.outcome.Parts[i].Link = j.admission.Dest, j.link
		j.outcome.Parts[i].OperatorID = b.cfg.Profile.IDs.FromAnswer(j.outcome.Parts[i].OperatorID)
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
	o.ID, o.Link, o.Reason = j.admission.ID, j.link, mobileid.ReasonLateAnswer
	o.Parts[0].Dest, o.Parts[0].Link = j.admission.Dest, j.link
	o.Parts[0].OperatorID = b.cfg.Profile.IDs.FromAnswer(o.Parts[0].OperatorID)
	b.settling.put(settled{bridge: j.lease.id, outcome: o})
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
