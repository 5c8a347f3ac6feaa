package smpp

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/pace"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// submit queues a job for the window. next(true) says that it was surely not
// written; next(false) that job.outcome tells what became of it.
func (b *Bridge) submit(j *job, next func(stale bool)) {
	j.next = next
	b.beginsToWait(j, b.now())
	b.outgoing.put(j)
}

// submitLoop moves jobs into windows: slots are taken for the job that goes
// next, all that it needs at once, so nothing is held by who still waits.
func (b *Bridge) submitLoop(ctx context.Context) {
	for ; b.outgoing.wait(ctx); b.progress.submit.Rest() {
		if !b.awaitPace(ctx) {
			continue
		}
		j, at := b.takeSlots(ctx)
		if j == nil {
			continue // given back meanwhile, or ctx has ended
		}
		b.progress.submit.Step()
		signal(b.kick)
		now := b.now()
		if j.pdus == nil || j.stale(now) { // it was stale, or has become so
			at.session.release(at.slots)
			j.hasty = j.hasty || j.waitedInVain()
			j.next(true)
			continue
		}
		if hold := b.pacer.Held(now, pace.Destination(j.admission.Dest)); hold > 0 {
			at.session.release(at.slots)
			j.later(reasonOfStatus(wire.StatusQueueFull), hold, now)
			j.next(false)
			continue
		}
		b.write(b.elsewhere(at, j), j)
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

// takeSlots waits until there are slots for the job that goes next and takes
// both. The job is chosen anew whenever something has changed, so a code that
// comes while a notice waits for its slots goes first. There is none when
// nothing waits any more or ctx has ended.
func (b *Bridge) takeSlots(ctx context.Context) (*job, place) {
	for {
		j := b.outgoing.head()
		if j == nil || ctx.Err() != nil {
			return nil, place{}
		}
		need, err := b.need(j)
		if err != nil || need == 0 {
			if b.outgoing.take(j) {
				b.unwritable(j, err)
			}
			continue
		}
		if j.headed.IsZero() {
			j.headed = b.now()
		}
		at := b.slotsFor(need, j.hasty)
		if at.session != nil {
			if b.outgoing.take(j) {
				return j, at
			}
			at.session.release(at.slots)
			continue
		}
		b.awaitPlaces(ctx, j, need)
	}
}

// awaitPlaces waits for a change of what may go where. A job that waits for
// many slots is looked at again when its admission ends, though there is none.
func (b *Bridge) awaitPlaces(ctx context.Context, j *job, need int) {
	var over <-chan time.Time
	if need > 1 {
		t := time.NewTimer(j.until().Add(time.Millisecond - writeMargin).Sub(b.now()))
		defer t.Stop()
		over = t.C
	}
	select {
	case <-b.places:
	case <-over:
	case <-ctx.Done():
	}
}

// need composes the parts of a job, once, and returns how many of them are to
// be written. A job that is stale is only taken out of the queue.
func (b *Bridge) need(j *job) (int, error) {
	if j.stale(b.now()) {
		return 1, nil
	}
	if j.pdus == nil {
		pdus, err := b.compose(j, b.cfg.Profile.Text.Reference)
		if err != nil {
			return 0, err
		}
		j.pdus = pdus
	}
	return len(j.missing(len(j.pdus))), nil
}

// unwritable ends a job that cannot be composed, or of which nothing is missing.
func (b *Bridge) unwritable(j *job, err error) {
	if err == nil {
		b.conclude(j, 0)
		return
	}
	b.log.Error("message cannot be written", "id", j.admission.ID, "err", err)
	j.outcome = j.report(mobileid.MessageFailed, reasonOf(err))
	j.next(false)
}

// slotsFor takes n slots of one window, or as many as the largest window has if
// that is fewer, or in haste as many as there are: for a code as soon as they
// are free, for a notice when enough remain for codes.
func (b *Bridge) slotsFor(n int, hasty bool) place {
	codes, _, lastCode := b.outgoing.waiting()
	expected := codes == 0 && b.now().Sub(lastCode) < codesExpected
	for ; n > 0; n-- {
		best, free, windows := b.freest(n)
		keep := 0
		if expected {
			keep = min(keptForCodes, windows/4, windows-best.slots)
		}
		if best.session != nil && free >= best.slots+keep && best.session.reserve(best.slots) {
			return best
		}
		if !hasty {
			break
		}
	}
	return place{}
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

// write hands parts that the operator does not have yet to the session
// together, one for each slot.
func (b *Bridge) write(at place, j *job) {
	s, parts := at.session, j.pdus
	if b.cfg.Profile.Text.Reference && !s.optional {
		if plain, err := b.compose(j, false); err == nil {
			parts = plain
		}
	}
	j.link, j.pdus = linkName(at, j), nil // they hold the text
	missing := j.missing(len(parts))[:at.slots]
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
			late: func(a answer) {
				var hold time.Duration
				if found, _ := b.cfg.Profile.Statuses.Rule(uint32(statusOf(a.frame))); found.Class == profile.ClassPace {
					hold = b.tellPace(dest, written, a, found.Class)
				}
				b.lateAnswer(at, j, t, i, a, hold)
			},
		}
	}
	s.submit(requests...)
}

// tally collects the fates of the parts of one Message that were written
// together.
type tally struct {
	mu   sync.Mutex
	left int
	hold time.Duration // the longest wait for the destination
	told []partFate    // of all parts, with what came after they were judged; nil when nothing did
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

// putLate stores the fate of a part that was said to have none. Before the
// Message is judged it counts like any other; after that it returns what is
// known of all parts by now.
func (t *tally) putLate(parts []partFate, i int, fate partFate) (known []partFate, judged bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left > 0 {
		parts[i] = fate
		return nil, false
	}
	if t.told == nil {
		t.told = slices.Clone(parts)
	}
	t.told[i] = fate
	return slices.Clone(t.told), true
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
	p.frame.Raw = nil // it may be long, and waits with the job
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
		b.outgoing.put(j)
	case admitAgain:
		j.next(true)
	case storeIt:
		if j.outcome.Tried {
			b.later.asked(j, b.now())
		}
		j.next(false)
	}
}

// lateAnswer hears of a part that went in doubt. What the operator says of it is
// kept in any case: its receipt names the id. When nothing of the Message is in
// doubt any more, it is settled: taken, refused for good, or not taken for now.
// The last is as good as an answer in time: it comes back, notices too, and what
// is missing is written again until its deadline. When the Message is held again
// its resend decides, and of one that was sent twice the registry lets no late
// refusal for now speak for both. hold is how long the destination must be left
// alone.
func (b *Bridge) lateAnswer(at place, j *job, t *tally, part int, a answer, hold time.Duration) {
	parts, judged := t.putLate(j.parts, part, b.fateOf(at, j, a))
	if !judged {
		return
	}
	told := &job{admission: j.admission, link: linkName(at, j), parts: parts, note: j.note}
	s := settled{bridge: noBridge, outcome: told.report(mobileid.MessageInDoubt, mobileid.ReasonLateAnswer)}
	b.mu.Lock()
	holder, held := b.held[j.admission.ID]
	b.mu.Unlock()
	if !held || holder == j {
		if told.judge(b.cfg.Profile.Statuses, hold, b.now()) != storeIt {
			told.later(mobileid.ReasonLateAnswer, 0, b.now()) // at once
		}
		switch told.outcome.State {
		case mobileid.MessageSent:
			s.bridge, s.outcome = j.lease.id, told.report(mobileid.MessageSent, mobileid.ReasonLateAnswer)
		case mobileid.MessageRejected, mobileid.MessageNoFunds:
			s.bridge, s.outcome = j.lease.id, told.report(mobileid.MessageRejected, told.outcome.Reason)
		case mobileid.MessageRetry, mobileid.MessageExpired:
			s.bridge, s.outcome = j.lease.id, told.outcome
		default:
		}
	}
	s.outcome.Late = true
	b.settling.put(s)
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
