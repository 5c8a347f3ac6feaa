package smsc

import (
	"fmt"
	"slices"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"

	"mobileid/smpp/wire"
)

// maxWaiting bounds the receipts that wait for a bind of their account.
const maxWaiting = 100_000

// delivery is a receipt on its way.
type delivery struct {
	receipt Receipt
	source  string // of the Message: where the receipt goes
	text    string
	prefer  *session // the session that submitted
}

// messageStates are the values of the message_state parameter (5.2.28).
var messageStates = map[string]byte{
	"ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7, "REJECTD": 8,
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
	payload := f.Bytes()
	if f.Byte(pdufield.ESMClass)&0x40 != 0 {
		payload = new(Submit).header(payload)
	}
	d := &delivery{
		receipt: Receipt{Account: m.account, MessageID: m.messageID, Dest: dest, State: state},
		source:  f.Text(pdufield.SourceAddr), prefer: x,
		text: quote(decodeText(f.Byte(pdufield.DataCoding), payload)),
	}
	s.receipts.owe(d, m.at.Add(s.cfg.ReceiptDelay))
	if _, first := s.use(FaultReceiptFirst, dest); first {
		s.deliver(d)
		return nothing
	}
	return func() { s.schedule.at(m.at.Add(s.cfg.ReceiptDelay), func() { s.deliver(d) }) }
}

// deliver writes a receipt on a receiving bind of its account, the one that
// submitted if it is still there; without one the receipt waits.
func (s *Server) deliver(d *delivery) {
	binds := s.open()
	if i := slices.Index(binds, d.prefer); i > 0 {
		binds[0], binds[i] = binds[i], binds[0]
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

func (x *session) deliver(d *delivery) bool {
	now := time.Now()
	delivered := "000"
	if d.receipt.State == "DELIVRD" {
		delivered = "001"
	}
	code := "000"
	if d.receipt.State != "DELIVRD" {
		code = "012"
	}
	const stamp = "0601021504"
	text := fmt.Sprintf("id:%s sub:001 dlvrd:%s submit date:%s done date:%s stat:%s err:%s text:%s",
		d.receipt.MessageID, delivered, now.Format(stamp), now.Format(stamp), d.receipt.State, code, d.text)
	raw, err := wire.Message{
		Command: wire.DeliverSM, ESMClass: 0x04,
		Source: wire.Address{TON: 1, NPI: 1, Addr: d.receipt.Dest}, Dest: wire.Address{TON: 5, Addr: d.source},
		ShortMessage: []byte(text),
		TLV: []wire.TLV{
			{Tag: wire.TagReceiptedMessageID, Value: append([]byte(d.receipt.MessageID), 0)},
			{Tag: wire.TagMessageState, Value: []byte{messageStates[d.receipt.State]}},
		},
	}.Encode()
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

// acknowledged reads a deliver_sm_resp; a refusal brings the receipt again.
func (x *session) acknowledged(f wire.Frame) {
	x.mu.Lock()
	d := x.unacked[f.Sequence]
	delete(x.unacked, f.Sequence)
	x.mu.Unlock()
	if d == nil {
		return
	}
	told := d.receipt
	told.Sequence, told.AckStatus, told.AckRaw = f.Sequence, uint32(f.Status), f.Raw
	x.server.events.publish(Event{At: time.Now(), Kind: EventReceiptAck, Account: told.Account, Receipt: &told})
	if f.Status != wire.StatusOK {
		x.server.again(d)
		return
	}
	x.server.receipts.paid(d.receipt.MessageID)
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
