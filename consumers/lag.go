package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
)

// lagEvery is how often the exporter looks.
const lagEvery = 15 * time.Second

// GroupTopics names a consumer group and the topics it reads.
type GroupTopics struct {
	Group  string
	Topics []string
}

// lag returns how many records of each topic the group has not committed. A
// partition without a commit counts from the start of its log. kafka-go's own
// Reader.Lag says nothing about groups.
func lag(ctx context.Context, client *kafka.Client, g GroupTopics) (map[string]int64, error) {
	ask := map[string][]kafka.OffsetRequest{}
	committed := map[string][]int{}
	for _, topic := range g.Topics {
		partitions, err := partitionsOf(ctx, client, topic)
		if err != nil {
			return nil, fmt.Errorf("lag of %s: %w", g.Group, err)
		}
		for _, p := range partitions {
			ask[topic] = append(ask[topic], kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
		}
		committed[topic] = partitions
	}
	bounds, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		return nil, fmt.Errorf("lag of %s: %w", g.Group, err)
	}
	offsets, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: g.Group, Topics: committed})
	if err == nil && !errors.Is(offsets.Error, kafka.GroupIdNotFound) { // a group that never was has committed nothing
		err = offsets.Error
	}
	if err != nil {
		return nil, fmt.Errorf("lag of %s: %w", g.Group, err)
	}
	out := map[string]int64{}
	for _, topic := range g.Topics {
		at := map[int]int64{}
		for _, o := range offsets.Topics[topic] {
			if o.Error != nil {
				return nil, fmt.Errorf("lag of %s: %w", g.Group, o.Error)
			}
			at[o.Partition] = o.CommittedOffset
		}
		out[topic] = 0
		for _, b := range bounds.Topics[topic] {
			if b.Error != nil {
				return nil, fmt.Errorf("lag of %s: %w", g.Group, b.Error)
			}
			from, known := at[b.Partition]
			if !known || from < b.FirstOffset {
				from = b.FirstOffset
			}
			out[topic] += max(0, b.LastOffset-from)
		}
	}
	return out, nil
}

// LagExporter publishes mobileid_consumer_lag_records{group,topic}.
type LagExporter struct {
	kafka  KafkaConfig
	groups []GroupTopics
	log    *slog.Logger
	gauge  *prometheus.GaugeVec
}

// NewLagExporter makes an exporter for the groups.
func NewLagExporter(kc KafkaConfig, groups []GroupTopics, log *slog.Logger, reg prometheus.Registerer) *LagExporter {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &LagExporter{kafka: kc, groups: groups, log: log, gauge: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mobileid_consumer_lag_records",
		Help: "Records that the group has not committed yet.",
	}, []string{"group", "topic"}))}
}

// Run looks every lagEvery until ctx ends and returns nil. While the cluster
// is away the last figures stay; mobileid_publish_* and readiness tell that.
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
	for _, g := range x.groups {
		ctx, cancel := context.WithTimeout(ctx, lagEvery/2)
		behind, err := lag(ctx, client, g)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				x.log.Warn("lag unknown", "group", g.Group, "err", explain(err))
			}
			continue
		}
		for topic, n := range behind {
			x.gauge.WithLabelValues(g.Group, topic).Set(float64(n))
		}
	}
}
