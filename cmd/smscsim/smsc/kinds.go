package smsc

import (
	"strings"
	"time"

	"mobileid/smpp/wire"
)

// FaultKind is a thing that an operator does wrong, or only in his own way.
type FaultKind string

// The kinds of faults. What each does and reads stands in kinds.
const (
	FaultRefuseBind  FaultKind = "refuse_bind"
	FaultIgnoreBind  FaultKind = "ignore_bind"
	FaultMaxBinds    FaultKind = "max_binds"
	FaultSessionInit FaultKind = "session_init"
	FaultIgnoreLink  FaultKind = "ignore_link"
	FaultEnquireLink FaultKind = "enquire_link"
	FaultUnbind      FaultKind = "unbind"
	FaultUnbindMid   FaultKind = "unbind_mid"
	FaultCut         FaultKind = "cut"
	FaultDrop        FaultKind = "drop"
	FaultStall       FaultKind = "stall"
	FaultHalfOpen    FaultKind = "half_open"

	FaultByteWrites FaultKind = "byte_writes"
	FaultMerge      FaultKind = "merge"
	FaultGarbage    FaultKind = "garbage"
	FaultMalformed  FaultKind = "malformed"
	FaultAlert      FaultKind = "alert_notification"

	FaultDelay        FaultKind = "delay"
	FaultNoAnswer     FaultKind = "no_answer"
	FaultNack         FaultKind = "nack"
	FaultStatus       FaultKind = "status"
	FaultEvery        FaultKind = "every"
	FaultThrottle     FaultKind = "throttle"
	FaultThrottleDest FaultKind = "throttle_dest"
	FaultWindow       FaultKind = "window"

	FaultIDs              FaultKind = "ids"
	FaultReceipt          FaultKind = "receipt"
	FaultReceiptFirst     FaultKind = "receipt_first"
	FaultNoReceipt        FaultKind = "no_receipt"
	FaultReceiptLate      FaultKind = "receipt_late"
	FaultReceiptRepeat    FaultKind = "receipt_repeat"
	FaultReceiptReverse   FaultKind = "receipt_reverse"
	FaultReceiptOtherBind FaultKind = "receipt_other_bind"
	FaultReceiptUnknown   FaultKind = "receipt_unknown"
	FaultReceiptForm      FaultKind = "receipt_form"
	FaultReceiptDate      FaultKind = "receipt_date"
	FaultReceiptReference FaultKind = "receipt_reference"
	FaultReceiptWindow    FaultKind = "receipt_window"
)

// Kind describes a kind of fault: what it does and which fields it reads.
type Kind struct {
	Kind  FaultKind `json:"kind"`
	Does  string    `json:"does"`
	Must  []string  `json:"must,omitempty"`
	May   []string  `json:"may,omitempty"`
	Forms []string  `json:"forms,omitempty"`
	Once  bool      `json:"once,omitempty"` // done once, now, on what is connected

	status  wire.Status // when none is given
	counted bool        // Count says when, not how often
	example Fault       // of what it needs
}

// What a submit_sm or its receipt is chosen by, and what a link is.
var (
	ofSubmit = []string{"to", "count", "for"}
	ofLink   = []string{"count", "for"}
	asLong   = []string{"for"}
)

// kinds is the closed list.
var kinds = []Kind{
	{Kind: FaultRefuseBind, Does: "binds are refused with status (14)", May: with(ofLink, "status"), status: wire.StatusBadPassword},
	{Kind: FaultIgnoreBind, Does: "binds are not answered", May: ofLink},
	{
		Kind: FaultMaxBinds, Does: "an account has n binds at most; further ones are refused with status (13)",
		Must: []string{"n"}, May: with(asLong, "status"), status: wire.StatusBindFailed, example: Fault{N: 2},
	},
	{
		Kind: FaultSessionInit, Does: "a connection that is not bound after delay is closed",
		Must: []string{"delay"}, May: asLong, example: Fault{Delay: 2 * time.Second},
	},
	{Kind: FaultIgnoreLink, Does: "enquire_link is not answered", May: ofLink},
	{Kind: FaultEnquireLink, Does: "enquire_link is sent on every bind", Once: true},
	{Kind: FaultUnbind, Does: "unbind is sent on every bind", Once: true},
	{
		Kind: FaultUnbindMid, Does: "unbind is sent ahead of the answer to the count-th submit_sm (with to: to that number)",
		May: []string{"to", "count"}, counted: true, example: Fault{Count: 3},
	},
	{Kind: FaultCut, Does: "every connection is cut", Once: true},
	{
		Kind: FaultDrop, Does: "the connection is cut behind the count-th submit_sm (with to: to that number), which is not answered",
		May: []string{"to", "count"}, counted: true, example: Fault{Count: 3},
	},
	{
		Kind: FaultStall, Does: "nothing is read from what is connected for that long; then everything is",
		Must: asLong, Once: true, example: Fault{For: 5 * time.Second},
	},
	{Kind: FaultHalfOpen, Does: "what is connected is never read nor written again, and stays open", Once: true},

	{
		Kind: FaultByteWrites, Does: "everything is written one byte at a time, delay between two",
		May: with(asLong, "delay"), example: Fault{For: 30 * time.Second},
	},
	{
		Kind: FaultMerge, Does: "n PDUs go out in one write, fewer when delay (100ms) is over",
		Must: []string{"n"}, May: with(asLong, "delay"), example: Fault{N: 10},
	},
	{Kind: FaultGarbage, Does: "bytes (hexadecimal) are written on every bind as they are", Must: []string{"bytes"}, Once: true, example: Fault{Bytes: []byte{0xde, 0xad, 0xbe, 0xef}}},
	{
		Kind: FaultMalformed, Does: "a PDU with that mistake is sent on every bind", Must: []string{"form"}, Forms: malformedForms(),
		Once: true, example: Fault{Form: malformedSMLength},
	},
	{Kind: FaultAlert, Does: "alert_notification (of the number to) is sent on every bind", May: []string{"to"}, Once: true},

	{Kind: FaultDelay, Does: "submit_sm_resp comes delay later", Must: []string{"delay"}, May: ofSubmit, example: Fault{Delay: 500 * time.Millisecond}},
	{Kind: FaultNoAnswer, Does: "submit_sm is taken, no answer", May: ofSubmit},
	{
		Kind: FaultNack, Does: "submit_sm is refused by generic_nack with status (3)",
		May: with(ofSubmit, "status"), status: wire.StatusInvalidID, example: Fault{Count: 1},
	},
	{
		Kind: FaultStatus, Does: "submit_sm is refused with status, for example 88 = throttled, 20 = queue full",
		Must: []string{"status"}, May: ofSubmit, example: Fault{Status: 88, Count: 3},
	},
	{
		Kind: FaultEvery, Does: "every n-th submit_sm is refused with status (88)",
		Must: []string{"n"}, May: with(ofSubmit, "status"), status: wire.StatusThrottled, example: Fault{N: 10},
	},
	{
		Kind: FaultThrottle, Does: "above rate a second and burst at once submit_sm is refused with status (88)",
		Must: []string{"rate"}, May: with(asLong, "to", "burst", "status"), status: wire.StatusThrottled, example: Fault{Rate: 500, Burst: 50},
	},
	{
		Kind: FaultThrottleDest, Does: "the same for each number by itself, with status (20)",
		Must: []string{"rate"}, May: with(asLong, "to", "burst", "status"), status: wire.StatusQueueFull, example: Fault{Rate: 0.1, Burst: 2},
	},
	{
		Kind: FaultWindow, Does: "a submit_sm beyond n unanswered ones of its bind is refused with status (88)",
		Must: []string{"n"}, May: with(asLong, "status"), status: wire.StatusThrottled, example: Fault{N: 10},
	},

	{
		Kind: FaultIDs, Does: "message_id has that form in answers, and receipt_form in receipts",
		Must: []string{"form"}, May: with(ofSubmit, "receipt_form"), Forms: idForms(), example: Fault{Form: idHex, ReceiptForm: idDecimal},
	},
	{Kind: FaultReceipt, Does: "the receipt says state: " + strings.Join(receiptStates, " "), Must: []string{"state"}, May: ofSubmit, example: Fault{State: "UNDELIV"}},
	{Kind: FaultReceiptFirst, Does: "the receipt is sent before the answer", May: ofSubmit},
	{Kind: FaultNoReceipt, Does: "no receipt", May: ofSubmit},
	{Kind: FaultReceiptLate, Does: "the receipt comes delay later than the others", Must: []string{"delay"}, May: ofSubmit, example: Fault{Delay: 48 * time.Hour}},
	{Kind: FaultReceiptRepeat, Does: "the receipt is sent n times, acknowledged or not", Must: []string{"n"}, May: ofSubmit, example: Fault{N: 3}},
	{Kind: FaultReceiptReverse, Does: "receipts wait until there are n, which then go in reverse order", Must: []string{"n"}, May: ofSubmit, example: Fault{N: 5}},
	{Kind: FaultReceiptOtherBind, Does: "the receipt goes on another bind than the one that submitted, where there is one", May: ofSubmit},
	{Kind: FaultReceiptUnknown, Does: "the receipt is for an id that was given to nobody", May: ofSubmit},
	{Kind: FaultReceiptForm, Does: "the receipt is written in that form", Must: []string{"form"}, May: ofSubmit, Forms: receiptForms(), example: Fault{Form: receiptTLV}},
	{Kind: FaultReceiptDate, Does: "the dates in the receipt's text are delay old", Must: []string{"delay"}, May: ofSubmit, example: Fault{Delay: 48 * time.Hour}},
	{Kind: FaultReceiptReference, Does: "the receipt repeats user_message_reference", May: ofSubmit},
	{Kind: FaultReceiptWindow, Does: "a bind has n deliver_sm unanswered at most; the others wait", Must: []string{"n"}, May: asLong, example: Fault{N: 1}},
}

// Kinds returns the closed list of faults.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

var receiptStates = []string{"DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD", "ENROUTE"}

func kindOf(kind FaultKind) Kind {
	for _, k := range kinds {
		if k.Kind == kind {
			return k
		}
	}
	return Kind{}
}

func with(fields []string, more ...string) []string {
	return append(append([]string(nil), more...), fields...)
}

func kindNames() string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k.Kind)
	}
	return strings.Join(words, ", ")
}
