package app

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// A loop is stuck when one step of it has been under way for stuckAfter. Every
// step has a timeout of its own, and the longest is 15 s (a bind: 5 s to dial
// and 10 s for its answer), so an engine that is away or slow never makes one
// of a minute: what should have ended it did not, and waiting will not help.
//
// It is counted in looks and not on a clock, because a process that itself
// stood still for a minute (SIGSTOP, a frozen machine) made no looks either.
const (
	lookEvery  = 5 * time.Second
	stuckAfter = time.Minute
	stuckLooks = int(stuckAfter / lookEvery)
)

// progress knows every long-running loop of the process, and which of them do
// not come on: that is what /livez says. It asks no engine, and a loop that
// waits for work is fine for ever.
type progress struct {
	log   *slog.Logger
	every time.Duration // between looks

	mu    sync.Mutex
	loops map[string]*watched
	stuck []string // as of the last look, in order
}

type watched struct {
	mobileid.Loop
	step  uint64 // at the last look
	looks int    // in a row that found the same step under way as the one before
}

func newProgress(log *slog.Logger, reg prometheus.Registerer) *progress {
	p := &progress{log: log, every: lookEvery, loops: map[string]*watched{}}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mobileid_stuck_loops",
		Help: "Loops of this process of which one step does not end. Any makes /livez fail.",
	}, func() float64 { return float64(len(p.names())) }))
	return p
}

// loop is the mobileid.Watch of every room.
func (p *progress) loop(name string) *mobileid.Loop {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loops[name] == nil {
		p.loops[name] = &watched{}
	}
	return &p.loops[name].Loop
}

// run looks until ctx ends and returns nil.
func (p *progress) run(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.look()
		}
	}
}

// look finds out what is stuck, and says once what begins or ceases to be.
func (p *progress) look() {
	var now []string
	p.mu.Lock()
	for name, w := range p.loops {
		step, underWay := w.UnderWay()
		if !underWay || step != w.step {
			w.step, w.looks = step, 0
			continue
		}
		if w.looks++; w.looks >= stuckLooks {
			now = append(now, name)
		}
	}
	slices.Sort(now)
	before := p.stuck
	p.stuck = now
	p.mu.Unlock() // a log that blocks is one of the things to be told
	for _, name := range now {
		if !slices.Contains(before, name) {
			p.log.Error("a loop is stuck: one step of it does not end", "loop", name, "after", stuckAfter.String())
		}
	}
	for _, name := range before {
		if !slices.Contains(now, name) {
			p.log.Warn("a loop that was stuck comes on again", "loop", name)
		}
	}
}

// names returns the names of the loops that do not come on.
func (p *progress) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stuck
}

// livez is /livez of the admin address, which every role has.
func (p *progress) livez(w http.ResponseWriter, _ *http.Request) {
	if stuck := p.names(); len(stuck) > 0 {
		http.Error(w, "stuck: "+strings.Join(stuck, ", "), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}
