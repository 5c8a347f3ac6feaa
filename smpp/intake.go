package smpp

import (
	"context"
	"slices"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// item is one id that waits to be admitted.
type item struct {
	mobileid.AdmitItem
	take *take // whose caller waits; nil for what nobody waits for
}

// take is one call of Take.
type take struct {
	left int // items not admitted yet
	over bool
	err  error
	done chan struct{}
}

// intake holds what waits to be admitted. It is bounded by its callers: each
// Take brings its own items and waits.
type intake struct {
	kick chan struct{}

	mu     sync.Mutex
	closed bool
	otp    []*item
	due    []*item // notices whose time has come again
	bulk   []*item
	alone  map[mobileid.ID]bool // items that nobody waits for: each is queued once
	share  share
}

func newIntake(kick chan struct{}) *intake {
	return &intake{kick: kick, alone: map[mobileid.ID]bool{}}
}

// add queues the items of one Take.
func (q *intake) add(items []mobileid.AdmitItem) *take {
	t := &take{left: len(items), done: make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		t.finish(mobileid.Unavailable("draining", time.Second, nil))
		return t
	}
	for _, it := range items {
		queued := &item{AdmitItem: it, take: t}
		if _, lane, ok := mobileid.LaneOfTopic(it.Source.Topic); ok && lane == mobileid.LaneBulk {
			q.bulk = append(q.bulk, queued)
		} else {
			q.otp = append(q.otp, queued)
		}
	}
	return t
}

func (t *take) finish(err error) {
	if !t.over {
		t.over, t.err = true, err
		close(t.done)
	}
}

// addDue queues what is due again, as often as it is brought: codes among the
// codes, notices before those that come for the first time. Nobody waits for
// them.
func (q *intake) addDue(items []mobileid.AdmitItem) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		if q.alone[it.ID] {
			continue
		}
		q.alone[it.ID] = true
		if it.Lane == mobileid.LaneBulk {
			q.due = append(q.due, &item{AdmitItem: it})
		} else {
			q.otp = append(q.otp, &item{AdmitItem: it})
		}
	}
}

// again puts what was admitted before everything of its lane; nobody waits for
// it.
func (q *intake) again(id mobileid.ID, lane mobileid.Lane) {
	it := &item{AdmitItem: mobileid.AdmitItem{ID: id, Lane: lane}}
	q.mu.Lock()
	switch {
	case q.alone[id]:
	case lane == mobileid.LaneBulk:
		q.bulk = slices.Insert(q.bulk, 0, it)
	default:
		q.otp = slices.Insert(q.otp, 0, it)
	}
	q.alone[id] = true
	q.mu.Unlock()
	signal(q.kick)
}

// next removes items: up to codes of the lane of codes and, as long as no more
// than all are taken, notices, those due again first: behind the codes, save for
// their share, and for one where none waits to be written: whether it is written
// before codes is decided there, and what is brought again spends no share here.
func (q *intake) next(codes, all int, none bool) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*item
	for {
		behind := &q.due
		if len(q.due) == 0 {
			behind = &q.bulk
		}
		codesGo, waits := len(q.otp) > 0 && len(out) < codes, len(*behind) > 0
		lane, notice := &q.otp, waits && len(out) < all && (none || q.share.notice(codesGo, waits))
		if notice {
			lane = behind
		} else if !codesGo {
			return out
		}
		it := (*lane)[0]
		(*lane)[0] = nil
		*lane = (*lane)[1:]
		if it.take == nil {
			delete(q.alone, it.ID)
		}
		if it.take == nil || !it.take.over {
			q.share.took(notice, waits)
			if none && notice {
				none = false
				codes++ // no code waits a statement longer for it
			}
			out = append(out, it)
		}
	}
}

// admitted tells the callers of items that these are admitted, or why not; an
// error ends the whole Take, whose other items are then not looked at.
func (q *intake) admitted(items []*item, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		if it.take == nil {
			continue
		}
		if err != nil {
			it.take.finish(err)
			continue
		}
		if it.take.left--; it.take.left == 0 {
			it.take.finish(nil)
		}
	}
}

// leave ends a Take whose caller goes away, unless it has just ended; it
// returns the Take's error. What a failed Take brought comes again with the
// next one, so it must not stay here: while nothing can be admitted nobody
// else removes it.
func (q *intake) leave(t *take, err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.finish(err)
	if t.err != nil {
		theirs := func(it *item) bool { return it.take == t }
		q.otp = slices.DeleteFunc(q.otp, theirs)
		q.bulk = slices.DeleteFunc(q.bulk, theirs)
	}
	return t.err
}

// close ends every Take; what they brought is still on its lane.
func (q *intake) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, queue := range [][]*item{q.otp, q.bulk} {
		for _, it := range queue {
			if it.take != nil {
				it.take.finish(mobileid.Unavailable("draining", time.Second, nil))
			}
		}
	}
}

// Take brings ids read from a lane. It waits for room in the window and
// returns nil when the statement that admitted the last of them has committed:
// from then on the rows are the job and the Kafka offsets may be committed.
//
// An error means that some of them are not admitted: bring all of them again,
// those that were admitted are recognised. It is KindUnavailable with code
// "operator_busy" when ctx ended while waiting for room, "draining" when the
// bridge stops, "no_lease" when its lease has ended, "admission_unknown" when
// it is not known yet whether an earlier admission of an id has committed, or
// what the registry's Admit returned.
func (b *Bridge) Take(ctx context.Context, items []mobileid.AdmitItem) error {
	if len(items) == 0 {
		return nil
	}
	t := b.intake.add(items)
	signal(b.kick)
	select {
	case <-t.done:
		return b.intake.leave(t, nil)
	case <-ctx.Done():
		return b.intake.leave(t, mobileid.Unavailable("operator_busy", time.Second, ctx.Err()))
	}
}
