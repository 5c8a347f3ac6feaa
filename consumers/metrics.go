package consumers

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// register puts a collector into reg, or returns the equal one that stands
// there already: several groups of one process share their metrics. A nil reg
// leaves the collector unregistered and usable.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		if twice, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			if same, ok := twice.ExistingCollector.(C); ok {
				return same
			}
		}
	}
	return c
}

type publisherMetrics struct {
	records *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	skipped *prometheus.CounterVec
}

func newPublisherMetrics(reg prometheus.Registerer) publisherMetrics {
	return publisherMetrics{
		records: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_publish_records_total",
			Help: "Records given to Kafka, by outcome (written, unavailable, unknown_outcome, too_large). Of a lane, the sweeper tries what is not written again.",
		}, []string{"topic", "outcome"})),
		skipped: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_publish_skipped_total",
			Help: "Records of lanes and out.<client> not written because their topic is missing or forbidden.",
		}, []string{"topic"})),
		seconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mobileid_publish_seconds",
			Help:    "Time until every in-sync replica had the records, or until the publisher gave up.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1},
		}, []string{"outcome"})),
	}
}

func (m publisherMetrics) observe(topic string, err error, took time.Duration, written, left int) {
	outcome := "written"
	m.records.WithLabelValues(topic, outcome).Add(float64(written))
	if err != nil {
		outcome = string(mobileid.KindOf(err))
		m.records.WithLabelValues(topic, outcome).Add(float64(left))
	}
	m.seconds.WithLabelValues(outcome).Observe(took.Seconds())
}

type groupMetrics struct {
	records   *prometheus.CounterVec
	retries   *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	batch     *prometheus.HistogramVec
	lost      *prometheus.CounterVec
	rewound   *prometheus.CounterVec
	stalls    *prometheus.CounterVec
	owned     *prometheus.GaugeVec
	joins     *prometheus.CounterVec
	blocked   *prometheus.GaugeVec
	committed *prometheus.CounterVec
}

func newGroupMetrics(reg prometheus.Registerer) groupMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
	}
	return groupMetrics{
		records: counter("mobileid_consumer_records_total",
			"Records by what became of them (done, parked).", "group", "topic", "outcome"),
		retries: counter("mobileid_consumer_retries_total",
			"Batches that come again, by the error's kind.", "group", "topic", "kind"),
		seconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mobileid_consumer_handle_seconds", Help: "Time of one call of a handler.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2},
		}, []string{"group", "topic"})),
		batch: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mobileid_consumer_batch_records", Help: "Records in one call of a handler.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500},
		}, []string{"group", "topic"})),
		lost: counter("mobileid_consumer_lost_records_total",
			"Records that retention removed before this group read them. Any is an incident.", "group", "topic"),
		rewound: counter("mobileid_consumer_rewound_total",
			"Times the committed offset stood beyond the end of the log, which was then read again from its start.", "group", "topic"),
		stalls: counter("mobileid_consumer_stalls_total",
			"Readers rebuilt because there was lag and nothing came.", "group", "topic"),
		owned: gauge("mobileid_consumer_partitions",
			"Partitions that this process reads now.", "group", "topic"),
		joins: counter("mobileid_consumer_generations_total",
			"Generations of the group that this process took part in.", "group"),
		blocked: gauge("mobileid_consumer_blocked_partitions",
			"Partitions whose oldest records are being tried again.", "group", "topic"),
		committed: counter("mobileid_consumer_commits_total",
			"Offset commits, by outcome.", "group", "outcome"),
	}
}
