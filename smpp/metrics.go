package smpp

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/smpp/wire"
)

// metrics of one bridge. No label is personal; statuses come from a closed
// list, so an operator cannot make series.
type metrics struct {
	admissions    *prometheus.CounterVec
	admitSeconds  prometheus.Histogram
	admitBatch    prometheus.Histogram
	readmitted    prometheus.Counter
	duplicates    prometheus.Counter
	submits       *prometheus.CounterVec
	submitSeconds prometheus.Histogram
	outcomes      *prometheus.CounterVec
	settleSeconds prometheus.Histogram
	unsettled     prometheus.Counter
	receipts      *prometheus.CounterVec
	unmatched     prometheus.Counter
	odd           *prometheus.CounterVec
	binds         *prometheus.CounterVec
	lost          prometheus.Counter
	leasesLost    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, cfg Config, b *Bridge) *metrics {
	if reg != nil {
		reg = prometheus.WrapRegistererWith(prometheus.Labels{"operator": cfg.Operator, "link": cfg.linkName()}, reg)
	}
	counter := func(name, help string) prometheus.Counter {
		return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "mobileid_smpp_" + name, Help: help}))
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mobileid_smpp_" + name, Help: help}, []string{label}))
	}
	seconds := func(name, help string) prometheus.Histogram {
		return register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mobileid_smpp_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}))
	}
	gauge := func(name, help string, f func() int) {
		register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "mobileid_smpp_" + name, Help: help},
			func() float64 { return float64(f()) }))
	}
	gauge("link_up", "1 when the link is bound.", func() int {
		if b.session() == nil {
			return 0
		}
		return 1
	})
	gauge("window_in_flight", "submit_sm without an answer.", func() int {
		s := b.session()
		if s == nil {
			return 0
		}
		return s.inUse()
	})
	gauge("waiting", "Messages admitted and not in the window yet.", b.outgoing.len)
	return &metrics{
		admissions:   vec("admissions_total", "Messages asked about, by the registry's verdict.", "verdict"),
		admitSeconds: seconds("admit_seconds", "Time of an admit statement."),
		admitBatch: register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mobileid_smpp_admit_batch_messages", Help: "Messages in an admit statement.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		})),
		readmitted:    counter("readmitted_total", "Messages surely not written within their second, admitted again."),
		duplicates:    counter("duplicates_total", "Ids that came again while this bridge held them."),
		submits:       vec("submits_total", "submit_sm written, by command_status, no_answer or link_lost.", "status"),
		submitSeconds: seconds("submit_seconds", "Time from the write of a submit_sm to its answer."),
		outcomes:      vec("outcomes_total", "Outcomes of Messages, by state.", "state"),
		settleSeconds: seconds("settle_seconds", "Time of a settle statement."),
		unsettled:     counter("unsettled_total", "Outcomes that the registry refused."),
		receipts:      vec("receipts_total", "deliver_sm and data_sm by what became of them.", "result"),
		unmatched:     counter("receipts_unmatched_total", "Receipts stored before the part they belong to was known."),
		odd:           vec("odd_pdus_total", "PDUs that should not come.", "kind"),
		binds:         vec("binds_total", "Binds by result.", "result"),
		lost:          counter("links_lost_total", "Sessions that ended."),
		leasesLost:    counter("leases_lost_total", "Leases that ended before they were closed."),
	}
}

// register keeps the collector that is there already: a bridge that is made
// again for the same link counts on.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if twice, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if known, ok := twice.ExistingCollector.(C); ok {
			return known
		}
	}
	return c
}

// odd counts a PDU that should not come.
func (b *Bridge) odd(kind string) { b.metrics.odd.WithLabelValues(kind).Inc() }

// statusLabel keeps the label's values few.
func statusLabel(s wire.Status) string {
	if s <= 0xFF || (s >= 0x400 && s <= 0x4FF) {
		return s.String()
	}
	return "other"
}
