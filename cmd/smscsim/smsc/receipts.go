package smsc

import (
	"slices"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"

	"mobileid/smpp/wire"
)

// maxWaiting bounds the receipts that wait for a bind of their account.
const maxWaiting = 100_000

// delivery is a receipt, or a message from a handset, on its way.
type delivery struct {
	receipt   Receipt
	said      string   // the id as the receipt says it
	source    string   // of the Message: where the receipt goes
	quoted    string   // of the Message's text
	form      string   // of the receipt
	reference []byte   // user_message_reference; nil = not repeated
	prefer    *session // the session that submitted
	avoid     bool     // any other is preferred
	inbound   *Inbound // not a receipt at all
}

// plan notes that a receipt is owed for a submit, and returns what sends it when
// its time comes, to be called behind the answer. One that is to come first is
// sent here.
func (s *Server) plan(x *session, m *stored, f wire.Fields) (send func()) {
	dest := f.Text(pdufield.DestinationAddr)
	state := "DELIVRD"
	if fault, ok := s.use(FaultReceipt, dest); ok {
		state = fault.State
	}
	nothing := func() {}
	if _, none := s.use(FaultNoReceipt, dest); none {
		return nothing
	}
	asked := f.Byte(pdufield.RegisteredDelivery) & 3
	if asked == 0 || (asked == 2 && state == "DELIVRD") {
		return nothing
	}
	d := &delivery{
		receipt: Receipt{Account: m.account, MessageID: m.messageID, Dest: dest, State: state},
		said:    idText(m.number, m.receiptForm), source: f.Text(pdufield.SourceAddr), prefer: x,
		quoted: quote(m.read(f).Text),
	}
	s.disorder(d, m, f)
	due := m.at.Add(s.cfg.ReceiptDelay)
	if fault, ok := s.use(FaultReceiptLate, dest); ok {
		due = due.Add(fault.Delay)
	}
	s.receipts.owe(d, due)
	times := 1
	if fault, ok := s.use(FaultReceiptRepeat, dest); ok {
		times = fault.N
	}
	deliver := func() {
		for range times {
			s.deliver(d)
		}
	}
	if _, first := s.use(FaultReceiptFirst, dest); first {
		deliver()
		return nothing
	}
	if fault, ok := s.use(FaultReceiptReverse, dest); ok {
		at := deliver
		deliver = func() { s.reverse(at, fault.N) }
	}
	return func() { s.schedule.at(due, deliver) }
}

// disorder asks the faults that change what a receipt says and where it goes.
func (s *Server) disorder(d *delivery, m *stored, f wire.Fields) {
	dest := d.receipt.Dest
	if fault, ok := s.use(FaultReceiptForm, dest); ok {
		d.form = fault.Form
	}
	if _, ok := s.use(FaultReceiptUnknown, dest); ok {
		d.said = idText(m.number|unknownID, m.receiptForm)
	}
	_, d.avoid = s.use(FaultReceiptOtherBind, dest)
	if _, ok := s.use(FaultReceiptReference, dest); ok {
		if v, has := f.TLV[pdutlv.TagUserMessageReference]; has {
			d.reference = v.Bytes()
		}
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
		x.mu.Lock()
		fits := x.receives && !x.ended && x.account == d.receipt.Account
		x.mu.Unlock()
		if fits && x.deliver(d) {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.waiting[d.receipt.Account]; len(w) < maxWaiting {
		s.waiting[d.receipt.Account] = append(w, d)
	}
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
	return x.request(raw, &sent, func(sequence uint32) {
		told := sent.receipt
		told.Sequence = sequence
		x.server.events.publish(Event{At: now, Kind: EventReceipt, Account: told.Account, Receipt: &told})
	})
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
