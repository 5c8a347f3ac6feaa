package smsc

import (
	"slices"
	"time"

	"mobileid/smpp/wire"
)

// maxWaiting bounds the receipts that wait for a bind of their account.
const maxWaiting = 100_000

// delivery is a receipt, or a message from a handset, on its way.
type delivery struct {
	receipt   Receipt
	said      string        // the id as the receipt says it
	source    string        // of the Message: where the receipt goes
	quoted    string        // of the Message's text
	form      string        // of the receipt
	age       time.Duration // of the dates that it says
	reference []byte        // user_message_reference; nil = not repeated
	prefer    *session      // the session that submitted
	avoid     bool          // any other is preferred
	inbound   *Inbound      // not a receipt at all

	due     time.Time
	times   int // how often it is sent; 0 = once
	reverse int // with how many others it is sent last first; 0 = with none
}

// plan notes that a receipt is owed for a submit, and returns it to be scheduled
// behind the answer; nil if none is. One that is to come first is sent here.
func (s *Server) plan(x *session, m *stored, sm wire.Message, text string) *delivery {
	dest := sm.Dest.Addr
	state := "DELIVRD"
	if fault, ok := s.use(FaultReceipt, dest); ok {
		state = fault.State
	}
	if _, none := s.use(FaultNoReceipt, dest); none {
		return nil
	}
	asked := sm.RegisteredDelivery & 3
	if asked == 0 || (asked == 2 && state == "DELIVRD") {
		return nil
	}
	d := &delivery{
		receipt: Receipt{Account: m.account, MessageID: m.messageID, Dest: dest, State: state},
		said:    idText(m.number, m.receiptForm), source: sm.Source.Addr, prefer: x, quoted: quote(text),
		due: m.at.Add(s.cfg.ReceiptDelay),
	}
	s.disorder(d, m, sm)
	if fault, ok := s.use(FaultReceiptLate, dest); ok {
		d.due = d.due.Add(fault.Delay)
	}
	s.receipts.owe(d, d.due)
	if fault, ok := s.use(FaultReceiptRepeat, dest); ok {
		d.times = fault.N
	}
	if _, first := s.use(FaultReceiptFirst, dest); first {
		s.carry(d)
		return nil
	}
	if fault, ok := s.use(FaultReceiptReverse, dest); ok {
		d.reverse = fault.N
	}
	return d
}

// carry sends a receipt whose time has come, as often and in the company that
// the faults want.
func (s *Server) carry(d *delivery) {
	deliver := func() {
		for range max(d.times, 1) {
			s.deliver(d)
		}
	}
	if d.reverse > 0 {
		s.reverse(deliver, d.reverse)
		return
	}
	deliver()
}

// disorder asks the faults that change what a receipt says and where it goes.
func (s *Server) disorder(d *delivery, m *stored, sm wire.Message) {
	if !s.script.any() {
		return
	}
	dest := d.receipt.Dest
	if fault, ok := s.use(FaultReceiptForm, dest); ok {
		d.form = fault.Form
	}
	if _, ok := s.use(FaultReceiptUnknown, dest); ok {
		d.said = idText(m.number|unknownID, m.receiptForm)
	}
	_, d.avoid = s.use(FaultReceiptOtherBind, dest)
	if fault, ok := s.use(FaultReceiptDate, dest); ok {
		d.age = fault.Delay
	}
	if _, ok := s.use(FaultReceiptReference, dest); ok {
		d.reference, _ = sm.Optional(wire.TagUserMessageReference)
	}
}

// reverse collects deliveries until there are n, and does them last first.
func (s *Server) reverse(deliver func(), n int) {
	s.mu.Lock()
	s.reversed = append(s.reversed, deliver)
	var all []func()
	if len(s.reversed) >= n {
		all, s.reversed = s.reversed, nil
	}
	s.mu.Unlock()
	for _, do := range slices.Backward(all) {
		do()
	}
}

// deliver writes a receipt on a receiving bind of its account, the one that
// submitted if it is still there; without one the receipt waits.
func (s *Server) deliver(d *delivery) {
	if d.prefer != nil && !d.avoid && d.prefer.fits(d) && d.prefer.deliver(d) {
		return
	}
	binds := s.open()
	if i := slices.Index(binds, d.prefer); i >= 0 {
		binds = slices.Delete(binds, i, i+1)
		at := 0
		if d.avoid {
			at = len(binds)
		}
		binds = slices.Insert(binds, at, d.prefer)
	}
	for _, x := range binds {
		if x.fits(d) && x.deliver(d) {
			return
		}
	}
	account := d.receipt.Account
	s.mu.Lock()
	if w := s.waiting[account]; len(w) < maxWaiting {
		s.waiting[account] = append(w, d)
	}
	s.mu.Unlock()
	// A bind that came in between has looked for what waits already.
	if slices.ContainsFunc(s.open(), func(x *session) bool { return x.fits(d) }) {
		s.deliverWaiting(account)
	}
}

// fits reports whether the session is a receiving bind of the account.
func (x *session) fits(d *delivery) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.receives && !x.ended && x.account == d.receipt.Account
}

// deliver reports whether the receipt is this session's now.
func (x *session) deliver(d *delivery) bool {
	if x.hold(d) {
		return true
	}
	if d.inbound != nil {
		return x.deliverInbound(d)
	}
	now := time.Now()
	raw, text, err := d.encode(now)
	if err != nil {
		x.server.cfg.Log.Error("receipt cannot be encoded", "err", err)
		return true
	}
	sent := *d // a try that fails leaves d as it was
	sent.receipt.At, sent.receipt.Text, sent.receipt.Raw = now, text, raw
	sent.receipt.Try++
	var tell func(uint32)
	if x.server.events.any() {
		tell = func(sequence uint32) {
			told := sent.receipt
			told.Sequence = sequence
			x.server.events.publish(Event{At: now, Kind: EventReceipt, Account: told.Account, Receipt: &told})
		}
	}
	return x.request(raw, &sent, tell)
}

// hold keeps a receipt back while as many as may be are unacknowledged.
func (x *session) hold(d *delivery) bool {
	limit, ok := x.server.inForce(FaultReceiptWindow)
	if !ok {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.unacked == nil || len(x.unacked) < limit.N {
		return false
	}
	x.held = append(x.held, d)
	return true
}

// acknowledged reads the answer to a deliver_sm or data_sm; a refusal brings
// the receipt again.
func (x *session) acknowledged(f wire.Frame) {
	x.mu.Lock()
	d := x.unacked[f.Sequence]
	delete(x.unacked, f.Sequence)
	var next *delivery
	if len(x.held) > 0 {
		next, x.held = x.held[0], x.held[1:]
	}
	x.mu.Unlock()
	if d != nil {
		x.tellAck(d, f)
		if f.Status != wire.StatusOK {
			x.server.again(d)
		} else if d.inbound == nil {
			x.server.receipts.paid(d.receipt.MessageID)
		}
	}
	if next != nil && !x.deliver(next) {
		x.server.again(next)
	}
}

func (x *session) tellAck(d *delivery, f wire.Frame) {
	if !x.server.events.any() {
		return
	}
	if d.inbound != nil {
		told := *d.inbound
		told.Sequence, told.AckStatus = f.Sequence, uint32(f.Status)
		x.server.events.publish(Event{At: time.Now(), Kind: EventInboundAck, Account: told.Account, Inbound: &told})
		return
	}
	told := d.receipt
	told.Sequence, told.AckStatus, told.AckRaw = f.Sequence, uint32(f.Status), f.Raw
	x.server.events.publish(Event{At: time.Now(), Kind: EventReceiptAck, Account: told.Account, Receipt: &told})
}

// again sends a receipt that was not acknowledged a while later.
func (s *Server) again(d *delivery) {
	if d.receipt.Try >= s.cfg.Redeliver {
		return
	}
	s.schedule.at(time.Now().Add(s.cfg.RedeliverWait), func() { s.deliver(d) })
}

// deliverWaiting sends what waited for a bind of the account.
func (s *Server) deliverWaiting(account string) {
	s.mu.Lock()
	w := s.waiting[account]
	delete(s.waiting, account)
	s.mu.Unlock()
	for _, d := range w {
		s.deliver(d)
	}
}
