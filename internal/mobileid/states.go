package mobileid

import "slices"

// MessageState is where a Message stands (docs/architecture.md draws it).
type MessageState string

// The closed list of Message states.
const (
	MessageQueued   MessageState = "queued"   // row written, id on its lane
	MessageAdmitted MessageState = "admitted" // owned by a bridge, money reserved
	MessageRetry    MessageState = "retry"    // the operator asked for later; retry_at says when
	MessageSent     MessageState = "sent"     // accepted by the operator, receipt awaited
	MessageInDoubt  MessageState = "in_doubt" // written, no answer

	MessageDelivered     MessageState = "delivered"     // receipt: on the handset
	MessageUndeliverable MessageState = "undeliverable" // receipt: finally not
	MessageExpired       MessageState = "expired"       // its deadline passed, or the operator's validity did
	MessageRejected      MessageState = "rejected"      // the operator refused it for good
	MessageNoFunds       MessageState = "no_funds"      // the balance was not enough
	MessageFenced        MessageState = "fenced"        // the binding it was made for is gone or changed
	MessageCancelled     MessageState = "cancelled"     // its challenge ended before it was sent, or it was not to be sent at all
	MessageFailed        MessageState = "failed"        // our fault or the operator's deletion
	MessageUnconfirmed   MessageState = "unconfirmed"   // in doubt to the end
)

// messageNext are the drawn arrows. A terminal state has none: a late receipt
// is kept as a fact, and may correct the Charge, not the state.
var messageNext = map[MessageState][]MessageState{
	MessageQueued: {MessageAdmitted, MessageNoFunds, MessageFenced, MessageCancelled, MessageExpired},
	MessageAdmitted: {
		MessageSent, MessageRejected, MessageRetry, MessageInDoubt, MessageExpired, MessageFailed,
		MessageNoFunds,   // the operator charges the subscriber, who cannot pay
		MessageDelivered, // the receipt may overtake the settling of submit_sm_resp
	},
	MessageRetry: {
		MessageAdmitted, MessageNoFunds, MessageFenced, MessageCancelled, MessageExpired,
		MessageDelivered, // the receipt of a sending that was thought lost
	},
	// It may have been sent: only what an answer, a receipt or the end of the
	// wait says can end it.
	MessageInDoubt: {
		MessageAdmitted, MessageSent, MessageUnconfirmed, MessageRejected,
		MessageExpired, MessageDelivered, MessageUndeliverable, MessageFailed,
		// Surely not taken: a late answer asked for later, or its bridge was only
		// thought dead and has not written it.
		MessageRetry,
	},
	MessageSent: {
		MessageDelivered, MessageUndeliverable, MessageExpired, MessageRejected, MessageFailed, MessageUnconfirmed,
	},
	MessageDelivered: nil, MessageUndeliverable: nil, MessageExpired: nil, MessageRejected: nil, MessageNoFunds: nil,
	MessageFenced: nil, MessageCancelled: nil, MessageFailed: nil, MessageUnconfirmed: nil,
}

// Terminal reports whether nothing follows s.
func (s MessageState) Terminal() bool { return s.Valid() && len(messageNext[s]) == 0 }

// Valid reports whether s is in the closed list.
func (s MessageState) Valid() bool { _, ok := messageNext[s]; return ok }

// CanBecome reports whether an arrow leads from s to next.
func (s MessageState) CanBecome(next MessageState) bool { return slices.Contains(messageNext[s], next) }

// MessageStates returns the closed list, sorted.
func MessageStates() []MessageState { return sortedKeys(messageNext) }

// ChallengeState is where a challenge stands.
type ChallengeState string

// The closed list of challenge states.
const (
	ChallengeAccepted ChallengeState = "accepted" // an id was given; no consumer has seen it yet
	ChallengePending  ChallengeState = "pending"  // a code is issued and on its way or on the handset

	ChallengeConfirmed     ChallengeState = "confirmed"     // the code was right: a Confirmation exists
	ChallengeExpired       ChallengeState = "expired"       // its time is over
	ChallengeExhausted     ChallengeState = "exhausted"     // too many wrong codes
	ChallengeLost          ChallengeState = "lost"          // the live code was lost with Redis; ask again
	ChallengeSuperseded    ChallengeState = "superseded"    // a newer one of the same person, purpose and client
	ChallengeConflict      ChallengeState = "conflict"      // its Idempotency-Key was used for another request
	ChallengeUnbound       ChallengeState = "unbound"       // the person has no active binding
	ChallengeNoFunds       ChallengeState = "no_funds"      // the balance was not enough for the SMS
	ChallengeFenced        ChallengeState = "fenced"        // the binding changed after the code was issued
	ChallengeUndeliverable ChallengeState = "undeliverable" // the operator finally could not deliver the code
	ChallengeFailed        ChallengeState = "failed"        // the code could not be sent
	ChallengeCancelled     ChallengeState = "cancelled"     // its client does not want it any more
	ChallengeLimited       ChallengeState = "limited"       // too many codes or too many wrong ones: ask again at retry_at
	ChallengeStepUp        ChallengeState = "step_up"       // a code is not enough now: the person shows his face (Face-ID), or waits until retry_at
)

var challengeNext = map[ChallengeState][]ChallengeState{
	ChallengeAccepted: {
		ChallengePending, ChallengeExpired, ChallengeConflict, ChallengeUnbound, ChallengeSuperseded,
		ChallengeCancelled, ChallengeLimited, ChallengeStepUp,
	},
	ChallengePending: {
		ChallengeConfirmed, ChallengeExpired, ChallengeExhausted, ChallengeLost, ChallengeSuperseded,
		ChallengeNoFunds, ChallengeFenced, ChallengeUndeliverable, ChallengeFailed, ChallengeCancelled, ChallengeStepUp,
	},
	ChallengeConfirmed: nil, ChallengeExpired: nil, ChallengeExhausted: nil, ChallengeLost: nil, ChallengeSuperseded: nil,
	ChallengeConflict: nil, ChallengeUnbound: nil, ChallengeNoFunds: nil, ChallengeFenced: nil,
	ChallengeUndeliverable: nil, ChallengeFailed: nil,
	ChallengeCancelled: nil, ChallengeLimited: nil, ChallengeStepUp: nil,
}

// Terminal reports whether nothing follows s.
func (s ChallengeState) Terminal() bool { return s.Valid() && len(challengeNext[s]) == 0 }

// Valid reports whether s is in the closed list.
func (s ChallengeState) Valid() bool { _, ok := challengeNext[s]; return ok }

// CanBecome reports whether an arrow leads from s to next.
func (s ChallengeState) CanBecome(next ChallengeState) bool {
	return slices.Contains(challengeNext[s], next)
}

// ChallengeStates returns the closed list, sorted.
func ChallengeStates() []ChallengeState { return sortedKeys(challengeNext) }

func sortedKeys[S ~string, V any](m map[S]V) []S {
	out := make([]S, 0, len(m))
	for s := range m {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}
