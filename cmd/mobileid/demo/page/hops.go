package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// The hops of the timeline, in the order in which they normally happen. A
// notification has no verify and no confirmation.
const (
	HopAccepted  = "accepted"  // the edge answered 202
	HopRecord    = "record"    // the request's Kafka record
	HopIssued    = "issued"    // code issued, Message row written
	HopLane      = "lane"      // the id on the operator's lane
	HopAdmitted  = "admitted"  // a bridge owns it, the money is reserved
	HopSubmit    = "submit"    // submit_sm at the operator
	HopResp      = "resp"      // submit_sm_resp
	HopPosted    = "posted"    // the charge is settled
	HopReceipt   = "receipt"   // deliver_sm with the receipt
	HopDelivered = "delivered" // the Message's terminal state
	HopVerify    = "verify"    // the relying party sent a code; drawn by the page
	HopConfirmed = "confirmed" // the challenge's terminal state
)

// Tones of a hop.
const (
	toneGood = "good"
	toneBad  = "bad"
)

// hopJSON is one reached step of a request.
type hopJSON struct {
	Key    string    `json:"key"`
	Title  string    `json:"title,omitempty"` // when it is not the usual one of the key
	At     time.Time `json:"at"`
	MS     float64   `json:"ms"` // since the request was accepted
	Line   string    `json:"line"`
	Tone   string    `json:"tone,omitempty"`
	Blocks []block   `json:"blocks,omitempty"`
}

// builder draws the hops of one request.
type builder struct {
	facts
	id    mobileid.ID
	start time.Time
	wire  []HandsetEvent
	read  func(mobileid.RecordRef) (Record, error)
	hops  []hopJSON
}

func (b *builder) build() traceJSON {
	t := traceJSON{ID: b.id, AcceptedAt: b.start, State: string(mobileid.ChallengeAccepted), SMS: []smsJSON{}}
	b.accepted()
	b.source()
	b.issued()
	b.lane()
	b.admitted()
	b.exchange()
	b.settled()
	b.ends()
	for _, e := range b.wire {
		if e.onHandset() {
			t.SMS = append(t.SMS, smsOf(e))
		}
	}
	messageEnded := b.message == nil || b.message.State.Terminal()
	switch {
	case b.challenge != nil:
		t.State = string(b.challenge.State)
		t.Ended = b.challenge.State.Terminal() && messageEnded
	case b.message != nil:
		t.State, t.Ended = string(b.message.State), messageEnded
	}
	if b.message != nil {
		t.Message = b.message.ID.ID
	}
	slices.SortStableFunc(b.hops, func(x, y hopJSON) int { return x.At.Compare(y.At) })
	t.Hops = b.hops
	return t
}

func (b *builder) add(key string, at time.Time, line string, blocks ...block) *hopJSON {
	// The id's time is cut to the millisecond, and a record's is too: what
	// follows cannot be before.
	if at.Before(b.start) {
		at = b.start
	}
	ms := float64(at.Sub(b.start).Microseconds()) / 1000
	b.hops = append(b.hops, hopJSON{Key: key, At: at.UTC(), MS: ms, Line: line, Blocks: blocks})
	return &b.hops[len(b.hops)-1]
}

func (b *builder) accepted() {
	b.add(HopAccepted, b.start, "202 once the record is durable")
}

func (b *builder) source() {
	src := sourceRow{Partition: -1}
	switch {
	case b.challenge != nil:
		src = b.challenge.sourceRow
	case b.message != nil:
		src = b.message.sourceRow
	}
	if ref, ok := src.ref(); ok {
		b.kafka(HopRecord, ref, b.start)
	}
}

func (b *builder) lane() {
	if b.message == nil || b.message.LanePartition < 0 || b.message.LaneOffset < 0 {
		return
	}
	b.kafka(HopLane, mobileid.RecordRef{
		Topic:     mobileid.TopicSMS(b.message.Operator, b.message.Lane),
		Partition: b.message.LanePartition, Offset: b.message.LaneOffset,
	}, latest(b.message.QueuedAt, b.message.PublishedAt))
}

// kafka draws a record; at is used when the record cannot be read back.
func (b *builder) kafka(key string, ref mobileid.RecordRef, at time.Time) {
	name := strings.TrimSuffix(strings.TrimPrefix(ref.Topic, mobileid.TopicPrefix), mobileid.TopicSuffix)
	line := fmt.Sprintf("%s · partition %d · offset %d", name, ref.Partition, ref.Offset)
	rec, err := b.read(ref)
	if err != nil {
		b.add(key, at, line, block{Title: "Record", Text: "could not be read back: " + mobileid.CodeOf(err)})
		return
	}
	where := fmt.Sprintf("%s[%d]@%d", ref.Topic, ref.Partition, ref.Offset)
	b.add(key, rec.Time, line, recordBlocks(where, rec)...)
}

func (b *builder) issued() {
	var blocks []block
	var at time.Time
	line := "no Message: the person has no active binding"
	if b.message != nil {
		at = b.message.QueuedAt
		line = fmt.Sprintf("for %s · text sealed to the bridge", b.message.Operator)
		if b.message.Sealed == "" {
			line = fmt.Sprintf("for %s · sealed text already erased", b.message.Operator)
		}
		blocks = append(blocks, jsonBlock("Message row", b.raw.Message))
	}
	if b.challenge != nil {
		if at.IsZero() {
			at = b.challenge.IssuedAt
		}
		blocks = append(blocks, jsonBlock("Challenge row (the code itself is nowhere)", b.raw.Challenge))
	}
	if at.IsZero() {
		return
	}
	h := b.add(HopIssued, at, line, blocks...)
	if b.message == nil {
		h.Title = "Request read, nothing to send"
	}
}

func (b *builder) admitted() {
	if b.message == nil || b.message.AdmittedAt.IsZero() {
		return
	}
	line := "owned by a bridge"
	var blocks []block
	if len(b.transfers) > 0 {
		line = b.transfers[0].Held.String() + " soum reserved in the same statement"
		blocks = append(blocks, jsonBlock("Transfers of the Charge", b.raw.Transfers))
	}
	if len(b.raw.Account) > 0 {
		blocks = append(blocks, jsonBlock("Account", b.raw.Account))
	}
	b.add(HopAdmitted, b.message.AdmittedAt, line, blocks...)
}

// exchange draws the PDUs. Without the operator's side (its log was lost with
// a restart) the times come from our rows.
func (b *builder) exchange() {
	submits, resps, receipts := b.pdus(PDUSubmit), b.pdus(PDUResp), b.pdus(PDUReceipt)
	switch {
	case len(submits) > 0:
		e := submits[0]
		line := fmt.Sprintf("%d bytes to %s", len(e.Raw), maskedTo(e.To))
		if len(submits) > 1 {
			line = fmt.Sprintf("%d parts to %s", len(submits), maskedTo(e.To))
		}
		b.add(HopSubmit, e.At, line, allBlocks("submit_sm", submits)...)
	case b.message != nil && !b.message.SubmittedAt.IsZero():
		b.add(HopSubmit, b.message.SubmittedAt, "written to the link")
	}
	switch {
	case len(resps) > 0:
		e := resps[0]
		h := b.add(HopResp, e.At, "ESME_ROK · message_id "+e.OperatorID, allBlocks("submit_sm_resp", resps)...)
		if e.Status != 0 {
			h.Line, h.Tone = fmt.Sprintf("command_status 0x%08x", e.Status), toneBad
		}
	case len(b.parts) > 0 && !b.parts[0].AnsweredAt.IsZero():
		p := b.parts[0]
		h := b.add(HopResp, p.AnsweredAt, "message_id "+p.OperatorID, jsonBlock("Part rows", b.raw.Parts))
		if p.Status != 0 {
			h.Line, h.Tone = fmt.Sprintf("command_status 0x%08x", p.Status), toneBad
		}
	}
	switch {
	case len(receipts) > 0:
		line := "receipt received"
		if len(b.receipts) > 0 {
			line = "stat:" + b.receipts[0].Stat + " err:" + b.receipts[0].Err
		}
		blocks := append(allBlocks("deliver_sm", receipts), allBlocks("deliver_sm_resp", b.pdus(PDUReceiptAck))...)
		b.add(HopReceipt, receipts[0].At, line, blocks...)
	case len(b.receipts) > 0:
		r := b.receipts[0]
		b.add(HopReceipt, r.ReceivedAt, "stat:"+r.Stat+" err:"+r.Err, jsonBlock("Receipt rows", b.raw.Receipts))
	}
}

func (b *builder) pdus(kind PDUKind) []HandsetEvent {
	var out []HandsetEvent
	for _, e := range b.wire {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

func allBlocks(name string, events []HandsetEvent) []block {
	var out []block
	for i, e := range events {
		title := name
		if len(events) > 1 {
			title = fmt.Sprintf("%s %d of %d", name, i+1, len(events))
		}
		out = append(out, pduBlocks(title, e)...)
	}
	return out
}

// settled draws each transfer of the Charge that followed the reservation, with the
// words that the person's statement has for it.
func (b *builder) settled() {
	for i, t := range b.transfers {
		if i == 0 {
			continue
		}
		line := t.Taken.String() + " soum · " + mobileid.TransferWords(t.Kind, t.Why, mobileid.LocaleEn)
		blocks := []block{jsonBlock("Transfers of the Charge", b.raw.Transfers)}
		if len(b.raw.Account) > 0 {
			blocks = append(blocks, jsonBlock("Account", b.raw.Account))
		}
		h := b.add(HopPosted, t.At, line, blocks...)
		if t.Kind != mobileid.ChargePosted {
			h.Title, h.Tone = "Charge "+string(t.Kind), toneBad
		}
	}
}

// ends draws the two terminal states.
func (b *builder) ends() {
	if m := b.message; m != nil && m.State.Terminal() {
		h := b.add(HopDelivered, m.EndedAt, "Message ended: delivered", jsonBlock("Message row", b.raw.Message))
		h.Tone = toneGood
		if m.State != mobileid.MessageDelivered {
			h.Title, h.Tone = "Message ended: "+string(m.State), toneBad
			h.Line = reasonLine(m.Reason)
		}
	}
	c := b.challenge
	switch {
	case b.confirmation != nil:
		h := b.add(HopConfirmed, b.confirmation.ConfirmedAt, "one insert, binding locked and still active",
			jsonBlock("Confirmation row", b.raw.Confirmation), jsonBlock("Challenge row", b.raw.Challenge))
		h.Tone = toneGood
	case c != nil && c.State.Terminal() && c.State != mobileid.ChallengeConfirmed:
		h := b.add(HopConfirmed, c.EndedAt, reasonLine(c.Reason), jsonBlock("Challenge row", b.raw.Challenge))
		h.Title, h.Tone = "Challenge ended: "+string(c.State), toneBad
	}
}

func reasonLine(reason string) string {
	if reason == "" {
		return "no reason was given"
	}
	return "reason: " + reason
}

func latest(times ...time.Time) time.Time {
	var out time.Time
	for _, t := range times {
		if t.After(out) {
			out = t
		}
	}
	return out
}
