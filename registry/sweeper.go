package registry

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"mobileid/internal/mobileid"
)

// Lanes is where ids are published again: Kafka.
type Lanes interface {
	// PublishLane puts ids on their lanes. Those in left could not be put there
	// for now; an error concerns all.
	PublishLane(ctx context.Context, items []mobileid.LaneItem) (left map[mobileid.ID]bool, err error)
}

// Codes is where the live codes are: Redis.
type Codes interface {
	// Epoch changes when the codes were lost.
	Epoch(ctx context.Context) (string, error)
	// Missing says which of these codes are not there.
	Missing(ctx context.Context, refs []mobileid.IssuedRef) ([]mobileid.ID, error)
}

// SweepConfig is the pace of a Sweeper. A zero value is the default, but Grace
// has none: it is one promise of the whole system, told to the edge too.
type SweepConfig struct {
	Interval       time.Duration // between passes; 1 s
	Grace          time.Duration // what a deadline is overrun by before the sweeper ends it; required
	RepublishAfter time.Duration // a queued id counts as lost from its lane; 5 s, then twice as long each time
	ReceiptWait    time.Duration // how long after its deadline a Message waits for a receipt; 1 h
	StuckAfter     time.Duration // an admitted Message whose bridge lives but never settles, after its deadline; 1 min
	OrphanAfter    time.Duration // how long a receipt waits for its answer before it is looked for otherwise; 2 min
	StepTimeout    time.Duration // for one step of a pass; 10 s
	Batch          int           // rows at once; 500
	Batches        int           // batches of one step in one pass; 10
	WarnBelow      int           // Messages that the money is enough for, below which a person is warned; 0 = never

	Loop *mobileid.Loop // nil is told nothing
}

func (c SweepConfig) withDefaults() SweepConfig {
	c.Interval = cmp.Or(c.Interval, time.Second)
	c.RepublishAfter = cmp.Or(c.RepublishAfter, 5*time.Second)
	c.ReceiptWait = cmp.Or(c.ReceiptWait, time.Hour)
	c.StuckAfter = cmp.Or(c.StuckAfter, time.Minute)
	c.OrphanAfter = cmp.Or(c.OrphanAfter, 2*time.Minute)
	c.StepTimeout = cmp.Or(c.StepTimeout, 10*time.Second)
	c.Batch = cmp.Or(c.Batch, 500)
	c.Batches = cmp.Or(c.Batches, 10)
	return c
}

// Sweeper ends what nobody else will. Its promise: every challenge and every
// Message reaches a terminal state by its deadline + grace (a Message that the
// operator has, by its deadline + ReceiptWait), whatever was killed or lost
// (promise P1). Each pass does, in batches:
//
//   - Messages of bridges whose lease ended: in_doubt. Whether they were
//     written is not known, so none goes back to queued;
//   - Messages past their deadline + grace that are queued or wait for a retry:
//     expired, uncharged;
//   - codes in doubt whose challenge is over: unconfirmed. The charge is posted
//     if the code was confirmed, because then it arrived; otherwise it is unknown
//     and holds nobody's money;
//   - notices in doubt past their deadline + ReceiptWait: unconfirmed, and so is
//     their charge unknown;
//   - sent without a receipt past their deadline + ReceiptWait: unconfirmed;
//     the charge stays posted, because the operator took it;
//   - challenges past their expiry: expired;
//   - live codes that Redis lost (its epoch changed, or this sweeper is new):
//     their challenges end lost;
//   - queued Messages whose lane record seems lost: published again;
//   - receipts that came before the answer they belong to: matched; those whose
//     answer never came: given to the Message in doubt that they must be of;
//     those that have waited for 72 h: forgotten, as receipts that could not be read after
//     30 days, and inbound messages 7 days after they were published;
//   - receipts that have waited for a minute: counted, by account; and differences
//     with operators' files that are not settled, by operator and kind;
//   - accounts of a known balance that has come below WarnBelow Messages: told,
//     once, and again when money has come;
//   - Idempotency-Keys older than 48 h and counts of wrong codes older than 30
//     days: forgotten; partitions ahead: made.
//
// Any number of sweepers may run; they find less to do.
type Sweeper struct {
	db    *DB
	cfg   SweepConfig
	lanes Lanes
	codes Codes

	dead   []int64       // bridges whose Messages are being looked for
	deadAt messageCursor // how far

	epoch      string // of the codes, when they were last checked whole
	codesAfter liveCursor
	checking   string // epoch of the check under way, "" if none

	fresh     messageCursor // walks deadlines that passed in the last minute
	overdue   messageCursor // walks deadlines that passed before
	ahead     messageCursor // walks deadlines to come, for lost lane records
	orphansAt orphanCursor  // how far receipts without an answer were looked at
	partsDone time.Time     // when the partitions were last looked at

	waiting     map[string]int // receipts that wait, by account, as last counted
	waitingDone time.Time      // when the receipts that wait were last counted

	lowAfter int64 // account up to which those with little money were looked for
	lowPage  int   // accounts that are looked at in a pass

	differences     map[operatorKind]int // that are not settled, as last counted
	differencesDone time.Time            // when they were last counted

	triesDone time.Time // when the counts of wrong codes were last looked at
}

// NewSweeper makes a sweeper; Run runs it. codes may be nil when no codes are
// kept anywhere: then none is ever missing. It panics without a Grace: that is
// a mistake in the wiring.
func NewSweeper(db *DB, cfg SweepConfig, lanes Lanes, codes Codes) *Sweeper {
	if cfg.Grace <= 0 {
		panic("registry: SweepConfig.Grace is required")
	}
	return &Sweeper{db: db, cfg: cfg.withDefaults(), lanes: lanes, codes: codes, lowPage: lowPage}
}

// Run makes a pass every interval until ctx ends, and then returns nil. An
// error is logged; the next pass tries again.
func (s *Sweeper) Run(ctx context.Context) error {
	for {
		for _, failed := range s.pass(ctx) {
			if ctx.Err() == nil {
				s.db.log.LogAttrs(ctx, levelOf(failed.err), "a step of the sweeper was not complete",
					slog.String("step", failed.step), slog.Any("err", failed.err))
			}
		}
		if !sleep(ctx, s.cfg.Interval) {
			return nil
		}
	}
}

// failedStep is a step of a pass that was not complete.
type failedStep struct {
	step string
	err  error
}

// pass does all steps. One that fails does not stop the others.
func (s *Sweeper) pass(ctx context.Context) (failed []failedStep) {
	steps := []struct {
		what string
		run  func(context.Context) (int, error)
	}{
		{"partition", s.partitions},
		{"dead_bridge", s.deadBridges},
		{"receipt", s.receipts},
		{"orphan", s.orphans},
		{"challenge_lost", s.lostCodes},
		{"challenge_expired", s.expiredChallenges},
		{"message", s.overdueMessages},
		{"republished", s.republish},
		{"receipt_forgotten", s.oldReceipts},
		{"doubt_forgotten", s.oldDoubts},
		{"charge_call_given_up", s.oldCalls},
		{"receipt_waiting", s.waitingReceipts},
		{"funds_low", s.fundsLow},
		{"difference_open", s.openDifferences},
		{"inbound_forgotten", s.oldInbound},
		{"idempotency_key", s.oldKeys},
		{"wrong_tries", s.oldTries},
		{"wrong_in_a_row", s.oldRows},
	}
	defer s.cfg.Loop.Rest()
	for _, step := range steps {
		s.cfg.Loop.Step()
		// A connection that says nothing must not hold up the steps behind it.
		bounded, cancel := context.WithTimeout(ctx, s.cfg.StepTimeout)
		n, err := step.run(bounded)
		cancel()
		s.db.metrics.swept.WithLabelValues(step.what).Add(float64(n))
		if err != nil {
			failed = append(failed, failedStep{step.what, err})
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}
