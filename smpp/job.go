package smpp

import (
	"context"
	"slices"
	"sync"
	"time"

	"mobileid/internal/mobileid"
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
	outcome   mobileid.Outcome
	again     bool // once settled, admit it again
	// unsure: the admit statement may not have committed, so that it is held
	// says nothing about its row. It does not change.
	unsure bool
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

// outgoing holds admitted jobs that wait for a slot: codes before notices.
// Admission bounds it: see Bridge.room.
type outgoing struct {
	wake chan struct{} // there is a new job; shared with who waits for slots

	mu        sync.Mutex
	otp, bulk []*job
	lastCode  time.Time // when the last code was put
}

func newOutgoing(wake chan struct{}) *outgoing { return &outgoing{wake: wake} }

func (q *outgoing) put(j *job) {
	q.mu.Lock()
	if j.admission.Lane == mobileid.LaneBulk {
		q.bulk = append(q.bulk, j)
	} else {
		q.otp, q.lastCode = append(q.otp, j), j.asked
	}
	q.mu.Unlock()
	signal(q.wake)
}

// pop returns the first job, nil when there is none.
func (q *outgoing) pop() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, queue := range []*[]*job{&q.otp, &q.bulk} {
		if len(*queue) > 0 {
			j := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			return j
		}
	}
	return nil
}

func (q *outgoing) len() int {
	codes, notices, _ := q.waiting()
	return codes + notices
}

// waiting counts both lanes, and tells when the last code was put.
func (q *outgoing) waiting() (codes, notices int, lastCode time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.otp), len(q.bulk), q.lastCode
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

// jobs removes all jobs; only those of a lease unless it is nil.
func (q *outgoing) jobs(l *lease) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*job
	for _, queue := range []*[]*job{&q.otp, &q.bulk} {
		*queue = slices.DeleteFunc(*queue, func(j *job) bool {
			if l != nil && j.lease != l {
				return false
			}
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
