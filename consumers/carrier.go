package consumers

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// Operator is what a Message needs to know of the operator that it goes to.
type Operator struct {
	Parts    func(text string) int // submit_sm that a text takes
	Charging mobileid.Charging     // of Messages that the subscriber pays for; "" is the ledger
	OneSend  bool                  // an SMS that is written twice is debited twice: no code in doubt is
}

// carrier chooses the operator that a Message goes to: who serves the number
// when the Message is made, which is not always who did when it was bound.
type carrier struct {
	operators map[string]Operator // those that have a file, so lanes and a bridge
	log       *slog.Logger
	away      *prometheus.CounterVec
	said      *sync.Map // operators without a file that the log has
}

func newCarrier(operators map[string]Operator, log *slog.Logger, reg prometheus.Registerer) carrier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return carrier{operators, log, register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mobileid_consumer_ported_away_total",
		Help: "Messages given to the operator of the binding although the number has moved, to one that operators has no file of.",
	}, []string{"operator"})), &sync.Map{}}
}

// operator returns whose lane a Message for b goes to. A move to an operator
// without a file leaves it with that of the binding: the other has no lane, so
// it would wait there for its deadline, and not to know a way is never a reason
// to refuse. He who had the number may still pass it on, and his answer, too,
// ends the Message.
func (c carrier) operator(b mobileid.Binding) string {
	if b.PortedTo == "" || b.PortedTo == b.Operator {
		return b.Operator
	}
	if _, carries := c.operators[b.PortedTo]; carries {
		return b.PortedTo
	}
	c.away.WithLabelValues(b.PortedTo).Inc()
	if _, said := c.said.LoadOrStore(b.PortedTo, true); !said {
		c.log.Warn("numbers have moved to an operator that operators has no file of: what is sent to them goes to the operator of their binding",
			"operator", b.PortedTo)
	}
	return b.Operator
}
