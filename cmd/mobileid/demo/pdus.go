package demo

import (
	"context"
	"maps"
	"slices"
	"sync"

	"mobileid/cmd/mobileid/demo/page"
	"mobileid/cmd/smscsim/smsc"
)

const (
	maxExchanges = 1000 // messages whose PDUs are remembered
	handsetQueue = 256  // PDUs that wait for an open page
)

// pduLog remembers what passed at the simulated operator, by the operator's
// message id, and hands it to open pages.
type pduLog struct {
	mu    sync.Mutex
	byID  map[string][]page.HandsetEvent
	order []string // of the ids, oldest first
	subs  map[chan page.HandsetEvent]struct{}
}

func newPDULog() *pduLog {
	return &pduLog{byID: map[string][]page.HandsetEvent{}, subs: map[chan page.HandsetEvent]struct{}{}}
}

// watchPDUs follows the simulator until it closes; done is closed then.
func watchPDUs(s *smsc.Server) (log *pduLog, done <-chan struct{}) {
	log = newPDULog()
	events, _ := s.Subscribe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range events {
			for _, pdu := range pdusOf(e) {
				log.add(pdu)
			}
		}
	}()
	return log, ended
}

func (l *pduLog) add(e page.HandsetEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.byID[e.OperatorID]; !known {
		l.order = append(l.order, e.OperatorID)
		if len(l.order) > maxExchanges {
			delete(l.byID, l.order[0])
			l.order = l.order[1:]
		}
	}
	l.byID[e.OperatorID] = append(l.byID[e.OperatorID], e)
	for c := range l.subs {
		select {
		case c <- e:
		default: // a page that is behind reads the rest from the trace
		}
	}
}

// Subscribe gives every PDU from now on.
func (l *pduLog) Subscribe() (<-chan page.HandsetEvent, func()) {
	c := make(chan page.HandsetEvent, handsetQueue)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs[c] = struct{}{}
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, c)
	}
}

// Exchange returns the PDUs of the messages with those operator ids.
func (l *pduLog) Exchange(_ context.Context, operatorIDs []string) ([]page.HandsetEvent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []page.HandsetEvent
	for _, id := range operatorIDs {
		out = append(out, l.byID[id]...)
	}
	slices.SortStableFunc(out, func(a, b page.HandsetEvent) int { return a.At.Compare(b.At) })
	return out, nil
}

// pdusOf turns one event of the simulator into the PDUs that it stands for.
func pdusOf(e smsc.Event) []page.HandsetEvent {
	switch {
	case e.Submit != nil:
		s := e.Submit
		submit := page.HandsetEvent{
			At: s.At, Kind: page.PDUSubmit, To: s.Dest, From: s.Source, Text: s.Text, OperatorID: s.MessageID,
			Status: s.Status, Raw: s.Raw, Fields: submitFields(s),
		}
		if len(s.Answer) == 0 {
			return []page.HandsetEvent{submit}
		}
		return []page.HandsetEvent{submit, {
			At: s.At, Kind: page.PDUResp, To: s.Dest, OperatorID: s.MessageID, Status: s.Status, Raw: s.Answer,
			Fields: []page.Field{{Name: "message_id", Value: s.MessageID}},
		}}
	case e.Kind == smsc.EventReceipt:
		return []page.HandsetEvent{{
			At: e.At, Kind: page.PDUReceipt, To: e.Receipt.Dest, OperatorID: e.Receipt.MessageID, Raw: e.Receipt.Raw,
			Fields: []page.Field{{Name: "short_message", Value: e.Receipt.Text}},
		}}
	case e.Kind == smsc.EventReceiptAck:
		return []page.HandsetEvent{{
			At: e.At, Kind: page.PDUReceiptAck, To: e.Receipt.Dest, OperatorID: e.Receipt.MessageID,
			Status: e.Receipt.AckStatus, Raw: e.Receipt.AckRaw,
		}}
	}
	return nil
}

// mandatory are the fields of a submit_sm as they stand on the wire (SMPP 3.4,
// 3.2 and 4.4.1).
var mandatory = []string{
	"command_length", "command_id", "command_status", "sequence_number", "service_type",
	"source_addr_ton", "source_addr_npi", "source_addr", "dest_addr_ton", "dest_addr_npi", "destination_addr",
	"esm_class", "protocol_id", "priority_flag", "schedule_delivery_time", "validity_period", "registered_delivery",
	"replace_if_present_flag", "data_coding", "sm_default_msg_id", "sm_length", "short_message",
}

// submitFields are the decoded fields in wire order, the optional ones last.
// The text is shown as it is read; its bytes stand below, on the wire.
func submitFields(s *smsc.Submit) []page.Field {
	optional := maps.Clone(s.Fields)
	var out []page.Field
	for _, name := range mandatory {
		value, ok := optional[name]
		if name == "short_message" {
			value = s.Text
		}
		if ok {
			out = append(out, page.Field{Name: name, Value: value})
			delete(optional, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(optional)) {
		out = append(out, page.Field{Name: name, Value: optional[name]})
	}
	return out
}
