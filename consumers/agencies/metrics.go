package agencies

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of the questions to one service.
type metrics struct {
	results *prometheus.CounterVec
	seconds prometheus.Histogram
}

// newMetrics names them mobileid_<name>_*; what is how people call the service.
func newMetrics(reg prometheus.Registerer, name, what string, open func() bool) metrics {
	m := metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_" + name + "_results_total",
			Help: "Questions to the operators' " + what + " service, by what came of them.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mobileid_" + name + "_seconds",
			Help:    "Time of a question that was asked, its repetitions included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .2, .3, .5, 1},
		}),
	}
	if reg != nil {
		reg.MustRegister(m.results, m.seconds, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mobileid_" + name + "_circuit_open",
			Help: "1 while the " + what + " service is left in peace because it does not answer.",
		}, func() float64 {
			if open() {
				return 1
			}
			return 0
		}))
	}
	return m
}
