package consumers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// aheadAfter is how far ahead of our clock an id may be: clocks that are kept
// differ by milliseconds.
const aheadAfter = 3 * time.Second

// skew counts the ids of the future. A request's deadline and its place among
// those of its person follow from the time in the id, which the edge's clock
// gave: where it goes ahead of ours, a request is handled after its deadline
// and wins over younger ones.
type skew struct {
	now   func() time.Time
	ahead prometheus.Counter
}

func newSkew(now func() time.Time, reg prometheus.Registerer) skew {
	return skew{now, register(reg, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mobileid_consumer_ids_ahead_total",
		Help: "Requests whose id was made more than 3 s ahead of the clock of the consumer that read it.",
	}))}
}

func (s skew) see(id mobileid.ID) {
	if id.Time().Sub(s.now()) > aheadAfter {
		s.ahead.Inc()
	}
}
