package smpp

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// Bounds of what is set aside.
const (
	asideQueue = 500
	asideBatch = 100
	unreadMax  = 4096 // octets of a receipt that cannot be read

	// What one number may send in a window; what is above is acknowledged and
	// counted. A long text is ten parts at the most.
	inboundPerNumber = 30
	inboundWindow    = time.Minute
)

// Sealer seals to one public key.
type Sealer interface {
	Seal(aad, plain []byte) ([]byte, error)
}

// aside is what an operator sent that is not a receipt of ours to match: a
// subscriber's message, or a receipt that cannot be read. It waits to be stored
// and then acknowledged.
type aside struct {
	link    *link
	session *session
	frame   wire.Frame
	inbound *mobileid.InboundMessage
	counted counted // of inbound
	unread  *mobileid.UnreadReceipt
}

// inbound takes a message that a subscriber sent. It is sealed to the key that
// only bridges can open: no other process ever sees a number and what its owner
// wrote.
//
// An operator that misses our answer sends it again, and SMPP has no name for
// it: it is stored again, with the same Fingerprint. Nothing is dropped here, because
// somebody may mean the same word twice; whoever acts on it knows what that
// means (consumers/asyncapi.yaml).
func (l *link) inbound(s *session, f wire.Frame, m wire.Message) {
	b := l.bridge
	count, ok := b.inboundLimit.allow(m.Source.Addr, b.now())
	if !ok {
		l.received(s, f, wire.StatusOK, "limited")
		return
	}
	in := &mobileid.InboundMessage{
		ID: mobileid.NewInboundID(), Operator: b.cfg.Profile.ID, Account: b.cfg.account(), At: b.now(),
	}
	if number, err := mobileid.ParseMSISDN(m.Source.Addr); err == nil {
		in.Number = b.numbers.Number(number)
	}
	part, octets := partOf(m)
	in.Part = part
	in.Fingerprint = b.opener.Fingerprint([]byte(in.Account), []byte(m.Source.Addr), []byte(m.Dest.Addr),
		[]byte{m.DataCoding, byte(part.Reference >> 8), byte(part.Reference), byte(part.Total), byte(part.Number)}, octets)
	plain, err := json.Marshal(mobileid.SealedInbound{
		From: m.Source.Addr, To: m.Dest.Addr, DataCoding: m.DataCoding, Octets: octets,
	})
	if err == nil {
		in.Sealed, err = b.inboundSealer.Seal(in.ID[:], plain)
	}
	if err != nil {
		b.log.Error("inbound message not sealed") // the error of json may quote the text
		l.comeAgain(aside{session: s, frame: f, counted: count}, "not_stored")
		return
	}
	l.setAside(aside{session: s, frame: f, inbound: in, counted: count})
}

// unread keeps a sealed copy of a receipt that cannot be read.
func (l *link) unread(s *session, f wire.Frame, why string) {
	b := l.bridge
	account := b.cfg.account()
	sealed, err := b.unreadSealer.Seal([]byte(account), f.Raw[:min(len(f.Raw), unreadMax)])
	if err != nil {
		b.log.Error("receipt not sealed", "err", err)
		l.received(s, f, wire.StatusTemporary, "not_stored")
		return
	}
	l.setAside(aside{session: s, frame: f, unread: &mobileid.UnreadReceipt{
		Account: account, Why: why, Sealed: sealed, At: b.now(),
	}})
}

func (l *link) setAside(a aside) {
	a.link, a.frame.Raw = l, nil
	select {
	case l.bridge.asides <- a:
	default:
		l.comeAgain(a, "queue_full")
	}
}

// comeAgain asks the operator to send again what could not be stored. It counts
// for its number when it is: he may send one word as often as he likes meanwhile.
func (l *link) comeAgain(a aside, why string) {
	l.bridge.inboundLimit.takeBack(a.counted)
	l.received(a.session, a.frame, wire.StatusTemporary, why)
}

// storeAsides stores what was set aside and acknowledges it then; what is not
// stored is refused with 0x64, for the operator to send it again.
func (b *Bridge) storeAsides(ctx context.Context) {
	for {
		b.progress.asides.Rest()
		var batch []aside
		select {
		case a := <-b.asides:
			batch = append(batch, a)
		case <-ctx.Done():
			return
		}
		for len(batch) < asideBatch && len(b.asides) > 0 {
			batch = append(batch, <-b.asides)
		}
		b.progress.asides.Step()
		b.storeAside(ctx, batch)
	}
}

// storeAside stores a batch. One that the registry refuses for good is halved
// until the bad one stands alone, which is acknowledged and counted.
func (b *Bridge) storeAside(ctx context.Context, batch []aside) {
	var inbound []mobileid.InboundMessage
	var unread []mobileid.UnreadReceipt
	for _, a := range batch {
		if a.inbound != nil {
			inbound = append(inbound, *a.inbound)
		} else {
			unread = append(unread, *a.unread)
		}
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StoreTimeout)
	defer cancel()
	var errInbound, errUnread error
	if len(inbound) > 0 {
		errInbound = b.store.StoreInbound(call, inbound)
	}
	if len(unread) > 0 {
		errUnread = b.store.KeepUnread(call, unread)
	}
	refused := ""
	switch err := errors.Join(errInbound, errUnread); {
	case err == nil:
	case mobileid.KindOf(errInbound) == mobileid.KindInvalid || mobileid.KindOf(errUnread) == mobileid.KindInvalid:
		if len(batch) > 1 {
			b.storeAside(ctx, batch[:len(batch)/2])
			b.storeAside(ctx, batch[len(batch)/2:])
			return
		}
		refused = "refused"
		b.log.Error("refused by the registry", "err", err)
	default:
		b.log.Warn("inbound messages and unread receipts not stored", "messages", len(inbound), "receipts", len(unread), "err", err)
		for _, a := range batch {
			a.link.comeAgain(a, "not_stored")
		}
		return
	}
	for _, a := range batch {
		result := refused
		switch {
		case result != "":
		case a.inbound != nil:
			result = "message"
		default:
			result = a.unread.Why
		}
		a.link.received(a.session, a.frame, wire.StatusOK, result)
	}
}

// numberLimit counts what numbers send in a window, in a table that does not
// grow: numbers that share a place share the limit.
type numberLimit struct {
	seed maphash.Seed

	mu     sync.Mutex
	until  time.Time
	counts [1 << 14]uint8
}

func newNumberLimit() *numberLimit { return &numberLimit{seed: maphash.MakeSeed()} }

// counted is a place of the table that something was counted at, in the window
// that ends then; the zero value: nothing was.
type counted struct {
	at    uint64
	until time.Time
}

// allow counts one more of a number, unless it has sent enough.
func (n *numberLimit) allow(number string, now time.Time) (c counted, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !now.Before(n.until) {
		clear(n.counts[:])
		n.until = now.Add(inboundWindow)
	}
	c = counted{maphash.String(n.seed, number) % uint64(len(n.counts)), n.until}
	if n.counts[c.at] >= inboundPerNumber {
		return counted{}, false
	}
	n.counts[c.at]++
	return c, true
}

// takeBack makes something uncounted.
func (n *numberLimit) takeBack(c counted) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !c.until.IsZero() && c.until.Equal(n.until) {
		n.counts[c.at]--
	}
}

// The information elements that make one text of several (3GPP TS 23.040,
// 9.2.3.24.1 and 9.2.3.24.8).
const (
	elementParts8  = 0x00
	elementParts16 = 0x08
)

// partOf returns the place of a part and its text without the header. What is
// damaged is taken for whole, header and all.
func partOf(m wire.Message) (part mobileid.InboundPart, octets []byte) {
	octets = m.Bytes()
	if m.ESMClass&wire.ESMClassUDHI == 0 {
		ref, _ := m.Optional(wire.TagSARMsgRefNum)
		total, _ := m.Optional(wire.TagSARTotalSegments)
		number, _ := m.Optional(wire.TagSARSegmentSeqnum)
		if len(ref) == 2 && len(total) == 1 && len(number) == 1 {
			return placeOf(binary.BigEndian.Uint16(ref), total[0], number[0]), octets
		}
		return part, octets
	}
	if len(octets) == 0 || len(octets) <= int(octets[0]) {
		return part, octets
	}
	header, text := octets[1:1+int(octets[0])], octets[1+int(octets[0]):]
	for len(header) >= 2 {
		kind, size := header[0], int(header[1])
		if header = header[2:]; len(header) < size {
			return mobileid.InboundPart{}, octets
		}
		switch body := header[:size]; {
		case kind == elementParts8 && size == 3:
			part = placeOf(uint16(body[0]), body[1], body[2])
		case kind == elementParts16 && size == 4:
			part = placeOf(binary.BigEndian.Uint16(body), body[2], body[3])
		}
		header = header[size:]
	}
	return part, text
}

// placeOf is a place that can be; a text of one part came whole.
func placeOf(reference uint16, total, number byte) mobileid.InboundPart {
	if total < 2 || number == 0 || number > total {
		return mobileid.InboundPart{}
	}
	return mobileid.InboundPart{Reference: int(reference), Total: int(total), Number: int(number)}
}
