package diameter

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one Client. Labels are names of peers from the configuration and
// closed lists.
type metrics struct {
	answers  *prometheus.CounterVec   // peer, type, result
	seconds  *prometheus.HistogramVec // peer, type
	silent   *prometheus.CounterVec   // peer, type
	resent   *prometheus.CounterVec   // peer, type
	late     *prometheus.CounterVec   // type, result
	odd      *prometheus.CounterVec   // peer, kind
	connects *prometheus.CounterVec   // peer, result
	state    *prometheus.GaugeVec     // peer, state
	inFlight *prometheus.GaugeVec     // peer
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mobileid_charging_" + name, Help: help}, labels))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mobileid_charging_" + name, Help: help}, labels))
	}
	return &metrics{
		answers: counter("answers_total", "Answers of a charging system to requests that waited, by the result code that decided.", "peer", "type", "result"),
		seconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mobileid_charging_seconds", Help: "Time from the write of a charging request to its answer, late ones included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"peer", "type"})),
		silent:   counter("unanswered_total", "Charging requests without an answer within Tx.", "peer", "type"),
		resent:   counter("resent_total", "Charging requests written with the T flag.", "peer", "type"),
		late:     counter("late_total", "Answers that came after their caller had gone: told, or dropped because too many waited to be told.", "type", "result"),
		odd:      counter("odd_total", "Messages of a charging system that should not come.", "peer", "kind"),
		connects: counter("connects_total", "Connections to a charging system, by how they came about.", "peer", "result"),
		state:    gauge("peer_state", "1 for the state that the connection to a charging system is in (RFC 3539).", "peer", "state"),
		inFlight: gauge("in_flight", "Charging requests without an answer.", "peer"),
	}
}

// register keeps the collector that is there already: a Client that is made
// again counts on.
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

// codeLabel keeps the label's values few: the codes that mean something here,
// and the class of others.
func codeLabel(code, vendor uint32) string {
	switch {
	case code == 0:
		return "none"
	case vendor != 0:
		return "experimental"
	}
	switch code {
	case success, limitedSuccess, unableToDeliver, tooBusy, loopDetected, endUserDenied, notApplicable, limitReached, unknownSession, unknownSubscr, ratingFailed:
		return strconv.FormatUint(uint64(code), 10)
	}
	if class := code / 1000; class >= 1 && class <= 5 {
		return fmt.Sprintf("%dxxx", class)
	}
	return "other"
}
