package registry_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

const teller = "operator:" + operator

// news is what the operator tells of a person now, under a name of its own.
func (e *env) news(p person, kind mobileid.BalanceKind, amount mobileid.Money) mobileid.BalanceNews {
	return mobileid.BalanceNews{
		Source: teller, Seq: fmt.Sprint("news-", e.n.Add(1)), Operator: operator, Number: p.binding.Number,
		Kind: kind, Amount: amount, At: e.clk.now(),
	}
}

func (e *env) tell(news ...mobileid.BalanceNews) {
	e.t.Helper()
	for _, n := range news {
		must(e.t, e.Tell(e.ctx(), n))
	}
	e.wantBalanced()
}

// untold is a person whose operator never told anything.
func (e *env) untold() person {
	e.t.Helper()
	p := e.bind(0)
	e.exec(`update accounts set told_at = null where id = $1`, p.binding.Account)
	return p
}

// left is what a person may spend; known says that anything is refused for it.
func (e *env) left(p person) (left mobileid.Money, known bool) {
	e.t.Helper()
	must(e.t, e.pool.QueryRow(e.ctx(), `select granted - posted - pending, told_at is not null from accounts where id = $1`, p.binding.Account).Scan(&left, &known))
	return left, known
}

func (e *env) wantLeft(p person, want mobileid.Money) {
	e.t.Helper()
	e.wantBalanced()
	if left, known := e.left(p); left != want || !known {
		e.t.Fatalf("left %d (known %v), want %d", left, known, want)
	}
}

// reserve has that many Messages of a person admitted, and returns their ids.
func (e *env) reserve(p person, bridge int64, n int) []mobileid.ID {
	e.t.Helper()
	var ids []mobileid.ID
	for range n {
		notice := e.notice(p, fmt.Sprint("reserve-", e.n.Add(1)))
		e.queue(notice)
		ids = append(ids, notice.Message.ID)
	}
	for i, a := range e.admit(bridge, ids...) {
		if a.Verdict != mobileid.VerdictMine {
			e.t.Fatalf("message %d: %s (%s)", i, a.Verdict, a.State)
		}
	}
	return ids
}

func (e *env) post(p person, bridge int64, ids []mobileid.ID) {
	e.t.Helper()
	for _, id := range ids {
		e.settle(bridge, e.outcome(id, mobileid.MessageSent, p.binding.Number, "op-"+id.String()))
	}
}

func TestATopUpToldAgainAddsOnce(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	n := e.news(p, mobileid.BalanceTopUp, 500)
	e.tell(n, n)
	e.wantLeft(p, 500)
	other := e.bind(0)
	for what, differs := range map[string]func(*mobileid.BalanceNews){
		"another amount": func(n *mobileid.BalanceNews) { n.Amount = 501 },
		"another kind":   func(n *mobileid.BalanceNews) { n.Kind = mobileid.BalanceTold },
		"a bar":          func(n *mobileid.BalanceNews) { n.Kind, n.Amount = mobileid.BalanceBarred, 0 },
		"another number": func(n *mobileid.BalanceNews) { n.Number = other.binding.Number },
	} {
		again := n
		differs(&again)
		if err := e.Tell(e.ctx(), again); mobileid.CodeOf(err) != "credit_differs" {
			t.Errorf("%s under the same name: %v", what, err)
		}
	}
	e.wantLeft(p, 500)
	e.wantLeft(other, 0)
	if e.suspended(p) {
		t.Error("a bar under a name that was used has suspended")
	}
}

func TestTopUpsAddInAnyOrder(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	first := e.news(p, mobileid.BalanceTopUp, 100)
	e.clk.advance(time.Hour)
	second := e.news(p, mobileid.BalanceTopUp, 30)
	e.tell(second, first)
	e.wantLeft(p, 130)
}

// What decides is the time that a balance is of, not when it comes.
func TestABalanceThatComesLateKeepsWhatWasSpentAndToppedUpSince(t *testing.T) {
	e := newEnv(t)
	e.priced(ledger.UnitMessage, true)
	p, b := e.bind(20*cost), e.bridge()
	e.post(p, b, e.reserve(p, b, 2)) // is in it
	e.clk.advance(time.Minute)
	late := e.news(p, mobileid.BalanceTold, 10*cost)
	e.clk.advance(time.Minute)
	sent := e.reserve(p, b, 3)
	e.post(p, b, sent)
	held := e.reserve(p, b, 1)
	e.tell(e.news(p, mobileid.BalanceTopUp, 4*cost))
	e.tell(late)
	e.wantLeft(p, (10-3+4-1)*cost)
	e.receipts(e.receipt(p.binding.Number, "op-"+sent[0].String(), mobileid.MessageRejected))
	e.wantLeft(p, (10-2+4-1)*cost)
	e.post(p, b, held)
	e.wantLeft(p, (10-2+4-1)*cost)
	e.clk.advance(time.Minute)
	e.tell(e.news(p, mobileid.BalanceTold, 5*cost))
	e.wantLeft(p, 5*cost)
	e.tell(late)
	e.wantLeft(p, 5*cost)
	e.wantBalanced()
}

func TestWhatIsOlderThanABalanceIsInIt(t *testing.T) {
	e := newEnv(t)
	p := e.bind(70)
	topUp, balance := e.news(p, mobileid.BalanceTopUp, 100), e.news(p, mobileid.BalanceTold, 40)
	e.clk.advance(time.Minute)
	newest := e.news(p, mobileid.BalanceTold, 900)
	after := e.news(p, mobileid.BalanceTopUp, 11)
	after.At = after.At.Add(time.Second)
	e.tell(newest, balance, topUp)
	e.wantLeft(p, 900)
	e.tell(after)
	e.wantLeft(p, 911)
	e.tell(newest) // again, and the top-up stays
	e.wantLeft(p, 911)
}

// What is reserved was not taken by the operator yet; what is posted was.
func TestABalanceKeepsWhatIsReserved(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	posted := e.reserve(p, b, 2)
	e.post(p, b, posted)
	pending := e.reserve(p, b, 3)
	e.tell(e.news(p, mobileid.BalanceTold, 7*cost))
	e.wantLeft(p, 4*cost)
	e.post(p, b, pending)
	e.wantLeft(p, 4*cost)
	e.clk.advance(time.Second)
	e.tell(e.news(p, mobileid.BalanceTold, 4*cost))
	e.wantLeft(p, 4*cost)
}

func TestABalanceBelowWhatIsReservedLeavesNothing(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(10*cost), e.bridge()
	pending := e.reserve(p, b, 3)
	e.tell(e.news(p, mobileid.BalanceTold, cost))
	e.wantLeft(p, 0)
	e.post(p, b, pending) // they are on their way: what was reserved is paid
	e.wantLeft(p, 0)
	notice := e.notice(p, "one more")
	e.queue(notice)
	e.admit(b, notice.Message.ID)
	e.wantMessage(notice.Message.ID, mobileid.MessageNoFunds, mobileid.ReasonBalance)
	e.wantBalanced()
}

func TestTheFirstNewsMakeABalanceKnown(t *testing.T) {
	for kind, want := range map[mobileid.BalanceKind]mobileid.Money{mobileid.BalanceTopUp: 2 * cost, mobileid.BalanceTold: cost} {
		t.Run(string(kind), func(t *testing.T) {
			e := newEnv(t)
			e.tariff()
			p, b := e.untold(), e.bridge()
			pending := e.reserve(p, b, 1) // nothing is refused for a balance that nobody told
			e.post(p, b, e.reserve(p, b, 2))
			if _, known := e.left(p); known {
				t.Fatal("the balance is known")
			}
			e.tell(e.news(p, kind, 2*cost))
			e.wantLeft(p, want)
			e.post(p, b, pending)
			e.wantLeft(p, want)
		})
	}
}

func TestNewsOfANumberWithoutAnAccountThereAreNotFound(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	for _, kind := range []mobileid.BalanceKind{mobileid.BalanceTopUp, mobileid.BalanceTold, mobileid.BalanceBarred, mobileid.BalanceUnbarred} {
		stranger, elsewhere := e.news(p, kind, 0), e.news(p, kind, 0)
		stranger.Number, elsewhere.Operator = mobileid.Pseudonym{9}, "ucell"
		for _, n := range []mobileid.BalanceNews{stranger, elsewhere} {
			if err := e.Tell(e.ctx(), n); mobileid.KindOf(err) != mobileid.KindNotFound {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
	for _, bad := range []mobileid.BalanceNews{
		e.news(p, mobileid.BalanceTopUp, -1), e.news(p, mobileid.BalanceTold, -1), e.news(p, mobileid.BalanceBarred, 1), e.news(p, "gift", 1),
	} {
		if err := e.Tell(e.ctx(), bad); mobileid.KindOf(err) != mobileid.KindInvalid {
			t.Errorf("%s %d: %v", bad.Kind, bad.Amount, err)
		}
	}
	e.wantLeft(p, 0)
	if e.suspended(p) {
		t.Error("the bar of another operator has suspended")
	}
}

func (e *env) suspended(p person) bool {
	e.t.Helper()
	return query[bool](e, `select sms_suspended from bindings where id = $1`, p.binding.ID)
}

// Whatever is told while bridges admit, what is admitted was there to be spent,
// and nobody runs into the seat belt of the table.
func TestToldWhileItIsSpentNothingIsOverdrawn(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	const tops, notices = 40, 120
	p := e.bind(10 * cost)
	var list []mobileid.NewNotification
	for i := range notices {
		list = append(list, e.notice(p, fmt.Sprint("n", i)))
	}
	e.queue(list...)
	var wg sync.WaitGroup
	var mu sync.Mutex
	mine := 0
	for w := range 2 {
		b := e.bridge()
		wg.Go(func() {
			for i := w; i < notices; i += 2 {
				as, err := e.Admit(e.ctx(), b, []mobileid.AdmitItem{{ID: list[i].Message.ID, Source: mobileid.RecordRef{Topic: "lane"}}})
				if err != nil {
					t.Error(err, cause(err))
					return
				}
				if as[0].Verdict != mobileid.VerdictMine {
					continue
				}
				mu.Lock()
				mine++
				mu.Unlock()
				if rand.IntN(2) == 0 {
					err = e.Settle(e.ctx(), b, account, []mobileid.Outcome{e.outcome(list[i].Message.ID, mobileid.MessageSent, p.binding.Number, fmt.Sprint("op", i))})
					if err != nil {
						t.Error(err, cause(err))
					}
				}
			}
		})
	}
	for w := range 2 {
		wg.Go(func() {
			for i := w; i < tops; i += 2 {
				n := e.news(p, mobileid.BalanceTopUp, cost)
				for range 2 { // and again, as Kafka does
					if err := e.Tell(e.ctx(), n); err != nil {
						t.Error(err, cause(err))
					}
				}
			}
		})
	}
	wg.Wait()
	if most := 10 + tops; mine > most || mine < 10 {
		t.Errorf("%d were admitted, there was money for %d", mine, most)
	}
	e.wantLeft(p, mobileid.Money(10+tops-mine)*cost)
}

// The same with balances, which take back what was granted: what is reserved in
// between stays covered.
func TestABalanceToldWhileItIsSpentBreaksNothing(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(30 * cost)
	var list []mobileid.NewNotification
	for i := range 90 {
		list = append(list, e.notice(p, fmt.Sprint("n", i)))
	}
	e.queue(list...)
	var wg sync.WaitGroup
	for w := range 2 {
		b := e.bridge()
		wg.Go(func() {
			for i := w; i < len(list); i += 2 {
				as, err := e.Admit(e.ctx(), b, []mobileid.AdmitItem{{ID: list[i].Message.ID, Source: mobileid.RecordRef{Topic: "lane"}}})
				if err == nil && as[0].Verdict == mobileid.VerdictMine && i%3 > 0 {
					err = e.Settle(e.ctx(), b, account, []mobileid.Outcome{e.outcome(list[i].Message.ID, mobileid.MessageSent, p.binding.Number, fmt.Sprint("op", i))})
				}
				if err != nil {
					t.Error(err, cause(err))
				}
			}
		})
		wg.Go(func() {
			for i := range 40 {
				n := e.news(p, mobileid.BalanceTold, mobileid.Money(i%4)*cost)
				n.At = n.At.Add(time.Duration(2*i+w) * time.Second)
				if err := e.Tell(e.ctx(), n); err != nil {
					t.Error(err, cause(err))
				}
			}
		})
	}
	wg.Wait()
	e.wantBalanced()
	if left, _ := e.left(p); left < 0 {
		t.Errorf("%d tiyin are left", left)
	}
}

// What is reserved while news wait for the account is seen by them.
func TestNewsWaitForWhoeverHasTheAccount(t *testing.T) {
	e := newEnv(t)
	p := e.bind(2 * cost)
	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	_, err = tx.Exec(e.ctx(), `update accounts set pending = pending + $2 where id = $1`, p.binding.Account, cost)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- e.Tell(e.ctx(), e.news(p, mobileid.BalanceTold, 0)) }()
	e.blocked()
	must(t, tx.Commit(e.ctx()))
	must(t, <-done)
	if left, _ := e.left(p); left != 0 {
		t.Errorf("%d tiyin are left of nothing", left)
	}
}

// TestWhatIsToldInAnyOrder compares the registry with a model that knows the
// operator's clock: the newest balance and all top-ups after it, whatever comes
// when and how often, less what was spent since.
func TestWhatIsToldInAnyOrder(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	b := e.bridge()
	rapid.Check(t, func(rt *rapid.T) {
		p := e.untold()
		e.clk.advance(time.Hour)
		type fact struct {
			kind   mobileid.BalanceKind
			amount mobileid.Money
			at     int
		}
		var facts []fact
		var told []mobileid.BalanceNews
		begin := e.clk.now()
		for i := range rapid.IntRange(1, 6).Draw(rt, "news") {
			f := fact{
				rapid.SampledFrom([]mobileid.BalanceKind{mobileid.BalanceTopUp, mobileid.BalanceTold}).Draw(rt, "kind"),
				mobileid.Money(rapid.IntRange(0, 5).Draw(rt, "amount")) * cost, i,
			}
			if i == 0 {
				f.kind = mobileid.BalanceTold
			}
			if f.kind == mobileid.BalanceTold {
				f.amount += 20 * cost // more than is spent, so that no balance comes too late
			}
			n := e.news(p, f.kind, f.amount)
			n.At = begin.Add(time.Duration(i)*time.Second + time.Millisecond)
			facts, told = append(facts, f), append(told, n)
		}
		order := rapid.Permutation(append(append([]int{}, indexes(len(told))...), indexes(len(told))...)).Draw(rt, "order")
		// What is sent in between, while nobody has told of it yet. The model goes by the
		// times alone: the newest balance, and what came and went after it.
		var spent []time.Time
		for range facts {
			if e.clk.advance(500 * time.Millisecond); rapid.Bool().Draw(rt, "spends") {
				e.post(p, b, e.reserve(p, b, 1))
				spent = append(spent, e.clk.now())
			}
			e.clk.advance(500 * time.Millisecond)
		}
		for _, i := range order {
			must(e.t, e.Tell(e.ctx(), told[i]))
		}
		newest := -1
		for i, f := range facts {
			if f.kind == mobileid.BalanceTold {
				newest = i
			}
		}
		var base mobileid.Money
		since := time.Time{}
		if newest >= 0 {
			base, since = facts[newest].amount, told[newest].At
		}
		for i, f := range facts {
			if f.kind == mobileid.BalanceTopUp && i > newest {
				base += f.amount
			}
		}
		for _, at := range spent {
			if at.After(since) {
				base -= cost
			}
		}
		e.wantLeft(p, base)
		for i := range int(base / cost) {
			e.post(p, b, e.reserve(p, b, 1))
			e.wantLeft(p, base-mobileid.Money(i+1)*cost)
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// What was reserved before the money was out says nothing of money that came.
func TestARetryThatIsReservedForIsNoProbe(t *testing.T) {
	e := newEnv(t)
	p, n, b := e.admittedNotice()
	o := e.outcome(n.Message.ID, mobileid.MessageRetry, p.binding.Number, "")
	o.RetryAt = e.clk.now()
	e.settle(b, o)
	e.refuse(p, b)
	e.clk.advance(2 * time.Minute)
	a, err := e.Admit(e.ctx(), b, []mobileid.AdmitItem{{ID: n.Message.ID}})
	must(t, err)
	if a[0].Verdict != mobileid.VerdictMine || !e.suspended(p) {
		t.Errorf("%s, suspended %v", a[0].Verdict, e.suspended(p))
	}
	e.wantEvents(p, "1 suspended balance")
	e.wantBalanced()
}
