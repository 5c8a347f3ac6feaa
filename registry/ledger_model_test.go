package registry_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// bookAccount and bookCharge are the ledger as anybody would write it down: no
// statement, no lock, one Message after the other.
type bookAccount struct {
	granted, pending, posted, late mobileid.Money
	suspended                      bool
}

func (a *bookAccount) free() mobileid.Money { return a.granted - a.pending - a.posted }

type bookCharge struct {
	of      *bookAccount
	number  int // of the person
	amount  mobileid.Money
	state   mobileid.MessageState
	charge  mobileid.ChargeState // "" = priced
	charged mobileid.Money
	told    string // the operator's id, once sent
}

// reserve, post, void and the rest are the steps of a Charge.
func (c *bookCharge) reserve() bool {
	if c.of.free() < c.amount {
		return false
	}
	c.of.pending += c.amount
	c.charge = mobileid.ChargePending
	return true
}

func (c *bookCharge) release() {
	if c.charge == mobileid.ChargePending {
		c.of.pending -= c.amount
	}
}

func (c *bookCharge) post() {
	if c.charge == mobileid.ChargeUnknown {
		c.of.late += c.amount
	}
	c.release()
	c.of.posted += c.amount
	c.charge, c.charged = mobileid.ChargePosted, c.amount
}

func (c *bookCharge) void() {
	if c.charge == mobileid.ChargePending || c.charge == mobileid.ChargeUnknown {
		c.release()
		c.charge = mobileid.ChargeVoided
	}
}

func (c *bookCharge) lose() {
	if c.charge == mobileid.ChargePending {
		c.release()
		c.charge = mobileid.ChargeUnknown
	}
}

func (c *bookCharge) reverse() {
	c.of.posted -= c.charged
	c.charge, c.charged = mobileid.ChargeReversed, 0
}

// book is the model and the registry side by side.
type book struct {
	*env
	rt       *rapid.T
	bridge   int64
	persons  []person
	accounts []*bookAccount
	charges  map[mobileid.ID]*bookCharge
	order    []mobileid.ID
	price    mobileid.Money
	sweeper  *registry.Sweeper
}

// TestTheLedgerIsThatOfAPlainBook leads random lives through the registry and
// through a book in memory: after each step every account and every Charge is the
// same in both, and the transfers add up.
func TestTheLedgerIsThatOfAPlainBook(t *testing.T) {
	e := newEnv(t)
	prices := []mobileid.Money{0, 1, 777, cost}
	for i, price := range prices {
		e.price(fmt.Sprint("op", i), price, now0.AddDate(-1, 0, 0))
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := &book{env: e, rt: rt, charges: map[mobileid.ID]*bookCharge{}}
		op := rapid.IntRange(0, len(prices)-1).Draw(rt, "operator")
		m.price = prices[op]
		var err error
		m.bridge, err = e.OpenBridge(e.ctx(), fmt.Sprint("op", op), "book", 10000*time.Hour)
		must(t, err)
		for range rapid.IntRange(1, 3).Draw(rt, "persons") {
			funds := m.price*mobileid.Money(rapid.IntRange(0, 4).Draw(rt, "funds")) + mobileid.Money(rapid.IntRange(0, 2).Draw(rt, "rest"))
			p := e.bind(funds)
			p.binding.Operator = fmt.Sprint("op", op)
			m.persons, m.accounts = append(m.persons, p), append(m.accounts, &bookAccount{granted: funds})
		}
		m.sweeper = registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
		rt.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { m.compare() },
			"queue":   m.queueSome,
			"admit":   m.admitSome,
			"settle":  m.settleSome,
			"receipt": m.receiptSome,
			"top_up":  m.topUp,
			"balance": m.balance,
			"late":    m.waitInVain,
		})
	})
}

// some draws Messages in a state.
func (m *book) some(states ...mobileid.MessageState) (out []mobileid.ID) {
	for _, id := range m.order {
		for _, s := range states {
			if m.charges[id].state == s && rapid.Bool().Draw(m.rt, "this one") {
				out = append(out, id)
			}
		}
	}
	return out
}

func (m *book) queueSome(rt *rapid.T) {
	var ns []mobileid.NewNotification
	for range rapid.IntRange(1, 4).Draw(rt, "messages") {
		i := rapid.IntRange(0, len(m.persons)-1).Draw(rt, "person")
		m.clk.advance(time.Millisecond)
		n := m.notice(m.persons[i], fmt.Sprint("book", m.n.Add(1)))
		ns = append(ns, n)
		m.charges[n.Message.ID] = &bookCharge{of: m.accounts[i], number: i, amount: m.price, state: mobileid.MessageQueued}
		m.order = append(m.order, n.Message.ID)
	}
	m.queue(ns...)
}

func (m *book) admitSome(*rapid.T) {
	ids := m.some(mobileid.MessageQueued, mobileid.MessageRetry, mobileid.MessageInDoubt, mobileid.MessageSent)
	was := map[*bookAccount]bool{} // suspension follows a batch
	for _, a := range m.accounts {
		was[a] = a.suspended
	}
	for _, id := range ids {
		c := m.charges[id]
		switch {
		case c.state == mobileid.MessageRetry:
			c.state = mobileid.MessageAdmitted // paid already
		case c.state != mobileid.MessageQueued:
		case was[c.of]:
			c.state = mobileid.MessageNoFunds
		case c.reserve():
			c.state = mobileid.MessageAdmitted
		default:
			c.state, c.of.suspended = mobileid.MessageNoFunds, true
		}
	}
	if len(ids) > 0 {
		m.admit(m.bridge, ids...)
	}
}

func (m *book) settleSome(rt *rapid.T) {
	var os []mobileid.Outcome
	for _, id := range m.some(mobileid.MessageAdmitted, mobileid.MessageInDoubt) {
		c := m.charges[id]
		states := []mobileid.MessageState{mobileid.MessageSent, mobileid.MessageRejected}
		if c.state == mobileid.MessageAdmitted {
			states = append(states, mobileid.MessageFailed, mobileid.MessageRetry, mobileid.MessageInDoubt, mobileid.MessageExpired)
		}
		next := rapid.SampledFrom(states).Draw(rt, "outcome")
		told := ""
		switch next {
		case mobileid.MessageSent:
			c.told = fmt.Sprint("op", m.n.Add(1))
			told = c.told
			c.post()
		case mobileid.MessageRejected, mobileid.MessageFailed, mobileid.MessageExpired:
			c.void()
		default:
		}
		c.state = next
		os = append(os, m.outcome(id, next, m.persons[c.number].binding.Number, told))
	}
	if len(os) > 0 {
		m.settle(m.bridge, os...)
	}
}

func (m *book) receiptSome(rt *rapid.T) {
	var rs []mobileid.Receipt
	for _, id := range m.order {
		c := m.charges[id]
		if c.told == "" || !rapid.Bool().Draw(rt, "this one") {
			continue
		}
		said := rapid.SampledFrom([]mobileid.MessageState{mobileid.MessageDelivered, mobileid.MessageUndeliverable, mobileid.MessageRejected}).Draw(rt, "receipt")
		rs = append(rs, m.receipt(m.persons[c.number].binding.Number, c.told, said))
		c.told = "" // only the first final one counts
		if c.charge == mobileid.ChargePosted && said != mobileid.MessageDelivered {
			c.reverse()
		}
		if c.state == mobileid.MessageSent {
			c.state = said
		}
	}
	if len(rs) > 0 {
		m.receipts(rs...)
	}
}

func (m *book) tell(i int, kind mobileid.BalanceKind, amount mobileid.Money) {
	m.clk.advance(time.Millisecond)
	b := m.persons[i].binding
	must(m.t, m.Tell(m.ctx(), mobileid.BalanceNews{
		Source: "book", Seq: fmt.Sprint(m.n.Add(1)), Operator: operator, Number: b.Number, Kind: kind, Amount: amount, At: m.clk.now(),
	}))
	if amount > 0 && m.accounts[i].free() > 0 {
		m.accounts[i].suspended = false
	}
}

func (m *book) topUp(rt *rapid.T) {
	i := rapid.IntRange(0, len(m.persons)-1).Draw(rt, "person")
	amount := mobileid.Money(rapid.IntRange(0, 3*int(cost)).Draw(rt, "amount"))
	m.accounts[i].granted += amount
	m.tell(i, mobileid.BalanceTopUp, amount)
}

func (m *book) balance(rt *rapid.T) {
	i := rapid.IntRange(0, len(m.persons)-1).Draw(rt, "person")
	amount := mobileid.Money(rapid.IntRange(0, 3*int(cost)).Draw(rt, "amount"))
	a := m.accounts[i]
	a.granted = max(a.posted+amount, a.posted+a.pending-a.late)
	m.tell(i, mobileid.BalanceTold, amount)
}

// waitInVain lets the time of everything run out.
func (m *book) waitInVain(*rapid.T) {
	m.clk.advance(3 * time.Hour)
	for range 3 {
		m.sweep(m.sweeper)
	}
	for _, c := range m.charges {
		switch c.state {
		case mobileid.MessageQueued, mobileid.MessageRetry:
			c.void()
			c.state = mobileid.MessageExpired
		case mobileid.MessageAdmitted, mobileid.MessageInDoubt:
			c.lose()
			c.state = mobileid.MessageUnconfirmed
		case mobileid.MessageSent:
			c.state = mobileid.MessageUnconfirmed
		default:
		}
	}
	// A suspended one may try again after so long: its next Message is a probe.
	for _, a := range m.accounts {
		a.suspended = false
	}
	m.exec(`update bindings set sms_suspended = false, suspended_at = null, suspended_why = null where sms_suspended`)
}

func (m *book) compare() {
	for i, a := range m.accounts {
		var have bookAccount
		must(m.t, m.pool.QueryRow(m.ctx(), `
select granted, pending, posted, late, (select sms_suspended from bindings where id = $2) from accounts where id = $1`,
			m.persons[i].binding.Account, m.persons[i].binding.ID).Scan(&have.granted, &have.pending, &have.posted, &have.late, &have.suspended))
		if have != *a {
			m.rt.Fatalf("account %d is %+v, the book says %+v", i, have, *a)
		}
	}
	for _, id := range m.order {
		var state mobileid.MessageState
		var charge mobileid.ChargeState
		var charged mobileid.Money
		must(m.t, m.pool.QueryRow(m.ctx(), `select state, coalesce(charge, ''), charged from messages where id = $1`, id[:]).Scan(&state, &charge, &charged))
		if c := m.charges[id]; state != c.state || charge != c.charge || charged != c.charged {
			m.rt.Fatalf("%s is %s, charge %q of %d; the book says %s, %q of %d", id, state, charge, charged, c.state, c.charge, c.charged)
		}
	}
	m.wantBalanced()
}
