package agencies

import "github.com/prometheus/client_golang/prometheus"

type numberInfoMetrics struct {
	results *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newNumberInfoMetrics(reg prometheus.Registerer, open func() bool) numberInfoMetrics {
	m := numberInfoMetrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_number_info_results_total",
			Help: "Questions to the operators' number-info service, by what came of them.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mobileid_number_info_seconds",
			Help:    "Time of a question that was asked, its repetitions included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .2, .3, .5, 1},
		}),
	}
	if reg != nil {
		reg.MustRegister(m.results, m.seconds, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mobileid_number_info_circuit_open",
			Help: "1 while the number-info service is left in peace because it does not answer.",
		}, func() float64 {
			if open() {
				return 1
			}
			return 0
		}))
	}
	return m
}
