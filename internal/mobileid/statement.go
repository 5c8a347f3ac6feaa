package mobileid

import "time"

// transferWords are the words for what told us of a transfer (its why), by what it
// did (its kind); "" is any kind.
var transferWords = map[ChargeState]map[string]string{
	ChargePending: {"": "the price was reserved before the SMS was sent"},
	ChargePosted: {
		"stopped":    "the SMS ended before all of its parts were sent: those that the operator took are charged",
		"reconciled": "the operator's file says that the SMS was debited",
		"answer":     "the operator accepted the SMS",
		"receipt":    "the operator reported that the SMS arrived",
		"confirmed":  "the code of the SMS was entered, so it arrived",
		"charger":    "the operator's charging system took the money",
		"migrated":   "charged before steps were kept one by one",
	},
	ChargeVoided: {
		"answer":     "the operator did not accept the SMS: nothing is charged",
		"receipt":    "the operator reported that the SMS was refused or not delivered: nothing is charged",
		"stopped":    "the SMS was not sent: nothing is charged",
		"absent":     "the operator's file does not have the SMS: nothing is charged",
		"charger":    "the operator's charging system refused, or does not charge this SMS",
		"reconciled": "the operator's file says that the SMS was not debited: nothing is charged",
		"migrated":   "not charged; before steps were kept one by one",
	},
	ChargeUnknown: {
		"doubt":   "nobody has said whether the operator took the SMS: no money is held, his file will settle it",
		"charger": "the operator's charging system has not answered: no money is held until it does",
	},
	ChargeReversed: {
		"receipt":    "the operator reported that the SMS was refused or not delivered: the money is given back",
		"absent":     "the operator's file does not have the SMS: the money is given back",
		"charger":    "the operator's charging system had no reservation of the SMS any more: the money is given back",
		"reconciled": "the operator's file says that less was debited: the money is given back",
		"migrated":   "given back; before steps were kept one by one",
	},
}

// TransferWords says in plain English why a transfer was made. Words that are not
// in the catalogue say no more than the kind.
func TransferWords(kind ChargeState, why string) string {
	for _, key := range []string{why, ""} {
		if w, ok := transferWords[kind][key]; ok {
			return w
		}
	}
	return "the Charge became " + string(kind)
}

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
