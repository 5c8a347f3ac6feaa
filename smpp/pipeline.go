package smpp

import (
	"context"
	"maps"
	"slices"
	"time"

	"mobileid/internal/mobileid"
)

// Bounds of the pipeline, in Messages.
const (
	maxBatch = 500    // in one admit or settle statement: more made it no faster a Message
	maxAhead = 5000   // admitted and not in the window yet; submit_sm
	maxHeld  = 20_000 // owned in all
)

// pipeline is the way of a batch of Messages through the bridge, in order.
func (b *Bridge) pipeline(ctx context.Context, batch []*item) error {
	// 1. Admit: one statement decides, reserves the money and makes the rows
	//    ours. When it has committed, the callers of Take may go on.
	return b.admit(ctx, batch, func(j *job) {
		// 2. Authorise: charging that is asked outside runs here, each Message
		//    with its own deadline; the ledger has answered inside admit.
		b.authorise(ctx, j, func() {
			// 3. Submit: codes before notices, into a free slot of the window, if
			//    the admission is not older than a second at the write itself.
			b.submit(j, func(stale bool) {
				if stale {
					// 4a. Surely not written, or surely not taken: due again at once, which goes back to
					//     step 1, the fence included.
					b.readmit(j)
					return
				}
				// 4b. Settle what the operator answered, or that it did not.
				b.settle(j)
			})
		})
	})
}

// admitLoop has one admit statement in flight; what arrives meanwhile is the
// next batch, so batches grow with the load and nothing lingers.
func (b *Bridge) admitLoop(ctx context.Context) {
	pause := 100 * time.Millisecond
	for {
		b.progress.admit.Rest()
		select {
		case <-b.kick:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			b.progress.admit.Step()
			batch := b.nextBatch()
			if len(batch) == 0 {
				break
			}
			if err := b.pipeline(ctx, batch); err != nil {
				b.log.Warn("admission failed", "items", len(batch), "err", err)
				sleep(ctx, jitter(pause))
				pause = min(2*pause, 2*time.Second)
				continue
			}
			pause = 100 * time.Millisecond
		}
	}
}

// room is how many codes, and how many Messages of any kind, may be admitted
// now: only as many as the window will write within a second, going by how many
// submit_sm were answered in the last one and how many a Message takes. Notices
// that wait for the window do not count for a code, which goes before them.
func (b *Bridge) room() (codes, all int) {
	codesWait, noticesWait, _ := b.outgoing.waiting()
	behind := b.settling.len() >= maxBehind
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining || behind || !b.carries() || b.lease == nil || !b.lease.writable(now) {
		return 0, 0
	}
	// Up to the return these are submit_sm.
	ahead := min(max(b.rate.lastSecond(now), b.cfg.Profile.Windows()), maxAhead)
	// Half a second of the pace: what waits longer is admitted in vain.
	if pace := b.pacer.Rate(); pace == 0 {
		return 0, 0
	} else if pace < 2*float64(ahead) {
		ahead = max(1, int(pace/2))
	}
	left := min(maxBatch, maxHeld-len(b.held))
	return min(b.sizes.otp.fit(ahead-codesWait), left), min(b.sizes.bulk.fit(ahead-codesWait-noticesWait), left)
}

// nextBatch takes what may be admitted now. Ids that this bridge holds already
// (a lane may deliver twice) are answered from memory; the statement before
// this one has committed, because there is only one at a time. When it is not
// known whether it has, their callers have to come again: admitted now, they
// would be given back by the outcome that is on its way for them.
func (b *Bridge) nextBatch() []*item {
	for {
		codes, all := b.room()
		if codes <= 0 {
			return nil
		}
		_, notices, _ := b.outgoing.waiting()
		found := b.intake.next(codes, all, notices == 0)
		if len(found) == 0 {
			return nil
		}
		var batch, known, unsure []*item
		first := map[mobileid.ID]bool{}
		b.mu.Lock()
		for _, it := range found {
			j, held := b.held[it.ID]
			if held && j.unsure {
				unsure = append(unsure, it)
				continue
			}
			if held || first[it.ID] {
				known = append(known, it)
				continue
			}
			first[it.ID] = true
			batch = append(batch, it)
		}
		b.mu.Unlock()
		b.metrics.duplicates.Add(float64(len(known)))
		if len(unsure) > 0 {
			b.intake.admitted(unsure, mobileid.Unavailable("admission_unknown", time.Second, nil))
		}
		if len(batch) > 0 {
			// A twin inside the batch is known when the batch is.
			for _, it := range known {
				if first[it.ID] {
					batch = append(batch, it)
				} else {
					b.intake.admitted([]*item{it}, nil)
				}
			}
			return batch
		}
		b.intake.admitted(known, nil)
	}
}

// admit asks the registry about a batch and hands on what is ours to write.
func (b *Bridge) admit(ctx context.Context, batch []*item, next func(*job)) error {
	b.mu.Lock()
	l := b.lease
	b.mu.Unlock()
	if l == nil {
		err := mobileid.Unavailable("no_lease", time.Second, nil)
		b.intake.admitted(batch, err)
		return err
	}
	asks := make([]mobileid.AdmitItem, 0, len(batch))
	seen := make(map[mobileid.ID]bool, len(batch))
	for _, it := range batch {
		if !seen[it.ID] {
			seen[it.ID] = true
			asks = append(asks, it.AdmitItem)
		}
	}
	asked := b.now()
	// A shutdown does not break a statement off: its rows may be ours already.
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StoreTimeout)
	defer cancel()
	admissions, err := b.store.Admit(call, l.id, asks)
	b.metrics.admitSeconds.Observe(b.now().Sub(asked).Seconds())
	b.metrics.admitBatch.Observe(float64(len(asks)))
	mine := b.own(l, asked, admissions)
	decided := batch
	if err != nil { // about what is not among the admissions
		known := make(map[mobileid.ID]bool, len(admissions))
		for i := range admissions {
			known[admissions[i].ID] = true
		}
		b.notAdmitted(l, slices.DeleteFunc(asks, func(it mobileid.AdmitItem) bool { return known[it.ID] }), err)
		if mobileid.KindOf(err) == mobileid.KindConflict {
			// A matter between the registry and us: the callers just come again.
			err = mobileid.Unavailable("no_lease", time.Second, err)
		}
		isKnown := func(it *item) bool { return known[it.ID] }
		b.intake.admitted(slices.DeleteFunc(slices.Clone(batch), isKnown), err)
		decided = slices.DeleteFunc(slices.Clone(batch), func(it *item) bool { return !isKnown(it) })
	}
	b.intake.admitted(decided, nil)
	for _, j := range mine {
		next(j)
	}
	signal(b.quiet)
	return err
}

// own makes the jobs of what has been admitted to us.
func (b *Bridge) own(l *lease, asked time.Time, admissions []mobileid.Admission) []*job {
	mine := make([]*job, 0, len(admissions))
	b.mu.Lock()
	for _, a := range admissions {
		last := b.coming[a.ID]
		delete(b.coming, a.ID)
		if a.Verdict != mobileid.VerdictMine {
			continue
		}
		j := &job{admission: a, lease: l, asked: asked}
		if last != nil {
			j.returned, j.turn, j.hasty = true, last.turn, last.hasty
		}
		b.held[a.ID] = j
		b.sizes.of(a.Lane).add(j.remaining())
		mine = append(mine, j)
	}
	b.mu.Unlock()
	for _, a := range admissions {
		b.metrics.admissions.WithLabelValues(string(a.Verdict)).Inc()
		if a.Verdict == mobileid.VerdictRefused {
			b.charging.forget(a.ID, a.State)
		}
	}
	return mine
}

// notAdmitted looks after a failed admit statement. When it may have committed
// all the same, its rows are ours and nobody would write them: they are made
// due again, which changes nothing if they are not ours.
func (b *Bridge) notAdmitted(l *lease, asks []mobileid.AdmitItem, err error) {
	switch mobileid.KindOf(err) {
	case mobileid.KindConflict:
		l.over.Store(true)
		signal(b.leaseOver)
	case mobileid.KindUnknown:
		for _, it := range asks {
			j := &job{admission: mobileid.Admission{ID: it.ID}, lease: l, unsure: true}
			b.mu.Lock()
			b.held[it.ID] = j
			b.mu.Unlock()
			b.returnJob(j, mobileid.ReasonAdmissionUnknown)
		}
	default:
	}
}

// readmit makes a job that was surely not written due again at once. When this
// bridge can carry it, it is admitted again as soon as that is stored, before
// everything else of its lane, and has its turn; otherwise whichever bridge
// looks first has it.
func (b *Bridge) readmit(j *job) {
	b.metrics.readmitted.Inc()
	j.again, j.pdus = true, nil
	now := b.now()
	b.mu.Lock()
	if len(b.coming) >= maxHeld {
		// Those that other bridges have since, or that ended while they waited.
		maps.DeleteFunc(b.coming, func(_ mobileid.ID, j *job) bool { return j.admission.Deadline.Before(now) })
	}
	b.coming[j.admission.ID] = j
	b.mu.Unlock()
	b.returnJob(j, mobileid.ReasonNotWritten)
}

// giveBack returns every job that waits for a slot to the registry, due at
// once, so that any bridge of the operator can have it; with a lease, only its
// jobs.
func (b *Bridge) giveBack(reason string, l *lease) {
	for _, j := range b.outgoing.remove(func(j *job) bool { return l == nil || j.lease == l }) {
		b.returnJob(j, reason)
	}
}

func (b *Bridge) returnJob(j *job, reason string) {
	j.outcome = j.report(mobileid.MessageRetry, reason)
	j.outcome.RetryAt = b.now()
	b.settle(j)
}

// retryLoop brings what is due again, as much as there is room for codes, which
// come first; and gives back what waits for a link that does not come.
func (b *Bridge) retryLoop(ctx context.Context) {
	for ; sleep(ctx, b.cfg.RetryEvery); b.progress.retry.Rest() {
		b.progress.retry.Step()
		b.mu.Lock()
		stuck := !b.carries() && b.now().Sub(b.down) >= b.cfg.GiveBack
		b.mu.Unlock()
		if stuck {
			b.giveBack(mobileid.ReasonLinkDown, nil)
			continue
		}
		n, _ := b.room()
		if n <= 0 {
			continue
		}
		call, cancel := context.WithTimeout(ctx, b.cfg.StoreTimeout)
		due, err := b.store.DueRetries(call, b.cfg.Profile.ID, n)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				b.log.Warn("retries not read", "err", err)
			}
			continue
		}
		if len(due) > 0 {
			b.intake.addDue(due)
			signal(b.kick)
		}
	}
}
