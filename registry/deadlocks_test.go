package registry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// TestNoDeadlocks runs everything against everything on a few persons with one
// account each, in shuffled batches, and then asks the server how many
// deadlocks it had to break.
func TestNoDeadlocks(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	e.price(other, cost, now0.AddDate(-1, 0, 0))
	theirs, err := e.OpenBridge(e.ctx(), other, "test", time.Hour)
	must(t, err)
	m := &mix{env: e, bridges: []int64{e.bridge(), e.bridge(), theirs}}
	for range 6 {
		m.persons = append(m.persons, e.bind(10_000*cost))
	}
	// What the jobs meet is chance: they run until each kind of life was there.
	for again := 0; again == 0 || (len(m.leftOut()) > 0 && again < 10); again++ {
		m.run()
	}
	e.wantBalanced()
	m.wantEachKeyUsedOnce()
	for _, what := range m.leftOut() {
		t.Errorf("the mix leaves something out: 0 = %s", what)
	}
	e.wantNoDeadlocks()
}

// wantInOrder has an act meet a transaction that has the first of two rows, and
// goes on to the second as the lock order says. Neither may be a deadlock's victim.
func (e *env) wantInOrder(table string, first, second int64, act func() error) {
	e.t.Helper()
	tx, err := e.pool.Begin(e.ctx())
	must(e.t, err)
	defer func() { _ = tx.Rollback(e.ctx()) }()
	lock := func(id int64) error {
		_, err := tx.Exec(e.ctx(), `select from `+table+` where id = $1 for no key update`, id)
		return err
	}
	must(e.t, lock(first))
	done := make(chan error, 1)
	go func() { done <- act() }()
	e.blockedBy(1, done, "it waits for nobody")
	must(e.t, lock(second))
	must(e.t, tx.Rollback(e.ctx()))
	must(e.t, <-done)
	e.wantNoDeadlocks()
}

// wantNoDeadlocks closes the registry: sessions report their counters when they end.
func (e *env) wantNoDeadlocks() {
	e.t.Helper()
	e.DB.Close()
	if have := query[int64](e, `select deadlocks from pg_stat_database where datname = current_database()`); have != 0 {
		e.t.Fatalf("%d deadlocks", have)
	}
}

// A number that moved has accounts of operators in any order.
func TestBindLocksTheAccountsOfANumberInTheirOrder(t *testing.T) {
	m := newMoved(t)
	m.wantSent(true)
	limit := cost
	_, err := m.SetDailyCeiling(m.ctx(), m.binding.Person, &limit)
	must(t, err)
	must(t, m.Revoke(m.ctx(), m.binding.ID))
	m.exec(`update accounts set operator = 'z' || operator where id = $1`, m.binding.Account) // the older one is the last by name
	second := query[int64](m.env, `select max(id) from accounts where number = $1`, m.binding.Number[:])
	next := m.person.asked
	next.Person[0] ^= 0xff
	next.Operator = other
	m.wantInOrder("accounts", m.binding.Account, second, func() error { _, err := m.Bind(m.ctx(), next); return err })
}

// The accounts that a batch makes are in the order of their owners, by which that
// of the bindings is any.
func TestQueueingLocksBindingsInTheirOrder(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	first := e.bind(0)
	second := e.bind(0)
	for second.binding.Number.String() > first.binding.Number.String() {
		second = e.bind(0)
	}
	batch := []mobileid.NewNotification{e.notice(first, "1"), e.notice(second, "2")}
	for _, n := range batch {
		n.Message.Operator, n.Message.Account = other, 0
	}
	e.wantInOrder("bindings", first.binding.ID, second.binding.ID, func() error { _, err := e.QueueNotifications(e.ctx(), batch); return err })
}

// run lets every job run twice, side by side.
func (m *mix) run() {
	var wg sync.WaitGroup
	for _, job := range []func(int){
		m.issue, m.queue, m.useKeysTwice, m.revoke, m.admit,
		m.settler(mobileid.MessageSent), m.settler(mobileid.MessageRejected), m.settler(mobileid.MessageRetry),
		m.receive, m.verify, m.sweep, m.relay, m.credit, m.tell, m.relayBindings, m.moves, m.ceiling, m.statement,
	} {
		for range 2 {
			wg.Go(func() {
				for round := range 30 {
					job(round)
				}
			})
		}
	}
	wg.Wait()
}

// leftOut lists what should have happened in the mix and has not.
func (m *mix) leftOut() (missing []string) {
	for _, what := range []string{
		`select count(*) from messages where state = 'delivered' and challenge_id is null`,
		`select count(*) from messages where state = 'fenced'`,
		`select count(*) from challenges where state = 'confirmed'`,
		`select count(*) from challenges where state = 'unbound'`,
		`select count(*) from bindings where event_version > 1`,
		`select count(*) from accounts where warned is not null`,
		`select count(*) from accounts where operator = 'ucell' and posted > 0`,
		`select count(*) from unpaid`,
	} {
		if query[int](m.env, what) == 0 {
			missing = append(missing, what)
		}
	}
	return missing
}

// mix is what the jobs share.
type mix struct {
	*env
	bridges []int64

	mu         sync.Mutex
	persons    []person
	challenges []mobileid.NewChallenge
	messages   []mobileid.ID
	twins      [][]mobileid.ID // requests with one Idempotency-Key
}

// failed is for errors that nobody expects: two may be after the same row.
func (m *mix) failed(err error) {
	switch mobileid.KindOf(err) {
	case "", mobileid.KindConflict, mobileid.KindNotFound:
	default:
		m.t.Error(err, cause(err))
	}
}

// some returns up to n of the younger Messages, some of them more than once.
func (m *mix) some(n int) []mobileid.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []mobileid.ID
	for range min(n, len(m.messages)) {
		out = append(out, m.messages[len(m.messages)-1-rand.IntN(min(len(m.messages), 80))])
	}
	return out
}

// request moves the clock, so that no two ids are of one instant, and names
// somebody who asks with a new key. It wants the lock.
func (m *mix) request() (person, string) {
	m.clk.advance(time.Millisecond)
	return m.persons[rand.IntN(len(m.persons))], fmt.Sprint("k", m.n.Add(1))
}

// issue has each person about twice in a batch.
func (m *mix) issue(int) {
	var batch []mobileid.NewChallenge
	m.mu.Lock()
	for range 10 {
		c := m.challenge(m.request())
		c.Request.Purpose = fmt.Sprint("purpose", rand.IntN(3)) // some stay live
		carry(c.Message)
		batch, m.messages = append(batch, c), append(m.messages, c.Message.ID)
	}
	m.mu.Unlock()
	shuffle(batch)
	_, err := m.IssueChallenges(m.ctx(), batch)
	m.failed(err)
	m.mu.Lock()
	m.challenges = append(m.challenges, batch...)
	m.mu.Unlock()
}

func (m *mix) queue(int) {
	var batch []mobileid.NewNotification
	m.mu.Lock()
	for range 5 {
		n := m.notice(m.request())
		carry(n.Message)
		batch, m.messages = append(batch, n), append(m.messages, n.Message.ID)
	}
	m.mu.Unlock()
	shuffle(batch)
	_, err := m.QueueNotifications(m.ctx(), batch)
	m.failed(err)
}

// carry has the other operator carry some Messages, as if their numbers had moved.
func carry(n *mobileid.NewMessage) {
	if rand.IntN(3) == 0 {
		n.Operator, n.Account = other, 0
	}
}

// moves has numbers go to the other operator and back, and some are new ones, which
// have no account there yet.
func (m *mix) moves(round int) {
	m.mu.Lock()
	i := rand.IntN(len(m.persons))
	p := m.persons[i]
	if round%4 == 0 {
		m.persons[i] = m.bind(10_000 * cost)
	}
	m.mu.Unlock()
	to := []string{other, operator}[round%2]
	_, err := m.ImportPorted(m.ctx(), []mobileid.Ported{{Number: p.binding.Number, Operator: to, From: m.clk.now(), Source: "mnp", Seq: fmt.Sprint(m.n.Add(1))}})
	m.failed(err)
}

func (m *mix) ceiling(round int) {
	m.mu.Lock()
	p := m.persons[rand.IntN(len(m.persons))]
	m.mu.Unlock()
	limit := 500 * cost
	ceiling := []*mobileid.Money{&limit, nil}[round%2]
	_, err := m.SetDailyCeiling(m.ctx(), p.binding.Person, ceiling)
	m.failed(err)
}

func (m *mix) statement(int) {
	m.mu.Lock()
	p := m.persons[rand.IntN(len(m.persons))]
	m.mu.Unlock()
	_, err := m.PersonStatement(m.ctx(), mobileid.StatementQuery{Person: p.binding.Person, Limit: 10})
	m.failed(err)
}

// useKeysTwice has three batches at once with the same keys: of challenges, of
// the same challenges accepted later, and of notifications.
func (m *mix) useKeysTwice(round int) {
	if round%3 > 0 {
		return
	}
	var first, second []mobileid.NewChallenge
	var notices []mobileid.NewNotification
	m.mu.Lock()
	for range 5 {
		p, key := m.request()
		a := m.challenge(p, key)
		m.clk.advance(time.Millisecond)
		b, n := m.challenge(p, key), m.notice(p, key)
		first, second, notices = append(first, a), append(second, b), append(notices, n)
		m.twins = append(m.twins, []mobileid.ID{a.Request.ID, b.Request.ID, n.Request.ID})
	}
	m.mu.Unlock()
	shuffle(first)
	shuffle(second)
	shuffle(notices)
	var wg sync.WaitGroup
	for _, batch := range [][]mobileid.NewChallenge{first, second} {
		wg.Go(func() {
			_, err := m.IssueChallenges(m.ctx(), batch)
			m.failed(err)
		})
	}
	wg.Go(func() {
		_, err := m.QueueNotifications(m.ctx(), notices)
		m.failed(err)
	})
	wg.Wait()
}

// revoke ends a binding, which comes back as another one.
func (m *mix) revoke(round int) {
	if round%5 > 0 {
		return
	}
	m.mu.Lock()
	i := rand.IntN(len(m.persons))
	p := m.persons[i]
	m.mu.Unlock()
	m.failed(m.Revoke(m.ctx(), p.binding.ID))
	_, err := m.Bind(m.ctx(), p.asked)
	m.failed(err)
	found, err := m.ActiveBindings(m.ctx(), []mobileid.Pseudonym{p.asked.Person})
	m.failed(err)
	if b, ok := found[p.asked.Person]; ok {
		m.mu.Lock()
		m.persons[i].binding = b
		m.mu.Unlock()
	}
}

// admit takes what came from a lane and what is due again, which are different
// statements.
func (m *mix) admit(round int) {
	var items []mobileid.AdmitItem
	for i, id := range m.some(30) {
		item := mobileid.AdmitItem{ID: id}
		if round%3 > 0 {
			item.Source = mobileid.RecordRef{Topic: "lane", Offset: int64(i)}
		}
		items = append(items, item)
	}
	_, err := m.Admit(m.ctx(), m.bridges[round%3], items)
	m.failed(err)
}

func (m *mix) settler(state mobileid.MessageState) func(int) {
	return func(round int) {
		var os []mobileid.Outcome
		for _, id := range m.some(20) {
			os = append(os, m.outcome(id, state, mobileid.Pseudonym{}, "op-"+id.String()))
		}
		m.failed(m.Settle(m.ctx(), m.bridges[round%3], account, os))
	}
}

func (m *mix) receive(int) {
	var rs []mobileid.Receipt
	for _, id := range m.some(20) {
		state := []mobileid.MessageState{mobileid.MessageDelivered, mobileid.MessageUndeliverable}[rand.IntN(2)]
		rs = append(rs, m.receipt(mobileid.Pseudonym{}, "op-"+id.String(), state))
	}
	_, err := m.StoreReceipts(m.ctx(), rs)
	m.failed(err)
}

func (m *mix) verify(round int) {
	m.mu.Lock()
	var c mobileid.NewChallenge
	if n := len(m.challenges); n > 0 {
		c = m.challenges[n-1-rand.IntN(min(n, 10))]
	}
	m.mu.Unlock()
	_, err := m.confirmCode(c, byte(round))
	m.failed(err)
	_, err = m.CountWrongTry(m.ctx(), c.Request.ID, false)
	m.failed(err)
	m.failed(m.EndChallenge(m.ctx(), c.Request.ID, mobileid.ChallengeExhausted, "tries"))
}

func (m *mix) sweep(int) {
	s := registry.NewSweeper(m.DB, registry.SweepConfig{Grace: time.Second, Batch: 20, RepublishAfter: time.Millisecond, WarnBelow: 20_000}, &lanes{}, &codes{epoch: "one"})
	m.failed(s.Sweep(m.ctx()))
}

func (m *mix) relay(int) {
	_, err := registry.NewRelay(m.DB, publisher(func([]mobileid.StatusChanged) error { return nil }), registry.RelayConfig{}).Once(m.ctx())
	m.failed(err)
}

func (m *mix) credit(round int) {
	m.mu.Lock()
	account := m.persons[round%len(m.persons)].binding.Account
	m.mu.Unlock()
	m.failed(m.Credit(m.ctx(), account, "stress", fmt.Sprint(round), 1))
	m.clk.advance(500 * time.Millisecond)
}

// tell has the operator say everything of somebody, now and then that there is
// nothing left.
func (m *mix) tell(round int) {
	m.mu.Lock()
	p := m.persons[rand.IntN(len(m.persons))]
	m.mu.Unlock()
	kinds := []mobileid.BalanceKind{
		mobileid.BalanceTold, mobileid.BalanceTopUp, mobileid.BalanceBarred, mobileid.BalanceUnbarred, mobileid.BalanceTold, mobileid.BalanceTopUp,
	}
	n := m.news(p, kinds[round%len(kinds)], 0)
	if n.Kind == mobileid.BalanceTopUp || n.Kind == mobileid.BalanceTold && round%2 == 0 {
		n.Amount = 1000 * cost
	}
	if rand.IntN(2) == 0 {
		n.Operator, n.Source = other, "operator:"+other
	}
	m.failed(m.Tell(m.ctx(), n))
}

func (m *mix) relayBindings(int) {
	_, err := registry.NewBindingRelay(m.DB, &bindingTopic{}, nil).Once(m.ctx())
	m.failed(err)
}

// wantEachKeyUsedOnce looks at the requests that had one key: all but one of
// them say that it was taken.
func (m *mix) wantEachKeyUsedOnce() {
	m.t.Helper()
	for _, twins := range m.twins {
		var refused int
		for _, id := range twins {
			reason := query[string](m.env, `select reason from challenges where id = $1 union all select reason from messages where id = $1`, id[:])
			if slices.Contains([]string{mobileid.ReasonKeyReused, mobileid.ReasonSecondID}, reason) {
				refused++
			}
		}
		if refused != len(twins)-1 {
			m.t.Errorf("%d of %d requests with one key were refused for it", refused, len(twins))
		}
	}
}

func shuffle[T any](list []T) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}
