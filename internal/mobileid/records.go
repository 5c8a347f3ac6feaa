package mobileid

import (
	"math"
	"time"
)

// These are the records that rooms hand to each other through ports. The
// registry stores them; nobody else gives them meaning.

// RecordRef says where on Kafka something was read, for `mobileid explain`.
type RecordRef struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Binding is an active PINFL <-> number binding as a sender of codes needs it.
type Binding struct {
	ID        int64
	Version   int
	Person    Pseudonym
	Number    Pseudonym
	MSISDN    MSISDN
	Operator  string // who served the number when it was bound
	PortedTo  string // who serves it by its move in force when this was read; "" = none is
	Account   int64  // ledger account that pays
	Suspended bool   // sms_suspended: the balance was not enough
	Locale    Locale
	// SteppedUpAt is when the person last showed himself otherwise than by a code;
	// zero: never.
	SteppedUpAt time.Time
}

// Fence is what must still hold when a Message is written to an operator.
type Fence struct {
	Kind    string // "binding"; "enrollment" follows
	ID      int64
	Version int
}

// NewMessage is a Message to be queued, its text already sealed.
type NewMessage struct {
	ID       ID
	Client   string
	Person   Pseudonym // the lane's record key
	Lane     Lane
	Operator string
	TextID   string
	Fence    Fence
	Account  int64     // ledger account that pays; 0: that of Dest at Operator
	Payer    string    // the system's account that pays instead of the subscriber; "" = he pays
	Charging Charging  // who is asked for the money; "" = the ledger
	OneSend  bool      // it is never sent twice, not even a code in doubt: the operator would debit both
	Deadline time.Time // nothing is written to the operator after it
	Dest     Pseudonym // of the number
	Sealed   []byte    // SealedText, aad = the id's bytes
	SealKey  SealKeyID
	Parts    int
}

// NewChallenge is a challenge whose code stands in Redis under Nonce.
type NewChallenge struct {
	Request   ChallengeRequested
	Person    Pseudonym
	Nonce     string // names the live code; the stored row decides which one is live
	Tries     int
	ExpiresAt time.Time
	ResendAt  time.Time // when the next code may be asked for
	Source    RecordRef
	Binding   *Binding    // nil: the person is not bound; the challenge ends
	Message   *NewMessage // nil with Binding
	Exempt    bool        // of an enrollment: nothing that was counted of the person stands against it
	RetryAt   time.Time   // too many codes until then: it ends limited; with StepUp, until when it asks for that
	StepUp    string      // why a code is not enough: it ends step_up, without one; "" = it is
	SIMCheck  SIMCheck    // "" is not asked
}

// NewSend is the next code of a challenge, which stands in Redis under Nonce.
type NewSend struct {
	Request     ResendRequested
	Number      int // of the sending, from 2
	Nonce       string
	ExpiresAt   time.Time
	CanResendAt time.Time // when the one after it may be asked for
	Source      RecordRef
	Binding     *Binding    // nil: the person is not bound, or there is no code to send
	Message     *NewMessage // nil with Binding
	RetryAt     time.Time   // too many codes until then: none is sent; with StepUp, until when it asks for that
	StepUp      string      // why a code is not enough: the challenge ends step_up; "" = it is
	SIMCheck    SIMCheck    // "" is not asked
}

// SentChallenge is what making the next code of a challenge needs to know of it.
type SentChallenge struct {
	ID          ID
	Client      string
	Person      Pseudonym
	Purpose     string
	Locale      Locale
	State       ChallengeState
	Sends       int // codes that were made
	TriesLeft   int
	CanResendAt time.Time
	Presence    Presence
	Resend      ID        // the request that made the last one; zero: the first
	MessageItem *LaneItem // of the last one, while it is queued
}

// NewNotification is a notification and its one Message.
type NewNotification struct {
	Request NotificationRequested
	Person  Pseudonym
	Source  RecordRef
	Message *NewMessage // nil: not bound; the notification ends undelivered
}

// LaneItem is an id to publish on a lane.
type LaneItem struct {
	ID       ID
	Operator string
	Lane     Lane
	Person   Pseudonym
}

// ChallengeView is a challenge as its client may see it.
type ChallengeView struct {
	ID           ID
	Client       string
	State        ChallengeState
	Reason       string
	Version      int64 // grows with every change of the challenge or its Message
	Purpose      string
	ExpiresAt    time.Time // zero until issued
	MessageState MessageState
	Masked       string // the number, masked; "" when unknown
	TriesLeft    int
	ConfirmedAt  time.Time
	CanResendAt  time.Time // zero: never, or not issued
	Sends        int       // codes that were made, or would have been
	RetryAt      time.Time // limited, step_up: when a new one may be asked for
	Cancelled    bool      // its client has taken it back, whatever had become of it
}

// MessageView is a Message as its client may see it.
type MessageView struct {
	ID       ID
	Client   string
	State    MessageState
	Reason   string
	Version  int64
	TextID   string
	Parts    int
	Deadline time.Time
	EndedAt  time.Time
}

// LiveChallenge is what verifying needs to know of a challenge.
type LiveChallenge struct {
	ID          ID
	Client      string
	Person      Pseudonym
	State       ChallengeState
	Purpose     string
	Nonce       string
	ContextHash string
	Tries       int
	ExpiresAt   time.Time
	CanResendAt time.Time // when the next code may be asked for
	Sends       int       // codes that were made, or would have been
	Cancelled   bool      // its client has taken it back, whatever had become of it
	Reason      string    // of its end
	Barred      bool      // the person has typed as many wrong codes today as he may
}

// ResendRule says how often a challenge may have another code.
type ResendRule struct {
	After time.Duration // from one code to the next
	Most  int           // codes after the first
}

// Confirmation is the lasting evidence that a code was right.
type Confirmation struct {
	Challenge   ID
	Client      string
	Purpose     string
	ContextHash string
	ConfirmedAt time.Time
	Replayed    bool // the same verify had already made it

	// What it stands on.
	Person   Pseudonym
	Presence Presence
	Enrolled string // how the person was identified when the number was bound
	SIMCheck SIMCheck

	// What its codes were counted for; not of one that is replayed.
	Number Pseudonym
	Resend ID // the request that made the last one; zero: the first
}

// SIMQuestion asks whether the SIM of a number was changed lately.
type SIMQuestion struct {
	For    ID // the request that wants to know; the operator sees it
	Number MSISDN
	MaxAge time.Duration // whole hours
}

// SIMCheck is what was known of a change of a number's SIM.
type SIMCheck string

// The results of a check.
const (
	SIMNotAsked SIMCheck = "not_asked" // nobody asked the operator
	SIMClear    SIMCheck = "clear"     // it was not changed within the time asked for
	SIMSwapped  SIMCheck = "swapped"
	SIMUnknown  SIMCheck = "unknown" // the operator did not say
)

// AdmitItem is an id taken from a lane, or due again.
type AdmitItem struct {
	ID     ID
	Source RecordRef // zero when it does not come from Kafka
	Lane   Lane      // of what is due again; "" when it comes from Kafka, whose topic tells it
}

// Verdict is what admission decided about one Message.
type Verdict string

// The verdicts.
const (
	VerdictMine    Verdict = "mine"    // write it; the money is reserved
	VerdictRefused Verdict = "refused" // ended: fenced, expired, no_funds, cancelled...
	VerdictDrop    Verdict = "drop"    // terminal, or another live bridge has it
	VerdictUnknown Verdict = "unknown" // no such row (yet)
)

// Admission is the answer for one AdmitItem.
type Admission struct {
	ID       ID
	Verdict  Verdict
	Lane     Lane
	TextID   string
	Deadline time.Time
	Dest     Pseudonym
	Parts    int // of the text, as it was queued
	Sealed   []byte
	Resend   bool // it was in doubt: this is its one extra try
	Charging Charging
	Units    int     // that are charged: 1, or its parts where the tariff is by the part
	Charged  bool    // it was admitted before: its money is reserved, and a charging system may have been asked
	Probe    bool    // SMS to its binding are suspended, and it finds out whether they must still be
	Tries    int     // how often the operator has asked for later
	Taken    PartSet // parts that the operator has: not written again
	State    MessageState
}

// Outcome is what became of one admitted Message on the link.
type Outcome struct {
	ID          ID
	State       MessageState // sent, rejected, no_funds, retry, in_doubt, expired, failed
	Reason      string       // closed vocabulary, for example "smpp_0x0b"
	Link        string
	RetryAt     time.Time
	Tried       bool       // the operator asked for later, and that counts
	Late        bool       // the answers came when the Message had been put in doubt
	Charge      ChargeNote // what is known of its Charge when the operator has it
	Probe       bool       // as in its Admission
	SubmittedAt time.Time
	Parts       []PartOutcome
}

// PartOutcome is the operator's answer to one part.
type PartOutcome struct {
	Part       int    // from 1
	Link       string // it was written on
	Sequence   uint32 // of the submit_sm
	Status     uint32 // command_status of the answer
	OperatorID string // message_id of the answer, normalised
	Dest       Pseudonym
	AnsweredAt time.Time // zero: no answer
}

// Taken returns the parts that the operator accepted.
func (o *Outcome) Taken() PartSet {
	var s PartSet
	for i := range o.Parts {
		if p := &o.Parts[i]; p.Status == 0 && !p.AnsweredAt.IsZero() {
			s = s.With(p.Part)
		}
	}
	return s
}

// MaxParts is how many parts of a Message can be remembered, so how many it may
// have.
const MaxParts = 63

// PartSet is a set of the parts 1 to MaxParts of a Message, a bit each. A part
// above is never in it.
type PartSet int64

// With returns the set with one part more.
func (s PartSet) With(part int) PartSet { return s | 1<<(part-1)&math.MaxInt64 }

// Has reports whether a part is in the set.
func (s PartSet) Has(part int) bool { return s&(1<<(part-1)&math.MaxInt64) != 0 }

// Receipt is a delivery receipt of one part, parsed. The text it may quote is
// dropped: it can hold the code.
type Receipt struct {
	Account    string // the operator account, "operator/system_id"
	OperatorID string // normalised
	Dest       Pseudonym
	State      MessageState // delivered, undeliverable, expired, rejected, failed; "" = not final
	Reason     string       // of a final state, "" when the state says it all: ReasonCannotPay
	Stat       string       // as the operator wrote it, for example DELIVRD
	Err        string
	Reference  *uint16   // user_message_reference of ours, where the operator echoes it; nil: he does not
	At         time.Time // when we received it
}

// Step is one line of `mobileid explain`: a hop of a request, masked.
type Step struct {
	At     time.Time         `json:"at"`
	Hop    string            `json:"hop"`  // edge, kafka, registry, bridge, operator, receipt, charge, confirmation
	What   string            `json:"what"` // one line, masked
	Record *RecordRef        `json:"record,omitempty"`
	Facts  map[string]string `json:"facts,omitempty"`
}

// StatusEvent is a state change waiting to leave Postgres.
type StatusEvent struct {
	Seq    int64
	Change StatusChanged
}

// Accepted is the answer to a request that became durable.
type Accepted struct {
	ID        ID
	At        time.Time // accept time, from the id
	ExpiresAt time.Time // the latest instant at which it can still be live
	Replayed  bool      // this Idempotency-Key had been accepted before
}

// CodeResult is what comparing a code with the live one gave.
type CodeResult string

// The results of a comparison.
const (
	CodeRight     CodeResult = "right"
	CodeWrong     CodeResult = "wrong"
	CodeExhausted CodeResult = "exhausted" // no try was left; nothing was compared
	CodeExpired   CodeResult = "expired"
	CodeLost      CodeResult = "lost" // no live code under that nonce
)

// IssuedCode is a fresh code that stands in Redis under Nonce.
type IssuedCode struct {
	Nonce string
	Code  Code
}

// IssuedRef names a code that should be alive in Redis.
type IssuedRef struct {
	ID    ID
	Nonce string
}

// NewBinding is what a binding is made from.
type NewBinding struct {
	PINFL    PINFL
	MSISDN   MSISDN
	Person   Pseudonym
	Number   Pseudonym
	Operator string
	Locale   Locale
}
