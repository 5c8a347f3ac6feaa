package mobileid

import "time"

// StatementQuery asks for the Charges of a person, newest first.
type StatementQuery struct {
	Person Pseudonym
	// From and Until bound when the Messages were accepted; Until is exclusive. Zero:
	// no bound.
	From, Until time.Time
	Before      ID  // below it: the last one of the page before; zero: the first page
	Limit       int // Charges of a page
}

// PersonStatement is what a person is told of his Charges.
type PersonStatement struct {
	Charges []PersonCharge
	More    bool            // there are older ones; ask Before the last of these
	Account *SubscriberView // nil: the person has no active binding
	Locale  Locale          // of the active binding; "" without one
}

// PersonCharge is the Charge of one Message, with the answer to "why was I charged".
// A Message that ended no_funds before anything was reserved has none: its Charge is
// "", its Net zero, and it has no Transfers.
type PersonCharge struct {
	Message  ID
	Client   string // who asked for it
	TextID   string
	Operator string
	State    MessageState
	Reason   string
	Parts    int

	Tariff   int64 // version of the price; 0: none was in force
	Act      string
	Price    Money // of a Unit
	Unit     string
	Amount   Money // of the Message, fixed when it was queued
	Charging Charging

	Charge    ChargeState
	Net       Money // charged and not given back
	Transfers []PersonTransfer
}

// PersonTransfer is a step of a Charge.
type PersonTransfer struct {
	Step        int
	At          time.Time
	Kind        ChargeState
	Why         string
	Held, Taken Money // changes
}

// SubscriberView is the account that pays for a person's SMS, as we know it.
type SubscriberView struct {
	Operator  string
	Known     bool  // the operator has told the balance
	Available Money // of it; when it is not known, nothing
	Reserved  Money
	// SuspendedSince and SuspendedWhy (balance, barred) are of SMS that are stopped;
	// zero when they are not.
	SuspendedSince time.Time
	SuspendedWhy   string
	// ProbeAt is when the next SMS tries whether the money is there, if it is out
	// and the operator tells of none before; zero when nothing tries.
	ProbeAt    time.Time
	Ceiling    *Money // the person's own, of a day in Asia/Tashkent; nil: none
	SpentToday Money  // what counts for it
}
