package smpp

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/pace"
	"mobileid/smpp/wire"
)

// submit queues a job for the window. next(true) says that it was surely not
// written; next(false) that job.outcome tells what became of it.
func (b *Bridge) submit(j *job, next func(stale bool)) {
	j.next = next
	b.beginsToWait(j, b.now())
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
		if !b.awaitPace(ctx) {
			continue
		}
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
		now := b.now()
		if j.stale(now) {
			at.session.release(at.slots)
			j.next(true)
			continue
		}
		if hold := b.pacer.Held(now, pace.Destination(j.admission.Dest)); hold > 0 {
			at.session.release(at.slots)
			j.later(reasonOfStatus(wire.StatusQueueFull), hold, now)
			j.next(false)
			continue
		}
		slots = b.write(ctx, b.elsewhere(at, j), j)
	}
}

// awaitPace waits until the account's pace allows a write; false when ctx has
// ended. A job is chosen after it, so that a code overtakes here, too. What
// becomes stale meanwhile goes back: the pace may be 0.
func (b *Bridge) awaitPace(ctx context.Context) bool {
	for {
		wait := b.pacer.Wait(b.now())
		if wait == 0 {
			return true
		}
		if !sleep(ctx, wait) {
			return false
		}
		now := b.now()
		for _, j := range b.outgoing.remove(func(j *job) bool { return j.stale(now) }) {
			j.next(true)
		}
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
// window has, and the sums of free slots and of windows. A session that is
// doubted gets nothing while another could take them, save for a try now and
// then; its free slots do not count meanwhile.
func (b *Bridge) freest(n int) (best place, free, windows int) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	var few [4]offer
	offers := few[:0]
	widest, sound := 0, 0 // the widest windows of all, and of those that are not doubted
	for _, l := range b.links {
		var has offer
		if l.session != nil && l.bind.Type.Carries() {
			has = l.session.offers(now)
			windows, widest = windows+l.bind.Window, max(widest, l.bind.Window)
			if !has.doubted {
				sound = max(sound, l.bind.Window)
			}
		}
		offers = append(offers, has)
	}
	best.slots = min(n, widest)
	most := best.slots - 1
	for i, l := range b.links {
		has := offers[i]
		if has.free == 0 || has.doubted && sound >= best.slots && !has.due {
			continue
		}
		free += has.free
		if has.due && has.free >= best.slots {
			has.free = math.MaxInt // before all others
		}
		if has.free > most {
			best.link, best.session, most = l, l.session, has.free
		}
	}
	return best, free, windows
}

// write opens the text, makes the parts and hands those that the operator does
// not have yet to the session together, when there is a slot for each; where no
// window is large enough, as many of them as the largest has. The caller has
// reserved some slots; write returns how many the job needs.
func (b *Bridge) write(ctx context.Context, at place, j *job) int {
	s := at.session
	j.link = linkName(at, j)
	parts, err := b.compose(j, s)
	if err != nil {
		s.release(at.slots)
		b.log.Error("message cannot be written", "id", j.admission.ID, "err", err)
		j.outcome = j.report(mobileid.MessageFailed, reasonOf(err))
		j.next(false)
		return 1
	}
	missing := j.missing(len(parts))
	missing = missing[:min(len(missing), b.widest())]
	if more := len(missing) - at.slots; more > 0 {
		if !b.takeMore(ctx, s, more, j.until().Add(-writeMargin)) {
			s.release(at.slots)
			j.next(true)
			return len(missing)
		}
	} else {
		s.release(-more)
	}
	if j.parts == nil {
		j.parts = make([]partFate, len(parts))
	}
	t := &tally{left: len(missing)}
	requests := make([]*request, len(missing))
	dest, written := pace.Destination(j.admission.Dest), b.pacer.Spend(b.now(), len(missing))
	for n, i := range missing {
		requests[n] = &request{
			raw: parts[i], command: wire.SubmitSM, permit: j.permit,
			done: func(a answer) {
				hold := b.partDone(at, dest, written, a)
				if last, longest := t.put(&j.parts[i], b.fateOf(at, j, a), hold); last {
					b.conclude(j, longest)
				}
			},
			late: func(a answer) { b.lateAnswer(at, j, len(parts), a) },
		}
	}
	s.submit(requests...)
	return len(missing)
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

// tally collects the fates of the parts of one Message that were written
// together.
type tally struct {
	mu   sync.Mutex
	left int
	hold time.Duration // the longest wait for the destination
}

// put stores the fate of a part and reports whether it was the last.
func (t *tally) put(at *partFate, fate partFate, hold time.Duration) (last bool, longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*at = fate
	t.hold = max(t.hold, hold)
	t.left--
	return t.left == 0, t.hold
}

// partDone counts the fate of a part.
func (b *Bridge) partDone(at place, to pace.Destination, written pace.Stamp, a answer) (hold time.Duration) {
	switch a.fate {
	case answered:
		return b.heed(at, to, written, a)
	case timedOut:
		at.link.metrics.submits.WithLabelValues("no_answer").Inc()
	case lost:
		at.link.metrics.submits.WithLabelValues("link_lost").Inc()
	case notWritten:
	}
	return 0
}

// fateOf keeps of an answer what the outcome needs.
func (b *Bridge) fateOf(at place, j *job, a answer) partFate {
	p := partFate{answer: a, link: linkName(at, j)}
	if a.fate == answered && statusOf(a.frame) == wire.StatusOK {
		p.operatorID = b.cfg.Profile.IDs.FromAnswer(messageID(a.frame))
	}
	return p
}

// linkName names the session for a job. Sequence numbers begin again with each
// session and leases are never given twice, so this and a sequence number name
// one PDU for ever.
func linkName(at place, j *job) string {
	return fmt.Sprintf("%s#%d.%d", at.link.name, j.lease.id, at.session.number)
}

// conclude decides what follows from the fates of the parts.
func (b *Bridge) conclude(j *job, hold time.Duration) {
	switch j.judge(b.cfg.Profile.Statuses, hold, b.now()) {
	case writeAgain:
		b.outgoing.back(j)
	case admitAgain:
		j.next(true)
	case storeIt:
		if j.outcome.Tried {
			b.later.asked(j, b.now())
		}
		j.next(false)
	}
}

// lateAnswer settles a Message that went in doubt and was accepted after all.
// When it is held again (its resend is on the way, or being in doubt is not
// stored yet) that one decides.
func (b *Bridge) lateAnswer(at place, j *job, parts int, a answer) {
	b.mu.Lock()
	_, held := b.held[j.admission.ID]
	b.mu.Unlock()
	if held || parts != 1 || statusOf(a.frame) != wire.StatusOK {
		return
	}
	told := &job{admission: j.admission, link: linkName(at, j), parts: []partFate{b.fateOf(at, j, a)}}
	b.settling.put(settled{bridge: j.lease.id, outcome: told.report(mobileid.MessageSent, mobileid.ReasonLateAnswer)})
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
