package registry_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/registry/ledger"
	"mobileid/registry/reconcile"
)

// bookAccount, bookCharge and what it is of are the ledger as anybody would write it
// down: no statement, no lock, one Message after the other.
type bookAccount struct {
	granted, pending, posted, late mobileid.Money
	suspended                      bool
}

func (a *bookAccount) free() mobileid.Money { return a.granted - a.pending - a.posted }

// bookTariff is the price of a Message, or of each part.
type bookTariff struct {
	price  mobileid.Money
	byPart bool
	refund bool // of what is finally not delivered
}

type bookCharge struct {
	bookTariff

	of      *bookAccount
	number  int // of the person
	amount  mobileid.Money
	state   mobileid.MessageState
	charge  mobileid.ChargeState // "" = priced
	charged mobileid.Money

	code             *mobileid.NewChallenge // nil: a notice
	again, confirmed bool                   // sent once more; the code was entered
	filed            bool                   // an operator's file has settled it
	parts            []bookPart
	try              []int // parts that its bridge writes
}

// bookPart is a part and each sending of it.
type bookPart struct {
	taken bool // a bridge has heard so
	sent  []*bookSending
}

type bookSending struct {
	sequence uint32
	id       string // the operator's; "": no answer, or a refusal
	refused  bool
	at       time.Time
	told     mobileid.MessageState // by a receipt
}

func (c *bookCharge) taken() (n int) {
	for _, p := range c.parts {
		if p.taken {
			n++
		}
	}
	return n
}

// part is what so many parts cost where each has its price.
func (c *bookCharge) part(n int) mobileid.Money {
	if !c.byPart {
		return 0
	}
	return c.price * mobileid.Money(n)
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

func (c *bookCharge) post(due mobileid.Money) {
	if c.charge != mobileid.ChargePending && c.charge != mobileid.ChargeUnknown {
		return
	}
	if c.charge == mobileid.ChargeUnknown {
		c.of.late += due
	}
	c.release()
	c.of.posted += due
	c.charge, c.charged = mobileid.ChargePosted, due
}

func (c *bookCharge) void() {
	if c.charge == mobileid.ChargePending || c.charge == mobileid.ChargeUnknown {
		c.release()
		c.charge = mobileid.ChargeVoided
	}
}

// stop is the end of a Message that is not sent any more: parts that the operator
// has are paid for.
func (c *bookCharge) stop(state mobileid.MessageState) {
	c.state = state
	if due := c.part(c.taken()); due > 0 {
		c.post(due)
	} else {
		c.void()
	}
}

func (c *bookCharge) lose() {
	if c.charge == mobileid.ChargePending {
		c.release()
		c.charge = mobileid.ChargeUnknown
	}
}

// reverse leaves so much of what was posted.
func (c *bookCharge) reverse(due mobileid.Money) {
	c.of.posted -= c.charged - due
	if c.charged = due; due == 0 {
		c.charge = mobileid.ChargeReversed
	}
}

// part is what the receipts say of one: taken by the operator, delivered, refused,
// and whether nothing more is to be heard.
func (p *bookPart) part() (taken, delivered, refused, final bool, failure mobileid.MessageState) {
	final = true
	for _, s := range p.sent {
		taken = taken || s.id != ""
		delivered = delivered || s.told == mobileid.MessageDelivered
		refused = refused || s.told == mobileid.MessageRejected
		if s.id != "" && s.told == "" {
			final = false
		}
		if s.told != "" && s.told != mobileid.MessageDelivered && (failure == "" || s.told < failure) {
			failure = s.told
		}
	}
	return taken, delivered, refused, final, failure
}

// hear is what follows when a receipt has come.
func (c *bookCharge) hear() {
	known, came, refused, missed := 0, 0, 0, 0
	whole, some := true, false
	next := mobileid.MessageState("")
	for i := range c.parts {
		p := &c.parts[i]
		if len(p.sent) == 0 {
			continue
		}
		taken, delivered, no, final, failure := p.part()
		if taken && !delivered && !final {
			return // there is more to come
		}
		known++
		whole, some = whole && taken, some || taken
		switch {
		case delivered:
			came++
		case no || !taken:
			refused++
		default:
			missed++
		}
		if !delivered && failure != "" && (next == "" || failure < next) {
			next = failure
		}
	}
	open := c.state == mobileid.MessageInDoubt || c.state == mobileid.MessageAdmitted || c.state == mobileid.MessageRetry
	stopped := c.state == mobileid.MessageRejected || c.state == mobileid.MessageFailed || c.state == mobileid.MessageExpired
	delivered := came == known
	if !some || !whole && !stopped || delivered && known < len(c.parts) && open {
		return
	}
	if delivered {
		next = mobileid.MessageDelivered
	}
	if c.state == mobileid.MessageDelivered || !delivered && (c.state == mobileid.MessageAdmitted || c.state == mobileid.MessageRetry) {
		return
	}
	lost := refused
	if c.refund {
		lost += missed
	}
	due := c.amount
	switch {
	case c.byPart:
		due = c.price * mobileid.Money(max(0, known-lost))
	case lost > 0:
		due = 0
	}
	pays := lost == 0 || c.byPart && known > lost
	switch c.charge {
	case mobileid.ChargePending, mobileid.ChargeUnknown:
		if pays {
			c.post(due)
		} else {
			c.void()
		}
	case mobileid.ChargePosted:
		if !pays && (c.charged > 0 || c.amount == 0) || due < c.charged {
			c.reverse(due)
		}
	default:
	}
	if c.state == mobileid.MessageSent || open {
		c.state = next
	}
}

// book is the model and the registry side by side.
type book struct {
	*env

	rt       *rapid.T
	bridge   int64
	operator string
	file     int64
	persons  []person
	accounts []*bookAccount
	charges  map[mobileid.ID]*bookCharge
	order    []mobileid.ID
	tariff   bookTariff
	sweeper  *registry.Sweeper
}

// TestTheLedgerIsThatOfAPlainBook leads random lives through the registry and
// through a book in memory: codes and notices of one part and more, at a price of
// the Message or of its parts; answered, refused in part, in doubt, answered late,
// told of by receipts and by the operator's file, given up. After each step every
// account and every Charge is the same in both, and the transfers add up.
func TestTheLedgerIsThatOfAPlainBook(t *testing.T) {
	e := newEnv(t)
	tariffs := []bookTariff{
		{0, false, true},
		{1, false, true},
		{777, false, false},
		{cost, false, true},
		{0, true, true},
		{777, true, true},
		{cost, true, false},
	}
	for i, b := range tariffs {
		tariff := tariffOf(fmt.Sprint("op", i), "", b.price, now0.AddDate(-1, 0, 0))
		tariff.RefundUndelivered = b.refund
		if b.byPart {
			tariff.Unit = ledger.UnitPart
		}
		_, err := e.LoadTariffs(e.ctx(), []ledger.Tariff{tariff})
		must(t, err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := &book{env: e, rt: rt, charges: map[mobileid.ID]*bookCharge{}}
		op := rapid.IntRange(0, len(tariffs)-1).Draw(rt, "operator")
		m.tariff, m.operator = tariffs[op], fmt.Sprint("op", op)
		var err error
		m.bridge, err = e.OpenBridge(e.ctx(), m.operator, "book", 10000*time.Hour)
		must(t, err)
		m.file, err = e.BeginFile(e.ctx(), m.operator, fileOf(1))
		must(t, err)
		for range rapid.IntRange(1, 3).Draw(rt, "persons") {
			funds := m.tariff.price*mobileid.Money(rapid.IntRange(0, 40).Draw(rt, "funds")) + mobileid.Money(rapid.IntRange(0, 2).Draw(rt, "rest"))
			p := e.bind(funds)
			p.binding.Operator = m.operator
			m.persons, m.accounts = append(m.persons, p), append(m.accounts, &bookAccount{granted: funds})
		}
		m.sweeper = registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
		rt.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { m.compare() },
			"queue":   m.queueSome,
			"admit":   m.admitSome,
			"settle":  m.settleSome,
			"notices": func(rt *rapid.T) { m.carry(rt, m.queueSome) },
			"codes":   func(rt *rapid.T) { m.carry(rt, m.issueSome) },
			"late":    m.answerLate,
			"receipt": m.receiptSome,
			"more":    m.receiptSome, // there are more of them than of anything else
			"confirm": m.confirmSome,
			"file":    m.fileSome,
			"top_up":  m.topUp,
			"balance": m.balance,
			"wait":    m.waitInVain,
		})
	})
}

// carry leads new Messages to the operator.
func (m *book) carry(rt *rapid.T, enter func(*rapid.T)) {
	for _, step := range []func(*rapid.T){enter, m.admitSome, m.settleSome} {
		step(rt)
		m.compare()
	}
}

// likely draws what is mostly so.
func (m *book) likely(what string) bool { return rapid.IntRange(0, 3).Draw(m.rt, what) > 0 }

// some draws Messages in a state.
func (m *book) some(states ...mobileid.MessageState) (out []mobileid.ID) {
	for _, id := range m.order {
		for _, s := range states {
			if m.charges[id].state == s && m.likely("this one") {
				out = append(out, id)
			}
		}
	}
	return out
}

// enter writes a Message down.
func (m *book) enter(rt *rapid.T, number int, msg *mobileid.NewMessage, code *mobileid.NewChallenge) {
	msg.Parts = rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(rt, "parts")
	c := &bookCharge{
		bookTariff: m.tariff, of: m.accounts[number], number: number, amount: m.tariff.price, state: mobileid.MessageQueued,
		code: code, parts: make([]bookPart, msg.Parts),
	}
	if c.byPart {
		c.amount *= mobileid.Money(msg.Parts)
	}
	m.charges[msg.ID] = c
	m.order = append(m.order, msg.ID)
}

func (m *book) draw(rt *rapid.T) int {
	m.clk.advance(time.Millisecond)
	return rapid.IntRange(0, len(m.persons)-1).Draw(rt, "person")
}

func (m *book) queueSome(rt *rapid.T) {
	var ns []mobileid.NewNotification
	for range rapid.IntRange(1, 4).Draw(rt, "messages") {
		i := m.draw(rt)
		n := m.notice(m.persons[i], fmt.Sprint("book", m.n.Add(1)))
		m.enter(rt, i, n.Message, nil)
		ns = append(ns, n)
	}
	m.queue(ns...)
}

func (m *book) issueSome(rt *rapid.T) {
	var cs []mobileid.NewChallenge
	for range rapid.IntRange(1, 2).Draw(rt, "codes") {
		i := m.draw(rt)
		c := m.challenge(m.persons[i], fmt.Sprint("book", m.n.Add(1)))
		c.Request.Purpose = fmt.Sprint("purpose", m.n.Add(1)) // it supersedes none
		m.enter(rt, i, c.Message, &c)
		cs = append(cs, c)
	}
	m.issue(cs...)
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
		case c.state == mobileid.MessageRetry && c.confirmed:
			c.stop(mobileid.MessageCancelled)
		case c.state == mobileid.MessageRetry:
			c.state = mobileid.MessageAdmitted // paid already
		case c.state == mobileid.MessageInDoubt && c.code != nil && !c.again && !c.confirmed:
			c.state, c.again = mobileid.MessageAdmitted, true
		case c.state != mobileid.MessageQueued:
		case was[c.of]:
			c.state = mobileid.MessageNoFunds
		case c.reserve():
			c.state = mobileid.MessageAdmitted
		default:
			c.state, c.of.suspended = mobileid.MessageNoFunds, true
		}
		if c.state == mobileid.MessageAdmitted {
			c.try = nil
			for i := range c.parts {
				if !c.parts[i].taken {
					c.try = append(c.try, i)
				}
			}
		}
	}
	if len(ids) > 0 {
		m.admit(m.bridge, ids...)
	}
}

// outcomeOf begins an outcome without parts.
func (m *book) outcomeOf(id mobileid.ID, state mobileid.MessageState) mobileid.Outcome {
	o := m.outcome(id, state, m.persons[m.charges[id].number].binding.Number, "")
	o.Parts = nil
	return o
}

// told adds what became of a sending of a part.
func (m *book) told(o *mobileid.Outcome, part int, s *bookSending) {
	dest := m.persons[m.charges[o.ID].number].binding.Number
	p := mobileid.PartOutcome{Part: part + 1, Link: o.Link, Sequence: s.sequence, OperatorID: s.id, Dest: dest}
	if s.id != "" || s.refused {
		p.AnsweredAt, s.at = m.clk.now(), m.clk.now()
	}
	if s.refused {
		p.Status = 0x45
	}
	o.Parts = append(o.Parts, p)
}

func (m *book) takes(p *bookPart, s *bookSending) {
	s.id, p.taken = fmt.Sprint("op", m.n.Add(1)), true
}

// settleSome has the operator answer, or not.
func (m *book) settleSome(rt *rapid.T) {
	var os []mobileid.Outcome
	for _, id := range m.some(mobileid.MessageAdmitted) {
		c := m.charges[id]
		next := mobileid.MessageSent
		if len(c.try) > 0 {
			next = rapid.SampledFrom([]mobileid.MessageState{
				mobileid.MessageSent, mobileid.MessageSent, mobileid.MessageRejected, mobileid.MessageFailed, mobileid.MessageRetry,
				mobileid.MessageInDoubt, mobileid.MessageInDoubt, mobileid.MessageExpired,
			}).Draw(rt, "outcome")
		}
		o := m.outcomeOf(id, next)
		// Of what was not sent whole the last part is the one that was not taken.
		for n, i := range c.try {
			p, s := &c.parts[i], &bookSending{sequence: uint32(m.n.Add(1))}
			p.sent = append(p.sent, s)
			switch {
			case next == mobileid.MessageSent || n < len(c.try)-1 && rapid.Bool().Draw(rt, "taken"):
				m.takes(p, s)
			case next != mobileid.MessageInDoubt:
				s.refused = true
			}
			m.told(&o, i, s)
		}
		switch next {
		case mobileid.MessageSent:
			c.state = next
			c.post(c.amount)
		case mobileid.MessageRetry, mobileid.MessageInDoubt:
			c.state = next
		default:
			c.stop(next)
		}
		os = append(os, o)
	}
	if len(os) > 0 {
		m.settle(m.bridge, os...)
	}
}

// answerLate has the operator answer what was in doubt: while it is, it decides;
// after that it is a fact.
func (m *book) answerLate(rt *rapid.T) {
	for _, id := range m.some(mobileid.MessageInDoubt, mobileid.MessageUnconfirmed) {
		c := m.charges[id]
		states := []mobileid.MessageState{mobileid.MessageSent, mobileid.MessageRejected}
		if !c.again {
			states = append(states, mobileid.MessageRetry)
		}
		next := rapid.SampledFrom(states).Draw(rt, "late")
		o := m.outcomeOf(id, next)
		o.Late = true
		for _, i := range c.try {
			p := &c.parts[i]
			if len(p.sent) == 0 {
				continue // its bridge was gone before it was written
			}
			s := p.sent[len(p.sent)-1]
			if s.id != "" || s.refused {
				continue
			}
			if next == mobileid.MessageSent {
				s.id = fmt.Sprint("op", m.n.Add(1))
				p.taken = p.taken || c.state == mobileid.MessageInDoubt
			} else {
				s.refused = true
			}
			m.told(&o, i, s)
		}
		switch {
		case len(o.Parts) == 0:
			continue
		case c.state != mobileid.MessageInDoubt:
		case next == mobileid.MessageSent:
			c.state = next
			c.post(c.amount)
		case next == mobileid.MessageRetry:
			c.state = next
		default:
			c.stop(next)
		}
		m.settle(m.bridge, o)
	}
}

// receiptSome tells of parts that the operator has, once of each.
func (m *book) receiptSome(rt *rapid.T) {
	var rs []mobileid.Receipt
	var of []*bookCharge
	for _, id := range m.order {
		c, heard := m.charges[id], false
		for i := range c.parts {
			for _, s := range c.parts[i].sent {
				if s.id == "" || s.told != "" || m.clk.now().Sub(s.at) > 70*time.Hour || !m.likely("this part") {
					continue
				}
				s.told = rapid.SampledFrom([]mobileid.MessageState{mobileid.MessageDelivered, mobileid.MessageDelivered, mobileid.MessageUndeliverable, mobileid.MessageRejected}).Draw(rt, "receipt")
				rs, heard = append(rs, m.receipt(m.persons[c.number].binding.Number, s.id, s.told)), true
			}
		}
		if heard {
			of = append(of, c)
		}
	}
	for _, c := range of {
		c.hear()
	}
	if len(rs) > 0 {
		m.receipts(rs...)
	}
}

// confirmSome enters codes that nobody knows to have come.
func (m *book) confirmSome(*rapid.T) {
	for _, id := range m.some(mobileid.MessageInDoubt) {
		if c := m.charges[id]; c.code != nil && !c.confirmed {
			c.confirmed = true
			_, err := m.confirmCode(*c.code, 1)
			must(m.t, err)
		}
	}
}

// fileSome settles by the operator's file what is still in doubt: each part that was
// not answered has a line, or the Message has none.
func (m *book) fileSome(rt *rapid.T) {
	var group []reconcile.Settlement
	for _, id := range m.some(mobileid.MessageInDoubt, mobileid.MessageUnconfirmed) {
		c := m.charges[id]
		var missing []int
		for i := range c.parts {
			if taken, _, _, _, _ := c.parts[i].part(); !taken {
				missing = append(missing, i)
			}
		}
		if c.filed || len(missing) == 0 {
			continue
		}
		s := reconcile.Settlement{
			Message: &reconcile.Message{ID: id, Version: query[int32](m.env, `select state_version from messages where id = $1`, id[:])},
			Rule:    reconcile.ByAbsence,
		}
		c.filed = true
		if len(missing) == len(c.parts) && rapid.Bool().Draw(rt, "absent") {
			if c.state == mobileid.MessageInDoubt {
				c.state = mobileid.MessageFailed
			}
			c.void()
		} else {
			s.Rule = reconcile.ByReference
			said := rapid.SampledFrom([]mobileid.MessageState{mobileid.MessageDelivered, mobileid.MessageUndeliverable, mobileid.MessageRejected}).Draw(rt, "line")
			for _, i := range missing {
				l := lineTo(m.persons[c.number], int(m.n.Add(1)), said)
				l.ID, l.Submitted = fmt.Sprint("op", m.n.Add(1)), m.clk.now()
				s.Hits = append(s.Hits, reconcile.Hit{Line: l, Part: i + 1})
				c.parts[i].sent = append(c.parts[i].sent, &bookSending{id: l.ID, told: said, at: l.Submitted})
			}
			c.hear()
		}
		group = append(group, s)
	}
	for _, s := range group {
		if n, err := m.Reconcile(m.ctx(), account, m.file, [][]reconcile.Settlement{{s}}); err != nil || n != 1 {
			m.rt.Fatalf("%d settled, %v", n, err)
		}
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
			c.stop(mobileid.MessageExpired)
		case mobileid.MessageAdmitted, mobileid.MessageInDoubt:
			if c.state = mobileid.MessageUnconfirmed; c.confirmed {
				c.post(c.amount) // it came
			}
			c.lose()
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
	ids := make([][]byte, len(m.order))
	for i := range m.order {
		ids[i] = m.order[i][:]
	}
	rows, err := m.pool.Query(m.ctx(), `
select m.state, coalesce(m.charge, ''), m.charged, m.amount, coalesce(t.taken, 0)::bigint, coalesce(t.reserved, 0)
from unnest($1::bytea[]) with ordinality as i(id, ord) join messages m on m.id = i.id
left join (select message_id, sum(taken) as taken, count(*) filter (where kind = 'pending') as reserved
           from transfers where message_id = any($1) group by message_id) t on t.message_id = m.id
order by i.ord`, ids)
	must(m.t, err)
	defer rows.Close()
	for _, id := range m.order {
		var have bookCharge
		var taken mobileid.Money
		var reserved int
		if !rows.Next() {
			m.rt.Fatalf("%s is not there: %v", id, rows.Err())
		}
		must(m.t, rows.Scan(&have.state, &have.charge, &have.charged, &have.amount, &taken, &reserved))
		c := m.charges[id]
		if have.state != c.state || have.charge != c.charge || have.charged != c.charged || have.amount != c.amount {
			m.rt.Fatalf("%s is %s, charge %q: %d of %d; the book says %s, %q: %d of %d", id,
				have.state, have.charge, have.charged, have.amount, c.state, c.charge, c.charged, c.amount)
		}
		if taken != c.charged || reserved > 1 {
			m.rt.Fatalf("%s was reserved %d times, and %d was taken for a charge of %d", id, reserved, taken, c.charged)
		}
	}
	rows.Close()
	must(m.t, rows.Err())
	m.wantBalanced()
}
