package smpp

import (
	"context"
	"slices"
	"sync"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// admissionGood is how long an admission may be acted on, counted from before
// its statement was sent: longer, and a revocation would not be seen.
const admissionGood = time.Second

// job is a Message that this bridge owns.
type job struct {
	admission mobileid.Admission
	lease     *lease    // under which it was admitted
	asked     time.Time // before the admit statement was sent
	link      string    // the session it went to, "" = none yet
	next      func(stale bool)
	note      mobileid.ChargeNote // what is known of its Charge
	outcome   mobileid.Outcome
	again     bool       // once settled, admit it again
	returned  bool       // it has been here before: it was admitted again
	turn      uint64     // its place in its lane; 0 = none yet
	size      int        // submit_sm that it still takes, while it waits
	headed    time.Time  // when it was first its turn
	hasty     bool       // any slot will do: it has not found enough of them together
	parts     []partFate // as written last; nil before the first write
	pdus      [][]byte   // all parts, composed for the next write; nil = not yet
	// unsure: the admit statement may not have committed, so that it is held
	// says nothing about its row. It does not change.
	unsure bool
}

// stale reports that a job cannot be written any more under its admission.
func (j *job) stale(now time.Time) bool {
	until, ok := j.permit(now)
	return !ok || until.Sub(now) < writeMargin
}

// waitedInVain reports that a job has had its turn for most of its admission and
// not found its slots. It may be one of many parts, which might never find them
// together: the next time it takes what it gets, and its parts take turns.
func (j *job) waitedInVain() bool {
	return !j.headed.IsZero() && j.headed.Sub(j.asked) < admissionGood/2
}

// partFate is the fate of one part of a job.
type partFate struct {
	answer
	link       string
	operatorID string // when taken
}

// waits reports whether a part has not been handed to a session yet.
func (p *partFate) waits() bool { return p.fate == notWritten && p.link == "" }

// missing returns the numbers from 0 of the parts that the operator does not
// have yet, of n.
func (j *job) missing(n int) []int {
	out := make([]int, 0, n)
	for i := range n {
		had := i < len(j.parts) && j.parts[i].fate == answered && statusOf(j.parts[i].frame) == wire.StatusOK
		if !had && !j.admission.Taken.Has(i+1) {
			out = append(out, i)
		}
	}
	return out
}

// remaining is how many submit_sm it takes, as far as its row knows; at least
// one.
func (j *job) remaining() int { return max(1, len(j.missing(j.admission.Parts))) }

// report makes an outcome with what the parts have met.
func (j *job) report(state mobileid.MessageState, reason string) mobileid.Outcome {
	o := mobileid.Outcome{
		ID: j.admission.ID, State: state, Reason: reason, Link: j.link, Charge: j.note, Probe: j.admission.Probe,
	}
	for i := range j.parts {
		p := &j.parts[i]
		if p.fate == notWritten {
			continue // it has no place in the operator's numbering
		}
		if o.SubmittedAt.IsZero() || p.writtenAt.Before(o.SubmittedAt) {
			o.SubmittedAt = p.writtenAt
		}
		told := mobileid.PartOutcome{Part: i + 1, Link: p.link, Sequence: p.sequence, Dest: j.admission.Dest, OperatorID: p.operatorID}
		if p.fate == answered {
			told.Status, told.AnsweredAt = uint32(statusOf(p.frame)), p.answeredAt
		}
		o.Parts = append(o.Parts, told)
	}
	return o
}

// until returns the end of the permission to write.
func (j *job) until() time.Time {
	t := j.asked.Add(admissionGood)
	if l := j.lease.end(); l.Before(t) {
		t = l
	}
	if d := j.admission.Deadline; !d.IsZero() && d.Before(t) {
		t = d
	}
	return t
}

// permit is asked by the session right before the bytes leave.
func (j *job) permit(now time.Time) (time.Time, bool) {
	until := j.until()
	return until, !j.lease.over.Load() && now.Before(until)
}

// outgoing holds admitted jobs that wait for a slot: codes before notices, save
// for the notices' share.
// Admission bounds it: see Bridge.room.
type outgoing struct {
	wake chan struct{} // there is a new job; shared with who waits for slots

	mu         sync.Mutex
	otp, bulk  []*job
	lastCode   time.Time // when the last code was put
	lastNotice time.Time // and the last notice
	turns      uint64    // given
	// How many submit_sm each lane still takes.
	otpSize, bulkSize int
	share             share
}

func newOutgoing(wake chan struct{}) *outgoing { return &outgoing{wake: wake} }

// put queues a job. One that has a turn returns to its place in its lane: what
// was put after it has to wait.
func (q *outgoing) put(j *job) {
	q.mu.Lock()
	q.count(j, j.remaining())
	if j.turn == 0 {
		q.turns++
		j.turn = q.turns
	}
	lane, last := &q.bulk, &q.lastNotice
	if j.admission.Lane != mobileid.LaneBulk {
		lane, last = &q.otp, &q.lastCode
	}
	*last = j.asked
	at := len(*lane)
	for at > 0 && (*lane)[at-1].turn > j.turn {
		at--
	}
	*lane = slices.Insert(*lane, at, j)
	q.mu.Unlock()
	signal(q.wake)
}

// head returns the job that goes next, nil when there is none.
func (q *outgoing) head() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane, _ := q.turn()
	if len(*lane) == 0 {
		return nil
	}
	return (*lane)[0]
}

// take removes a job, unless another goes next.
func (q *outgoing) take(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane, notice := q.turn()
	if len(*lane) == 0 || (*lane)[0] != j {
		return false
	}
	// A notice whose admission has just ended still waits: it is on its way back.
	q.share.took(notice, len(q.bulk) > 0 || j.asked.Sub(q.lastNotice) < 2*admissionGood)
	(*lane)[0] = nil
	*lane = (*lane)[1:]
	q.count(j, 0)
	return true
}

// turn returns the lane whose turn it is. The caller holds mu.
func (q *outgoing) turn() (lane *[]*job, notice bool) {
	if q.share.notice(len(q.otp) > 0, len(q.bulk) > 0) {
		return &q.bulk, true
	}
	return &q.otp, false
}

// count notes how many submit_sm a job takes that waits, 0 when it goes. The
// caller holds mu.
func (q *outgoing) count(j *job, size int) {
	if j.admission.Lane == mobileid.LaneBulk {
		q.bulkSize += size - j.size
	} else {
		q.otpSize += size - j.size
	}
	j.size = size
}

// len counts Messages.
func (q *outgoing) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.otp) + len(q.bulk)
}

// waiting counts the submit_sm of both lanes, and tells when the last code was
// put.
func (q *outgoing) waiting() (codes, notices int, lastCode time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.otpSize, q.bulkSize, q.lastCode
}

// wait returns true when there is a job, false when ctx has ended.
func (q *outgoing) wait(ctx context.Context) bool {
	for q.len() == 0 && ctx.Err() == nil {
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// remove takes out the jobs that fit.
func (q *outgoing) remove(fits func(*job) bool) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*job
	for _, queue := range []*[]*job{&q.otp, &q.bulk} {
		*queue = slices.DeleteFunc(*queue, func(j *job) bool {
			if !fits(j) {
				return false
			}
			q.count(j, 0)
			out = append(out, j)
			return true
		})
	}
	return out
}

// meter counts events of about the last second in ten steps.
type meter struct {
	steps [10]int
	at    int64 // number of the newest step
}

func (m *meter) move(now time.Time) {
	step := now.UnixMilli() / 100
	if m.at-step > int64(len(m.steps)) { // the clock was set back
		*m = meter{at: step}
	}
	for ; m.at < step; m.at++ {
		if step-m.at > int64(len(m.steps)) {
			m.at = step - int64(len(m.steps))
		}
		m.steps[(m.at+1)%int64(len(m.steps))] = 0
	}
}

func (m *meter) add(now time.Time) {
	m.move(now)
	m.steps[m.at%int64(len(m.steps))]++
}

func (m *meter) lastSecond(now time.Time) int {
	m.move(now)
	n := 0
	for _, c := range m.steps {
		n += c
	}
	return n
}
