package smpp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mobileid/internal/mobileid"
)

// Bridge carries the Messages of one operator over one link.
type Bridge struct {
	cfg     Config
	store   Store
	opener  Opener
	numbers Numbers
	log     *slog.Logger
	now     func() time.Time
	dial    dialer
	metrics *metrics

	progress progress

	intake   *intake       // what was taken from lanes or is due, not admitted yet
	outgoing *outgoing     // admitted, not in the window yet
	settling *settling     // outcomes not stored yet
	receipts chan incoming // receipts not stored yet
	kick     chan struct{} // there may be something to admit, and room for it
	quiet    chan struct{} // something ended; the drain looks
	// leaseOver tells the lease's loop that the registry refused a statement for it.
	leaseOver chan struct{}

	sessions atomic.Int64 // how many there were

	mu       sync.Mutex
	held     map[mobileid.ID]*job // owned by this bridge: admitted and not settled
	lease    *lease               // nil: none
	link     *session             // nil: not bound
	linkUp   chan struct{}        // closed while link is not nil
	down     time.Time            // since when link is nil
	draining bool
	running  bool
	rate     meter // answers of the last second
}

// NewBridge makes a bridge; Run starts it.
func NewBridge(cfg Config, deps Deps) *Bridge {
	cfg = cfg.withDefaults()
	b := &Bridge{
		cfg: cfg, store: deps.Store, opener: deps.Opener, numbers: deps.Numbers,
		log: deps.Log, now: deps.Now, dial: deps.Dial, progress: newProgress(deps.Watch, cfg.Operator),
		outgoing: newOutgoing(),
		settling: newSettling(),
		receipts: make(chan incoming, receiptQueue),
		kick:     make(chan struct{}, 1),
		quiet:    make(chan struct{}, 1),

		leaseOver: make(chan struct{}, 1),

		held:   map[mobileid.ID]*job{},
		linkUp: make(chan struct{}),
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.log = b.log.With("operator", cfg.Operator, "bridge", cfg.Name)
	if b.now == nil {
		b.now = time.Now
	}
	if b.dial == nil {
		b.dial = func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", cfg.Addr)
		}
	}
	b.intake = newIntake(b.kick)
	b.down = b.now()
	b.metrics = newMetrics(deps.Reg, cfg, b)
	return b
}

// linkName names the link.
func (c Config) linkName() string { return c.account() }

// account names the operator account. The operator is part of it: two of them
// may have given us the same system_id, and neither may speak for the other.
func (c Config) account() string { return c.Operator + "/" + c.SystemID }

// Run opens a lease and the link, keeps both, and carries Messages until ctx
// ends. Then it drains: takes nothing more, waits for the answers of what is
// written (at most DrainTimeout), gives back what is not, settles, unbinds and
// closes the lease. It returns nil then, and may be called once.
func (b *Bridge) Run(ctx context.Context) error {
	b.mu.Lock()
	if b.running {
		b.mu.Unlock()
		return errors.New("smpp: Run was called twice")
	}
	b.running = true
	b.mu.Unlock()

	// The loops outlive ctx: they are ended one by one by the drain.
	work := context.WithoutCancel(ctx)
	var (
		lease   = begin(work, b.keepLease)
		link    = begin(work, b.keepLink)
		receipt = begin(work, b.storeReceipts)
		settle  = begin(work, b.settleLoop)
		admit   = begin(work, b.admitLoop)
		submit  = begin(work, b.submitLoop)
		retry   = begin(work, b.retryLoop)
	)
	<-ctx.Done()
	b.log.Info("bridge drains")

	b.mu.Lock()
	b.draining = true
	b.mu.Unlock()
	b.intake.close()
	retry.end()
	admit.end() // a statement under way is finished first: its rows are ours
	b.awaitNothingHeld(b.cfg.DrainTimeout)
	submit.end()
	b.giveBack(mobileid.ReasonDrained, nil)
	if s := b.session(); s != nil {
		s.unbind(b.cfg.UnbindWait)
	}
	link.end() // what was in flight has its fate now
	b.awaitNothingHeld(b.cfg.StoreTimeout)
	receipt.end()
	settle.end()
	lease.end()
	b.mu.Lock()
	left := len(b.held)
	b.mu.Unlock()
	b.log.Info("bridge stopped", "unsettled", left)
	return nil
}

// loop is a goroutine with its end.
type loop struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func begin(ctx context.Context, f func(context.Context)) loop {
	ctx, cancel := context.WithCancel(ctx)
	l := loop{cancel, make(chan struct{})}
	go func() {
		defer close(l.done)
		f(ctx)
	}()
	return l
}

// end cancels the loop and waits for it.
func (l loop) end() {
	l.cancel()
	<-l.done
}

// progress is what the loops of a bridge tell of themselves.
type progress struct{ lease, link, receipts, settle, admit, submit, retry *mobileid.Loop }

func newProgress(watch mobileid.Watch, operator string) progress {
	loop := func(does string) *mobileid.Loop { return watch.Loop("bridge " + operator + " " + does) }
	return progress{
		lease: loop("keeps its lease"), link: loop("binds"), receipts: loop("stores receipts"), settle: loop("settles"),
		admit: loop("admits"), submit: loop("submits"), retry: loop("looks for retries"),
	}
}

// awaitNothingHeld waits until every Message that this bridge owns is settled.
func (b *Bridge) awaitNothingHeld(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		b.mu.Lock()
		n, bound := len(b.held), b.link != nil
		b.mu.Unlock()
		if n == 0 {
			return
		}
		if !bound {
			b.giveBack(mobileid.ReasonLinkDown, nil) // nothing of it can be written now
		}
		select {
		case <-b.quiet:
		case <-t.C:
			return
		}
	}
}

// Ready returns nil when Messages can be carried: the link is bound and the
// lease is held. Otherwise the error is KindUnavailable with code "link_down",
// "no_lease" or "draining".
func (b *Bridge) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.draining:
		return mobileid.Unavailable("draining", time.Second, nil)
	case b.link == nil:
		return mobileid.Unavailable("link_down", time.Second, nil)
	case b.lease == nil || !b.lease.writable(b.now()):
		return mobileid.Unavailable("no_lease", time.Second, nil)
	}
	return nil
}

// session returns the bound session or nil.
func (b *Bridge) session() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.link
}

// Operator returns the operator's id.
func (b *Bridge) Operator() string { return b.cfg.Operator }
