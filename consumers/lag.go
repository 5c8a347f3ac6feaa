package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// lagEvery is how often the exporter looks.
const lagEvery = 15 * time.Second

// GroupTopics names a consumer group and the topics it reads.
type GroupTopics struct {
	Group  string
	Topics []string
}

// lag returns how many records of each topic the group has not committed, and
// why it is not known of the others. A partition without a commit counts from
// the start of its log. kafka-go's own Reader.Lag says nothing about groups.
func lag(ctx context.Context, client *kafka.Client, g GroupTopics) (behind map[string]int64, unknown map[string]error) {
	behind, unknown = map[string]int64{}, map[string]error{}
	asked := make([][]kafka.PartitionOffsets, len(g.Topics))
	errs := make([]error, len(g.Topics))
	_ = each(len(g.Topics), func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, lagEvery/4) // a leader that is silent leaves time for the commits
		defer cancel()
		asked[i], errs[i] = boundsOf(ctx, client, g.Topics[i])
		return nil
	})
	bounds := map[string][]kafka.PartitionOffsets{}
	partitions := map[string][]int{}
	for i, topic := range g.Topics {
		if errs[i] != nil {
			unknown[topic] = errs[i]
			continue
		}
		bounds[topic] = asked[i]
		for _, b := range asked[i] {
			partitions[topic] = append(partitions[topic], b.Partition)
		}
	}
	if len(partitions) == 0 {
		return behind, unknown
	}
	offsets, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: g.Group, Topics: partitions})
	if err == nil && !errors.Is(offsets.Error, kafka.GroupIdNotFound) { // a group that never was has committed nothing
		err = offsets.Error
	}
	for topic := range partitions {
		if err != nil {
			unknown[topic] = err
			continue
		}
		n, err := behindOf(bounds[topic], offsets.Topics[topic])
		if err != nil {
			unknown[topic] = err
			continue
		}
		behind[topic] = n
	}
	return behind, unknown
}

// boundsOf asks where the log of each partition begins and ends. It asks for
// one topic, because kafka-go answers for all that are asked together or for
// none.
func boundsOf(ctx context.Context, client *kafka.Client, topic string) ([]kafka.PartitionOffsets, error) {
	partitions, err := partitionsOf(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	var ask []kafka.OffsetRequest
	for _, p := range partitions {
		ask = append(ask, kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
	}
	res, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", topic, err)
	}
	for _, b := range res.Topics[topic] {
		if b.Error != nil {
			return nil, fmt.Errorf("offsets of %s: %w", topic, b.Error)
		}
	}
	return res.Topics[topic], nil
}

// behindOf sums what lies between a group's commits and the ends of the logs.
func behindOf(bounds []kafka.PartitionOffsets, commits []kafka.OffsetFetchPartition) (int64, error) {
	at := map[int]int64{}
	for _, o := range commits {
		if o.Error != nil {
			return 0, o.Error
		}
		at[o.Partition] = o.CommittedOffset
	}
	n := int64(0)
	for _, b := range bounds {
		from, known := at[b.Partition]
		if !known || from < b.FirstOffset {
			from = b.FirstOffset
		}
		n += max(0, b.LastOffset-from)
	}
	return n, nil
}

// LagExporter publishes mobileid_consumer_lag_records{group,topic}.
type LagExporter struct {
	kafka  KafkaConfig
	groups []GroupTopics
	log    *slog.Logger
	gauge  *prometheus.GaugeVec
	loop   *mobileid.Loop
}

// NewLagExporter makes an exporter for the groups; loop is told how it comes on.
func NewLagExporter(kc KafkaConfig, groups []GroupTopics, log *slog.Logger, reg prometheus.Registerer, loop *mobileid.Loop) *LagExporter {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &LagExporter{kafka: kc, groups: groups, log: log, loop: loop, gauge: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mobileid_consumer_lag_records",
		Help: "Records that the group has not committed yet.",
	}, []string{"group", "topic"}))}
}

// Run looks every lagEvery until ctx ends and returns nil. While the cluster
// is away the last figures stay; mobileid_publish_* and readiness tell that. A
// topic that is gone or forbidden has no figure.
func (x *LagExporter) Run(ctx context.Context) error {
	client, release := x.kafka.client()
	defer release()
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		x.look(ctx, client)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (x *LagExporter) look(ctx context.Context, client *kafka.Client) {
	defer x.loop.Rest()
	for _, g := range x.groups {
		x.loop.Step()
		ctx, cancel := context.WithTimeout(ctx, lagEvery/2)
		behind, unknown := lag(ctx, client, g)
		over := ctx.Err()
		cancel()
		for topic, n := range behind {
			x.gauge.WithLabelValues(g.Group, topic).Set(float64(n))
		}
		for topic, err := range unknown {
			if unreachable(err) {
				x.gauge.DeleteLabelValues(g.Group, topic)
			}
		}
		if topics := slices.Sorted(maps.Keys(unknown)); len(topics) > 0 && !errors.Is(over, context.Canceled) {
			x.log.Warn("lag unknown", "group", g.Group, "topics", topics, "err", explain(unknown[topics[0]]))
		}
	}
}
