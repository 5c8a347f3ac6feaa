package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// lanes remembers what was published.
type lanes struct {
	mu    sync.Mutex
	items []mobileid.LaneItem
	left  map[mobileid.ID]bool // what cannot be published for now
	err   error
}

func (l *lanes) PublishLane(_ context.Context, items []mobileid.LaneItem) (map[mobileid.ID]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range items {
		if l.err == nil && !l.left[i.ID] {
			l.items = append(l.items, i)
		}
	}
	return l.left, l.err
}

// codes is a store of codes that can lose them.
type codes struct {
	epoch string
	lost  map[mobileid.ID]bool
	asked int
}

func (c *codes) Epoch(context.Context) (string, error) { return c.epoch, nil }

func (c *codes) Missing(_ context.Context, refs []mobileid.IssuedRef) ([]mobileid.ID, error) {
	c.asked += len(refs)
	var out []mobileid.ID
	for _, r := range refs {
		if r.Nonce == "" {
			return nil, errors.New("no nonce")
		}
		if c.lost[r.ID] {
			out = append(out, r.ID)
		}
	}
	return out, nil
}

func (e *env) sweep(s *registry.Sweeper) {
	e.t.Helper()
	must(e.t, s.Sweep(e.ctx()))
}

func TestTheSweeperEndsWhatNobodyTook(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	p, q := e.bind(cost), e.bind(10*cost)
	code, notice := e.challenge(p, "c"), e.notice(q, "n")
	retry := e.notice(q, "r")
	e.issue(code)
	e.queue(notice, retry)
	b := e.bridge()
	e.admit(b, retry.Message.ID)
	e.settle(b, e.outcome(retry.Message.ID, mobileid.MessageRetry, q.binding.Number, ""))

	e.clk.advance(codeLife)
	e.sweep(s)
	e.wantChallenge(code.Request.ID, mobileid.ChallengeExpired, mobileid.ReasonDeadline)
	e.wantMessage(code.Message.ID, mobileid.MessageExpired, "challenge_expired")
	e.wantMessage(notice.Message.ID, mobileid.MessageQueued, "")

	e.clk.advance(time.Hour - codeLife)
	e.sweep(s)
	e.wantMessage(notice.Message.ID, mobileid.MessageQueued, "") // grace
	e.clk.advance(time.Second)
	e.sweep(s)
	e.wantMessage(notice.Message.ID, mobileid.MessageExpired, "deadline")
	e.wantMessage(retry.Message.ID, mobileid.MessageExpired, "deadline")
	e.wantCharge(notice.Message.ID, "none")
	e.wantCharge(retry.Message.ID, "voided")
	e.wantErased(notice.Message.ID, true)
}

func TestTheSweeperEndsWhatHasNoAnswer(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	p := e.bind(10 * cost)
	b := e.bridge()
	doubt := func(id mobileid.ID) {
		e.admit(b, id)
		e.settle(b, e.outcome(id, mobileid.MessageInDoubt, p.binding.Number, ""))
	}
	used, open := e.challenge(p, "used"), e.challenge(e.bind(cost), "open")
	e.issue(used, open)
	doubt(used.Message.ID)
	doubt(open.Message.ID)
	_, err := e.confirmCode(used, 1)
	must(t, err)
	notice, sent := e.notice(p, "notice"), e.notice(p, "sent")
	e.queue(notice, sent)
	doubt(notice.Message.ID)
	e.sent(b, p, sent.Message.ID, "s")

	e.clk.advance(codeLife + time.Second)
	e.sweep(s)
	e.wantMessage(used.Message.ID, mobileid.MessageUnconfirmed, "no_answer")
	e.wantCharge(used.Message.ID, "posted") // it was typed in, so it had arrived
	e.wantMessage(open.Message.ID, mobileid.MessageUnconfirmed, "no_answer")
	e.wantCharge(open.Message.ID, "unknown")

	e.clk.advance(time.Hour)
	e.sweep(s)
	e.wantMessage(notice.Message.ID, mobileid.MessageInDoubt, "")
	e.clk.advance(time.Hour)
	e.sweep(s)
	e.wantMessage(notice.Message.ID, mobileid.MessageUnconfirmed, "no_answer")
	e.wantCharge(notice.Message.ID, "unknown") // it holds nobody's money
	e.wantMessage(sent.Message.ID, mobileid.MessageUnconfirmed, "no_receipt")
	e.wantCharge(sent.Message.ID, "posted")

	// A failure told later than that still gives the money back.
	e.receipts(e.receipt(p.binding.Number, "s", mobileid.MessageUndeliverable))
	e.wantMessage(sent.Message.ID, mobileid.MessageUnconfirmed, "no_receipt")
	e.wantCharge(sent.Message.ID, "reversed")
}

func TestWhatADeadBridgeHadIsInDoubt(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: 2}, nil, nil)
	p := e.bind(10 * cost)
	dead, alive := e.bridge(), e.bridge()
	c := e.challenge(p, "c")
	e.issue(c)
	var ids []mobileid.ID
	for _, k := range []string{"1", "2", "3", "4"} {
		n := e.notice(p, k)
		e.queue(n)
		ids = append(ids, n.Message.ID)
	}
	e.admit(dead, c.Message.ID, ids[0], ids[1], ids[2])
	e.admit(alive, ids[3])
	e.kill(dead)
	e.sweep(s)
	for _, id := range append([]mobileid.ID{c.Message.ID}, ids[:3]...) {
		e.wantMessage(id, mobileid.MessageInDoubt, "owner_lost")
	}
	e.wantMessage(ids[3], mobileid.MessageAdmitted, "")
	due, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(due) != 1 || due[0].ID != c.Message.ID {
		t.Fatalf("due: %+v", due)
	}
	if a := e.admit(alive, c.Message.ID)[0]; !a.Resend {
		t.Fatalf("%+v", a)
	}
	// The dead one was only thought dead: its answer is a fact, not a move.
	e.settle(dead, e.outcome(ids[0], mobileid.MessageSent, p.binding.Number, "x"))
	e.wantMessage(ids[0], mobileid.MessageSent, "")
	e.settle(dead, e.outcome(c.Message.ID, mobileid.MessageRejected, p.binding.Number, ""))
	e.wantMessage(c.Message.ID, mobileid.MessageAdmitted, "")
}

func TestAQueuedIDThatSeemsLostIsPublishedAgainMoreAndMoreSeldom(t *testing.T) {
	e := newEnv(t)
	out := &lanes{}
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: 1}, out, nil)
	p := e.bind(0)
	c, n := e.challenge(p, "c"), e.notice(p, "n")
	e.issue(c)
	e.queue(n)
	var at []int
	for second := range 41 {
		before := len(out.items)
		for range 3 { // more passes than there are rows: a row once
			e.sweep(s)
		}
		if len(out.items) > before {
			at = append(at, second)
			if got := len(out.items) - before; got != 2 {
				t.Fatalf("at %d s: %d published, want both", second, got)
			}
		}
		e.clk.advance(time.Second)
	}
	if !slices.Equal(at, []int{5, 15, 35}) {
		t.Fatalf("published again after %v s, want 5, 15, 35", at)
	}
	if i := slices.IndexFunc(out.items, func(i mobileid.LaneItem) bool { return i.ID == c.Message.ID }); out.items[i] != (mobileid.LaneItem{
		ID: c.Message.ID, Operator: operator, Lane: mobileid.LaneOTP, Person: p.binding.Person,
	}) {
		t.Fatalf("%+v", out.items[i])
	}
}

func TestAFailedPublishIsTriedInTheNextPass(t *testing.T) {
	e := newEnv(t)
	out := &lanes{err: mobileid.Unavailable("kafka_away", time.Second, nil)}
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, out, nil)
	e.issue(e.challenge(e.bind(0), "c"))
	e.clk.advance(5 * time.Second)
	if err := s.Sweep(e.ctx()); err == nil {
		t.Fatal("the error is hidden")
	}
	out.err = nil
	e.sweep(s)
	if len(out.items) != 1 {
		t.Fatalf("%d published", len(out.items))
	}
}

// What a lane did not take is due at once; what another one took is not given
// to it in every pass.
func TestOnlyWhatItsLaneTookCountsAsPublishedAgain(t *testing.T) {
	e := newEnv(t)
	out := &lanes{}
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, out, nil)
	p := e.bind(0)
	c, n := e.challenge(p, "c"), e.notice(p, "n")
	e.issue(c)
	e.queue(n)
	e.clk.advance(5 * time.Second)
	out.left = map[mobileid.ID]bool{c.Message.ID: true}
	e.sweep(s)
	e.sweep(s)
	if len(out.items) != 1 || out.items[0].ID != n.Message.ID {
		t.Fatalf("published %+v, want the notice, once", out.items)
	}
	out.left = nil
	e.sweep(s)
	if len(out.items) != 2 || out.items[1].ID != c.Message.ID {
		t.Fatalf("published %+v, want the code, too", out.items)
	}
}

func TestCodesThatRedisLostEndTheirChallenges(t *testing.T) {
	e := newEnv(t)
	store := &codes{epoch: "one", lost: map[mobileid.ID]bool{}}
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: 2}, nil, store)
	var cs []mobileid.NewChallenge
	for _, k := range []string{"1", "2", "3", "4", "5"} {
		c := e.challenge(e.bind(0), k)
		e.issue(c)
		cs = append(cs, c)
	}
	store.lost[cs[0].Request.ID] = true
	e.sweep(s) // a new sweeper looks at all: Redis may have gone while nobody looked
	e.wantChallenge(cs[0].Request.ID, mobileid.ChallengeLost, "code_lost")
	e.wantMessage(cs[0].Message.ID, mobileid.MessageCancelled, "challenge_lost")
	if store.asked != 5 {
		t.Fatalf("asked for %d, want 5", store.asked)
	}
	e.sweep(s)
	if store.asked != 5 {
		t.Fatal("asked again though nothing was lost")
	}
	store.epoch = "two"
	store.lost[cs[4].Request.ID] = true
	e.sweep(s)
	e.wantChallenge(cs[4].Request.ID, mobileid.ChallengeLost, "code_lost")
	e.wantChallenge(cs[1].Request.ID, mobileid.ChallengePending, "")
}

func TestTheSweeperMatchesAReceiptThatRacedWithItsAnswer(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(cost)
	n := e.notice(p, "k")
	e.queue(n)
	b := e.bridge()
	e.sent(b, p, n.Message.ID, "42")
	// Stored as unmatched by a transaction that did not see the answer.
	e.exec(`insert into receipts_unmatched (account, operator_id, dest, state, stat, err, received_at)
		values ($1, '42', $2, 'undeliverable', 'UNDELIV', '', $3)`, account, p.binding.Number[:], e.clk.now())
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil))
	e.wantMessage(n.Message.ID, mobileid.MessageUndeliverable, "receipt")
	e.wantCharge(n.Message.ID, "reversed")
	if have := query[int](e, `select count(*) from receipts_unmatched`); have != 0 {
		t.Fatalf("%d unmatched", have)
	}
}

// TestReceiptsOfOldPartsDoNotHoldUpOnesThatRaced: an operator that sends old
// receipts again fills no batch with them.
func TestReceiptsOfOldPartsDoNotHoldUpOnesThatRaced(t *testing.T) {
	const batch = 5
	e := newEnv(t)
	e.tariff()
	p := e.bind(20 * cost)
	b := e.bridge()
	send := func(operatorID string) mobileid.ID {
		n := e.notice(p, operatorID)
		e.queue(n)
		e.sent(b, p, n.Message.ID, operatorID)
		return n.Message.ID
	}
	for i := range batch {
		send(fmt.Sprint("old", i))
	}
	e.clk.advance(80 * time.Hour)
	id := send("42")
	unmatched := func(operatorID string) {
		e.exec(`insert into receipts_unmatched (account, operator_id, dest, state, stat, err, received_at)
			values ($1, $4, $2, 'undeliverable', 'UNDELIV', '', $3)`, account, p.binding.Number[:], e.clk.now(), operatorID)
	}
	for i := range batch {
		unmatched(fmt.Sprint("old", i))
	}
	unmatched("42")
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: batch, ReceiptWait: 1000 * time.Hour}, nil, nil))
	e.wantMessage(id, mobileid.MessageUndeliverable, "receipt")
}

// TestOldReceiptsAreForgottenFasterThanABatchAPass: what a broken operator sends
// does not pile up.
func TestOldReceiptsAreForgottenFasterThanABatchAPass(t *testing.T) {
	const batch = 5
	e := newEnv(t)
	e.exec(`insert into receipts_unmatched (account, operator_id, dest, state, stat, err, received_at)
		select $1, g::text, '\x00', '', '', '', $2 from generate_series(1, $3) g`, account, e.clk.now(), 3*batch+1)
	e.clk.advance(73 * time.Hour)
	e.sweep(registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: batch}, nil, nil))
	if have := query[int](e, `select count(*) from receipts_unmatched`); have != 0 {
		t.Fatalf("%d of %d are left", have, 3*batch+1)
	}
}

func TestOldKeysAreForgottenAndOldRequestsStillHaveOneEffect(t *testing.T) {
	e := newEnv(t)
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	p := e.bind(0)
	c := e.challenge(p, "k")
	e.issue(c)
	e.clk.advance(47 * time.Hour)
	e.sweep(s)
	if have := query[int](e, `select count(*) from idempotency`); have != 1 {
		t.Fatal("forgotten too early")
	}
	e.clk.advance(2 * time.Hour)
	e.sweep(s)
	if have := query[int](e, `select count(*) from idempotency`); have != 0 {
		t.Fatal("not forgotten")
	}
	e.issue(c)
	e.wantChallenge(c.Request.ID, mobileid.ChallengeExpired, mobileid.ReasonDeadline)
}

func TestCountsOfWrongCodesAreForgottenAfterThirtyDays(t *testing.T) {
	e := newEnv(t)
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: 1}, nil, nil)
	for i := range 3 {
		c := e.challenge(e.bind(0), strconv.Itoa(i))
		e.issue(c)
		_, err := e.CountWrongTry(e.ctx(), c.Request.ID, false)
		must(t, err)
	}
	left := func() int { return query[int](e, `select count(*) from wrong_tries`) }
	e.clk.advance(30 * 24 * time.Hour)
	e.sweep(s)
	if have := left(); have != 3 {
		t.Fatalf("%d of 3 counts are left on the thirtieth day", have)
	}
	e.clk.advance(24 * time.Hour)
	e.sweep(s)
	if have := left(); have != 0 {
		t.Fatalf("%d counts are left after thirty days", have)
	}
}

func TestTheSweeperMakesTheMonthsAhead(t *testing.T) {
	e := newEnv(t)
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	e.sweep(s)
	e.clk.ns.Store(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	e.sweep(s)
	if !query[bool](e, `select to_regclass('messages_2027_04') is not null`) {
		t.Fatal("no partition two months ahead")
	}
	e.clk.ns.Store(time.Date(2027, 4, 30, 23, 59, 59, 0, time.UTC).UnixNano())
	e.issue(e.challenge(e.bind(0), "k"))
	if have := query[int](e, `select count(*) from challenges_2027_04`); have != 1 {
		t.Fatal("the id is not in its month")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	got := make(chan struct{}, 1)
	wg.Go(func() {
		if err := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Interval: time.Millisecond}, nil, nil).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		pub := publisher(func([]mobileid.StatusChanged) error {
			select {
			case got <- struct{}{}:
			default:
			}
			return nil
		})
		if err := registry.NewRelay(e.DB, pub, registry.RelayConfig{Busy: time.Millisecond, Idle: 2 * time.Millisecond}).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	e.issue(e.challenge(e.bind(0), "k"))
	<-got
	cancel()
	wg.Wait()
}
