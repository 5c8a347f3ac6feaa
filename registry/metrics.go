package registry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

type metrics struct {
	seconds   *prometheus.HistogramVec
	errors    *prometheus.CounterVec
	admitted  *prometheus.CounterVec
	swept     *prometheus.CounterVec
	relayed   prometheus.Counter
	held      *prometheus.GaugeVec
	unmatched prometheus.Counter
	waiting   *prometheus.GaugeVec
	suspended *prometheus.CounterVec

	differences *prometheus.GaugeVec

	// Of the ledger; without labels and yet vectors, so that they are not there
	// before the first check.
	imbalance, imbalanced, contradicted, checked *prometheus.GaugeVec
}

func gauge(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, nil)
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mobileid_registry_seconds",
			Help:    "Time of a registry operation, the commit included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"op"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_registry_errors_total",
			Help: "Registry operations that failed, by kind of error.",
		}, []string{"op", "kind"}),
		admitted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_registry_admissions_total",
			Help: "Verdicts of admission, with the state that the Message got or has.",
		}, []string{"verdict", "state"}),
		swept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_registry_swept_total",
			Help: "Rows that the sweeper ended, returned, removed or warned of.",
		}, []string{"what"}),
		relayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mobileid_registry_relayed_total",
			Help: "Outbox rows published.",
		}),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mobileid_relay_clients_held",
			Help: "1 for each client whose statuses stay in the outbox for a while, because its topic fails.",
		}, []string{"client"}),
		unmatched: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mobileid_registry_receipts_unmatched_total",
			Help: "Receipts stored without a Message part that they belong to, those that merely overtook their answer included.",
		}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mobileid_registry_receipts_waiting",
			Help: "Receipts that have been without their Message part for a minute, by operator account; at most 10000 are counted.",
		}, []string{"account"}),
		suspended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_registry_sms_suspended_total",
			Help: "Bindings whose SMS were suspended for want of money or by the operator, and those whose SMS came back.",
		}, []string{"change"}),
		differences: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mobileid_registry_differences_open",
			Help: "Differences between operators' debits and our Charges that are not settled.",
		}, []string{"operator", "kind"}),
		imbalance:    gauge("mobileid_ledger_imbalance_tiyin", "Balances minus postings at the last check, absolute values added up. Not 0: mobileid ledger check."),
		imbalanced:   gauge("mobileid_ledger_imbalance_accounts", "Accounts whose balance was not the sum of their postings at the last check."),
		contradicted: gauge("mobileid_ledger_imbalance_messages", "Messages whose Charge was not what their transfers say at the last check."),
		checked:      gauge("mobileid_ledger_checked_timestamp_seconds", "When this process last checked the ledger."),
	}
	if reg != nil {
		reg.MustRegister(m.seconds, m.errors, m.admitted, m.swept, m.relayed, m.held, m.unmatched, m.waiting, m.suspended, m.differences,
			m.imbalance, m.imbalanced, m.contradicted, m.checked)
	}
	return m
}

// time starts the clock of an operation; the returned function stops it.
func (m *metrics) time(op string) func() {
	start := time.Now()
	return func() { m.seconds.WithLabelValues(op).Observe(time.Since(start).Seconds()) }
}

func (m *metrics) failed(op string, err error) {
	if err != nil {
		m.errors.WithLabelValues(op, string(mobileid.KindOf(err))).Inc()
	}
}
