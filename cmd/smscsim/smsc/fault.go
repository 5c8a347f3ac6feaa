package smsc

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// FaultKind is a thing that an operator does wrong.
type FaultKind string

// The kinds of faults.
const (
	FaultRefuseBind   FaultKind = "refuse_bind"   // binds are answered with Status (default 0x0E)
	FaultIgnoreBind   FaultKind = "ignore_bind"   // binds are not answered
	FaultDelay        FaultKind = "delay"         // submit_sm_resp comes Delay later
	FaultNoAnswer     FaultKind = "no_answer"     // submit_sm is taken and not answered
	FaultStatus       FaultKind = "status"        // submit_sm is refused with Status
	FaultDrop         FaultKind = "drop"          // the connection is cut behind the Count-th submit_sm (to To), which is not answered
	FaultReceipt      FaultKind = "receipt"       // the receipt says State
	FaultReceiptFirst FaultKind = "receipt_first" // the receipt is sent before the answer
	FaultNoReceipt    FaultKind = "no_receipt"    // no receipt is sent
	FaultIgnoreLink   FaultKind = "ignore_link"   // enquire_link is not answered
	FaultUnbind       FaultKind = "unbind"        // done once, now: unbind is sent on every session
	FaultCut          FaultKind = "cut"           // done once, now: every connection is cut
)

// faultKinds is the closed list with what each reads.
var faultKinds = []FaultKind{
	FaultRefuseBind, FaultIgnoreBind, FaultDelay, FaultNoAnswer, FaultStatus, FaultDrop,
	FaultReceipt, FaultReceiptFirst, FaultNoReceipt, FaultIgnoreLink, FaultUnbind, FaultCut,
}

// ofLink are the faults of what has no destination; a To would make them do
// nothing, or what was not asked for.
var ofLink = []FaultKind{FaultRefuseBind, FaultIgnoreBind, FaultIgnoreLink, FaultUnbind, FaultCut}

var receiptStates = []string{"DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD", "ENROUTE"}

// Fault is one scripted fault.
type Fault struct {
	Kind   FaultKind     `json:"kind"`
	Count  int           `json:"count,omitempty"`  // how many times; 0 = until Reset (drop: 1)
	To     string        `json:"to,omitempty"`     // only for this destination_addr, digits without plus
	Status uint32        `json:"status,omitempty"` // command_status
	State  string        `json:"state,omitempty"`  // of the receipt, for example UNDELIV
	Delay  time.Duration `json:"delay_ns,omitempty"`
}

// check fills the defaults and says what is wrong.
func (f *Fault) check() error {
	if !slices.Contains(faultKinds, f.Kind) {
		return fmt.Errorf("kind: want one of %s", join(faultKinds))
	}
	if f.Count < 0 || f.Delay < 0 {
		return fmt.Errorf("count, delay_ns: not below zero")
	}
	if f.To != "" && slices.Contains(ofLink, f.Kind) {
		return fmt.Errorf("to: %s is of a link, not of a number", f.Kind)
	}
	switch f.Kind {
	case FaultRefuseBind:
		if f.Status == 0 {
			f.Status = 0x0E
		}
	case FaultStatus:
		if f.Status == 0 {
			return fmt.Errorf("status: missing")
		}
	case FaultDelay:
		if f.Delay == 0 {
			return fmt.Errorf("delay_ns: missing")
		}
	case FaultReceipt:
		if !slices.Contains(receiptStates, f.State) {
			return fmt.Errorf("state: want one of %s", strings.Join(receiptStates, ", "))
		}
	case FaultDrop:
		f.Count = max(f.Count, 1)
	default:
	}
	return nil
}

func join(kinds []FaultKind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	return strings.Join(words, ", ")
}

// script is the list of faults in force. The caller holds the server's lock.
type script struct{ faults []*Fault }

// use finds the first fault of a kind for a destination and counts it down.
func (s *script) use(kind FaultKind, dest string) (Fault, bool) {
	for i, f := range s.faults {
		if f.Kind != kind || (f.To != "" && f.To != dest) {
			continue
		}
		used := *f
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return used, true
	}
	return Fault{}, false
}
