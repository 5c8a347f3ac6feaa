package mobileid

import "time"

// Charging says who is asked for the money of a Message. It is fixed when the
// Message is queued.
type Charging string

// The ways of charging.
const (
	// ChargingLedger asks our mirror of the subscriber's account, in the statement
	// that admits the Message.
	ChargingLedger Charging = "ledger"
	// ChargingDiameter asks the operator's charging system, between admission and
	// submit_sm.
	ChargingDiameter Charging = "diameter"
	// ChargingOperator asks nobody: the operator debits the subscriber when he
	// takes the SMS, and says in his answer or receipt when that could not be paid.
	ChargingOperator Charging = "operator"
	// ChargingPayer asks nobody: an account of the system pays, without a limit.
	ChargingPayer Charging = "payer"
)

// ChargeState is where the Charge of a Message stands. A Message that was not
// admitted yet has a price and no state.
type ChargeState string

// The closed list of states of a Charge.
const (
	ChargePending  ChargeState = "pending"  // reserved
	ChargePosted   ChargeState = "posted"   // paid, whole or in part
	ChargeVoided   ChargeState = "voided"   // given back before it was paid
	ChargeUnknown  ChargeState = "unknown"  // nobody knows whether it is to be paid; nothing is reserved
	ChargeReversed ChargeState = "reversed" // given back after it was paid
)

// ChargeNote is what else is known of a Charge when the operator has the Message.
type ChargeNote string

// The notes.
const (
	ChargeAsReserved ChargeNote = ""        // it is paid
	ChargeNotKnown   ChargeNote = "unknown" // the operator's charging system did not say whether it is reserved
	ChargeFree       ChargeNote = "free"    // the operator's charging system asks for nothing
)

// ChargeCall is a transfer that the operator's charging system has to be told of.
type ChargeCall struct {
	ID       ID
	Step     int         // of the Charge
	Kind     ChargeState // posted: Moved units were used; voided: none; reversed: Moved are given back; unknown: ask again
	Units    int         // that the Message is charged for
	Moved    int
	Tries    int // how often it was begun, this time included
	Number   MSISDN
	TextID   string
	Deadline time.Time // of the Message
}

// BalanceKind is what an operator tells of a subscriber's account.
type BalanceKind string

// The kinds.
const (
	BalanceTopUp    BalanceKind = "top_up"   // that much came
	BalanceTold     BalanceKind = "balance"  // that much can be spent
	BalanceBarred   BalanceKind = "barred"   // he takes no SMS that is paid for
	BalanceUnbarred BalanceKind = "unbarred" // he does again
)

// MaxBalance bounds an amount that is told: more is a mistake of the sender.
const MaxBalance Money = 100_000_000_000_000

// SourceOfOperator is the Source of what an operator tells: no other may tell of
// his accounts.
func SourceOfOperator(operator string) string { return "operator:" + operator }

// BalanceNews is one thing that an operator tells of a subscriber's account.
type BalanceNews struct {
	Source   string // who tells, see SourceOfOperator
	Seq      string // how he names it: told again, nothing changes
	Operator string
	Number   Pseudonym
	Kind     BalanceKind
	Amount   Money     // of top_up and balance; not negative
	At       time.Time // by his clock
}
