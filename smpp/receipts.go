package smpp

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// receiptQueue is how many deliver_sm wait to be stored; the operator is asked
// to come again when it is full.
const receiptQueue = 2000

// A receipt waits for company as long as it comes: nobody waits for receipts,
// and a statement for each costs as much as admission. When none comes for
// receiptQuiet, either there are few, or the operator leaves no more of them
// unanswered and waits for us; it may be one at a time. So for receiptTrust as
// many are enough, or such an operator would send one in each receiptQuiet.
const (
	receiptWait  = 50 * time.Millisecond
	receiptQuiet = 10 * time.Millisecond
	receiptTrust = 30 * time.Millisecond
)

// incoming is a receipt that waits to be stored and then acknowledged on the
// session that it came from.
type incoming struct {
	link    *link
	session *session
	frame   wire.Frame
	record  mobileid.Receipt
}

// deliver takes a deliver_sm or data_sm from the reading goroutine.
func (l *link) deliver(s *session, f wire.Frame) {
	b := l.bridge
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		// Refused, it would come again for ever and say no more than now.
		l.unread(s, f, "malformed")
		return
	}
	if !isReceipt(m, &b.cfg.Profile.Receipts) {
		if m.ESMClass&esmTypeMask == esmIntermediate {
			l.received(s, f, wire.StatusOK, "intermediate")
		} else {
			l.inbound(s, f, m)
		}
		return
	}
	r, ok := readReceipt(m, &b.cfg.Profile)
	if !ok {
		l.unread(s, f, "unparseable")
		return
	}
	in := incoming{link: l, session: s, frame: f, record: mobileid.Receipt{
		Account: b.cfg.account(), OperatorID: r.operatorID, State: r.state, Reason: r.reason, Stat: r.stat, Err: r.err, Reference: r.reference,
		At: b.now(), // by our clock, whatever dates it writes
	}}
	in.frame.Raw = nil // it may quote the text
	if in.record.Dest, ok = b.handset(m); !ok {
		l.unnumbered()
	}
	select {
	case b.receipts <- in:
	default:
		l.received(s, f, wire.StatusTemporary, "queue_full")
	}
}

// handset is the number that a receipt is about: its source, but the
// destination at an operator who leaves the addresses as submit_sm had them.
func (b *Bridge) handset(m wire.Message) (dest mobileid.Pseudonym, ok bool) {
	if b.numbers == nil {
		return mobileid.Pseudonym{}, true
	}
	for _, addr := range [...]string{m.Source.Addr, m.Dest.Addr} {
		if dest, ok = b.numbers.NumberIn(addr); ok {
			return dest, true
		}
	}
	return mobileid.Pseudonym{}, false
}

// unnumbered counts a receipt that names no number, and says so now and then. It
// is stored all the same: refused, the operator would send it for ever, and its
// account is shown with receipts that find no Message.
func (l *link) unnumbered() {
	b := l.bridge
	b.metrics.unnumbered.Inc()
	now := b.now()
	b.mu.Lock()
	say := now.Sub(b.unnumberedSaid) >= alarmEvery
	if say {
		b.unnumberedSaid = now
	}
	b.mu.Unlock()
	if say {
		l.log.Warn("a receipt names no number of ours in source_addr or destination_addr: it can match no Message")
	}
}

// received answers a deliver_sm or data_sm and counts it.
func (l *link) received(s *session, f wire.Frame, status wire.Status, result string) {
	l.metrics.receipts.WithLabelValues(result).Inc()
	s.respond(wire.AppendCString(nil, f.Command.Response(), status, f.Sequence, ""))
}

// storeReceipts stores receipts in batches and acknowledges each when it is
// stored; what is not stored is refused with 0x64, for the operator to send it
// again.
func (b *Bridge) storeReceipts(ctx context.Context) {
	var last vain
	for {
		select {
		case in := <-b.receipts:
			b.storeBatch(ctx, b.company(ctx, in, &last))
			b.progress.receipts.Rest()
			if len(b.receipts) > 0 {
				last = vain{} // more came while those were unanswered
			}
		case <-ctx.Done():
			return
		}
	}
}

// vain is a wait in which nobody came to the receipts that there were.
type vain struct {
	receipts int
	until    time.Time // that many are enough
}

// company returns a receipt with what comes with it and after it.
func (b *Bridge) company(ctx context.Context, first incoming, last *vain) []incoming {
	batch, enough := []incoming{first}, smallBatch
	if b.now().Before(last.until) {
		enough = min(enough, last.receipts)
	}
	end := time.After(receiptWait)
	for len(batch) < maxBatch {
		select {
		case in := <-b.receipts:
			batch = append(batch, in)
			continue
		default:
		}
		if len(batch) >= enough {
			break
		}
		select {
		case in := <-b.receipts:
			batch = append(batch, in)
		case <-time.After(receiptQuiet):
			*last = vain{len(batch), b.now().Add(receiptTrust)}
			return batch
		case <-end:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// storeBatch stores a batch. One that the registry refuses for good is halved
// until the bad receipt stands alone: that one is acknowledged and counted, or
// it would come again for ever.
func (b *Bridge) storeBatch(ctx context.Context, batch []incoming) {
	b.progress.receipts.Step()
	records := make([]mobileid.Receipt, len(batch))
	for i, in := range batch {
		records[i] = in.record
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StoreTimeout)
	defer cancel()
	matched, err := b.store.StoreReceipts(call, records)
	status, result := wire.StatusOK, "stored"
	switch {
	case err == nil:
		b.metrics.unmatched.Add(float64(len(batch) - matched))
	case mobileid.KindOf(err) == mobileid.KindInvalid && len(batch) > 1:
		b.storeBatch(ctx, batch[:len(batch)/2])
		b.storeBatch(ctx, batch[len(batch)/2:])
		return
	case mobileid.KindOf(err) == mobileid.KindInvalid:
		result = "refused"
		b.log.Error("receipt refused by the registry", "err", err)
	default:
		status, result = wire.StatusTemporary, "not_stored"
		b.log.Warn("receipts not stored", "receipts", len(batch), "err", err)
	}
	for _, in := range batch {
		in.link.received(in.session, in.frame, status, result)
	}
}
