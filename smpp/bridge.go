package smpp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/pace"
	"mobileid/smpp/trace"
)

// Bridge carries the Messages of one operator over its links.
type Bridge struct {
	cfg      Config
	store    Store
	opener   Opener
	numbers  Numbers
	log      *slog.Logger
	now      func() time.Time
	dial     Dialer
	metrics  *metrics
	pacer    *pace.Pacer
	charging charging

	progress progress

	intake   *intake       // what was taken from lanes or is due, not admitted yet
	outgoing *outgoing     // admitted, not in the window yet
	settling *settling     // outcomes not stored yet
	receipts chan incoming // receipts not stored yet
	asides   chan aside    // inbound messages and unread receipts, not stored yet
	kick     chan struct{} // there may be something to admit, and room for it
	places   chan struct{} // there may be something to write, and a slot for it
	quiet    chan struct{} // something ended; the drain looks
	// leaseOver tells the lease's loop that the registry refused a statement for it.
	leaseOver chan struct{}

	inboundSealer, unreadSealer Sealer
	inboundLimit                *numberLimit

	links        []*link
	later        later
	tap          trace.Tap
	sessionCount atomic.Int64

	mu   sync.Mutex
	held map[mobileid.ID]*job // owned by this bridge: admitted and not settled
	// coming are jobs on their way back to be admitted again, by us or, as the
	// registry will say then, by another: they keep their turn.
	coming   map[mobileid.ID]*job
	lease    *lease        // nil: none
	down     time.Time     // since when no link carries
	changed  chan struct{} // closed, and another made, when that may have changed
	waits    time.Time     // when something began to wait where nothing did; see standstill
	draining bool
	running  bool
	rate     meter // answers of the last second
	sizes    sizes // of what was admitted

	unnumberedSaid time.Time // when it was last told that receipts name no number
}

// NewBridge makes a bridge; Run starts it.
func NewBridge(cfg Config, deps Deps) *Bridge {
	cfg = cfg.withDefaults()
	b := &Bridge{
		cfg: cfg, store: deps.Store, opener: deps.Opener, numbers: deps.Numbers,
		log: deps.Log, now: deps.Now, dial: deps.Dial, progress: newProgress(deps.Watch, cfg.Profile.ID),
		settling: newSettling(),
		receipts: make(chan incoming, receiptQueue),
		asides:   make(chan aside, asideQueue),
		kick:     make(chan struct{}, 1),
		places:   make(chan struct{}, 1),
		quiet:    make(chan struct{}, 1),

		leaseOver: make(chan struct{}, 1),

		inboundSealer: deps.InboundSealer, unreadSealer: deps.UnreadSealer, inboundLimit: newNumberLimit(),

		charging: newCharging(deps.Charger),

		held: map[mobileid.ID]*job{}, coming: map[mobileid.ID]*job{}, changed: make(chan struct{}),
	}
	b.outgoing = newOutgoing(b.places)
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.log = b.log.With("operator", cfg.Profile.ID, "bridge", cfg.Name)
	if b.now == nil {
		b.now = time.Now
	}
	if b.dial == nil {
		b.dial = dial
	}
	ceiling := pace.Unknown
	if rate := cfg.Profile.Pace.Rate; rate > 0 {
		ceiling = float64(rate)
	}
	b.pacer = pace.New(b.now(), pace.Config{
		Ceiling: ceiling, Burst: cfg.Profile.Pace.Burst, Fixed: !cfg.Profile.Pace.Adaptive,
	})
	b.intake = newIntake(b.kick)
	b.down = b.now()
	for _, bind := range cfg.Profile.Binds {
		l := b.newLink(bind, deps.Watch)
		if !cfg.Profile.Enabled {
			l.wanted = wantDown
		}
		b.links = append(b.links, l)
	}
	b.metrics = newMetrics(deps.Reg, b)
	return b
}

// Run opens a lease and the links, keeps all of them, and carries Messages until ctx
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
		links   = begin(work, b.keepLinks)
		receipt = begin(work, b.storeReceipts)
		asides  = begin(work, b.storeAsides)
		settle  = begin(work, b.settleLoop)
		charges = begin(work, b.tellCharges)
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
	b.charging.owners.Wait()
	b.awaitNothingHeld(b.cfg.DrainTimeout)
	submit.end()
	b.giveBack(mobileid.ReasonDrained, nil)
	b.unbindAll()
	links.end() // what was in flight has its fate now
	b.awaitNothingHeld(b.cfg.StoreTimeout)
	receipt.end()
	asides.end()
	settle.end()
	charges.end() // what is not told stands in the registry
	lease.end()
	switch left := b.unsettled(); left {
	case 0:
		b.log.Info("bridge stopped", "unsettled", 0)
	default:
		b.log.Error("bridge stopped before the registry stored what became of all Messages: "+
			"those are in doubt once the sweeper has seen the end of its lease", "unsettled", left)
	}
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
type progress struct{ lease, receipts, asides, settle, admit, submit, retry *mobileid.Loop }

func newProgress(watch mobileid.Watch, operator string) progress {
	loop := func(does string) *mobileid.Loop { return watch.Loop("bridge " + operator + " " + does) }
	return progress{
		lease: loop("keeps its lease"), receipts: loop("stores receipts"),
		asides: loop("stores inbound messages"), settle: loop("settles"),
		admit: loop("admits"), submit: loop("submits"), retry: loop("looks for retries"),
	}
}

// awaitNothingHeld waits until every Message that this bridge owns is settled.
func (b *Bridge) awaitNothingHeld(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		b.mu.Lock()
		n, carries := len(b.held), b.carries()
		b.mu.Unlock()
		if n == 0 {
			return
		}
		if !carries {
			b.giveBack(mobileid.ReasonLinkDown, nil) // nothing of it can be written now
		}
		select {
		case <-b.quiet:
		case <-t.C:
			return
		}
	}
}

// unsettled counts the Messages of which something is not stored.
func (b *Bridge) unsettled() int {
	left := b.settling.rest()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.held {
		left[id] = true
	}
	return len(left)
}

// keepLinks keeps every link until ctx ends.
func (b *Bridge) keepLinks(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range b.links {
		all.Go(func() { l.keep(ctx) })
	}
	all.Wait()
}

// unbindAll unbinds every link, side by side.
func (b *Bridge) unbindAll() {
	var all sync.WaitGroup
	for _, s := range b.sessions() {
		all.Go(func() { s.unbind(b.cfg.UnbindWait) })
	}
	all.Wait()
}

// SetPace bounds the pace: the share of the account's rate that this process
// has, in submit_sm a second, or pace.Unknown. 0 stops writing.
func (b *Bridge) SetPace(ceiling float64) {
	b.pacer.SetCeiling(b.now(), ceiling)
	signal(b.kick)
}

// Demand returns how many submit_sm were written in about the last second, and
// whether the pace held some back.
func (b *Bridge) Demand() (perSecond float64, more bool) { return b.pacer.Demand(b.now()) }

// Windows is the sum of the windows that Messages are written in.
func (b *Bridge) Windows() int { return b.cfg.Profile.Windows() }

// Operator returns the operator's id.
func (b *Bridge) Operator() string { return b.cfg.Profile.ID }
