package registry_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// TestRandomLivesFollowTheDrawnArrows drives the registry with random
// operations in random order, by several bridges of which some die, with
// receipts before and after answers, requests delivered again and clocks that
// jump. Whatever happens: every status that leaves is reached by a drawn arrow
// from the one before, versions have no gap, the ledger balances, no account
// is overdrawn, an ended Message has no text, and in the end nothing is open.
func TestRandomLivesFollowTheDrawnArrows(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	rapid.Check(t, func(rt *rapid.T) {
		e.empty(`challenges, messages, message_parts, receipts, receipts_unmatched, transfers, charge_calls, confirmations,
			live_challenges, retries, outbox, idempotency, bridges, wrong_tries`)
		e.exec(`update accounts set pending = 0, posted = 0, late = 0`)
		m := &machine{env: e, rt: rt, codes: &codes{epoch: fmt.Sprint("epoch", e.n.Add(1)), lost: map[mobileid.ID]bool{}}, lanes: &lanes{}}
		m.start()
		rt.Repeat(map[string]func(*rapid.T){
			"":          func(*rapid.T) { m.invariants() },
			"issue":     m.issueSome,
			"notify":    m.notifySome,
			"again":     m.again,
			"admit":     m.admitSome,
			"due":       m.admitDue,
			"settle":    m.settleSome,
			"receipt":   m.receiptSome,
			"confirm":   m.confirmSome,
			"end":       m.endSome,
			"revoke":    m.revokeSome,
			"die":       m.die,
			"clock":     m.turn,
			"lose":      m.loseCodes,
			"sweep":     func(*rapid.T) { m.sweep(m.sweeper) },
			"top_up":    m.topUp,
			"wrong_try": m.wrongTry,
		})
		m.finish()
	})
}

type machine struct {
	*env
	rt      *rapid.T
	persons []person
	bridges []int64
	cs      []mobileid.NewChallenge
	ns      []mobileid.NewNotification
	ids     []mobileid.ID // of Messages
	dest    map[mobileid.ID]mobileid.Pseudonym
	lanes   *lanes
	codes   *codes
	sweeper *registry.Sweeper
}

func (m *machine) start() {
	m.dest = map[mobileid.ID]mobileid.Pseudonym{}
	for i := range 3 {
		m.persons = append(m.persons, m.bind(mobileid.Money(i+1)*cost))
	}
	m.bridges = []int64{m.bridge(), m.bridge()}
	m.sweeper = registry.NewSweeper(m.DB, registry.SweepConfig{Grace: time.Second, Batch: 3}, m.lanes, m.codes)
}

func pick[T any](rt *rapid.T, label string, from []T) (T, bool) {
	var zero T
	if len(from) == 0 {
		return zero, false
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(rt, label)], true
}

func (m *machine) key() string { return fmt.Sprint("key", m.n.Add(1)) }

func (m *machine) person(rt *rapid.T) person {
	p, _ := pick(rt, "person", m.persons)
	return p
}

func (m *machine) bridgeOf(rt *rapid.T) int64 {
	b, _ := pick(rt, "bridge", m.bridges)
	return b
}

func (m *machine) issueSome(rt *rapid.T) {
	m.clk.advance(time.Millisecond)
	c := m.challenge(m.person(rt), m.key())
	if rapid.IntRange(0, 5).Draw(rt, "unbound") == 0 {
		c.Binding, c.Message = nil, nil
	} else {
		m.ids = append(m.ids, c.Message.ID)
		m.dest[c.Message.ID] = c.Message.Dest
	}
	m.cs = append(m.cs, c)
	if rapid.Bool().Draw(rt, "now") {
		m.issue(c)
	}
}

func (m *machine) notifySome(rt *rapid.T) {
	m.clk.advance(time.Millisecond)
	n := m.notice(m.person(rt), m.key())
	m.ns = append(m.ns, n)
	m.ids = append(m.ids, n.Message.ID)
	m.dest[n.Message.ID] = n.Message.Dest
	m.queue(n)
}

func (m *machine) again(rt *rapid.T) {
	if c, ok := pick(rt, "challenge", m.cs); ok {
		m.issue(c, c)
	}
	if n, ok := pick(rt, "notice", m.ns); ok {
		m.queue(n, n)
	}
}

func (m *machine) admitSome(rt *rapid.T) {
	if len(m.ids) == 0 {
		return
	}
	ids := rapid.SliceOfN(rapid.SampledFrom(m.ids), 1, 6).Draw(rt, "ids")
	m.tryAdmit(m.bridgeOf(rt), ids)
}

// tryAdmit admits; a bridge that has died gets nothing.
func (m *machine) tryAdmit(bridge int64, ids []mobileid.ID) {
	var items []mobileid.AdmitItem
	for _, id := range ids {
		items = append(items, mobileid.AdmitItem{ID: id})
	}
	if _, err := m.Admit(m.ctx(), bridge, items); err != nil && mobileid.CodeOf(err) != "bridge_ended" {
		must(m.t, err)
	}
}

func (m *machine) admitDue(rt *rapid.T) {
	due, err := m.DueRetries(m.ctx(), operator, 5)
	must(m.t, err)
	var ids []mobileid.ID
	for _, d := range due {
		ids = append(ids, d.ID)
	}
	m.tryAdmit(m.bridgeOf(rt), ids)
}

func (m *machine) settleSome(rt *rapid.T) {
	id, ok := pick(rt, "id", m.ids)
	if !ok {
		return
	}
	state := rapid.SampledFrom([]mobileid.MessageState{"sent", "sent", "sent", "rejected", "retry", "in_doubt", "in_doubt", "expired", "failed", "no_funds"}).Draw(rt, "state")
	operatorID := ""
	if state == mobileid.MessageSent {
		operatorID = m.operatorID(rt, id)
	}
	o := m.outcome(id, state, m.dest[id], operatorID)
	o.Late = rapid.Bool().Draw(rt, "late")
	o.RetryAt = m.clk.now().Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "retry")) * time.Second)
	m.settle(m.bridgeOf(rt), o)
}

// operatorID is the operator's id of the first or second sending.
func (m *machine) operatorID(rt *rapid.T, id mobileid.ID) string {
	return id.String()[20:] + rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "sending")
}

func (m *machine) receiptSome(rt *rapid.T) {
	id, ok := pick(rt, "id", m.ids)
	if !ok {
		return
	}
	state := rapid.SampledFrom([]mobileid.MessageState{"", "delivered", "delivered", "undeliverable", "expired", "rejected", "failed"}).Draw(rt, "receipt")
	m.receipts(m.receipt(m.dest[id], m.operatorID(rt, id), state))
}

func (m *machine) confirmSome(rt *rapid.T) {
	if c, ok := pick(rt, "challenge", m.cs); ok {
		_, err := m.confirmCode(c, byte(rapid.IntRange(0, 1).Draw(rt, "key")))
		if kind := mobileid.KindOf(err); err != nil && kind != mobileid.KindConflict && kind != mobileid.KindNotFound {
			must(m.t, err)
		}
	}
}

func (m *machine) endSome(rt *rapid.T) {
	if c, ok := pick(rt, "challenge", m.cs); ok {
		state := rapid.SampledFrom([]mobileid.ChallengeState{"exhausted", "expired", "lost"}).Draw(rt, "state")
		must(m.t, m.EndChallenge(m.ctx(), c.Request.ID, state, mobileid.ReasonWrongCodes))
	}
}

func (m *machine) wrongTry(rt *rapid.T) {
	if c, ok := pick(rt, "challenge", m.cs); ok {
		if _, err := m.CountWrongTry(m.ctx(), c.Request.ID, false); err != nil && mobileid.KindOf(err) != mobileid.KindNotFound {
			must(m.t, err)
		}
	}
}

func (m *machine) revokeSome(rt *rapid.T) {
	i := rapid.IntRange(0, len(m.persons)-1).Draw(rt, "person")
	must(m.t, m.Revoke(m.ctx(), m.persons[i].binding.ID))
	if rapid.Bool().Draw(rt, "bind again") {
		m.persons[i] = m.bind(2 * cost)
	}
}

func (m *machine) die(rt *rapid.T) {
	i := rapid.IntRange(0, len(m.bridges)-1).Draw(rt, "bridge")
	m.kill(m.bridges[i])
	if rapid.Bool().Draw(rt, "reborn") {
		m.bridges[i] = m.bridge()
	}
}

func (m *machine) turn(rt *rapid.T) {
	m.clk.advance(rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, time.Minute, codeLife, time.Hour}).Draw(rt, "by"))
}

func (m *machine) loseCodes(rt *rapid.T) {
	m.codes.epoch = m.key()
	if c, ok := pick(rt, "challenge", m.cs); ok {
		m.codes.lost[c.Request.ID] = true
	}
}

func (m *machine) topUp(rt *rapid.T) {
	must(m.t, m.Credit(m.ctx(), m.person(rt).binding.Account, "test", m.key(), cost))
}

// invariants hold after every operation.
func (m *machine) invariants() {
	m.t.Helper()
	m.wantBalanced()
	if n := query[int](m.env, `select count(*) from messages where (state in ('sent') or ended_at is not null) and (sealed is not null or seal_key is not null)`); n != 0 {
		m.rt.Fatalf("%d texts are not erased", n)
	}
	if n := query[int](m.env, `
select count(*) from live_challenges l full join (select * from challenges where state = 'pending') c on c.id = l.challenge_id
where l.challenge_id is null or c.id is null`); n != 0 {
		m.rt.Fatalf("%d live rows and pending challenges disagree", n)
	}
	if n := query[int](m.env, `
select count(*) from messages m where
	(m.state in ('queued', 'no_funds', 'fenced', 'cancelled', 'expired', 'failed', 'rejected') and m.charge = 'pending')
	or (m.state in ('sent', 'delivered') and m.charge is distinct from 'posted' and m.charge is distinct from 'voided')
	or (m.ended_at is not null and m.charge = 'pending')`); n != 0 {
		m.rt.Fatalf("%d charges contradict their messages", n)
	}
	m.history()
}

// history fails on a status that was written without an arrow or a reason of
// the closed list.
func (m *machine) history() {
	for mv := range m.moves(m.rt) {
		if !mv.drawn() {
			m.rt.Fatalf("%s -> %s is not drawn", mv.from, mv.to)
		}
	}
}

// finish lets the time run out: the sweeper alone ends everything (promise P1).
func (m *machine) finish() {
	for _, b := range m.bridges {
		m.kill(b)
	}
	m.clk.advance(3 * time.Hour)
	for range 3 {
		m.sweep(m.sweeper)
		m.clk.advance(time.Minute)
	}
	m.sweep(m.sweeper)
	if n := query[int](m.env, `select count(*) from messages where ended_at is null`); n != 0 {
		m.rt.Fatalf("%d messages are still open", n)
	}
	if n := query[int](m.env, `select count(*) from challenges where ended_at is null`); n != 0 {
		m.rt.Fatalf("%d challenges are still open", n)
	}
	if n := query[int](m.env, `select count(*) from messages where charge = 'pending'`); n != 0 {
		m.rt.Fatalf("%d charges are still pending", n)
	}
	m.invariants()
}
