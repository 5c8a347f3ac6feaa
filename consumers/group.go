package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// The group's timing: a leaving member is replaced
// in tens of milliseconds, a dead one after the session.
const (
	heartbeatEvery   = 500 * time.Millisecond
	sessionTimeout   = 6 * time.Second
	rebalanceTimeout = 10 * time.Second
	joinBackoff      = 500 * time.Millisecond
	// coordinatorTimeout is half a session: a heartbeat that hangs longer ends
	// the generation before the broker gives its partitions away.
	coordinatorTimeout = sessionTimeout / 2
	topologyEvery      = 2 * time.Second
)

// GroupConfig describes a group's member; zero values are filled in as said.
type GroupConfig struct {
	Kafka   KafkaConfig
	Group   string
	Topics  []string
	Handler Handler
	DLQ     DLQ
	// MaxBatch bounds the records of one Handle, and of what waits fetched; 0
	// means 500. There is no lingering: what arrived during one call is the
	// next call's batch.
	MaxBatch int
	// HandlerTimeout bounds one Handle; 0 means 2.5 s, never more than half a
	// session, because a drain must end inside it.
	HandlerTimeout time.Duration
	// Grace is how long a running Handle may go on after the partition is lost
	// or the process stops, before its context ends; 0 means 1 s.
	Grace time.Duration
	// CommitEvery bounds how long a finished record stays uncommitted; 0 means
	// 100 ms.
	CommitEvery time.Duration
	// StallAfter is how long there may be lag and no fetch before the reader
	// is rebuilt; 0 means 10 s.
	StallAfter time.Duration
	Log        *slog.Logger
	Reg        prometheus.Registerer
	Now        func() time.Time
	Watch      mobileid.Watch // of the loops
}

// Group is one member of a consumer group. One Group reads each partition that
// it is given with one reader, and gives what arrived on the partitions of a
// topic to its handler, one call at a time.
type Group struct {
	cfg     GroupConfig
	metrics groupMetrics
	loop    *mobileid.Loop // whose one step is to end a generation
}

// NewGroup makes a member; Run joins.
func NewGroup(cfg GroupConfig) *Group {
	if cfg.MaxBatch <= 0 {
		cfg.MaxBatch = 500
	}
	if cfg.HandlerTimeout <= 0 {
		cfg.HandlerTimeout = 2500 * time.Millisecond
	}
	cfg.HandlerTimeout = min(cfg.HandlerTimeout, sessionTimeout/2)
	if cfg.Grace <= 0 {
		cfg.Grace = time.Second
	}
	if cfg.CommitEvery <= 0 {
		cfg.CommitEvery = 100 * time.Millisecond
	}
	if cfg.StallAfter <= 0 {
		cfg.StallAfter = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Topics = slices.Clone(cfg.Topics)
	g := &Group{cfg: cfg, metrics: newGroupMetrics(cfg.Reg)}
	g.loop = g.watch("ends a generation")
	return g
}

// watch names a loop of this member.
func (g *Group) watch(does string) *mobileid.Loop {
	return g.cfg.Watch.Loop("group " + g.cfg.Group + " " + does)
}

// Run takes part in the group until ctx ends, through rebalances and broker
// restarts. It then lets the running handlers finish (Grace), commits what is
// done, leaves the group and returns nil. An error means that the
// configuration is wrong.
func (g *Group) Run(ctx context.Context) error {
	if g.cfg.Handler == nil || g.cfg.DLQ == nil {
		return errors.New("a group needs a handler and a dead-letter queue")
	}
	member, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                g.cfg.Group,
		Brokers:           g.cfg.Kafka.Brokers,
		Dialer:            g.cfg.Kafka.dialer(),
		Topics:            g.cfg.Topics,
		HeartbeatInterval: heartbeatEvery,
		SessionTimeout:    sessionTimeout,
		RebalanceTimeout:  rebalanceTimeout,
		JoinGroupBackoff:  joinBackoff,
		Timeout:           coordinatorTimeout,
		StartOffset:       kafka.FirstOffset,
		// WatchPartitionChanges stays off: kafka-go's watcher joins again
		// without a pause when a topic does not exist. See topology.
	})
	if err != nil {
		return fmt.Errorf("group %s: %w", g.cfg.Group, err)
	}
	fetch := newKafkaFetcher(g.cfg.Kafka)
	defer fetch.close()

	var running sync.WaitGroup
	for ctx.Err() == nil {
		gen, err := member.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				g.joinFailed(ctx, err)
			}
			continue
		}
		g.metrics.joins.WithLabelValues(g.cfg.Group).Inc()
		running.Add(1)
		run := newGeneration(g, gen, fetch)
		gen.Start(func(genCtx context.Context) {
			defer running.Done()
			run.run(ctx, genCtx)
			if ctx.Err() != nil {
				// The member leaves by Close below. Returning earlier would
				// make it join once more.
				<-genCtx.Done()
			}
		})
		select {
		case <-run.drained:
		case <-ctx.Done():
			<-run.drained
		}
	}
	g.close(member)
	running.Wait()
	return nil
}

// joinFailed tells why a generation did not come about. kafka-go tries again
// by itself: at once while the group rebalances, else after joinBackoff.
func (g *Group) joinFailed(ctx context.Context, err error) {
	switch {
	case errors.Is(err, kafka.RebalanceInProgress), errors.Is(err, kafka.GroupCoordinatorNotAvailable),
		errors.Is(err, kafka.NotCoordinatorForGroup), errors.Is(err, kafka.GroupLoadInProgress):
		g.cfg.Log.Debug("joining the group again", "group", g.cfg.Group, "err", explain(err))
	case errors.Is(err, kafka.ErrGroupClosed):
		pause(ctx, joinBackoff, 0)
	default:
		g.cfg.Log.Warn("joining the group failed, again soon", "group", g.cfg.Group, "err", explain(err))
	}
}

// close leaves the group; a broker that does not answer may not hold us up.
func (g *Group) close(member *kafka.ConsumerGroup) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = member.Close() // always nil
	}()
	guard := time.NewTimer(2 * coordinatorTimeout)
	defer guard.Stop()
	select {
	case <-done:
	case <-guard.C:
		g.cfg.Log.Warn("leaving the group takes too long: its session will end by itself", "group", g.cfg.Group)
	}
}
