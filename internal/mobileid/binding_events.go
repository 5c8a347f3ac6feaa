package mobileid

import "time"

// TypeBindingChanged is the ce_type on registry.events.
const TypeBindingChanged = "mobileid.binding.changed.v1"

// BindingChange is what happened to a binding. The list grows: a reader passes
// over what it does not know.
type BindingChange string

// The changes that are told so far.
const (
	BindingSuspended BindingChange = "suspended" // no SMS goes to it; it identifies as before (decree clause 32)
	BindingResumed   BindingChange = "resumed"   // SMS go to it again
	BindingFundsLow  BindingChange = "funds_low" // a warning: the money for SMS ends soon
)

// Why SMS are suspended.
const (
	SuspendedForBalance = "balance" // the money is out
	SuspendedAsBarred   = "barred"  // the operator bars the subscriber
)

// BindingEvent is a change of a binding that leaves the registry.
type BindingEvent struct {
	Binding  int64
	Version  int64 // of the binding's events: only grows, from 1
	Person   Pseudonym
	Number   Pseudonym
	Operator string // who served the number when it was bound
	Change   BindingChange
	Why      string // of suspended
	At       time.Time
}

// BindingChanged is the event as it is written (topic registry.events). A reader
// ignores one whose version is not above the one that it has of that binding.
type BindingChanged struct {
	Binding  int64         `json:"binding"`
	Version  int64         `json:"version"`
	Person   string        `json:"person"` // Pseudonym.String
	Number   string        `json:"number"` // Pseudonym.String
	Operator string        `json:"operator"`
	Change   BindingChange `json:"change"`
	Why      string        `json:"why,omitempty"`
	At       time.Time     `json:"at"`
}
