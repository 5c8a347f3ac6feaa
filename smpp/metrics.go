package smpp

import (
	"errors"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/smpp/pace"
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
	outcomes      *prometheus.CounterVec
	settleSeconds prometheus.Histogram
	unsettled     prometheus.Counter
	unmatched     prometheus.Counter
	unnumbered    prometheus.Counter
	leasesLost    prometheus.Counter
	throttled     prometheus.Counter
	unmapped      *prometheus.CounterVec
	misconfigured *prometheus.CounterVec
	charger       chargerMetrics
}

// linkMetrics are those of one link.
type linkMetrics struct {
	submits       *prometheus.CounterVec
	submitSeconds prometheus.Histogram
	receipts      *prometheus.CounterVec
	odd           *prometheus.CounterVec
	binds         *prometheus.CounterVec
	lost          prometheus.Counter
	hung          prometheus.Counter
}

// maker makes collectors, each registered.
type maker struct {
	reg    prometheus.Registerer
	prefix string // of their names
}

func (m maker) counter(name, help string) prometheus.Counter {
	return register(m.reg, prometheus.NewCounter(prometheus.CounterOpts{Name: m.prefix + name, Help: help}))
}

func (m maker) vec(name, help, label string) *prometheus.CounterVec {
	return register(m.reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.prefix + name, Help: help}, []string{label}))
}

func (m maker) seconds(name, help string) prometheus.Histogram {
	return register(m.reg, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: m.prefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
	}))
}

func (m maker) gauge(name, help string, f func() float64) {
	register(m.reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.prefix + name, Help: help}, f))
}

// labelled returns a maker whose collectors carry one more label.
func (m maker) labelled(name, value string) maker {
	if m.reg == nil {
		return m
	}
	return maker{prometheus.WrapRegistererWith(prometheus.Labels{name: value}, m.reg), m.prefix}
}

func newLinkMetrics(m maker, l *link) *linkMetrics {
	ofSession := func(f func(*session) float64) func() float64 {
		return func() float64 {
			l.bridge.mu.Lock()
			s := l.session
			l.bridge.mu.Unlock()
			if s == nil {
				return 0
			}
			return f(s)
		}
	}
	m.gauge("link_up", "1 when the link is bound.", ofSession(func(*session) float64 { return 1 }))
	for _, state := range []LinkState{LinkDown, LinkBinding, LinkUp, LinkRefused, LinkDraining, LinkStopped} {
		m.labelled("state", string(state)).gauge("link_state", "1 for the state that the link is in.", func() float64 {
			l.bridge.mu.Lock()
			defer l.bridge.mu.Unlock()
			if l.state == state {
				return 1
			}
			return 0
		})
	}
	m.gauge("window_size", "submit_sm that may be unanswered.", func() float64 { return float64(l.bind.Window) })
	m.gauge("window_in_flight", "submit_sm without an answer.", ofSession(func(s *session) float64 { return float64(s.inUse()) }))
	m.gauge("oldest_unanswered_seconds", "Age of the oldest submit_sm without an answer.",
		ofSession(func(s *session) float64 { return s.oldestUnanswered(l.bridge.now()).Seconds() }))
	return &linkMetrics{
		submits:       m.vec("submits_total", "submit_sm written, by command_status, no_answer or link_lost.", "status"),
		submitSeconds: m.seconds("submit_seconds", "Time from the write of a submit_sm to its answer."),
		receipts:      m.vec("receipts_total", "deliver_sm and data_sm by what became of them.", "result"),
		odd:           m.vec("odd_pdus_total", "PDUs that should not come.", "kind"),
		binds:         m.vec("binds_total", "Binds by result.", "result"),
		lost:          m.counter("links_lost_total", "Sessions that ended."),
		hung:          m.counter("links_hung_total", "Sessions left because submit_sm were not answered."),
	}
}

func newMetrics(reg prometheus.Registerer, b *Bridge) *metrics {
	m := maker{reg, "mobileid_smpp_"}.labelled("operator", b.cfg.Profile.ID)
	for _, l := range b.links {
		l.metrics = newLinkMetrics(m.labelled("link", l.name), l)
	}
	m.gauge("standstill_seconds", "How long something has waited while the operator accepted nothing.",
		func() float64 { return b.standstill(b.now()).Seconds() })
	m.gauge("waiting", "Messages admitted and not in a window yet.", func() float64 { return float64(b.outgoing.len()) })
	m.gauge("pace", "submit_sm a second that may be written; +Inf when nothing holds them back.", func() float64 {
		if rate := b.pacer.Rate(); rate != pace.Unknown {
			return rate
		}
		return math.Inf(1)
	})
	return &metrics{
		admissions:   m.vec("admissions_total", "Messages asked about, by the registry's verdict.", "verdict"),
		admitSeconds: m.seconds("admit_seconds", "Time of an admit statement."),
		admitBatch: register(m.reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mobileid_smpp_admit_batch_messages", Help: "Messages in an admit statement.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		})),
		readmitted:    m.counter("readmitted_total", "Messages surely not written within their second, admitted again."),
		duplicates:    m.counter("duplicates_total", "Ids that came again while this bridge held them."),
		outcomes:      m.vec("outcomes_total", "Outcomes of Messages, by state.", "state"),
		settleSeconds: m.seconds("settle_seconds", "Time of a settle statement."),
		unsettled:     m.counter("unsettled_total", "Outcomes that the registry refused."),
		unmatched:     m.counter("receipts_unmatched_total", "Receipts stored before the part they belong to was known: normal when they overtake their answer. What stays is mobileid_registry_receipts_waiting."),
		unnumbered:    m.counter("receipts_unnumbered_total", "Receipts with a number in neither address: they match nothing."),
		leasesLost:    m.counter("leases_lost_total", "Leases that ended before they were closed."),
		throttled:     m.counter("throttled_total", "submit_sm that came too fast for the operator."),
		unmapped:      m.vec("unmapped_total", "Answers whose command_status is in no table: final for the Message.", "status"),
		misconfigured: m.vec("misconfigured_total", "Answers that say that our settings are wrong.", "status"),
		charger:       newChargerMetrics(maker{m.reg, "mobileid_bridge_charger_"}, &b.charging),
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
func (l *link) odd(kind string) { l.metrics.odd.WithLabelValues(kind).Inc() }

// statusLabel keeps the label's values few.
func statusLabel(s wire.Status) string {
	if s <= 0xFF || (s >= 0x400 && s <= 0x4FF) {
		return s.String()
	}
	return "other"
}
