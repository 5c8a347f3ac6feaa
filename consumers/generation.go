package consumers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// generation is the work between two rebalances: a reader and a watchdog for
// each assigned partition, a worker for each topic, and one committer.
//
// The partitions of a topic share a worker because a batch is what lowers the
// cost of a record: with a worker each, four partitions make four batches of
// one and four transactions that compete for the same processors, where one
// worker makes a batch of four. What bounds a member is its batches then, not
// its partitions; more members are more workers.
type generation struct {
	group   *Group
	gen     *kafka.Generation
	fetcher fetcher
	drained chan struct{}

	mu       sync.Mutex
	trackers map[mobileid.RecordRef]*tracker // by topic and partition; Offset is 0
	wake     chan struct{}                   // of the committer

	commitFailed bool // the committer's own: the last commit failed
}

func newGeneration(g *Group, gen *kafka.Generation, f fetcher) *generation {
	return &generation{
		group: g, gen: gen, fetcher: f,
		drained:  make(chan struct{}),
		trackers: map[mobileid.RecordRef]*tracker{},
		wake:     make(chan struct{}, 1),
	}
}

// run works until the process drains (ctx) or the generation ends (genCtx),
// and returns when everything has stopped and what is done is committed.
func (n *generation) run(ctx, genCtx context.Context) {
	defer close(n.drained)
	cfg := n.group.cfg

	// read ends at once when there is nothing more to fetch for us; work ends
	// Grace later, so that the batch under way may finish.
	read, stopReading := context.WithCancelCause(context.WithoutCancel(ctx))
	work, stopWork := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopReading(nil)
	defer stopWork(nil)

	var parts, helpers sync.WaitGroup
	for topic, assigned := range n.gen.Assignments {
		n.group.metrics.owned.WithLabelValues(cfg.Group, topic).Set(float64(len(assigned)))
		n.startTopic(read, work, topic, assigned, &parts, &helpers)
	}
	cfg.Log.Info("partitions assigned", "group", cfg.Group, "generation", n.gen.ID, "assigned", countAssigned(n.gen.Assignments))

	committing := make(chan struct{})
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		n.commitLoop(committing, cfg.CommitEvery)
	}()
	changed := make(chan struct{})
	helpers.Go(func() { n.topology(read, changed) })

	why := errPartitionLost
	select {
	case <-genCtx.Done():
	case <-changed:
	case <-ctx.Done():
		why = errDraining
	}
	n.group.loop.Step()
	defer n.group.loop.Rest()
	stopReading(why)
	grace := time.AfterFunc(cfg.Grace, func() { stopWork(why) })
	parts.Wait()
	grace.Stop()
	helpers.Wait()
	close(committing)
	<-committed
	for topic := range n.gen.Assignments {
		n.group.metrics.owned.WithLabelValues(cfg.Group, topic).Set(0)
	}
}

func countAssigned(all map[string][]kafka.PartitionAssignment) string {
	var parts []string
	for _, topic := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, fmt.Sprintf("%s:%d", topic, len(all[topic])))
	}
	return strings.Join(parts, " ")
}

// startTopic starts the worker of a topic, and the reader and the watchdog of
// each of its assigned partitions.
func (n *generation) startTopic(read, work context.Context, topic string, assigned []kafka.PartitionAssignment, parts, helpers *sync.WaitGroup) {
	cfg, m := n.group.cfg, n.group.metrics
	arrived := make(chan kafka.Message, cfg.MaxBatch)
	var readers sync.WaitGroup
	for _, a := range assigned {
		r := &partitionReader{
			topic: topic, partition: a.ID, fetcher: n.fetcher, out: arrived, log: cfg.Log, now: cfg.Now,
			loop:      n.group.watch(fmt.Sprintf("fetches %s/%d", topic, a.ID)),
			onLost:    func(lost int64) { m.lost.WithLabelValues(cfg.Group, topic).Add(float64(lost)) },
			onRewound: func() { m.rewound.WithLabelValues(cfg.Group, topic).Inc() },
		}
		readers.Go(func() { r.run(read, a.Offset) })
		helpers.Go(func() {
			r.watch(read, cfg.StallAfter, func() { m.stalls.WithLabelValues(cfg.Group, topic).Inc() })
		})
	}
	d := &deliverer{
		group: cfg.Group, topic: topic, handler: cfg.Handler, dlq: cfg.DLQ,
		timeout: cfg.HandlerTimeout, log: cfg.Log, metrics: m, commit: n.commitSoon,
		loop: n.group.watch("handles " + topic),
	}
	parts.Go(readers.Wait)
	parts.Go(func() { n.work(read, work, arrived, d) })
}

// work takes what has arrived as one batch, again and again.
func (n *generation) work(read, work context.Context, arrived <-chan kafka.Message, d *deliverer) {
	for {
		var batch []*Record
		select {
		case <-read.Done():
			return // what was fetched and not begun comes again, to whoever has the partition then
		case m := <-arrived:
			batch = append(batch, n.record(m))
		}
		for more := true; more && len(batch) < n.group.cfg.MaxBatch; {
			select {
			case m := <-arrived:
				batch = append(batch, n.record(m))
			default:
				more = false
			}
		}
		if err := d.deliver(work, batch); err != nil {
			return // work has ended
		}
		if read.Err() != nil {
			return
		}
	}
}

// record makes the Record of a message and hands its offset to the tracker.
func (n *generation) record(m kafka.Message) *Record {
	r := NewRecord(m)
	key := mobileid.RecordRef{Topic: m.Topic, Partition: m.Partition}
	n.mu.Lock()
	t := n.trackers[key]
	if t == nil {
		t = newTracker(m.Offset)
		n.trackers[key] = t
	}
	n.mu.Unlock()
	t.add(m.Offset)
	r.tracker = t
	return r
}

func (n *generation) commitSoon() {
	select {
	case n.wake <- struct{}{}:
	default: // it is awake
	}
}

// commitLoop commits a batch as soon as it is done when the last commit is
// longer ago than every, else together with what the interval still brings,
// and once more when stop is closed. All partitions go in one request. A
// commit for each batch was 50 requests a second and group at 100 messages.
func (n *generation) commitLoop(stop <-chan struct{}, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	loop := n.group.watch("commits")
	paced := false // something was committed in this interval
	for {
		wake := n.wake
		if paced {
			wake = nil
		}
		select {
		case <-stop:
			n.commit(loop)
			return
		case <-tick.C:
			paced = n.commit(loop)
		case <-wake:
			paced = n.commit(loop)
			tick.Reset(every)
		}
	}
}

// commit reports whether there was anything to commit.
func (n *generation) commit(loop *mobileid.Loop) bool {
	loop.Step()
	defer loop.Rest()
	offsets := map[string]map[int]int64{}
	due := map[*tracker]int64{}
	n.mu.Lock()
	for at, t := range n.trackers {
		offset, yes := t.due()
		if !yes {
			continue
		}
		if offsets[at.Topic] == nil {
			offsets[at.Topic] = map[int]int64{}
		}
		offsets[at.Topic][at.Partition] = offset
		due[t] = offset
	}
	n.mu.Unlock()
	if len(offsets) == 0 {
		return false
	}
	outcome := "committed"
	if err := n.gen.CommitOffsets(offsets); err != nil {
		// Not lost: the records come again to whoever reads the partition
		// next. A generation that ended may no longer commit.
		outcome = "failed"
		log := n.group.cfg.Log.Warn
		ordinary := errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.RebalanceInProgress)
		if ordinary || n.commitFailed {
			log = n.group.cfg.Log.Debug // the first one has said it
		}
		n.commitFailed = true
		log("offset commit failed", "group", n.group.cfg.Group, "err", explain(err))
	} else {
		n.commitFailed = false
		for t, offset := range due {
			t.settled(offset)
		}
	}
	n.group.metrics.committed.WithLabelValues(n.group.cfg.Group, outcome).Inc()
	return true
}

// topology closes changed when a topic of the group has another number of
// partitions than at first: the generation ends and the next one has them all.
func (n *generation) topology(ctx context.Context, changed chan<- struct{}) {
	client, release := n.group.cfg.Kafka.client()
	defer release()
	tick := time.NewTicker(topologyEvery)
	defer tick.Stop()
	known := -1
	loop := n.group.watch("counts partitions")
	for {
		loop.Step()
		now, err := countPartitions(ctx, client, n.group.cfg.Topics)
		loop.Rest()
		if err == nil {
			if known >= 0 && now != known {
				close(changed)
				return
			}
			known = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// countPartitions counts those of all topics; a topic that does not exist has
// none.
func countPartitions(ctx context.Context, client *kafka.Client, topics []string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, topologyEvery)
	defer cancel()
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, t := range res.Topics {
		if t.Error == nil {
			n += len(t.Partitions)
		}
	}
	return n, nil
}
